"""What a source has answered so far, from the raw zone: bars, corporate actions that stand, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from stockkit.errors import LakeError, SourceError
from stockkit.imports import pandas as pd
from stockkit.intake.sources import is_complete
from stockkit.intake.sources.folder import ACTIONS_FILE
from stockkit.lake import raw
from stockkit.lake.raw import Holding
from stockkit.lake.tables import Lake
from stockkit.market import action_history, corporate_actions, schema
from stockkit.market.action_history import Known, Statement
from stockkit.market.answers import Answer, careful

HAND = "hand"  # the name under which the raw zone keeps the actions that a user adds
ADDED = "the list of added actions"
SHORT = 100  # rows of a short answer; a longer one is a whole history
NOTES: Mapping[str, str] = {"symbol": "string", "rule": "string", "date": "string", "meaning": "string"}


@dataclass(frozen=True)
class Fetched:
    """All that is known of a source's symbols, and why one has no fresh answer (`failures`: symbol to reason).

    `answers` has each symbol's answers as they arrived; `now` is the source's clock; `deferred` are symbols that had to
    wait for the source's allowance, with the reason; `conflicts` the corporate actions that a second source denies;
    `notes` (NOTES) what was wrong with what the raw zone holds; `unavailable` whether all that failed may pass.
    """

    answers: dict[str, list[Answer]]
    known: Known
    failures: dict[str, str]
    now: pd.Timestamp
    deferred: dict[str, str] = field(default_factory=dict)
    conflicts: pd.DataFrame = field(default_factory=lambda: corporate_actions.no_conflicts())
    notes: pd.DataFrame = field(default_factory=lambda: schema.empty(NOTES))
    unavailable: bool = False

    @property
    def actions(self) -> pd.DataFrame:
        """The corporate actions that are applied, as `market.corporate_actions.ACTIONS`."""
        return self.known.actions

    def summary(self) -> pd.DataFrame:
        """One row a symbol: its answers so far, and of the last one bytes, fetched_at (UTC) and file in the lake."""
        rows = [
            (symbol, len(history), len(history[-1].body), history[-1].fetched_at, history[-1].file)
            for symbol, history in self.answers.items()
        ]
        return pd.DataFrame(rows, columns=["symbol", "answers", "bytes", "fetched_at", "file"]).set_index("symbol")


def recall(
    lake: Lake, source: str, symbols: Sequence[str], *, now: pd.Timestamp, until: pd.Timestamp | None = None
) -> Fetched:
    """What the raw zone holds of a source, without asking it; only what was known before `until` (UTC) if given.

    Raises:
        LakeError: the newest list of corporate actions is damaged.
    """
    holdings = {symbol: raw.read(lake.files, source, symbol, until=until) for symbol in symbols}
    lists = {name: raw.read(lake.files, by, None, until=until) for name, by in ((ACTIONS_FILE, source), (ADDED, HAND))}
    return from_holdings(source, holdings, lists, now=now)


def from_holdings(
    source: str, holdings: Mapping[str, Holding], lists: Mapping[str, Holding], *, now: pd.Timestamp
) -> Fetched:
    """What is known of symbols by what the raw zone holds of each, and of the lists of corporate actions by name."""
    by_symbol = {symbol: holding.answers for symbol, holding in holdings.items() if holding.answers}
    known = action_history.known(
        _lists(lists, ACTIONS_FILE),
        [statement for history in by_symbol.values() for statement in _statements(history)],
        _lists(lists, ADDED),
    )
    faults = known.faults[known.faults["symbol"].isin(holdings).fillna(False) | known.faults["symbol"].isna()]
    failures = _lacking(holdings, complete=is_complete(source))
    for name, rows in faults.assign(symbol=faults["symbol"].fillna(ACTIONS_FILE)).groupby("symbol"):
        failures[str(name)] = joined(failures.get(str(name)), f"{name}: " + " ".join(rows["reason"]))
    notes = _notes({**holdings, **lists})
    return Fetched(by_symbol, replace(known, faults=faults), failures, now, notes=notes)


def joined(*reasons: str | None) -> str:
    """Several reasons in one text; those that are none are left out."""
    return " ".join(reason for reason in reasons if reason)


def is_readable(answer: Answer) -> bool:
    """Whether an answer has rows that can be read."""
    try:
        return answer.plain is not None or bool(len(careful.read(answer).frame))
    except SourceError:
        return False


def days_of(history: Sequence[Answer]) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The first and the last day that the readable ones of some answers have."""
    readable = [answer for answer in history if is_readable(answer)]
    days = pd.concat([
        pd.Series(answer.plain.columns["day"]) if answer.plain else careful.read(answer).frame["day"]
        for answer in readable
    ])  # fmt: skip
    return days.min(), days.max()


def _lists(lists: Mapping[str, Holding], file: str) -> list[Statement]:
    """The lists of corporate actions of one name, as they arrived.

    Raises:
        LakeError: the newest is damaged: without it no price is on a known scale.
    """
    holding = lists.get(file, Holding())
    newest = raw.order(holding.answers[-1].file if holding.answers else "")
    if broken := [fault for fault in holding.faults if fault.problem == raw.DAMAGED and raw.order(fault.file) > newest]:
        raise LakeError(f"the list of corporate actions {broken[-1].file}: {broken[-1].detail}")
    return [Statement(corporate_actions.read(answer.body, file=file), answer.since) for answer in holding.answers]


def _statements(history: Sequence[Answer]) -> Iterator[Statement]:
    """What one symbol's answers say of corporate actions beside their bars, each of its days."""
    events = [(answer, corporate_actions.read_events(answer.body, answer.symbol)) for answer in history]
    if not any(len(listed.actions) or len(listed.faults) for _, listed in events):
        return
    for answer, listed in events:
        with suppress(SourceError):  # an answer that cannot be read says nothing
            yield Statement(listed, answer.since, days_of([answer]))


def _lacking(holdings: Mapping[str, Holding], *, complete: bool) -> dict[str, str]:
    """The symbols of which a damaged file may have held what no later answer tells, each with the reason.

    A later answer makes up for it when it has the same bytes or is a whole history: always of a source whose answers
    are `complete`, else where it has more than `SHORT` rows.
    """
    lacking = {}
    for symbol, holding in holdings.items():
        for fault in (fault for fault in holding.faults if fault.problem == raw.DAMAGED):
            later = [answer for answer in holding.answers if raw.order(answer.file) > raw.order(fault.file)]
            digest = fault.file.rpartition("-")[2]
            if not any(
                complete or answer.file.endswith(digest) or answer.body.count(b"\n") > SHORT for answer in later
            ):
                lacking[symbol] = f"{symbol}: {fault.file}: {fault.detail}"
    return lacking


def _notes(holdings: Mapping[str, Holding]) -> pd.DataFrame:
    """What is wrong in the raw zone, as `NOTES`."""
    rows = [
        (symbol, fault.problem.replace(" ", "_"), "", f"{fault.file}: {fault.detail}")
        for symbol, holding in holdings.items()
        for fault in holding.faults
    ]
    return schema.cast(pd.DataFrame(rows, columns=list(NOTES)), NOTES)
