"""What the audit found: single findings, and the table and verdict that they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from stockkit.errors import LeakError

CHECKS = ("runs", "cut", "corrupt", "order", "neighbour", "look_back", "split")
HARMLESS = ("n/a", "ok", "rounding", "sorted only", "smooths", "touches", "changes")  # the later tells more
EMPTY = "nothing"
WAYS_OUT = {
    "cut": "use only rows up to the one computed: shift(1) and not shift(-1), trailing windows, statistics by "
    "expanding() or of the training rows",
    "neighbour": "compute each symbol by itself (groupby('symbol')), or declare it with cross=True",
    "split": "divide by a price of the same day, or declare the unit as 'price' or 'shares'",
    "open": "take close, high, low and volume of the session before: shift(1); only the open of the day is known",
    "look_back": "state the look-back that it has",
    "order": "sort by symbol and date first",
    "tail": "leave the last `horizon` rows of each symbol NaN: they are not known yet",
    "purge": "end the training rows `horizon` sessions before the test",
    "overlap": "keep training and test rows apart",
    "forward": "test on rows that come after all training rows: no KFold, no shuffling",
    "fitted": "fit the whole Pipeline on the training rows of each fold, never before splitting",
    "runs": "make it give one value a row, whatever bars it is given",
}


@dataclass(frozen=True)
class Finding:
    """What one check saw of one value once; `state` is "ok", "leak" or another word for the table.

    `reach` counts the sessions that it must have looked ahead, 0 where that is not known.
    """

    feature: str
    check: str
    state: str
    date: pd.Timestamp | None = None
    what: str = ""
    reach: int = 0


@dataclass(frozen=True, eq=False)
class Audit:
    """What the checks saw.

    Attributes:
        table: one row a feature (fold, fitted attribute): feature, a column a check, verdict, date (of the first bad
            value) and what (one sentence). A check says ok, leak, n/a (does not apply), nothing (no values to check),
            or one of: rounding (differs in the last digits only), sorted only (needs sorted rows, as the contract of
            bars promises), smooths (goes on weighing rows older than its look-back, ever less), changes (with a later
            split), touches (the last training label ends on the first test session), or what is wrong.
            The verdict is causal, causal, not for models (in units of price or shares), leak, fault, or
            nothing to check.
    """

    table: pd.DataFrame

    @property
    def leaks(self) -> list[str]:
        """The names of those that leak."""
        return list(self.table.loc[self.table["verdict"] == "leak", "feature"])

    @property
    def untested(self) -> list[str]:
        """The names of those that could not be tested: faults, and where there was nothing to check."""
        return list(self.table.loc[self.table["verdict"].isin(["fault", "nothing to check"]), "feature"])

    @property
    def ok(self) -> bool:
        """Whether nothing leaked, failed, or had no values to check."""
        return len(self.table) > 0 and not self.leaks and not self.untested

    def raise_for_leaks(self) -> Audit:
        """Return this audit when it is ok.

        Raises:
            LeakError: names each that leaks or could not be tested, the check, the date and the way out.
        """
        if not self.ok:
            raise LeakError("\n".join(self.complaints()) or "nothing was audited: name a feature or function.")
        return self

    def complaints(self) -> list[str]:
        """A line for each that leaks or could not be tested: the check, what happened when, and the way out."""
        bad = self.table["verdict"].isin(["leak", "fault", "nothing to check"])
        return [self._line(row) for _, row in self.table[bad].iterrows()]

    def _line(self, row: pd.Series) -> str:
        checks = [name for name in self.table.columns if name not in ("feature", "verdict", "date", "what")]
        failed = next((name for name in checks if row[name] not in (*HARMLESS, EMPTY)), "")
        fixes = WAYS_OUT.get("cut" if failed == "corrupt" else failed, "give bars on which it has values that vary")
        check = f" ({failed})" if failed else ""
        return f"{row['feature']}: {row['verdict']}{check}: {row['what']}. The way out: {fixes}."


def combined(audits: Sequence[Audit]) -> Audit:
    """Several audits as one table."""
    return Audit(pd.concat([audit.table for audit in audits], ignore_index=True))


def weigh(findings: Iterable[Finding], checks: Sequence[str] = CHECKS) -> Audit:
    """The findings as a table, features in the order in which they first come."""
    by_feature: dict[str, list[Finding]] = {}
    for finding in findings:
        by_feature.setdefault(finding.feature, []).append(finding)
    rows = [_row(feature, findings, checks) for feature, findings in by_feature.items()]
    table = pd.DataFrame(rows, columns=["feature", *checks, "verdict", "date", "what"])
    return Audit(table.astype({"date": "datetime64[ns]"}))


def _row(feature: str, findings: list[Finding], checks: Sequence[str]) -> dict[str, object]:
    cells = {check: _cell([finding for finding in findings if finding.check == check]) for check in checks}
    if cells.get("runs") == EMPTY:  # that a constant does not change proves nothing
        cells = {check: EMPTY if state in ("ok", "sorted only") else state for check, state in cells.items()}
    bad = [finding for finding in findings if finding.state not in (*HARMLESS, EMPTY)]
    leaks = [finding for finding in bad if finding.state == "leak"]
    dates = [finding.date for finding in (leaks or bad) if finding.date is not None]
    verdict = _verdict(cells, bad=bool(bad), leaks=bool(leaks))
    empty = verdict == "nothing to check"
    sentence = _sentence_of(
        leaks or bad or [finding for finding in findings if finding.state == EMPTY or not empty], checks
    )
    if empty and not sentence:
        sentence = "too few of the rows compared have values: give more sessions, or bars on which it has values"
    return {"feature": feature, **cells, "verdict": verdict, "date": min(dates, default=pd.NaT), "what": sentence}


def _cell(findings: list[Finding]) -> str:
    """The worst state that a check saw; one look that saw values makes it ok, a check of none is n/a."""
    states = [finding.state for finding in findings]
    worst = [state for state in states if state not in (*HARMLESS, EMPTY)]
    if worst:
        return "leak" if "leak" in worst else worst[0]
    seen = [state for state in states if state != EMPTY]
    if findings and sum(state != "n/a" for state in seen) < min(3, len(findings)):
        return "n/a" if seen and set(states) == {"n/a"} else EMPTY
    return max(seen, key=HARMLESS.index, default="n/a")


def _verdict(cells: dict[str, str], *, bad: bool, leaks: bool) -> str:
    if leaks:
        return "leak"
    if bad:
        return "fault"
    if any(cells.get(check) == EMPTY for check in cells):
        return "nothing to check"
    return "causal, not for models" if cells.get("split") == "changes" else "causal"


def _sentence_of(findings: list[Finding], checks: Sequence[str]) -> str:
    """The sentence of the first check that has one to say, its earliest date, and the other checks that agree."""
    sentences = sorted(
        (finding for finding in findings if finding.what),
        key=lambda finding: (checks.index(finding.check), _when(finding)),
    )
    if not sentences:
        return ""
    others = list(dict.fromkeys(finding.check for finding in sentences if finding.check != sentences[0].check))
    reach = max(finding.reach for finding in sentences)
    ahead = f"; it sees {reach} session{'s' if reach > 1 else ''} ahead or more" if reach else ""
    return (
        sentences[0].what
        + ahead
        + (f"; so says {', '.join(others)}" if others and sentences[0].state == "leak" else "")
    )


def _when(finding: Finding) -> pd.Timestamp:
    return pd.Timestamp.max if finding.date is None else finding.date
