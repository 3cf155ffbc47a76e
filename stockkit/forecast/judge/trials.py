"""What one model, of one symbol or of all, is tested on beside the random walk: its mean, its intervals, its ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stockkit.forecast.judge.multiple_testing import (
    chance,
    chance_of_mean,
    clark_west,
    detectable,
    diebold_mariano,
    mean_error,
)

MONTH = 21  # sessions


@dataclass(frozen=True)
class Trial:
    """The test of one model's mean.

    Attributes:
        p: one-sided, that its squared errors are not smaller; NaN where it says what the random walk says.
        test: "clark_west", "diebold_mariano", or "" without one.
        error, freedom: of the mean product of forecast and outcome, each of mean square 1.
    """

    p: float = np.nan
    test: str = ""
    error: float = np.nan
    freedom: float = 0

    def detectable_ic(self, level: float) -> float:
        """The correlation with the outcome that a forecast which moves as this one does would be found with, 8 in 10.

        Diebold and Mariano's statistic is half of Clark and West's, for a forecast of the best size. NaN where even a
        perfect one would not be.
        """
        twice = 2 if self.test == "diebold_mariano" else 1
        needed = twice * detectable(self.error, self.freedom, level)
        return needed if needed <= 1 else np.nan


def against_walk(gain: np.ndarray, apart: np.ndarray, product: np.ndarray, *, horizon: int, nests: bool) -> Trial:
    """Test a model's mean against the random walk's.

    Args:
        gain: (n,) squared errors of the random walk less the model's, in time order.
        apart: (n,) squared distance of the two forecasts.
        product: (n,) of outcome and forecast, both less the random walk's and of mean square 1.
        nests: whether the model contains the random walk as a special case.
    """
    if len(gain) and not gain.any():  # a model that says the same as the random walk is no try at beating it
        return Trial()
    error, freedom = mean_error(product, horizon) if len(product) else (np.nan, 0)
    p = clark_west(gain, apart, horizon) if nests else diebold_mariano(gain, horizon)
    return Trial(p, "clark_west" if nests else "diebold_mariano", error, freedom)


def of_intervals(gain: np.ndarray, horizon: int) -> float:
    """One-sided p that interval scores are not better: `gain` is the random walk's less the model's, in time order.

    Widths differ for weeks in a row, so that gains hang together as if outcomes were a month long, or longer.
    NaN where they are the same throughout, or there are none.
    """
    return chance_of_mean(gain, max(horizon, MONTH)) if gain.any() else np.nan


def of_rank_ic(parts: np.ndarray, horizon: int) -> tuple[float, float, float]:
    """The mean of `parts` in time order, its error, and the one-sided p value that it is not over 0; NaN of none."""
    if not len(parts):
        return np.nan, np.nan, np.nan
    error, freedom = mean_error(parts, horizon)
    return float(parts.mean()), error, chance(parts, error, freedom)
