"""ARIMA, exponential smoothing and Theta, each of one symbol's closes alone, fitted by statsforecast at the cut."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

from stockkit import imports
from stockkit.errors import ForecastError
from stockkit.forecast.models.innovations import Arma, Smoothing, ThetaLines, levels
from stockkit.forecast.models.protocol import Training
from stockkit.forecast.models.volatility import training_returns
from stockkit.imports import numpy as np

FEWEST = 60  # returns that any of these is fitted to
REMEMBERED = 512  # searches: those of one symbol at all cuts, which the next horizon asks for in the same order
USED = ("code", "arma", "coef", "components", "par")  # of what a search gives; the rest is as long as the history
FORGETS = 0.999  # a moving average with a root above this keeps its start for over a thousand sessions
WAY_OUT = "Give more history, check the prices for steps and repeats, or leave this model out."


@dataclass(frozen=True)
class Arima:
    """ARMA of one-session log returns by maximum likelihood (Box et al. 2016, chapter 7), through statsforecast.

    The default is the smallest that forecasts anything: on daily returns the two sides of larger ones mostly cancel.
    """

    order: tuple[int, int, int] = (1, 0, 0)
    nests_random_walk: ClassVar[bool] = True
    name: str = "arima"

    def fit(self, train: Training) -> Arma:
        """Fit to the returns up to the cut; ForecastError for an order that differences, or no convergence."""

        if len(self.order) != 3 or min(self.order) < 0 or self.order[1]:
            raise ForecastError(f"order {self.order}: give (p, 0, q); log returns are differences already.")
        returns, since = training_returns(train, FEWEST)
        model = _fitted(f"ARIMA{self.order}", "ARIMA", returns, order=self.order)
        return _arma(model, horizon=train.horizon, since=since)


@dataclass(frozen=True)
class AutoArima:
    """ARMA whose order and mean the stepwise search of Hyndman and Khandakar (2008) chose by AICc inside the fit."""

    largest: int = 3  # of p and of q
    nests_random_walk: ClassVar[bool] = True
    name: str = "auto_arima"

    def fit(self, train: Training) -> Arma:
        """Search on the returns up to the cut; takes some seconds. `tried` counts all that the search may look at."""

        returns, since = training_returns(train, FEWEST)
        most = {"max_p": self.largest, "max_q": self.largest}
        model = _fitted("AutoARIMA", "AutoARIMA", returns, d=0, seasonal=False, stationary=True, **most)
        return _arma(model, horizon=train.horizon, since=since, tried=2 * (self.largest + 1) ** 2)


@dataclass(frozen=True)
class AutoEts:
    """Exponential smoothing of the log close, its trend chosen by AICc (Hyndman et al. 2008, section 2.8).

    Errors are additive: multiplicative ones of a log close would depend on the price's unit.
    """

    nests_random_walk: ClassVar[bool] = True
    name: str = "ets"

    def fit(self, train: Training) -> Smoothing:
        """Fit to the log closes up to the cut; ForecastError where no trend can be fitted."""

        returns, since = training_returns(train, FEWEST)
        model = _fitted("ETS", "AutoETS", levels(returns), season_length=1, model="AZN")
        kind = model["components"]
        alpha, beta, _, phi, level, *slope = (float(value) for value in model["par"])
        fitted = Smoothing(
            kind=kind[:2] + kind[3],
            alpha=alpha,
            beta=beta if slope else 0.0,
            phi=phi if kind[3] == "D" else 1.0,
            level=level,
            slope=slope[0] if slope else 0.0,
            horizon=train.horizon,
            since=since,
        )
        _check("ETS", fitted.alpha, fitted.beta, fitted.phi, fitted.level, fitted.slope)
        return fitted


@dataclass(frozen=True)
class Theta:
    """The standard Theta method (Assimakopoulos and Nikolopoulos 2000) on the log close, through statsforecast."""

    nests_random_walk: ClassVar[bool] = True
    name: str = "theta"

    def fit(self, train: Training) -> ThetaLines:
        """Fit to the log closes up to the cut; ForecastError where the search fails."""

        returns, since = training_returns(train, FEWEST)
        model = _fitted("Theta", "Theta", levels(returns), season_length=1)
        alpha, level = float(model["par"]["alpha"]), float(model["par"]["initial_smoothed"])
        _check("Theta", alpha, level)
        return ThetaLines(alpha, level, train.horizon, since)


def _fitted(what: str, method: str, values: np.ndarray, **settings: Any) -> dict[str, Any]:
    """The parameters that a method of statsforecast found."""
    try:
        parameters = _searched(method, tuple(settings.items()), values.tobytes())
    except Exception as error:  # statsforecast raises bare ones ("no model able to be fitted")
        raise ForecastError(f"{what} cannot be fitted to {len(values)} values ({error}). {WAY_OUT}") from error
    if parameters.get("code") == 1:  # 2, a loss of precision, is how BFGS ends at a flat optimum
        raise ForecastError(f"{what}: the search did not converge on {len(values)} values. {WAY_OUT}")
    return parameters


@functools.lru_cache(maxsize=REMEMBERED)
def _searched(method: str, settings: tuple[tuple[str, Any], ...], values: bytes) -> dict[str, Any]:
    """The parameters for float64 values; remembered, as the fits of all horizons at one cut see the same ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of is checked on the result
        model = getattr(_library(), method)(**dict(settings))
        fitted: dict[str, Any] = model.fit(np.frombuffer(values).copy()).model_
    return {name: fitted[name] for name in USED if name in fitted}


def _check(what: str, *values: float) -> None:
    """ForecastError unless all parameters are finite."""
    if not np.isfinite(values).all():
        raise ForecastError(f"{what}: parameters {values} are of no use. {WAY_OUT}")


def _arma(model: dict[str, Any], *, horizon: int, since: int, tried: int = 1) -> Arma:
    """The invertible form of what statsforecast found: the one that its Kalman filter settles to."""
    p, q = model["arma"][:2]
    values = [float(value) for value in model["coef"].values()]
    roots = np.roots([1.0, *values[p : p + q]])
    outside = np.abs(roots) > 1
    _check("ARMA", *values)
    ma = np.array(values[p : p + q])
    if outside.any():
        roots[outside] = 1 / np.conj(roots[outside])
        ma = np.poly(roots)[1:].real
    if np.abs(roots).max(initial=0.0) > FORGETS:
        raise ForecastError(f"ARMA({p}, {q}): the moving average never forgets its start. {WAY_OUT}")
    mean = float(model["coef"].get("intercept", 0.0))
    return Arma(np.array(values[:p]), ma, mean, horizon, since, tried)


def _library() -> Any:
    """statsforecast's models, imported without the warning about a progress bar that nobody draws here."""
    with warnings.catch_warnings(action="ignore"), imports.without("polars"):
        from statsforecast import models
    return models
