"""What an ingest makes of a source's answers: trusted bars, and everything that was wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from stockkit.errors import SourceError, SourceUnavailable
from stockkit.imports import pandas as pd
from stockkit.intake.history import NOTES, Fetched, joined
from stockkit.market import clean, corporate_actions, jumps, schema, sessions
from stockkit.market.answers.layouts import Reading

UNSEEN = ("session_not_closed", "closed_day", "repeated_row")  # rules of rows that leave no gap


@dataclass(frozen=True)
class Ingested:
    """Trusted `prices`, `rejects` and `corrections` of all symbols, and `missing`: why one is not all there.

    `jumps` (market.jumps.SUGGESTED) has the ratio that would explain each jump, `notes` (NOTES) what else was wrong.
    """

    prices: pd.DataFrame
    rejects: pd.DataFrame
    corrections: pd.DataFrame
    missing: dict[str, str]
    deferred: dict[str, str] = field(default_factory=dict)
    conflicts: pd.DataFrame = field(default_factory=lambda: corporate_actions.no_conflicts())
    jumps: pd.DataFrame = field(default_factory=lambda: schema.empty(jumps.SUGGESTED))
    notes: pd.DataFrame = field(default_factory=lambda: schema.empty(NOTES))
    start: pd.Timestamp = pd.Timestamp.min
    readings: dict[str, Reading] = field(default_factory=dict)

    def layouts(self) -> pd.DataFrame:
        """How each symbol's last answer was read: layout, which price, how dates are written, and what to know."""
        rows = [(symbol, how.layout, how.prices, how.dates, how.remarks) for symbol, how in self.readings.items()]
        return pd.DataFrame(rows, columns=["symbol", "layout", "prices", "dates", "remarks"]).set_index("symbol")

    def gaps(self, calendar: str = sessions.DEFAULT) -> dict[str, list[str]]:
        """The sessions without a trusted bar that lie among those that a symbol's source has rows of, refused ones too.

        Symbols without gaps are left out.
        """
        refused = refused_sessions(self, calendar)
        gaps = {}
        for symbol, trusted in self.prices.groupby("symbol")["date"]:
            days = pd.concat([trusted, refused.loc[refused["symbol"] == symbol, "day"]])
            expected = sessions.between(days.min(), days.max(), calendar)
            gaps[str(symbol)] = expected.difference(pd.DatetimeIndex(trusted))
        return {symbol: [str(day.date()) for day in days] for symbol, days in gaps.items() if len(days)}

    def defects(self, calendar: str = sessions.DEFAULT) -> pd.DataFrame:
        """Everything that was wrong, one row a symbol and defect: how often, the first day, what it means."""
        rejects = self.rejects.groupby(["symbol", "rule"], as_index=False).agg(
            count=("line", "size"), first=("date", "min"), meaning=("reason", "first")
        )
        gaps = [(symbol, "missing_session", len(days), days[0], "the exchange was open and there is no trusted bar")
                for symbol, days in self.gaps(calendar).items()]  # fmt: skip
        notes = [(note["symbol"], note["rule"], 1, note["date"], note["meaning"])
                 for note in self.notes.to_dict("records")]  # fmt: skip
        named = set(self.notes["symbol"])
        missing = [(symbol, "not_all_there" if symbol in named | set(rejects["symbol"]) else "no_fresh_answer", 1, "",
                    reason) for symbol, reason in self.missing.items()]  # fmt: skip
        columns = ["symbol", "rule", "count", "first", "meaning"]
        added = pd.DataFrame([*gaps, *notes, *missing], columns=columns)
        return pd.concat([rejects[columns], added], ignore_index=True)

    def suggestions(self) -> pd.DataFrame:
        """The jumps that no split explains, one row each: symbol, ex_date, the closes, ratio, kind and evidence."""
        return self.jumps.set_index("symbol")

    def figures(self, calendar: str = sessions.DEFAULT) -> dict[str, object]:
        """The headline figures of an ingest: dates, freshness, rows, and the defects by kind."""
        last = self.prices.groupby("symbol")["date"].max()
        return {
            "as_of": f"{last.max():%Y-%m-%d}",
            "known_at": f"{self.prices['known_at'].max():%Y-%m-%dT%H:%M:%SZ}",
            "rows": len(self.prices),
            "symbols": sorted(last.index),
            "last_session": {symbol: f"{day:%Y-%m-%d}" for symbol, day in last.items()},
            "missing_symbols": self.missing,
            "rejects": {rule: int(count) for rule, count in self.rejects["rule"].value_counts().sort_index().items()},
            "corrections": len(self.corrections),
            "gaps": self.gaps(calendar),
            "warnings": self.warnings(),
        }

    def warnings(self) -> list[str]:
        """What a reader should know though nothing is missing: symbols that wait, actions that two sources dispute,
        possible splits that are not listed, and what is wrong in the raw zone."""
        disputed = [
            f"{row['symbol']}: a {row['kind']} on {row['ex_date']:%Y-%m-%d} is not applied, {row['reason']}."
            for row in self.conflicts.to_dict("records")
        ]
        notes = [f"{row['symbol']}: {row['meaning']}" for row in self.notes.to_dict("records")]
        unlisted = [
            f"{row['symbol']}: a split of {jumps.spelt(row['ratio'])} on {row['ex_date']:%Y-%m-%d} may be missing: "
            f"{row['evidence']}. {jumps.SUGGEST} writes it down."
            for row in self.jumps.to_dict("records")
            if row["kind"] == jumps.SPLIT and row["symbol"] not in self.missing
        ]
        waits = [reason for symbol, reason in self.deferred.items() if symbol not in self.missing]
        return [*waits, *disputed, *unlisted, *notes]


