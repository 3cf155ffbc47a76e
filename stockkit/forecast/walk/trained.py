"""A model fitted to everything known, with the calibration of its intervals: what is saved and served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.judge.intervals import LEVELS
from stockkit.forecast.models import volatility
from stockkit.forecast.models.ensemble import Recipe
from stockkit.forecast.models.naive import RandomWalk
from stockkit.forecast.models.protocol import RANDOM_WALK, Fitted, Series
from stockkit.forecast.walk.fold_fits import ALL
from stockkit.forecast.walk.study import Study, run

BEST = "best"  # in place of a model: of each symbol the one that won, the random walk where none did


@dataclass(frozen=True)
class Calibration:
    """How wide one symbol's intervals are.

    Attributes:
        sigma: the last known standard deviation of the h-session log return, for rows whose own cannot be told.
        widths: how many sigma half the 80, 90 and 95 % intervals measure.
    """

    sigma: float
    widths: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Trained:
    """One model, fitted to all that was known at `as_of`.

    Attributes:
        model: its name. horizon: sessions ahead. features: their names, in the order that the fit saw.
        as_of: the last session it was fitted on.
        fitted: a fit of each symbol, or the one of a pooled model under the key "".
        calibration: each symbol's; a symbol without one is not forecast.
        members: where several models were put together under one name, each symbol's own.
    """

    model: str
    horizon: int
    features: tuple[str, ...]
    as_of: np.datetime64
    fitted: Mapping[str, Fitted]
    calibration: Mapping[str, Calibration]
    members: Mapping[str, str] = field(default_factory=dict)

    def named(self, symbol: str) -> str:
        """The model that forecasts a symbol."""
        return self.members.get(symbol, self.model)

    @property
    def used(self) -> tuple[str, ...]:
        """The features that the forecasts of any symbol depend on, in the order of `features`."""
        uses = [getattr(fitted, "uses", None) for fitted in self.fitted.values()]
        if None in uses:
            return self.features
        return tuple(name for k, name in enumerate(self.features) if any(k in (some or ()) for some in uses))

    @property
    def symbols(self) -> list[str]:
        """The symbols that can be forecast, ascending."""
        return sorted(set(self.calibration) & (set(self.calibration) if ALL in self.fitted else set(self.fitted)))

    def forecast(self, series: Series) -> dict[str, np.ndarray]:
        """Forecast every row: mean, sigma and bounds lo80, hi80 … of the h-session log return, (n,) each.

        Row t uses rows up to t. Where they are too few for the volatility (21), the calibration's sigma stands in.

        Raises:
            ForecastError: a symbol that the model does not know, or other features than it was fitted on.
        """
        if series.symbol not in self.symbols:
            raise ForecastError(f"symbol {series.symbol!r}: {self.model} was fitted on {', '.join(self.symbols)}.")
        if series.names != self.features:
            raise ForecastError(_difference(self.model, self.features, series.names))
        known = self.calibration[series.symbol]
        made = self.fitted.get(series.symbol, self.fitted.get(ALL)).forecast(series, 0)  # type: ignore[union-attr]
        sigma = volatility.usual(series, self.horizon) if made.sigma is None else made.sigma
        sigma = np.where(np.isfinite(sigma), sigma, known.sigma)
        out = {"mean": made.mean, "sigma": sigma}
        for level, width in zip(LEVELS, known.widths, strict=True):
            out[f"lo{level}"], out[f"hi{level}"] = made.mean - width * sigma, made.mean + width * sigma
        return out


def from_study(study: Study, model: str) -> Trained:
    """Put together what a study fitted of one model to the newest, and how wide its intervals are.

    Raises:
        ForecastError: nothing was fitted, or no symbol has intervals yet.
    """
    newest = study.newest
    fitted = {symbol: fit for (symbol, name), fit in newest.fitted.items() if name == model}
    known = calibrations(study.rows, model)
    if not fitted or not known:
        why = "; ".join(f"{who}: {reason}" for who, reason in newest.skipped.items()) or "too few past forecasts"
        raise ForecastError(f"{model} is fitted to no symbol, or has no intervals: {why}.")
    as_of = newest.fits["label_end"].max()
    return Trained(model, study.horizon, study.features, np.datetime64(as_of, "D"), fitted, known)


def from_studies(
    studies: Sequence[Study], model: str, best: Mapping[int, Mapping[str, str]]
) -> list[tuple[Study, Trained]]:
    """Every study in which `model` was fitted and has intervals, with what `from_study` makes of it.

    Args:
        studies: one a horizon. model: a name, or `BEST` for the model of each symbol that `best` tells.
        best: a symbol's model by horizon, as from `forecast_table.best`.
    """
    pairs = []
    for study in studies:
        name, members = model, {}
        if model == BEST:
            members = dict(best[study.horizon])
            study, name = _best_as_one(study, members)
        if calibrations(study.rows, name) and any(name == fitted for _, fitted in study.newest.fitted):
            pairs.append((study, replace(from_study(study, name), members=members if name == BEST else {})))
    return pairs


def _best_as_one(study: Study, best: Mapping[str, str]) -> tuple[Study, str]:
    """A study in which the models of `best` stand as one, called `BEST`, beside the others; or the only one's name."""
    names = set(best.values())
    if len(names) < 2:
        return study, next(iter(names), RANDOM_WALK)
    chosen = study.rows["symbol"].astype(str).map(best) == study.rows["model"].astype(str)
    rows = pd.concat([study.rows, study.rows[chosen].assign(model=BEST)], ignore_index=True)
    rows = rows.astype({"model": study.rows["model"].dtype})
    fitted = dict(study.newest.fitted)
    for symbol, name in best.items():
        fit = fitted.get((symbol, name), fitted.get((ALL, name)))
        if fit is not None:
            fitted[symbol, BEST] = fit
    return replace(study, rows=rows, newest=replace(study.newest, fitted=fitted)), BEST


