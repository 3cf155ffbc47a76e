"""The models that learn next to nothing, and that all others have to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stockkit.forecast.models.protocol import RANDOM_WALK, Forecast, Series, Training
from stockkit.imports import numpy as np


@dataclass(frozen=True)
class Constant:
    """The same mean for every row."""

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    mean: float

    def forecast(self, series: Series, first: int) -> Forecast:
        """`mean` for each of the rows from `first` on."""
        return Forecast(np.full(len(series) - first, self.mean))


@dataclass(frozen=True)
class RandomWalk:
    """Tomorrow's price is today's: mean 0 (Fama 1965; the benchmark of Meese and Rogoff 1983)."""

    name: str = RANDOM_WALK

    def fit(self, train: Training) -> Constant:
        """Learn nothing."""
        return Constant(0.0)


@dataclass(frozen=True)
class Drift:
    """The random walk with drift: the slope of the training closes (Hyndman and Athanasopoulos 2021, 5.2)."""

    nests_random_walk: ClassVar[bool] = True
    name: str = "drift"

    def fit(self, train: Training) -> Constant:
        """Learn the mean log return a session, times the horizon."""
        close = train.close
        return Constant(float(train.horizon * np.log(close[-1] / close[0]) / (len(close) - 1)))


@dataclass(frozen=True)
class PrevailingMean:
    """The mean log return of all sessions up to the row forecast, times `horizon` (Welch and Goyal 2008)."""

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    horizon: int

    def forecast(self, series: Series, first: int) -> Forecast:
        """The mean moves on with each session."""
        walked = np.log(series.close / series.close[0])
        return Forecast(self.horizon * walked[first:] / np.maximum(np.arange(first, len(series)), 1))


@dataclass(frozen=True)
class HistoricalMean:
    """The prevailing mean: of all sessions so far, brought up to date at each of them (Welch and Goyal 2008)."""

    nests_random_walk: ClassVar[bool] = True
    name: str = "historical_mean"

    def fit(self, train: Training) -> PrevailingMean:
        """Nothing is kept from the past but the horizon."""
        return PrevailingMean(train.horizon)
