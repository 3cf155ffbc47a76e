"""What a model is given and what it gives back: the one protocol of every forecast here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stockkit.errors import ForecastError
from stockkit.imports import numpy as np

RANDOM_WALK = "random_walk"
SERIES = ["symbol", "model", "horizon"]  # what tells one series of forecasts from another
LONGEST_HORIZON = 252  # sessions
STILL = 1e-12  # log return: outcomes that differ by no more are constant
LONGEST_STEP = 15  # days; further apart, two rows are not neighbouring sessions


@dataclass(frozen=True, eq=False)
class Series:
    """One symbol's sessions, oldest first; row t holds what was known at the close of session t.

    Args:
        symbol: whose.
        date: (n,) datetime64, strictly ascending.
        close: (n,) float64, positive.
        features: (n, k) float64, NaN or infinite where there is no value.
        names: the k features' names.

    Raises:
        ForecastError: shapes that do not fit, dates out of order, or a close that is no price.
    """

    symbol: str
    date: np.ndarray
    close: np.ndarray
    features: np.ndarray
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.close)
        if self.date.shape != (n,) or self.features.shape != (n, len(self.names)):
            raise ForecastError(
                f"{self.symbol}: date must be (n,), close (n,) and features (n, {len(self.names)}): found "
                f"{self.date.shape}, {self.close.shape} and {self.features.shape}."
            )
        bad = np.flatnonzero(~(np.isfinite(self.close) & (self.close > 0)))
        if len(bad):
            raise ForecastError(f"{self.symbol}: close {self.close[bad[0]]} in row {bad[0]} is no price: clean it.")
        if not (self.date[1:] > self.date[:-1]).all():
            raise ForecastError(f"{self.symbol}: the dates do not ascend strictly: sort, and keep one row a session.")

    def __len__(self) -> int:
        return len(self.close)

    @property
    def returns(self) -> np.ndarray:
        """One-session log returns, shape (n,): row t from session t − 1 to t; row 0 is NaN."""
        return np.diff(np.log(self.close), prepend=np.nan)

    def until(self, stop: int) -> Series:
        """The first `stop` rows."""
        return Series(self.symbol, self.date[:stop], self.close[:stop], self.features[:stop], self.names)

    def since(self, start: int) -> Series:
        """The rows from `start` on."""
        return Series(self.symbol, self.date[start:], self.close[start:], self.features[start:], self.names)


def target(series: Series, horizon: int) -> np.ndarray:
    """The h-session log return ln(close[t + h] / close[t]), shape (n,).

    NaN in the last h rows, and where two of the rows between are over 15 days apart: sessions are missing there,
    so that h rows are not h sessions.

    Raises:
        ForecastError: a horizon that is not from 1 to 252.
    """
    check_horizon(horizon)
    out = np.full(len(series), np.nan)
    if len(series) <= horizon:
        return out
    out[:-horizon] = np.log(series.close[horizon:] / series.close[:-horizon])
    holes = np.cumsum(np.diff(series.date, prepend=series.date[:1]) > np.timedelta64(LONGEST_STEP, "D"))
    out[:-horizon][holes[horizon:] > holes[:-horizon]] = np.nan
    return out


def check_horizon(horizon: int) -> int:
    """`horizon` itself, if it is a whole number of sessions from 1 to 252; ForecastError otherwise."""
    if isinstance(horizon, bool) or not isinstance(horizon, (int, np.integer)) or not 1 <= horizon <= LONGEST_HORIZON:
        raise ForecastError(f"horizon {horizon!r}: give a whole number of sessions from 1 to {LONGEST_HORIZON}.")
    return int(horizon)


@dataclass(frozen=True, eq=False)
class Training:
    """The past up to the cut: of one symbol, or of several for a model that is `pooled`.

    Args:
        series: each symbol's sessions up to the cut and none later.
        horizon: sessions ahead, at least 1.
        cut: the last session that may be known.
        targets: each symbol's (n,) h-session log returns as from `target`, NaN where not realised at the cut;
            worked out from the closes when not given.

    Raises:
        ForecastError: a session or the end of a label lies past the cut, no symbols, fewer than two labels of a
            symbol, or labels that are constant.
    """

    series: tuple[Series, ...]
    horizon: int
    cut: np.datetime64
    targets: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        if not self.series:
            raise ForecastError("no symbol has history to fit: give more sessions or a smaller min_train.")
        if not self.targets:
            object.__setattr__(self, "targets", tuple(target(series, self.horizon) for series in self.series))
        for series, labels in zip(self.series, self.targets, strict=True):
            _check_past(series, labels, check_horizon(self.horizon), self.cut)

    @property
    def close(self) -> np.ndarray:
        """The closes of the only symbol, shape (n,)."""
        return self._only().close

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Features (m, k) and targets (m,) of all rows whose outcome is known, symbol after symbol."""
        known = [np.isfinite(labels) for labels in self.targets]
        features = [series.features[rows] for series, rows in zip(self.series, known, strict=True)]
        labels = [values[rows] for values, rows in zip(self.targets, known, strict=True)]
        return np.concatenate(features), np.concatenate(labels)

    def _only(self) -> Series:
        if len(self.series) != 1:
            raise ForecastError(f"{len(self.series)} symbols: this model is fitted to one at a time.")
        return self.series[0]


