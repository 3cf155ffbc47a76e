"""Seeded bars and returns for examples, tests and benchmarks: no network, the same bytes for the same seed.

Example:
    >>> import numpy as np
    >>> from stockkit import simulate
    >>> bars = simulate.bars(["A", "B"], count=3, rng=np.random.default_rng(7))
    >>> list(bars["symbol"])
    ['A', 'A', 'A', 'B', 'B', 'B']
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stockkit.errors import ParamError
from stockkit.market import schema, sessions

BURN_IN = 500  # sessions for the volatility to forget where it started


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
    days = sessions.reaching(sessions.FIRST, calendar)
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


def garch_t(
    count: int,
    series: int = 1,
    *,
    volatility: float = 0.015,
    alpha: float = 0.08,
    beta: float = 0.90,
    nu: float = 6.0,
    rng: np.random.Generator,
) -> np.ndarray:
    """One-session log returns whose volatility clusters, shape (count, series), the series independent: GARCH-t(1, 1).

    r[t] = sigma[t] z[t] with sigma²[t] = omega + alpha r²[t − 1] + beta sigma²[t − 1] and z of Student's t scaled to
    variance 1 (Bollerslev 1987, "A Conditionally Heteroskedastic Time Series Model for Speculative Prices and Rates of
    Return"); 500 sessions before the first are thrown away.

    Args:
        count: sessions.
        series: how many.
        volatility: long-run standard deviation of a session's log return; sets omega.
        alpha: weight of the last squared return.
        beta: weight of the last variance.
        nu: degrees of freedom: the fewer, the heavier the tails.
        rng: the only source of randomness.

    Raises:
        ParamError: alpha or beta under 0, alpha + beta not under 1, or nu not over 2: no long-run variance exists.
    """
    if not (alpha >= 0 and beta >= 0 and alpha + beta < 1 and nu > 2):
        raise ParamError(
            f"alpha {alpha}, beta {beta}, nu {nu}: give alpha, beta >= 0 with alpha + beta < 1, and nu > 2; "
            f"otherwise there is no long-run variance."
        )
    noise = rng.standard_t(nu, (BURN_IN + count, series)) * np.sqrt((nu - 2) / nu)
    returns, variance = np.empty_like(noise), np.full(series, volatility**2)
    for t, z in enumerate(noise):
        returns[t] = np.sqrt(variance) * z
        variance = (1 - alpha - beta) * volatility**2 + alpha * returns[t] ** 2 + beta * variance
    return returns[BURN_IN:]
