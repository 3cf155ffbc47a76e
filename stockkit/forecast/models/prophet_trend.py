"""Prophet: a trend that bends plus the seasons of the year and the week, drawn through the log close of one symbol."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import Forecast, Series, Training
from stockkit.imports import numpy as np

MIN_SESSIONS = 100  # four for each of the 25 places where the trend may bend
RARE = 0.05  # of all sessions: a weekday with fewer is no trading day, a special Saturday say
PLACES = 9  # of the log close
LOGGERS = ("prophet", "prophet.models", "prophet.plot", "cmdstanpy")


@dataclass(frozen=True, eq=False)
class Curve:
    """The fitted curve of the log close, without its level, which a change does not need.

    Attributes:
        horizon: sessions ahead.
        start: day of the first training session, counted from 1970-01-01. span: days from it to the cut.
        slope: log return a `span` before the first bend.
        bends: (s,) where the slope changes, 0 at `start` and 1 at the cut. deltas: (s,) by how much.
        periods: (c,) days of each wave, a sine and a cosine. waves: (c, 2) their heights, log return.
        weekmask: (7,) bool, Monday first: the weekdays that were traded.
    """

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    horizon: int
    start: float
    span: float
    slope: float
    bends: np.ndarray
    deltas: np.ndarray
    periods: np.ndarray
    waves: np.ndarray
    weekmask: np.ndarray

    def forecast(self, series: Series, first: int) -> Forecast:
        """The curve's change from session t to the h-th trading day after it; no close after the cut is used.

        That day is counted in the weekdays that were traded up to the cut, as the next rows' dates are the future:
        an exchange holiday in between is not known and moves it by a day.
        """
        now = series.date[first:].astype("datetime64[D]")
        then = np.busday_offset(now, self.horizon, roll="backward", weekmask=self.weekmask)
        return Forecast(self._height(then) - self._height(now))

    def _height(self, dates: np.ndarray) -> np.ndarray:
        """g(t) + s(t) of Taylor and Letham (2018), sections 3.1.2 and 3.2, in log returns over the curve's level."""
        days = dates.astype("int64").astype("float64")
        t = (days - self.start) / self.span
        trend = self.slope * t + (np.maximum(t[:, None] - self.bends, 0.0) * self.deltas).sum(axis=1)
        angle = 2 * np.pi * days[:, None] / self.periods
        return trend + (np.sin(angle) * self.waves[:, 0] + np.cos(angle) * self.waves[:, 1]).sum(axis=1)


@dataclass(frozen=True)
class Prophet:
    """Prophet on the log close of one symbol (Taylor and Letham 2018); needs the extra `prophet`.

    The forecast is the change of the curve fitted at the cut, which does not move with later closes. It has no view
    of sigma: its own intervals are about the level of the curve and not about a return.

    Args:
        name: in forecasts and scores.
        changepoints: places where the trend may bend, spread over the first 80 % of the sessions.
        flexibility: scale of the Laplace prior of the bends (`changepoint_prior_scale`).
    """

    nests_random_walk: ClassVar[bool] = True
    name: str = "prophet"
    changepoints: int = 25
    flexibility: float = 0.05

    def fit(self, train: Training) -> Curve:
        """Fit the curve by its posterior mode; twice gives the same curve.

        The library starts Stan's own program, which exchanges files with it in a temporary folder.

        Raises:
            ForecastError: fewer than 100 sessions, several symbols, no `prophet` package, or a fit that failed.
        """
        import pandas as pd

        close, series = train.close, train.series[0]
        if len(close) < MIN_SESSIONS:
            raise ForecastError(
                f"{series.symbol}: Prophet needs {MIN_SESSIONS} sessions, found {len(close)}: give more history."
            )
        # The posterior is so flat that another last bit moves a forecast by some 1e-4: without the unit of the price,
        # and to PLACES, the numbers are the same wherever they come from. The seasons are of whole days.
        walked = np.log(close / close[0]).round(PLACES)
        frame = pd.DataFrame({"ds": series.date.astype("datetime64[D]").astype("datetime64[ns]"), "y": walked})
        with _quiet():
            return _curve(self._fitted(frame, series.symbol), series.date, int(train.horizon))

    def _fitted(self, frame: Any, symbol: str) -> Any:
        try:
            from prophet import Prophet as Library
        except ImportError as missing:
            raise ForecastError(f"{self.name} needs Prophet ({missing}): pip install stockkit[prophet]") from missing
        model: Any = Library(
            n_changepoints=self.changepoints,
            changepoint_prior_scale=self.flexibility,
            daily_seasonality=False,
            scaling="minmax",  # by the range: a shift of the level must not change what the priors mean
        )
        try:
            model.fit(frame, seed=1)
        except RuntimeError as failed:  # what cmdstanpy raises when Stan does not converge
            raise ForecastError(f"{symbol}: Prophet could not be fitted: {failed} Leave it out.") from failed
        finally:
            model.stan_backend.cleanup()
        return model


def _curve(model: Any, dates: np.ndarray, horizon: int) -> Curve:
    """The library's parameters, in log returns."""
    orders = [(season["period"], season["fourier_order"]) for season in model.seasonalities.values()]
    periods = [period / (wave + 1) for period, order in orders for wave in range(order)]
    waves = model.params["beta"][0].reshape(-1, 2) if periods else np.zeros((0, 2))
    import pandas as pd

    traded = np.bincount(pd.DatetimeIndex(dates).weekday, minlength=7)
    return Curve(
        horizon=horizon,
        start=(model.start - pd.Timestamp(0)) / pd.Timedelta(days=1),
        span=model.t_scale / pd.Timedelta(days=1),
        slope=float(model.params["k"].item() * model.y_scale),
        bends=np.asarray(model.changepoints_t, "float64"),
        deltas=model.params["delta"][0] * model.y_scale,
        periods=np.array(periods, "float64"),
        waves=waves * model.y_scale,
        weekmask=traded > RARE * traded.sum(),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log lines that the libraries write about every fit and a plotting package that is not used."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