def train(
    panel: pd.DataFrame, *, model: Recipe, features: Sequence[str], horizon: int, min_train: int = 250, step: int = 126
) -> tuple[Trained, pd.DataFrame]:
    """Study one model beside the random walk; the fit to the newest, and the rows with their intervals.

    An ensemble needs its members too: use `study.run` and `from_study`. Arguments and errors as for `backtest.run`.
    """
    base = RandomWalk()
    models: list[Recipe] = [model] if model.name == base.name else [base, model]
    study = run(panel, models=models, features=features, horizon=horizon, min_train=min_train, step=step)
    return from_study(study, model.name), study.rows


def calibrations(rows: pd.DataFrame, model: str) -> dict[str, Calibration]:
    """The calibration of each symbol, from the newest rows of `model` that have intervals (see `intervals`)."""
    bounded = rows[(rows["model"] == model) & rows["hi95"].notna() & (rows["sigma"] > 0)].sort_values("as_of")
    last = bounded.groupby("symbol", observed=True).tail(1)
    return {
        str(row["symbol"]): Calibration(
            float(row["sigma"]),
            tuple(float((row[f"hi{level}"] - row["mean"]) / row["sigma"]) for level in LEVELS),  # type: ignore[arg-type]
        )
        for row in last.to_dict("records")
    }


def _difference(model: str, fitted: tuple[str, ...], given: tuple[str, ...]) -> str:
    lacking = [name for name in fitted if name not in given]
    extra = [name for name in given if name not in fitted]
    if lacking:
        return f"{model} was fitted with the feature {lacking[0]!r} ({len(fitted)} in all), which is not given."
    if extra:
        return f"{model} was not fitted with the feature {extra[0]!r}: give only {', '.join(fitted)}."
    return f"{model} was fitted with its features in another order: {', '.join(fitted)}."
