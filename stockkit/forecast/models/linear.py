"""Linear regressions on the features of one symbol, their penalty chosen by walking forward inside the past."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import Forecast, Series, Training
from stockkit.imports import numpy as np

FOLDS = 5  # inner folds that a penalty is judged on
SMALLEST = 0.01  # of the penalty that drops every feature


@dataclass(frozen=True, eq=False)
class Linear:
    """A fitted regression of the target on standardised features.

    Attributes:
        centre: (k,) what is taken from each feature. scale: (k,) what it is divided by.
        coefficients: (k,) log return a standard deviation of each feature; 0 where dropped.
        intercept: log return. alpha: the penalty chosen. tried: penalties compared. rows: training rows used.
    """

    centre: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: float
    alpha: float
    tried: int
    rows: int

    @property
    def chosen(self) -> str:
        """The penalty, and how many features it left."""
        return f"alpha {self.alpha:.3g}, {np.count_nonzero(self.coefficients)} of {len(self.coefficients)} features"

    @property
    def uses(self) -> tuple[int, ...]:
        """The positions of the features that were not dropped."""
        return tuple(np.flatnonzero((self.coefficients != 0) & np.isfinite(self.scale)).tolist())

    def forecast(self, series: Series, first: int) -> Forecast:
        """The line at each row; NaN in rows that lack a feature that it uses."""
        features = series.features[first:]
        if features.shape[1] != len(self.centre):
            raise ForecastError(f"fitted on {len(self.centre)} features, given {features.shape[1]}.")
        used = list(self.uses)
        features = features[:, used]
        mean = ((features - self.centre[used]) / self.scale[used]) @ self.coefficients[used] + self.intercept
        return Forecast(np.where(np.isfinite(features).all(axis=1), mean, np.nan))


@dataclass(frozen=True)
class ElasticNet:
    """Linear regression that shrinks features and may drop them (Zou and Hastie 2005), on standardised features.

    The penalty, and how it is mixed of the two kinds, are the best on `folds` folds inside the training rows, in
    time order and `horizon` rows apart, so that no inner label overlaps what it is judged on. What a feature is
    standardised by comes from the training rows only.

    Args:
        name: the name in forecasts and scores.
        ratios: shares of the absolute penalty that are tried (1 is the lasso).
        alphas: penalties tried, spaced evenly in logarithm from the one that drops every feature to 1 % of it.
        folds: inner folds.
    """

    nests_random_walk: ClassVar[bool] = True
    name: str = "elastic_net"
    ratios: tuple[float, ...] = (0.5,)
    alphas: int = 20
    folds: int = FOLDS

    def fit(self, train: Training) -> Linear:
        """Fit on the rows that have every feature.

        Raises:
            ForecastError: no features, or too few complete rows for the inner folds.
        """
        features, target = train.rows()
        complete = np.isfinite(features).all(axis=1)
        self._check(features, complete, train.horizon, train.series[0].names)
        x, y = features[complete], target[complete]
        centre, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-12 * np.abs(centre), scale, np.inf)  # a feature that never changes drops out
        x = (x - centre) / scale
        paths = [self._errors(x, y, ratio, train.horizon) for ratio in self.ratios]
        best = int(np.argmin([errors.min() for _, errors in paths]))
        alphas, errors = paths[best]
        alpha = float(alphas[errors.argmin()])
        coefficients = _path(x, y - y.mean(), self.ratios[best], np.array([alpha]))[:, 0]
        tried = len(self.ratios) * self.alphas
        return Linear(centre, scale, coefficients, float(y.mean()), alpha, tried, int(complete.sum()))

    def needs(self, features: int, horizon: int) -> int:
        """The rows with all of so many features that a fit has to have."""
        return (self.folds + 1) * (horizon + max(20, features + 1))

    def _check(self, features: np.ndarray, complete: np.ndarray, horizon: int, names: Sequence[str]) -> None:
        n, k = features.shape
        if k == 0:
            raise ForecastError(f"{self.name} needs at least one feature, and none is given.")
        need, rows = self.needs(k, horizon), int(complete.sum())
        if rows < need:
            present = np.isfinite(features).sum(axis=0)
            raise ForecastError(
                f"{self.name} needs {need} rows that have all {k} features, found {rows} of {n}. The emptiest is "
                f"{names[present.argmin()]}, with {present.min()} values: leave it out, or give more history."
            )

    def _errors(self, x: np.ndarray, y: np.ndarray, ratio: float, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """The penalties tried, descending, and the squared error that each makes in the inner folds."""
        from sklearn.model_selection import TimeSeriesSplit

        largest = np.abs(x.T @ (y - y.mean())).max() / (len(y) * ratio)
        # Down to 1 % of the largest penalty, not scikit-learn's 0.1 %: there coordinate descent still converges on
        # indicators that nearly repeat each other, and returns are too noisy to reward a smaller one.
        alphas = np.geomspace(largest, largest * SMALLEST, self.alphas)
        errors = np.zeros(self.alphas)
        for past, later in TimeSeriesSplit(self.folds, gap=horizon).split(x):
            centre, level = x[past].mean(axis=0), y[past].mean()
            coefficients = _path(x[past] - centre, y[past] - level, ratio, alphas)
            errors += ((y[later, None] - level - (x[later] - centre) @ coefficients) ** 2).sum(axis=0)
        return alphas, errors


@dataclass(frozen=True)
class Lasso(ElasticNet):
    """Linear regression that may drop features (Tibshirani 1996); the elastic net with the absolute penalty alone."""

    name: str = "lasso"
    ratios: tuple[float, ...] = (1.0,)


def _path(x: np.ndarray, y: np.ndarray, ratio: float, alphas: np.ndarray) -> np.ndarray:
    """The coefficients (k, len(alphas)) of centred x and y at each penalty."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import enet_path

    products = {"precompute": x.T @ x, "Xy": x.T @ y}
    with warnings.catch_warnings():
        # the smallest penalties of a short inner fold may stop a little early; they are judged by their errors as the
        # others are, and a line on the terminal would only worry
        warnings.simplefilter("ignore", ConvergenceWarning)
        path = enet_path(x, y, l1_ratio=ratio, alphas=alphas, max_iter=20_000, check_input=False, **products)
    return np.asarray(path[1])
