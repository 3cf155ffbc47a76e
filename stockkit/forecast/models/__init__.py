"""Models of the h-session log return; the random walk is the one that all others have to beat."""

from __future__ import annotations

from collections.abc import Iterable

from stockkit.errors import ForecastError, did_you_mean
from stockkit.forecast.models.boosting import Boosting
from stockkit.forecast.models.deep import Lstm
from stockkit.forecast.models.ensemble import MedianEnsemble, Recipe
from stockkit.forecast.models.linear import ElasticNet, Lasso
from stockkit.forecast.models.naive import Drift, HistoricalMean, RandomWalk
from stockkit.forecast.models.prophet_trend import Prophet
from stockkit.forecast.models.protocol import RANDOM_WALK, Fitted, Forecast, Model, Series, Training, target
from stockkit.forecast.models.statistical import Arima, AutoArima, AutoEts, Theta
from stockkit.forecast.models.volatility import Ewma, GarchT, RollingVolatility

__all__ = ["CORE", "EXTRAS", "RANDOM_WALK", "Arima", "AutoArima", "AutoEts", "Boosting", "Drift", "ElasticNet", "Ewma",
           "Fitted", "Forecast", "GarchT", "HistoricalMean", "Lasso", "Lstm", "MedianEnsemble", "Model", "Prophet",
           "RandomWalk", "Recipe", "RollingVolatility", "Series", "Theta", "Training", "by_name", "nesting",
           "target"]  # fmt: skip

CORE: tuple[Recipe, ...] = (
    RandomWalk(), Drift(), HistoricalMean(), Lasso(), ElasticNet(), Boosting(), Arima(), AutoEts(), Theta(),
    RollingVolatility(), Ewma(), GarchT(), MedianEnsemble(),
)  # fmt: skip
EXTRAS: tuple[Recipe, ...] = (AutoArima(), Prophet(), Lstm())  # slow, or of a package that is an extra


def nesting(recipes: Iterable[Recipe] = (*CORE, *EXTRAS)) -> frozenset[str]:
    """The names of those that contain the random walk as a special case; an ensemble does if all of its members do."""
    given = list(recipes)
    several = [model for model in given if isinstance(model, MedianEnsemble)]
    alone = {model.name for model in given if getattr(model, "nests_random_walk", False)}
    others = {model.name for model in given if model not in several}
    return frozenset(alone | {model.name for model in several if others & set(model.members) <= alone})


def by_name(names: Iterable[str]) -> tuple[Recipe, ...]:
    """The models of `CORE` and `EXTRAS` with these names, in the order asked for; "core" stands for all of `CORE`.

    Raises:
        ForecastError: an unknown name; the message gives the nearest known one.
    """
    known = {model.name: model for model in (*CORE, *EXTRAS)}
    wanted: dict[str, Recipe] = {}
    for name in [names] if isinstance(names, str) else names:
        if name != "core" and name not in known:
            hint = did_you_mean(name, known, f"Known: core, {', '.join(known)}.")
            raise ForecastError(f"{name!r} is no model.{hint}")
        wanted |= {model.name: model for model in CORE} if name == "core" else {name: known[name]}
    return tuple(wanted.values())
