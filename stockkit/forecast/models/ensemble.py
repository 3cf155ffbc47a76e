"""The median of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stockkit.errors import ForecastError
from stockkit.forecast.models import volatility
from stockkit.forecast.models.protocol import Fitted, Forecast, Model, Series
from stockkit.imports import numpy as np


@dataclass(frozen=True)
class MedianFitted:
    """Several fitted models of one symbol, `horizon` sessions ahead."""

    members: tuple[Fitted, ...]
    horizon: int

    @property
    def uses(self) -> tuple[int, ...] | None:
        """The positions of the features that some member uses; None: all."""
        uses = [getattr(member, "uses", None) for member in self.members]
        return None if None in uses else tuple(sorted({k for some in uses for k in some or ()}))

    def forecast(self, series: Series, first: int) -> Forecast:
        """The median of the members' forecasts at each row."""
        made = [member.forecast(series, first) for member in self.members]
        usual = volatility.usual(series, self.horizon)[first:]
        return combined(
            [Forecast(forecast.mean, usual if forecast.sigma is None else forecast.sigma) for forecast in made]
        )


@dataclass(frozen=True)
class MedianEnsemble:
    """The median of other models of the same backtest (Stock and Watson 2004 found weights no better).

    Args:
        name: the name in forecasts and scores.
        members: the names of the models that it is made of.
    """

    name: str = "median"
    members: tuple[str, ...] = ("drift", "lasso", "elastic_net", "boosting", "arima", "ets", "theta")

    def choose(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that are members; ForecastError if there are fewer than two."""
        members = [name for name in names if name in self.members]
        if len(members) < 2:
            raise ForecastError(
                f"{self.name} is made of {', '.join(self.members)}: add two of them to the models (found {members})."
            )
        return members

    def from_fitted(self, fitted: Mapping[str, Fitted], horizon: int) -> MedianFitted:
        """The ensemble of models that are fitted already, by name."""
        return MedianFitted(tuple(fit for name, fit in fitted.items() if name in self.members), horizon)


Recipe = Model | MedianEnsemble  # what a backtest takes


def combined(forecasts: Sequence[Forecast]) -> Forecast:
    """The median of the means and of the sigmas of those that have one; NaN where none has."""
    return Forecast(
        _median([forecast.mean for forecast in forecasts]),
        _median([forecast.sigma for forecast in forecasts if forecast.sigma is not None]),
    )


def _median(values: Sequence[np.ndarray]) -> np.ndarray:
    stacked = np.array(values)
    known = np.isfinite(stacked).any(axis=0)
    out = np.full(stacked.shape[1:], np.nan)
    out[known] = np.nanmedian(stacked[:, known], axis=0)
    return out