def from_cleaned(
    fetched: Fetched, cleaned: clean.Cleaned, *, start: pd.Timestamp, as_of: pd.Timestamp, calendar: str
) -> Ingested:
    """What was cleaned, with everything that was wrong.

    Raises:
        SourceError: no symbol has a single usable row; gives the reason of each.
    """
    made = Ingested(
        cleaned.prices, cleaned.rejects, cleaned.corrections, {}, fetched.deferred, fetched.conflicts, cleaned.jumps,
        schema.stack([fetched.notes, _superseded(cleaned.unusable)], NOTES), start, cleaned.readings,
    )  # fmt: skip
    missing = _missing(fetched, cleaned, made, as_of, calendar)
    if cleaned.prices.empty:
        kind = SourceUnavailable if fetched.unavailable and fetched.failures else SourceError
        raise kind("no symbol has usable bars. " + " ".join(missing.values()))
    return replace(made, missing=missing)


def refused_sessions(made: Ingested, calendar: str) -> pd.DataFrame:
    """The sessions from the start on that a refused row speaks of: symbol, day, rule."""
    rows = made.rejects[~made.rejects["rule"].isin(UNSEEN)]
    days = pd.to_datetime(rows["date"], format="%Y-%m-%d", errors="coerce").astype("datetime64[ns]")
    open_days = sessions.reaching(days.min(), calendar)
    inside = (days.isin(open_days) & (days >= made.start)).to_numpy()
    return rows[["symbol", "rule"]].assign(day=days)[inside]


def refused(made: Ingested, calendar: str) -> dict[str, str]:
    """The symbols whose newest rows are refused, or rows on another scale, each with which and why."""
    last = made.prices.groupby("symbol")["date"].max()
    rows = refused_sessions(made, calendar)
    rows = rows[rows["symbol"].isin(last.index)]
    newest = rows["day"] > last.reindex(rows["symbol"]).to_numpy()
    reasons = {}
    for symbol, refusals in rows[newest | rows["rule"].isin(jumps.STRETCH_RULES)].groupby("symbol"):
        why = ", ".join(f"{rule} {count:,}" for rule, count in refusals["rule"].value_counts().items())
        ends = f"; its prices end on {last[symbol]:%Y-%m-%d}" if newest[refusals.index].any() else ""
        on_a_scale = refusals["rule"].isin(jumps.MEANINGS).any()
        hint = f" {jumps.SUGGEST} lists the ratios that would explain it." if on_a_scale else ""
        days = f"{refusals['day'].min():%Y-%m-%d} to {refusals['day'].max():%Y-%m-%d}"
        reasons[str(symbol)] = f"{symbol}: {len(refusals):,} rows of {days} are refused ({why}){ends}.{hint}"
    return reasons


def _superseded(unusable: pd.DataFrame) -> pd.DataFrame:
    """Answers that cannot be read and that a later one has replaced, as `NOTES`."""
    old = unusable[unusable["superseded"]]
    return old.assign(rule="unusable_answer", date="", meaning=old["reason"] + " A later answer has replaced it.")


def _missing(
    fetched: Fetched, cleaned: clean.Cleaned, made: Ingested, as_of: pd.Timestamp, calendar: str
) -> dict[str, str]:
    """Why symbols are not all there: no fresh answer, none that can be read, or rows refused that matter."""
    missing = dict(fetched.failures)
    there = set(cleaned.prices["symbol"].unique())
    for symbol, reason in cleaned.failures.items():
        stands = "What earlier answers said stands." if symbol in there else None
        missing[symbol] = joined(missing.get(symbol), reason, stands)
    first, last = made.start.date(), as_of.date()
    span = f"up to {last}" if made.start == pd.Timestamp.min else f"between {first} and {last}"
    for symbol in sorted(set(fetched.answers) - there - set(missing)):
        why = _why_none(cleaned.rejects[cleaned.rejects["symbol"] == symbol])
        missing[symbol] = f"{symbol} has no usable row {span}: {why}."
    for symbol, reason in refused(made, calendar).items():
        missing[symbol] = joined(missing.get(symbol), reason)
    return missing


def _why_none(rejects: pd.DataFrame) -> str:
    """What is wrong with a symbol of which every row was refused: the rules, and the first row with its line."""
    if rejects.empty:
        return "all lie outside start to as_of"
    first = rejects.iloc[0]
    rules = ", ".join(f"{count} x {rule}" for rule, count in rejects["rule"].value_counts().items())
    return f"{rules}; the first is line {first['line']} of {first['file']}, {first['row'][:80]!r}: {first['reason']}"