def _check_past(series: Series, labels: np.ndarray, horizon: int, cut: np.datetime64) -> None:
    if len(series) and series.date[-1] > cut:
        raise ForecastError(
            f"{series.symbol}: session {series.date[-1]} lies past the cut {cut}: a fit may not see it."
        )
    if labels.shape != series.close.shape:
        raise ForecastError(f"{series.symbol}: targets must be ({len(series)},), found {labels.shape}.")
    known = np.flatnonzero(np.isfinite(labels))
    if len(known) and known[-1] + horizon >= len(series):
        raise ForecastError(
            f"{series.symbol}: the label of {series.date[known[-1]]} ends past the cut {cut}: it was not realised yet."
        )
    if len(known) < 2:
        raise ForecastError(f"{series.symbol}: {len(known)} known outcomes: a model needs 2 at the very least.")
    if np.ptp(labels[known]) <= STILL:
        raise ForecastError(
            f"{series.symbol}: the target is constant ({labels[known[0]]:.6g} in all {len(known)} rows): there is "
            f"nothing to learn and no scale to judge by. Check for a halted symbol or filled prices."
        )


@dataclass(frozen=True, eq=False)
class Forecast:
    """A model's forecast of m rows.

    Attributes:
        mean: (m,) h-session log return; NaN: no forecast of that row.
        sigma: (m,) its standard deviation; None where the model has no view of it, and then it is the
            usual volatility (`volatility.usual`).
    """

    mean: np.ndarray
    sigma: np.ndarray | None = None


class Fitted(Protocol):
    """A model after it has seen its past.

    May also tell `tried` (int, how many settings the fit compared; 1 if it does not), `chosen` (a text: which) and
    `uses` (the positions of the features that its forecasts depend on; all of them if it does not).
    """

    def forecast(self, series: Series, first: int) -> Forecast:
        """Forecast the rows `first` to the last of one symbol's series, m = len(series) − first of them.

        The forecast of row t may use rows up to t; those after it are its future. `backtest` checks that.
        ForecastError where nothing honest can be said.
        """
        ...


class Model(Protocol):
    """A recipe, not yet fitted; `fit` is given nothing later than the cut.

    A model that sets ``pooled = True`` is fitted once to all symbols; any other to each symbol by itself.
    One that sets ``nests_random_walk = True`` states that for some value of what it fits (all slopes 0) its mean is 0
    everywhere, so that it is judged by Clark and West's test; any other by Diebold and Mariano's.
    """

    @property
    def name(self) -> str:
        """The name in forecasts and scores, unique among the models of a backtest."""
        ...

    def fit(self, train: Training) -> Fitted:
        """Fit to the past; ForecastError where no honest forecast can be made."""
        ...


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


def names_of(models: Sequence[Named]) -> list[str]:
    """The names of some models, if there are any and no two are equal; ForecastError otherwise."""
    names = [model.name for model in models]
    if not names or len(set(names)) < len(names):
        raise ForecastError(f"models {names}: give at least one, each with a name of its own.")
    return names
