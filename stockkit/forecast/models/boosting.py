"""Boosted trees on the features of all symbols together."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stockkit.errors import ForecastError
from stockkit.forecast.models import volatility
from stockkit.forecast.models.protocol import Forecast, Series, Training
from stockkit.imports import numpy as np

HELD_BACK = 0.2  # the newest share of the training sessions, on which settings are compared


@dataclass(frozen=True, eq=False)
class Boosted:
    """Fitted trees, which forecast the target in units of the volatility.

    Attributes:
        estimator: the scikit-learn HistGradientBoostingRegressor. horizon: sessions ahead.
        leaves, rate: the setting chosen. tried: settings compared.
    """

    estimator: Any = field(repr=False)
    horizon: int
    leaves: int
    rate: float
    tried: int

    @property
    def chosen(self) -> str:
        """The setting that did best on the sessions held back."""
        return f"{self.leaves} leaves, learning rate {self.rate:g}"

    @property
    def uses(self) -> tuple[int, ...]:
        """The positions of the features that some tree splits by."""
        trees = [tree.nodes for (tree,) in self.estimator._predictors]
        return tuple(sorted({int(k) for nodes in trees for k in nodes["feature_idx"][nodes["is_leaf"] == 0]}))

    def forecast(self, series: Series, first: int) -> Forecast:
        """Each row from its own features, of which any may be missing; NaN while the volatility is not known."""
        features = _finite(series.features[first:])
        if features.shape[1] != self.estimator.n_features_in_:
            raise ForecastError(f"fitted on {self.estimator.n_features_in_} features, given {features.shape[1]}.")
        sigma = volatility.ewma(series, self.horizon)[first:]
        with _one_thread():
            return Forecast(self.estimator.predict(features) * sigma if len(features) else sigma)


@dataclass(frozen=True)
class Boosting:
    """Gradient boosting on histograms (Ke et al. 2017), one model for all symbols.

    The target is divided by the volatility known on the day, so that a calm symbol counts as much as a wild one.
    Each of the settings is fitted to the earlier training sessions and judged on the newest fifth, `horizon` sessions
    apart; the best is fitted again to all.

    Args:
        name: the name in forecasts and scores.
        settings: pairs of leaves a tree and learning rate that are compared.
        trees: trees of a model.
        seed: of the histogram's subsample; the same seed, the same trees.
    """

    nests_random_walk: ClassVar[bool] = True
    name: str = "boosting"
    settings: tuple[tuple[int, float], ...] = ((4, 0.07), (8, 0.07), (8, 0.14))
    trees: int = 30
    seed: int = 0
    pooled: bool = True

    def fit(self, train: Training) -> Boosted:
        """Fit to all symbols' rows whose outcome is known; features may be missing.

        Raises:
            ForecastError: no features, or fewer than 100 sessions to learn from.
        """
        x, y, dates = _stacked(train)
        sessions = np.unique(dates)
        if x.shape[1] == 0:
            raise ForecastError(f"{self.name} needs at least one feature, and none is given.")
        if len(sessions) < 100:
            raise ForecastError(f"{self.name} needs 100 sessions with known outcomes, found {len(sessions)}.")
        border = int(len(sessions) * (1 - HELD_BACK))
        past, later = dates < sessions[border - train.horizon], dates >= sessions[border]
        guesses = [self._trees(setting, x[past], y[past]).predict(x[later]) for setting in self.settings]
        errors = [((guess - y[later]) ** 2).mean() for guess in guesses]
        leaves, rate = best = self.settings[int(np.argmin(errors))]
        return Boosted(self._trees(best, x, y), train.horizon, leaves, rate, len(self.settings))

    def _trees(self, setting: tuple[int, float], x: np.ndarray, y: np.ndarray) -> Any:
        from sklearn.ensemble import HistGradientBoostingRegressor

        leaves, rate = setting
        trees = HistGradientBoostingRegressor(
            max_iter=self.trees, max_leaf_nodes=leaves, learning_rate=rate, min_samples_leaf=50, l2_regularization=1.0,
            early_stopping=False, random_state=self.seed,
        )  # fmt: skip
        empty = np.isnan(x).all(
            axis=0
        )  # scikit-learn 1.9 fails on a feature without a value; 0 in all rows splits none
        with _one_thread():
            return trees.fit(np.where(empty, 0.0, x), y)


def _one_thread() -> Any:
    """Trees this small gain nothing from threads, and lose much where other processes want the cores."""
    return _libraries().limit(limits=1, user_api="openmp")


@functools.cache
def _libraries() -> Any:
    """The libraries with threads once those of the trees are loaded; to look for them takes longer than to forecast."""
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _stacked(train: Training) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (m, k), targets in units of the volatility (m,) and dates (m,) of the rows that have both."""
    parts = []
    for series, labels in zip(train.series, train.targets, strict=True):
        sigma = volatility.ewma(series, train.horizon)
        scaled = np.divide(labels, sigma, out=np.full(len(series), np.nan), where=sigma > 0)
        known = np.isfinite(scaled)
        parts.append((_finite(series.features[known]), scaled[known], series.date[known]))
    x, y, dates = (np.concatenate(column) for column in zip(*parts, strict=True))
    return x, y, dates


def _finite(features: np.ndarray) -> np.ndarray:
    """Infinite values as missing ones, which is how the trees take them."""
    return np.where(np.isfinite(features), features, np.nan)
