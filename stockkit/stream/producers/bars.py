"""The daily bars that the simulator follows: as traded, of the lake's `prices` or of the bundled sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from stockkit.errors import ParamError, SourceError
from stockkit.intake.sources import open_source
from stockkit.lake import commits
from stockkit.lake.tables import Lake, workbook_root
from stockkit.market import schema, sessions
from stockkit.market.answers import Answer
from stockkit.stream.producers.batch import Settings

SAMPLE = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
AT_ONCE = 200  # symbols whose history is read at once
PRICES = ("open", "high", "low", "close")


def of_days(settings: Settings) -> pd.DataFrame:
    """The bars of the symbols and days of `settings`, as traded: symbol, date and the numbers, by date and symbol.

    Raises:
        ParamError: a day without a session, or of which a named symbol has no bar.
        LakeError: the prices cannot be read.
    """
    span = settings.span()
    if span is not None and sessions.between(*span, calendar=settings.calendar).empty:
        raise ParamError(f"day {settings.day}: {settings.calendar} had no session then: choose another day.")
    lake = settings.lake if settings.lake is not None and settings.lake.version("prices") is not None else None
    histories = _of_sample(settings) if lake is None else _of_lake(lake, settings.symbols)
    bars = pd.concat([_within(history, span) for history in histories], ignore_index=True)
    newest = bars["date"].max()
    days = pd.DatetimeIndex([newest]) if span is None else sessions.between(*span, calendar=settings.calendar)
    bars = bars[bars["date"].isin(days)].sort_values(["date", "symbol"], ignore_index=True)
    for day in days:
        of_day = set(bars.loc[bars["date"] == day, "symbol"])
        if absent := sorted(set(settings.symbols) - of_day) or ([] if of_day else ["any symbol"]):
            raise ParamError(
                f"there is no bar of {', '.join(absent[:5])} on {day:%Y-%m-%d}: choose another day, or other symbols."
            )
    return bars


def _within(history: pd.DataFrame, span: tuple[pd.Timestamp, pd.Timestamp] | None) -> pd.DataFrame:
    """The bars of the span; where it is None, of each symbol the last one."""
    if span is None:
        return history.groupby("symbol").tail(1)
    return history[history["date"].between(span[0], span[1])]


def _of_lake(lake: Lake, symbols: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The lake's bars, of some symbols at a time, put back to prices as traded."""
    columns = ["symbol", "date", *PRICES, "volume", "split_factor"]
    named = list(symbols) or sorted(set(commits.logged_files(lake.delta("prices"))["partition.symbol"].to_pylist()))
    for start in range(0, len(named), AT_ONCE):
        frame = lake.read("prices", symbols=named[start : start + AT_ONCE], columns=columns)
        factor = frame.pop("split_factor")
        prices = {name: (frame[name] * factor).round(6) for name in PRICES}
        yield frame.assign(**prices, volume=(frame["volume"] / factor).round())


def _of_sample(settings: Settings) -> Iterator[pd.DataFrame]:
    """The sample's bars, which are as traded."""
    source = open_source("sample", root=settings.root or workbook_root())
    for symbol in settings.symbols or SAMPLE:
        try:
            answer = Answer(symbol, source.fetch(symbol), source.file(symbol), source.now())
        except SourceError as error:
            raise ParamError(f"{error} Run the chain on a source that has it, and name its lake.") from None
        assert answer.plain is not None  # the bundled files are plain
        columns = answer.plain.columns
        frame = pd.DataFrame({"symbol": symbol, "date": columns["day"], **{n: columns[n] for n in PRICES}})
        yield schema.cast(frame.assign(volume=columns["volume"]), schema.BARS)
