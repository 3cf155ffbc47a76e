"""Seeded bars for examples, tests and benchmarks: no network, the same bytes for the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stockkit.market import schema, sessions


def bars(
    symbols: Sequence[str] = ("AAA", "BBB", "CCC"),
    *,
    count: int = 1000,
    last: str = "2023-09-21",
    drift: float = 0.0,
    volatility: float = 0.02,
    rng: np.random.Generator,
    calendar: str = sessions.DEFAULT,
) -> pd.DataFrame:
    """Daily bars of independent geometric random walks, as `schema.BARS`.

    Args:
        symbols: one walk each.
        count: sessions a symbol, ending at `last`.
        drift: mean log return a session.
        volatility: standard deviation of the log return a session.
        rng: the only source of randomness.
    """
    days = sessions.every(calendar)
    end = int(days.searchsorted(pd.Timestamp(last), side="right"))
    parts = [_walk(symbol, days[end - count : end], drift, volatility, rng) for symbol in sorted(symbols)]
    return pd.concat(parts, ignore_index=True).astype(dict(schema.BARS))


def _walk(
    symbol: str, days: pd.DatetimeIndex, drift: float, volatility: float, rng: np.random.Generator
) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(rng.normal(drift, volatility, len(days))))
    open_ = close * np.exp(rng.normal(0, volatility / 3, len(days)))
    wick = np.exp(np.abs(rng.normal(0, volatility / 3, (2, len(days)))))
    return pd.DataFrame(
        {
            "symbol": symbol,
            "date": days,
            "open": open_,
            "high": np.maximum(open_, close) * wick[0],
            "low": np.minimum(open_, close) / wick[1],
            "close": close,
            "volume": rng.integers(100_000, 10_000_000, len(days)),
        }
    )


def csv_bytes(bars: pd.DataFrame) -> bytes:
    """One symbol's bars as Alpha Vantage's daily CSV: newest first, column `timestamp`, LF line ends."""
    columns = ["timestamp", "open", "high", "low", "close", "volume"]
    newest_first = bars.rename(columns={"date": "timestamp"}).sort_values("timestamp", ascending=False)
    return newest_first.to_csv(columns=columns, index=False, date_format="%Y-%m-%d", lineterminator="\n").encode()
