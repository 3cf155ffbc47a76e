"""The group `cross`: a symbol against the others of its day.

Ranks are within the day: (rank - 1/2) / n, so between 0 and 1; ties share the middle. The market is the equally
weighted mean of the log returns of the symbols at hand, so what these features say depends on which those are.
"""

from __future__ import annotations

from stockkit.features.feature import Arrays, Feature
from stockkit.features.windows import change, deviations, mean, ratio
from stockkit.imports import numpy as np

WINDOW = 60


def rank(values: np.ndarray, day: np.ndarray) -> np.ndarray:
    """The rank of each value within its day, (rank - 1/2) / n; NaN for NaN.

    Args:
        values: one a row. day: the day of each row, as whole numbers.
    """
    out = np.full(len(values), np.nan)
    rising = np.argsort(values)[: len(values) - int(np.isnan(values).sum())]  # NaN come last
    if len(rising):
        number = (day - day.min()).astype("uint16" if np.ptp(day) < 2**16 else "int64")  # short numbers sort fastest
        order = rising[np.argsort(number[rising], kind="stable")]
        new_day = np.diff(number[order]) != 0
        starts, size = _runs(new_day)
        ties, tied = _runs(new_day | (np.diff(values[order]) != 0))
        middle = np.repeat(ties + tied / 2, tied) - np.repeat(starts, size)
        out[order] = middle / np.repeat(size, size)
    return out


def _runs(breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row and the length of each run, from whether a row differs from the one before."""
    starts = np.r_[0, np.flatnonzero(breaks) + 1]
    return starts, np.diff(np.r_[starts, len(breaks) + 1])


def market(values: np.ndarray, day: np.ndarray) -> np.ndarray:
    """The mean of each row's day over the rows that are not NaN."""
    days, code = np.unique(day, return_inverse=True)
    known = ~np.isnan(values)
    sums = np.bincount(code[known], values[known], minlength=len(days))
    return ratio(sums, np.bincount(code[known], minlength=len(days)).astype("float64"))[code]


WITHIN = {"rank": rank, "mean": market}


def _line(a: Arrays, of_market: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The slope of the symbol's return on the market's over the window, and both returns less their mean."""
    moves = change(a.log_close, 1)
    moves_mean, market_mean = mean(moves, WINDOW), mean(of_market, WINDOW)
    # the covariance from the deviations of a sum and a difference, so that nothing cancels
    both = deviations(moves + of_market, WINDOW)[1] - deviations(moves - of_market, WINDOW)[1]
    slope = ratio(both / 4, deviations(of_market, WINDOW)[1])
    return slope, moves - moves_mean, of_market - market_mean


def _beta(a: Arrays, of_market: np.ndarray) -> np.ndarray:
    return _line(a, of_market)[0]


def _residual(a: Arrays, of_market: np.ndarray) -> np.ndarray:
    slope, moves, of_all = _line(a, of_market)
    return moves - slope * of_all


def _rank_of(name: str, look_back: int, meaning: str) -> Feature:
    return Feature(f"rank_{name}", lambda a, within: within, look_back, "0 to 1", meaning, "cross-sectional rank",
                   "cross", within=("rank", name))  # fmt: skip


FEATURES = (
    _rank_of("ret_5", 5, "rank of the week's return within the day"),
    _rank_of("ret_21", 21, "rank of the month's return within the day"),
    _rank_of("vol_20", 20, "rank of the volatility within the day"),
    _rank_of("volume_z_20", 19, "rank of the unusual volume within the day"),
    Feature("beta_60", _beta, WINDOW, "ratio", "slope on the market over a quarter",
            "Sharpe 1964, least squares over 60 sessions", "cross", within=("mean", "ret_1")),
    Feature("residual_60", _residual, WINDOW, "log return", "the day's return less what the market explains",
            "Sharpe 1964, least squares over 60 sessions", "cross", within=("mean", "ret_1")),
)  # fmt: skip
