"""What an ingest knows and makes: a source's answers, the trusted bars, and everything that was wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from stockkit.market import actions as corporate
from stockkit.market import clean, jumps, schema, sessions
from stockkit.market.action_history import Known
from stockkit.market.answers import Answer, Reading

NOTES: Mapping[str, str] = {"symbol": "string", "rule": "string", "date": "string", "meaning": "string"}
UNSEEN = ("session_not_closed", "closed_day", "repeated_row")  # rules of rows that leave no gap


@dataclass(frozen=True)
class Fetched:
    """All that is known of a source's symbols, and why one has no fresh answer (`failures`: symbol to reason).

    `told` has each symbol's answers as they arrived; `now` is the source's clock; `deferred` are symbols that had to
    wait for the source's allowance, with the reason; `conflicts` the corporate actions that a second source denies;
    `notes` (NOTES) what was wrong with what the raw zone holds.
    """

    told: dict[str, list[Answer]]
    known: Known
    failures: dict[str, str]
    now: pd.Timestamp
    deferred: dict[str, str] = field(default_factory=dict)
    conflicts: pd.DataFrame = field(default_factory=lambda: corporate.agree(corporate.none(), corporate.none())[1])
    notes: pd.DataFrame = field(default_factory=lambda: schema.empty(NOTES))

    @property
    def actions(self) -> pd.DataFrame:
        """The corporate actions that are applied, as `market.actions.ACTIONS`."""
        return self.known.actions

    def summary(self) -> pd.DataFrame:
        """One row a symbol: its answers so far, and of the last one bytes, fetched_at (UTC) and file in the lake."""
        rows = [
            (symbol, len(told), len(told[-1].body), told[-1].fetched_at, told[-1].file)
            for symbol, told in self.told.items()
        ]
        return pd.DataFrame(rows, columns=["symbol", "answers", "bytes", "fetched_at", "file"]).set_index("symbol")


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
    conflicts: pd.DataFrame = field(default_factory=lambda: corporate.agree(corporate.none(), corporate.none())[1])
    jumps: pd.DataFrame = field(default_factory=lambda: schema.empty(jumps.SUGGESTED))
    notes: pd.DataFrame = field(default_factory=lambda: schema.empty(NOTES))
    start: pd.Timestamp = pd.Timestamp.min
    readings: dict[str, Reading] = field(default_factory=dict)

    def layouts(self) -> pd.DataFrame:
        """How each symbol's last answer was read: layout, which price, how dates are written, and what to know."""
        rows = [(symbol, one.layout, one.prices, one.dates, one.remarks) for symbol, one in self.readings.items()]
        return pd.DataFrame(rows, columns=["symbol", "layout", "prices", "dates", "remarks"]).set_index("symbol")

    def gaps(self, calendar: str = sessions.DEFAULT) -> dict[str, list[str]]:
        """The sessions without a trusted bar that lie among those that a symbol's source has rows of, refused ones too.

        Symbols without gaps are left out.
        """
        refused = refused_sessions(self, calendar)
        found = {}
        for symbol, own in self.prices.groupby("symbol")["date"]:
            days = pd.concat([own, refused.loc[refused["symbol"] == symbol, "day"]])
            found[str(symbol)] = sessions.between(days.min(), days.max(), calendar).difference(pd.DatetimeIndex(own))
        return {symbol: [str(day.date()) for day in days] for symbol, days in found.items() if len(days)}

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
            f"{row['evidence']}. {clean.SUGGEST} writes it down."
            for row in self.jumps.to_dict("records")
            if row["kind"] == jumps.SPLIT and row["symbol"] not in self.missing
        ]
        waits = [reason for symbol, reason in self.deferred.items() if symbol not in self.missing]
        return [*waits, *disputed, *unlisted, *notes]


def refused_sessions(made: Ingested, calendar: str) -> pd.DataFrame:
    """The sessions from the start on that a refused row speaks of: symbol, day, rule."""
    rows = made.rejects[~made.rejects["rule"].isin(UNSEEN)]
    days = pd.to_datetime(rows["date"], format="%Y-%m-%d", errors="coerce").astype("datetime64[ns]")
    held = sessions.reaching(days.min(), calendar)
    inside = (days.isin(held) & (days >= made.start)).to_numpy()
    return rows[["symbol", "rule"]].assign(day=days)[inside]


def refused(made: Ingested, calendar: str) -> dict[str, str]:
    """The symbols whose newest rows are refused, or rows on another scale, each with which and why."""
    last = made.prices.groupby("symbol")["date"].max()
    rows = refused_sessions(made, calendar)
    rows = rows[rows["symbol"].isin(last.index)]
    newest = rows["day"] > rows["symbol"].map(last)
    found = {}
    for symbol, own in rows[newest | rows["rule"].isin(clean.STRETCH)].groupby("symbol"):
        why = ", ".join(f"{rule} {count:,}" for rule, count in own["rule"].value_counts().items())
        ends = f"; its prices end on {last[symbol]:%Y-%m-%d}" if newest[own.index].any() else ""
        hint = (
            f" {clean.SUGGEST} lists the ratios that would explain it." if own["rule"].isin(clean.SCALE).any() else ""
        )
        days = f"{own['day'].min():%Y-%m-%d} to {own['day'].max():%Y-%m-%d}"
        found[str(symbol)] = f"{symbol}: {len(own):,} rows of {days} are refused ({why}){ends}.{hint}"
    return found
