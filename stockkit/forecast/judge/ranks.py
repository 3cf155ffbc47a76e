"""A table of features as a grid of sessions and symbols, and what each session says of the returns after it, in ranks.

`information_coefficient` judges what comes out. Infinite values count as missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

MIN_PAST = 60  # values that a symbol must have had before one more is ranked among them


@dataclass(frozen=True)
class Grid:
    """Where each row of a table stands in a grid of sessions and symbols, and the return that followed."""

    days: np.ndarray  # (sessions,), datetime64, ascending
    at: tuple[np.ndarray, np.ndarray]  # session and symbol of each row, (rows,) each
    returns: np.ndarray  # (sessions, symbols), log return of the sessions after, NaN where it is not known

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Values (rows,) as (sessions, symbols), NaN where there is none or it is not finite."""
        out = np.full(self.returns.shape, np.nan)
        out[self.at] = np.where(np.isfinite(values), values, np.nan)
        return out


@dataclass(frozen=True)
class Daily:
    """What each session adds to the coefficient of one feature, (sessions,) each, and why there is none."""

    product: np.ndarray  # NaN on a session without
    feature: np.ndarray
    outcome: np.ndarray
    reason: str


def arrange(table: pd.DataFrame, prices: pd.DataFrame, horizon: int) -> Grid:
    """Place the rows of `table` and the log returns of each symbol's own `horizon` sessions after, from `prices`."""
    ordered = prices[["symbol", "date", "close"]].sort_values(["symbol", "date"], ignore_index=True)
    close = ordered["close"].to_numpy(dtype="float64")
    log_close = np.log(close, out=np.full(len(close), np.nan), where=close > 0)
    ahead = pd.Series(log_close).groupby(ordered["symbol"]).shift(-horizon).to_numpy() - log_close
    days, day = np.unique(table["date"].to_numpy(), return_inverse=True)
    symbol, symbols = pd.factorize(table["symbol"])
    at = pd.Index(days).get_indexer(ordered["date"]), symbols.get_indexer(ordered["symbol"])
    both = (at[0] >= 0) & (at[1] >= 0)
    returns = np.full((len(days), len(symbols)), np.nan)
    returns[at[0][both], at[1][both]] = ahead[both]
    return Grid(days, (day, symbol), returns)


def across_symbols(grid: Grid, table: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, Daily]]:
    """Spearman's correlation over the symbols on every session, feature by feature; `names` are columns of `table`."""
    ones = np.ones(len(grid.days))
    alone = "one symbol: nothing to rank it against, ask across time" if grid.returns.shape[1] < 2 else ""
    paired = np.isfinite(grid.returns)
    outcome = centred_ranks(grid.returns)
    for name in names:
        values = grid.fill(table[name].to_numpy(dtype="float64"))
        both = np.isfinite(values) & paired
        differs = (both != paired).any(axis=1)
        ranked = outcome.copy()
        ranked[differs] = centred_ranks(np.where(both, grid.returns, np.nan)[differs])
        ranks = centred_ranks(np.where(both, values, np.nan))
        spread = np.sqrt((ranks**2).sum(axis=1) * (ranked**2).sum(axis=1))
        with np.errstate(invalid="ignore"):
            coefficient = np.where(spread > 0, (ranks * ranked).sum(axis=1) / spread, np.nan)
        shared = "" if (ranks != 0).any() or not both.any() else "all symbols share its value: ask across time"
        yield name, Daily(coefficient, ones, ones, alone or shared)


def across_time(grid: Grid, table: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, Daily]]:
    """Products of a value's place in its symbol's past and its return's among all of the symbol's, summed a session."""
    known = np.isfinite(grid.returns)
    returns = np.where(known, centred_ranks(grid.returns.T).T / np.maximum(known.sum(axis=0), 1), np.nan)
    for name in names:
        ranks = past_ranks(grid.fill(table[name].to_numpy(dtype="float64")))
        both = np.isfinite(ranks) & np.isfinite(returns)
        centred, outcome = np.where(both, ranks, 0.0), np.where(both, returns, 0.0)
        product = np.where(both.any(axis=1), (centred * outcome).sum(axis=1), np.nan)
        constant = "" if centred.any() or not both.any() else "it never changed"
        yield name, Daily(product, (centred**2).sum(axis=1), (outcome**2).sum(axis=1), constant)


def centred_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along each row (ties share their mean) less the mean rank; 0 where the value is NaN."""
    from scipy import stats

    known = np.isfinite(values)
    ranks = stats.rankdata(np.where(known, values, np.inf), axis=1)  # the unknown come last, so leave ranks alone
    return np.where(known, ranks - (known.sum(axis=1, keepdims=True) + 1) / 2, 0.0)


def past_ranks(values: np.ndarray) -> np.ndarray:
    """The place of each value among those of its column so far, -1 (lowest) to 1; NaN with too few before it."""
    ranks = pd.DataFrame(values).expanding(MIN_PAST + 1).rank().to_numpy()
    count = np.maximum(np.isfinite(values).cumsum(axis=0), 1)
    return (2 * ranks - 1) / count - 1
