"""Models of one symbol's h-session log return; the random walk is the one that all others have to beat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np

from stockkit.errors import ForecastError

RANDOM_WALK = "random_walk"


@dataclass(frozen=True, eq=False)
class Training:
    """One symbol's history up to the cut, oldest row first.

    Args:
        features: (n, k) float64, row t known at session t; NaN or infinite where there is no value.
        target: (n,) float64, log return from session t to t + horizon, realised at the cut.
        horizon: sessions ahead, at least 1.

    Raises:
        ForecastError: shapes that do not fit, fewer than two rows, a target that is not finite or is constant.
    """

    features: np.ndarray
    target: np.ndarray
    horizon: int

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.target.shape != self.features.shape[:1]:
            raise ForecastError(
                f"features must be (n, k) and target (n,): found {self.features.shape} and {self.target.shape}."
            )
        if self.horizon < 1:
            raise ForecastError(f"horizon {self.horizon}: give at least 1 session.")
        if len(self.target) < 2:
            raise ForecastError(f"{len(self.target)} rows of history: a model needs 2 at the very least.")
        missing = np.flatnonzero(~np.isfinite(self.target))
        if len(missing):
            raise ForecastError(
                f"target row {missing[0]} is {self.target[missing[0]]}, not a finite log return: cut the history "
                f"at least {self.horizon} session(s) before its end, and clean the prices."
            )
        if np.ptp(self.target) <= 1e-12:
            raise ForecastError(
                f"the target is constant ({self.target[0]:.6g} in all {len(self.target)} rows): there is nothing "
                f"to learn and no scale to judge by. Check for a halted symbol or filled prices."
            )


class Fitted(Protocol):
    """A model after it has seen its training rows."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Mean h-session log return, shape (m,), for features (m, k); NaN means no forecast for that row.

        The forecast of a row may use that row alone: the rows after it are its future.
        """
        ...


class Model(Protocol):
    """A recipe, not yet fitted; `fit` is given nothing later than the cut."""

    @property
    def name(self) -> str:
        """The name in forecasts and scores, unique among the models of a backtest."""
        ...

    def fit(self, train: Training) -> Fitted:
        """Fit to one symbol's past; ForecastError where no honest forecast can be made."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same mean whatever the features, which may be missing."""

    mean: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """`mean` for each of the m rows, shape (m,)."""
        return np.full(len(features), self.mean)


@dataclass(frozen=True)
class RandomWalk:
    """Tomorrow's price is today's: mean 0 (Fama 1965; the benchmark of Meese and Rogoff 1983)."""

    name: str = RANDOM_WALK

    def fit(self, train: Training) -> Constant:
        """Learn nothing."""
        return Constant(0.0)


@dataclass(frozen=True)
class Drift:
    """The random walk with drift: the mean of all training targets (Hyndman and Athanasopoulos 2021, 5.2)."""

    name: str = "drift"

    def fit(self, train: Training) -> Constant:
        """Learn the mean h-session log return."""
        return Constant(float(train.target.mean()))


@dataclass(frozen=True, eq=False)
class FittedLasso:
    """A lasso after fitting: the pipeline (scaler, then regression) and what it chose.

    Attributes:
        pipeline: the scikit-learn pipeline.
        alpha: the penalty chosen, in log-return units.
        coefficients: (k,) log return per standard deviation of each feature; 0 where dropped.
        rows: training rows used, those with every feature.
    """

    pipeline: Any = field(repr=False)
    alpha: float
    coefficients: np.ndarray
    rows: int

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Mean h-session log return, shape (m,); NaN in rows that lack a feature."""
        complete = np.isfinite(features).all(axis=1)
        mean = np.full(len(features), np.nan)
        if complete.any():
            mean[complete] = self.pipeline.predict(features[complete])
        return mean


@dataclass(frozen=True)
class Lasso:
    """Linear regression that may drop features (Tibshirani 1996), its penalty chosen by walking forward.

    The penalty is the best of `alphas` on `splits` folds inside the training rows, in time order and `horizon`
    sessions apart, so that no inner label overlaps what it is judged on. The scaler sees the training rows only.

    Args:
        name: the name in forecasts and scores.
        alphas: penalties tried, spaced evenly in logarithm from the one that drops every feature to 1 % of it.
        splits: inner folds.
    """

    name: str = "lasso"
    alphas: int = 20
    splits: int = 5

    def fit(self, train: Training) -> FittedLasso:
        """Fit on the rows that have every feature.

        Raises:
            ForecastError: no features, or too few complete rows for the inner folds.
        """
        complete = np.isfinite(train.features).all(axis=1)
        self._check(train, int(complete.sum()))
        pipeline = self._pipeline(train.horizon).fit(train.features[complete], train.target[complete])
        chosen = pipeline[-1]
        return FittedLasso(pipeline, float(chosen.alpha_), chosen.coef_, int(complete.sum()))

    def _check(self, train: Training, complete: int) -> None:
        n, k = train.features.shape
        if k == 0:
            raise ForecastError(f"{self.name} needs at least one feature, and none is given.")
        need = (self.splits + 1) * (train.horizon + max(20, k + 1))
        if complete < need:
            present = np.isfinite(train.features).sum(axis=0)
            raise ForecastError(
                f"{self.name} needs {need} rows that have all {k} features, found {complete} of {n}. The emptiest "
                f"is feature {present.argmin() + 1} of {k}, with {present.min()} values: leave it out, "
                f"or give more history."
            )

    def _pipeline(self, horizon: int) -> Any:
        from sklearn.linear_model import LassoCV
        from sklearn.model_selection import TimeSeriesSplit
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        folds = TimeSeriesSplit(n_splits=self.splits, gap=horizon)
        # Down to 1 % of the largest penalty, not sklearn's 0.1 %: there coordinate descent still converges on
        # indicators that nearly repeat each other, and returns are too noisy to reward a smaller one.
        return make_pipeline(StandardScaler(), LassoCV(alphas=self.alphas, eps=0.01, max_iter=20_000, cv=folds))


CORE: tuple[Model, ...] = (RandomWalk(), Drift(), Lasso())


def by_name(names: Iterable[str]) -> tuple[Model, ...]:
    """The models of `CORE` with these names, in the order asked for.

    Raises:
        ForecastError: an unknown name; the message gives the nearest known one.
    """
    known = {model.name: model for model in CORE}
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
            raise ForecastError(f"{name!r} is no model. {hint}")
    return tuple(known[name] for name in wanted)
