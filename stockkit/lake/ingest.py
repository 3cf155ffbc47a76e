"""From a source to trusted tables: fetch each symbol, keep the bytes, clean them, count what was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from stockkit.errors import SourceError
from stockkit.lake import raw
from stockkit.lake.sources import Folder, open_source
from stockkit.lake.tables import Lake
from stockkit.market import actions as corporate
from stockkit.market import clean, schema, sessions

EARLIEST, LATEST = "earliest", "latest"


@dataclass(frozen=True)
class Fetched:
    """What a source answered, and why a symbol has no answer or an older one (`failures`: symbol to reason)."""

    answers: dict[str, clean.Answer]
    actions: pd.DataFrame
    failures: dict[str, str]
    now: pd.Timestamp

    def summary(self) -> pd.DataFrame:
        """One row an answer: symbol, bytes, fetched_at (UTC), file in the lake."""
        rows = [(a.symbol, len(a.body), a.fetched_at, a.file) for a in self.answers.values()]
        return pd.DataFrame(rows, columns=["symbol", "bytes", "fetched_at", "file"]).set_index("symbol")


@dataclass(frozen=True)
class Ingested:
    """The trusted `prices` and the `rejects` of all symbols, and `missing`: symbol to why it has no prices."""

    prices: pd.DataFrame
    rejects: pd.DataFrame
    missing: dict[str, str]

    def gaps(self, calendar: str = sessions.DEFAULT) -> dict[str, list[str]]:
        """The sessions that a symbol lacks between its first and last one; symbols without gaps are left out."""
        dates = self.prices.groupby("symbol")["date"]
        found = {str(symbol): sessions.gaps(own, calendar) for symbol, own in dates}
        return {symbol: [str(day.date()) for day in days] for symbol, days in found.items() if len(days)}

    def defects(self, calendar: str = sessions.DEFAULT) -> pd.DataFrame:
        """Everything that was wrong, one row a symbol and defect: how often, the first day, what it means."""
        rejects = self.rejects.groupby(["symbol", "rule"], as_index=False).agg(
            count=("line", "size"), first=("date", "min"), meaning=("reason", "first")
        )
        gaps = [(symbol, "missing_session", len(days), days[0], "the exchange was open and the source has no bar")
                for symbol, days in self.gaps(calendar).items()]  # fmt: skip
        missing = [(symbol, "no_fresh_answer", 1, "", reason) for symbol, reason in self.missing.items()]
        columns = ["symbol", "rule", "count", "first", "meaning"]
        return pd.concat([rejects[columns], pd.DataFrame([*gaps, *missing], columns=columns)], ignore_index=True)

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
            "gaps": self.gaps(calendar),
        }


def fetch(lake: Lake, source: str, symbols: Sequence[str]) -> Fetched:
    """Ask a source for each symbol and keep every usable answer in the raw zone.

    A symbol whose answer is unusable is listed in `failures`; if the same source gave a usable answer
    before, that one stands.

    Raises:
        SymbolError, ParamError: before anything is fetched. SchemaError: the corporate actions are broken.
        LakeError: the lake cannot be written.
    """
    symbols = schema.check_symbols(symbols)
    origin = open_source(source, root=lake.root)
    answers, failures = {}, {}
    for symbol in symbols:
        try:
            answers[symbol] = _fetch_one(lake, origin, symbol)
        except SourceError as error:
            failures[symbol] = str(error)
            if earlier := raw.latest(lake.path, origin.name, symbol):
                answers[symbol] = earlier
                failures[symbol] += f" The answer of {earlier.fetched_at:%Y-%m-%d %H:%M} UTC is used instead."
    return Fetched(answers, _fetch_actions(lake, origin), failures, origin.now())


def _fetch_one(lake: Lake, origin: Folder, symbol: str) -> clean.Answer:
    now = origin.now()
    body = origin.fetch(symbol)
    clean.parse(clean.Answer(symbol, body, origin.file(symbol), now))
    return raw.keep(lake.path, origin.name, symbol, body, now)


def _fetch_actions(lake: Lake, origin: Folder) -> pd.DataFrame:
    body = origin.actions()
    if body is None:
        return corporate.none()
    known = corporate.parse(body, file="actions.csv")
    raw.keep(lake.path, origin.name, None, body, origin.now())
    return known


def clean_all(
    fetched: Fetched, *, start: str = EARLIEST, as_of: str = LATEST, calendar: str = sessions.DEFAULT
) -> Ingested:
    """Clean every answer into split-adjusted bars and rejects.

    Args:
        fetched: from `fetch`.
        start: the first session wanted, YYYY-MM-DD or "earliest".
        as_of: the last, with the splits known then; "latest" is the last session closed by the source's clock.
        calendar: the exchange, as a market code of `exchange_calendars`.

    Raises:
        SourceError: no symbol has a single usable row; gives the reason of each.
    """
    first = pd.Timestamp("1900-01-01" if start == EARLIEST else start)
    last = sessions.last_closed(fetched.now, calendar) if as_of == LATEST else pd.Timestamp(as_of)
    parts = {
        symbol: clean.clean(answer, fetched.actions, start=first, as_of=last, calendar=calendar)
        for symbol, answer in sorted(fetched.answers.items())
    }
    missing = dict(fetched.failures)
    for symbol, part in parts.items():
        if part.prices.empty:
            rules = part.rejects["rule"].value_counts().to_dict() or "all outside start to as_of"
            missing[symbol] = f"{symbol} has no usable row between {first.date()} and {last.date()}: {rules}."
    prices = [part.prices for part in parts.values() if len(part.prices)]
    if not prices:
        raise SourceError("no symbol has usable bars. " + " ".join(missing.values()))
    return Ingested(
        prices=pd.concat(prices, ignore_index=True),
        rejects=pd.concat([part.rejects for part in parts.values()], ignore_index=True),
        missing=missing,
    )
