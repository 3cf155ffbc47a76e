"""What ARIMA, exponential smoothing and Theta keep of their past: a few numbers, and one pass over the sessions.

Returns across a hole of over 15 days are left out, and levels are log closes cumulated from the returns that are
left, so that neither a hole nor the price's unit enters a forecast. `statistical` has the models that fit these.
The variance that they assume is the same in calm and in storm, and so is left aside for the usual volatility.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stockkit.forecast.models.protocol import Forecast, Series
from stockkit.forecast.models.volatility import known_returns
from stockkit.imports import numpy as np

ETS_TRENDS = 3  # none, additive, damped


def levels(returns: np.ndarray) -> np.ndarray:
    """The log close after each return, shape (m + 1,), the first one 0."""
    return np.concatenate([[0.0], np.cumsum(returns)])


@dataclass(frozen=True, eq=False)
class Arma:
    """A fitted ARMA of one-session log returns, run in its innovations form from innovations of zero.

    Attributes:
        ar: (p,) weights of past returns less the mean. ma: (q,) weights of past innovations, invertible.
        mean: log return a session.
        horizon: sessions. since: the first training session, nanoseconds since 1970; the recursion starts there.
        tried: orders compared, at most.
    """

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    ar: np.ndarray
    ma: np.ndarray
    mean: float
    horizon: int
    since: int
    tried: int = 1

    @property
    def chosen(self) -> str:
        """The order, and whether there is a mean."""
        return f"({len(self.ar)}, 0, {len(self.ma)}) {'with' if self.mean else 'without'} a mean"

    def forecast(self, series: Series, first: int) -> Forecast:
        """The next h returns, summed (Box et al. 2016, section 5.2)."""
        from scipy.signal import lfilter

        returns, count = known_returns(series, self.since)
        past = np.concatenate([[0.0], returns - self.mean])
        shocks = lfilter(np.r_[1.0, -self.ar], np.r_[1.0, self.ma], past)
        p, q = max(len(self.ar), 1), len(self.ma)
        lags = [_lagged(past, i) for i in range(p)] + [_lagged(shocks, i) for i in range(q)]
        step = np.eye(p + q, k=-1)  # from the state of one session to that of the next, expecting no shock
        step[0] = np.r_[self.ar, np.zeros(p - len(self.ar)), self.ma]
        step[p : p + 1] = 0
        weights = np.eye(p + q)[0]
        total = np.zeros(p + q)
        for _ in range(self.horizon):
            weights = weights @ step
            total += weights
        mean = self.horizon * self.mean + total @ np.array(lags)
        return _at(mean, count[first:])


@dataclass(frozen=True)
class Smoothing:
    """A fitted exponential smoothing of the log close with additive errors and no season.

    Attributes:
        kind: ANN without a trend, AAN with one, AAD with a damped one.
        alpha, beta: how much of a surprise goes into the level and the slope. phi: what is left of the slope a session.
        level, slope: before the first training session, whose log close counts as 0.
        horizon: sessions. since: the first training session, nanoseconds since 1970.
        tried: trends compared.
    """

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    kind: str
    alpha: float
    beta: float
    phi: float
    level: float
    slope: float
    horizon: int
    since: int
    tried: int = ETS_TRENDS

    @property
    def chosen(self) -> str:
        """The kind of trend."""
        return f"{self.kind}, alpha {self.alpha:.3f}"

    def forecast(self, series: Series, first: int) -> Forecast:
        """The level h sessions on less the log close (Hyndman et al. 2008, chapter 6)."""
        returns, count = known_returns(series, self.since)
        damping = float(np.cumsum(self.phi ** np.arange(1, self.horizon + 1))[-1])
        alpha, beta, phi = self.alpha, self.beta, self.phi  # a name of the loop is read faster than an attribute
        level, slope = self.level, self.slope
        ahead = []
        for close in levels(returns).tolist():
            slope *= phi
            surprise = close - level - slope
            level += slope + alpha * surprise
            slope += beta * surprise
            ahead.append(level - close + slope * damping)
        return _at(np.array(ahead), count[first:])


@dataclass(frozen=True)
class ThetaLines:
    """A fitted Theta of the log close: a smoothed level, and half the slope of the line through all closes so far.

    Attributes:
        alpha: how much of a surprise goes into the level.
        level: before the first training session, whose log close counts as 0.
        horizon: sessions. since: the first training session, nanoseconds since 1970.
    """

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    alpha: float
    level: float
    horizon: int
    since: int

    def forecast(self, series: Series, first: int) -> Forecast:
        """The level h sessions on less the log close (Fiorucci et al. 2016, section 2), theta = 2."""
        from scipy.signal import lfilter

        returns, count = known_returns(series, self.since)
        close = levels(returns)
        start = [(1 - self.alpha) * self.level]
        level, _ = lfilter([self.alpha], [1, self.alpha - 1], close, zi=start)
        base, slope = _trend_lines(close)
        powers = (1 - self.alpha) ** np.arange(1.0, len(close) + self.horizon)
        for step in range(self.horizon):
            left = powers[step : step + len(close)]
            drift = (base * left + slope * (1 - left * (1 - self.alpha)) / self.alpha) / 2
            ahead = level + drift
            level = level + self.alpha * drift
        return _at(ahead - close, count[first:])


def _lagged(values: np.ndarray, lag: int) -> np.ndarray:
    """The values `lag` sessions before, of the same shape; 0 where there is none."""
    return np.concatenate([np.zeros(lag), values])[: len(values)]


def _trend_lines(close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of the least-squares line through the first 1, 2, ... points, numbered from 1."""
    n = np.arange(1.0, len(close) + 1)
    average, rising = np.cumsum(close) / n, np.cumsum(n * close) / n
    slope = 6 * (2 * rising - (n + 1) * average) / np.maximum(n**2 - 1, 1)
    return average - (n + 1) * slope / 2, slope


def _at(after: np.ndarray, count: np.ndarray) -> Forecast:
    """The forecasts after `count` returns each, none where no return is known."""
    return Forecast(np.where(count > 0, after[count], np.nan))
