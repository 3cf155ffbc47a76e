"""Yahoo Finance as a source, through the optional library yfinance (``pip install 'stockkit[yfinance]'``).

Not run against Yahoo itself: the tests convert frames of the shape that yfinance returns and have no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from stockkit.errors import ParamError, SourceError
from stockkit.intake.sources.source import Quote, Source
from stockkit.market import corporate_actions, schema, sessions

PRICES = ("Open", "High", "Low", "Close")
EVENTS = ("Dividends", "Stock Splits")
COMPACT_ROWS = 100


@dataclass(frozen=True)
class Yahoo(Source):
    """Yahoo's daily bars, turned back into bars as traded, with its splits and dividends beside them.

    Args:
        name: how the raw zone files its answers.
        concurrency: 1, because yfinance shares one session and cache, and Yahoo blocks the hasty.

    Raises:
        ParamError: yfinance is not installed; says how to.
    """

    name: str = "yfinance"
    concurrency: int = 1

    def __post_init__(self) -> None:
        _library()

    def file(self, symbol: str) -> str:
        """What was asked for, for messages."""
        return "Yahoo Finance"

    def fetch(self, symbol: str, *, compact: bool = False) -> bytes:
        """One symbol's bars as traded (see `as_traded`), the last 100 rows when `compact`, else its whole history.

        Yahoo's own spelling is used for symbols (BRK-B, not BRK.B). Its repair of prices is never asked for: it
        has invented splits (yfinance issue 2660, GME in January 2021).

        Raises:
            SourceError: Yahoo does not answer, or not with usable bars.
        """
        frame = _history(schema.check_symbol(symbol), period="6mo" if compact else "max")
        return as_traded(frame, symbol, last=COMPACT_ROWS if compact else None)

    def quote(self, symbol: str, *, calendar: str = sessions.DEFAULT) -> Quote:
        """The last trade of regular hours that Yahoo shows, to the second; on many exchanges 15 minutes old.

        Raises:
            SourceError: Yahoo does not answer, or without a price and its time.
        """
        ticker = _library().Ticker(schema.check_symbol(symbol))
        return as_quote(_quoted(ticker, symbol), symbol)


def _library() -> Any:
    try:
        import yfinance  # type: ignore[import-untyped,import-not-found]
    except ImportError:
        raise ParamError("the source yfinance needs an extra: pip install 'stockkit[yfinance]'") from None
    return yfinance


def _history(symbol: str, *, period: str) -> pd.DataFrame:
    ask: Any = _library().Ticker(symbol).history
    try:
        return ask(
            period=period, interval="1d", auto_adjust=False, back_adjust=False, actions=True, repair=False,
            keepna=True, rounding=False, raise_errors=True,
        )  # fmt: skip
    except Exception as error:  # yfinance raises its own, requests', curl's and bare exceptions alike
        raise SourceError(f"{symbol} (Yahoo Finance): {type(error).__name__}: {str(error)[:200]}") from error


def _quoted(ticker: Any, symbol: str) -> Any:
    """What Yahoo tells of a symbol beside its bars of today."""
    try:
        ticker.history(period="1d", interval="1d", auto_adjust=False, actions=False, raise_errors=True, timeout=10)
        return ticker.history_metadata
    except Exception as error:  # as above
        raise SourceError(f"{symbol} (Yahoo Finance): {type(error).__name__}: {str(error)[:200]}") from error


def as_quote(quoted: Any, symbol: str) -> Quote:
    """The quote in what yfinance calls the metadata of a history.

    Args:
        told: a mapping with regularMarketPrice, and regularMarketTime as seconds since 1970 or a time with a zone.
        symbol: for messages.

    Raises:
        SourceError: one of the two is missing, or none.
    """
    price, time = quoted.get("regularMarketPrice"), quoted.get("regularMarketTime")  # other keys may ask Yahoo again
    try:
        moment = pd.Timestamp(time, unit="s", tz="UTC") if isinstance(time, int) else pd.Timestamp(time)
        seconds, worth = int(moment.timestamp()), float(f"{price:.7g}")
    except (TypeError, ValueError):
        raise SourceError(f"{symbol} (Yahoo Finance): no quote: price {price!r}, time {time!r}.") from None
    if not 0 < worth < float("inf"):
        raise SourceError(f"{symbol} (Yahoo Finance): {price!r} is no price.")
    return Quote(symbol, worth, 0, seconds * 1_000_000, (seconds, worth))


def as_traded(frame: pd.DataFrame, symbol: str, *, last: int | None = None) -> bytes:
    """Turn a frame of yfinance's into the CSV of bars as traded, undoing the split adjustment with its own splits.

    Args:
        frame: from ``Ticker.history(auto_adjust=False, actions=True)``: one row a session, from some day up to now,
            indexed by time in the exchange's zone; Open, High, Low, Close, Dividends (split-adjusted, currency a
            share), Volume (split-adjusted shares), Stock Splits (new shares for one old, 0 on other days).
        symbol: for messages.
        last: keep so many of the last rows; all when None.

    Returns:
        timestamp,open,high,low,close,volume,dividend_amount,split_coefficient, ascending. Prices have seven
        significant digits: Yahoo sends 32-bit floats, and what follows is noise. A missing value stays missing.

    Raises:
        SourceError: no rows, a column missing, or prices that yfinance has repaired.
    """
    who = f"{symbol} (Yahoo Finance)"
    if frame.empty:
        raise SourceError(f"{who}: no rows: probably it does not know the symbol.")
    missing = [name for name in (*PRICES, "Volume", *EVENTS) if name not in frame.columns]
    if missing:
        raise SourceError(f"{who}: the frame lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}.")
    if "Repaired?" in frame.columns and frame["Repaired?"].any():
        raise SourceError(f"{who}: yfinance has repaired prices, which invents splits: fetch with repair=False.")
    if not frame.index.is_monotonic_increasing:
        frame = frame.sort_index()
    days = pd.DatetimeIndex(frame.index).tz_localize(None).normalize()
    splits = frame["Stock Splits"].fillna(0).to_numpy()
    factor = corporate_actions.split_factor(days.to_numpy(), _splits(days, splits, symbol))
    columns = {name.lower(): _digits(frame[name] * factor) for name in PRICES}
    volume = (frame["Volume"] / factor).round().map(lambda shares: "" if pd.isna(shares) else f"{shares:.0f}")
    table = pd.DataFrame(
        {
            "timestamp": days.strftime("%Y-%m-%d"),
            **{name: values.to_numpy() for name, values in columns.items()},
            "volume": volume.to_numpy(),
            "dividend_amount": _digits(frame["Dividends"].fillna(0) * factor).to_numpy(),
            "split_coefficient": [f"{ratio or 1.0:.12g}" for ratio in splits],
        }
    )
    return (table.tail(last) if last else table).to_csv(index=False, lineterminator="\n").encode()


def _splits(days: pd.DatetimeIndex, ratios: Any, symbol: str) -> pd.DataFrame:
    frame = pd.DataFrame({"symbol": symbol, "ex_date": days, "kind": "split", "value": ratios})
    return frame[frame["value"] > 0].astype(dict(corporate_actions.ACTIONS))


def _digits(values: pd.Series) -> pd.Series:
    return values.map(lambda value: "" if pd.isna(value) else f"{value:.7g}")
