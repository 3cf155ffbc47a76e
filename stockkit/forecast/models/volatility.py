"""How far the close may move: the volatility that scales every interval, and models that forecast nothing else."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import LONGEST_STEP, Forecast, Series, Training
from stockkit.imports import numpy as np

DECAY = 0.94  # of RiskMetrics (J.P. Morgan and Reuters 1996, table 5.8), for daily returns
CALM = 0.02  # the share of the weight that the long-run variance has in the usual one
START = 20  # returns whose mean square the average starts from
FEWEST = 100  # returns that a GARCH is fitted to; fewer do not determine its persistence
NO_ARCH = 1e-6  # an alpha under it is 0: the search ends at its bound, or at a rounding error from it
REMEMBERED = 512  # searches: those of one symbol at all cuts, which the next horizon asks for in the same order
LIGHTEST = 2.06  # degrees of freedom; arch stops at 2.05, where the variance is not determined


def known_returns(series: Series, since: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The one-session log returns, shape (m,), and how many of them are known at each row, shape (n,).

    A return across a hole of over 15 days is of no one session and is left out, so that a recursion goes on after
    the hole where it stood before. `since` (nanoseconds since 1970) leaves out the returns of sessions up to then, too.
    """
    kept = np.diff(series.date, prepend=series.date[:1]) <= np.timedelta64(LONGEST_STEP, "D")
    kept[:1] = False
    if since is not None:
        kept &= series.date > np.datetime64(since, "ns")
    return series.returns[kept], np.cumsum(kept)


def training_returns(train: Training, least: int) -> tuple[np.ndarray, int]:
    """The one-session log returns to fit to, and the first training session in nanoseconds since 1970.

    Raises:
        ForecastError: several symbols, fewer than `least` returns, or prices that stand still.
    """
    sessions = len(train.close)  # which is refused where there are several symbols
    returns, _ = known_returns(train.series[0])
    if len(returns) < least:
        raise ForecastError(
            f"{len(returns)} one-session returns in {sessions} training sessions: this model needs {least}. "
            f"Give more history or a larger min_train."
        )
    if np.ptp(returns) <= 1e-12:
        raise ForecastError(
            f"all {len(returns)} one-session returns are {returns[0]:.6g}: there is no volatility to fit. "
            f"Check for a halted symbol or filled prices."
        )
    return returns, int(train.series[0].date[0].astype("datetime64[ns]").astype("int64"))


def ewma(series: Series, horizon: int, decay: float = DECAY) -> np.ndarray:
    """Exponentially weighted standard deviation of the h-session log return, shape (n,); row t uses rows up to t.

    sigma²[t] = decay sigma²[t − 1] + (1 − decay) r²[t], times the horizon (RiskMetrics, J.P. Morgan and Reuters 1996).
    NaN until 20 returns are known; the average starts from their mean square. A return across a hole of over 15 days
    does not count.
    """
    from scipy.signal import lfilter

    returns, count = known_returns(series)
    after = np.full(len(returns) + 1, np.nan)
    if len(returns) >= START:
        first = (returns[:START] ** 2).mean()
        news = (1 - decay) * returns[START:] ** 2
        after[START:] = np.sqrt(horizon * lfilter([1], [1, -decay], np.concatenate([[first], news])))
    return after[count]


def usual(series: Series, horizon: int) -> np.ndarray:
    """Standard deviation of the h-session log return for models without a view of it, (n,); row t uses rows up to t.

    A GARCH(1, 1) whose parameters are given and whose long-run variance is the mean square of all returns so far
    (variance targeting, Engle and Mezrich 1996): the newest square has the weight of RiskMetrics, 0.06, the long run
    0.02 and the variance before the rest, 0.92. Over the horizon it goes back to the long run by 2 % a session. The
    plain average (`ewma`) never goes back: it is too low in calm and too high in storm. Of 0.01, 0.02 and 0.04 for the
    long run, tried on the sample, more evens out calm and storm, and less evens out the years. NaN until 20 returns are
    known; a return across a hole of over 15 days does not count.

    Tried and left: the mean of the logs of this, of the same of ranges (Garman and Klass 1980, and the night) and of
    a GJR with given parameters. Interval scores at 1, 5 and 20 sessions were better by 1.2, 0.3 and 0.0 % on the
    sample and by 1.9, 1.6 and 1.4 % under stochastic volatility, worse by 0.1 and 0.0 % and better by 0.1 % under
    GARCH-t, where neither ranges nor signs tell more. It needs open, high and low, which a served row does not have, so
    that what is served would differ from what is sealed. Without the ranges it was 0.7, 0.5 and 0.5 % better on the
    sample, and 0.3, 0.0 and 0.2 % worse under GARCH-t.
    """
    from scipy.signal import lfilter

    returns, count = known_returns(series)
    after = np.full(len(returns) + 1, np.nan)
    if len(returns) >= START:
        square = returns**2
        target = (np.cumsum(square) / np.arange(1, len(square) + 1))[START - 1 :]
        news = CALM * target[1:] + (1 - DECAY) * square[START:]
        variance = lfilter([1], [1, -(DECAY - CALM)], np.concatenate([target[:1], news]))
        back = (1 - (1 - CALM) ** horizon) / CALM  # the sessions that today's distance to the long run lasts, in all
        after[START:] = np.sqrt(horizon * target + back * (variance - target))
    return after[count]


def rolling(series: Series, horizon: int, window: int) -> np.ndarray:
    """Root mean square of the last `window` one-session log returns, times √h, shape (n,); row t uses rows up to t.

    NaN until `window` returns are known. A return across a hole of over 15 days does not count.
    """
    returns, count = known_returns(series)
    after = np.full(len(returns) + 1, np.nan)
    if len(returns) >= window:
        squares = np.lib.stride_tricks.sliding_window_view(returns**2, window)
        after[window:] = np.sqrt(horizon * squares.mean(axis=1))
    return after[count]


def _around_zero(sigma: np.ndarray) -> Forecast:
    """Mean 0 wherever there is a sigma; no forecast where there is none or the prices stood still."""
    moves = sigma > 0
    return Forecast(np.where(moves, 0.0, np.nan), np.where(moves, sigma, np.nan))


@dataclass(frozen=True)
class RollingWindow:
    """The root mean square of the last `window` returns, `horizon` sessions ahead."""

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    window: int
    horizon: int

    def forecast(self, series: Series, first: int) -> Forecast:
        """Mean 0; the window moves on with each session."""
        return _around_zero(rolling(series, self.horizon, self.window)[first:])


@dataclass(frozen=True)
class RollingVolatility:
    """The volatility of the last `window` sessions stays as it was."""

    window: int = 60  # sessions: about a quarter
    name: str = "rolling_volatility"

    def fit(self, train: Training) -> RollingWindow:
        """Nothing is learnt, but the history must fill a window."""
        if self.window < 2:
            raise ForecastError(f"window {self.window}: give at least 2 sessions.")
        training_returns(train, self.window)
        return RollingWindow(self.window, train.horizon)


@dataclass(frozen=True)
class WeightedAverage:
    """The exponentially weighted volatility with this decay, `horizon` sessions ahead."""

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    decay: float
    horizon: int

    def forecast(self, series: Series, first: int) -> Forecast:
        """Mean 0; the average moves on with each session."""
        return _around_zero(ewma(series, self.horizon, self.decay)[first:])


@dataclass(frozen=True)
class Ewma:
    """Exponentially weighted volatility (RiskMetrics, J.P. Morgan and Reuters 1996, section 5.2)."""

    decay: float = DECAY
    name: str = "ewma"

    def fit(self, train: Training) -> WeightedAverage:
        """Nothing is learnt, but the average needs returns to start from."""
        if not 0 < self.decay < 1:
            raise ForecastError(f"decay {self.decay}: give a number between 0 and 1; daily returns take {DECAY}.")
        training_returns(train, START)
        return WeightedAverage(self.decay, train.horizon)


@dataclass(frozen=True)
class Garch:
    """A fitted GARCH(1, 1) of one-session log returns around zero.

    At the bound alpha = 0 the past returns show no ARCH effect: sigma does not react to any return, and only goes from
    the backcast to its long-run level, as fast as beta has it, which nothing then determines (Andrews 2001, "Testing
    When a Parameter Is on the Boundary of the Maintained Hypothesis"). `chosen` says so, and the forecast stands: a
    constant volatility is what was found. beta = 0 is an ARCH(1); alpha + beta = 1 never returns to a long-run level.

    Attributes:
        omega, alpha, beta: of sigma²[t + 1] = omega + alpha r²[t] + beta sigma²[t].
        degrees: of freedom of Student's t. backcast: the variance that stands for those before the first return.
        horizon: sessions. since: the first training session, nanoseconds since 1970; the recursion starts there.
    """

    uses: ClassVar[tuple[int, ...]] = ()  # the closes alone
    omega: float
    alpha: float
    beta: float
    degrees: float
    backcast: float
    horizon: int
    since: int

    @property
    def chosen(self) -> str:
        """How long shocks last, or that there are none, and how heavy the tails are."""
        lasting = "alpha 0: no ARCH effect" if self.alpha < NO_ARCH else f"alpha + beta {self.alpha + self.beta:.3f}"
        return f"{lasting}, {self.degrees:.1f} degrees of freedom"

    def forecast(self, series: Series, first: int) -> Forecast:
        """Mean 0 and the root of the summed variances of the next h sessions (Andersen et al. 2006, section 3.2)."""
        from scipy.signal import lfilter

        returns, count = known_returns(series, self.since)
        start = self.omega + (self.alpha + self.beta) * self.backcast
        news = self.omega + self.alpha * returns**2
        tomorrow = lfilter([1], [1, -self.beta], np.concatenate([[start], news]))
        powers = (self.alpha + self.beta) ** np.arange(self.horizon)
        summed = tomorrow * powers.sum() + self.omega * np.cumsum(powers)[:-1].sum()
        return _around_zero(np.sqrt(summed)[count[first:]])


@dataclass(frozen=True)
class GarchT:
    """GARCH(1, 1) with Student's t, by maximum likelihood (Bollerslev 1987), through `arch`."""

    name: str = "garch"

    def fit(self, train: Training) -> Garch:
        """Fit to the returns up to the cut; ForecastError where the search does not converge."""
        returns, since = training_returns(train, FEWEST)
        unit = float(np.sqrt(np.mean(returns**2)))  # the search does best on numbers near 1
        flag, values, backcast = _searched(returns.tobytes(), unit)
        omega, alpha, beta, degrees = values
        if flag or not np.isfinite(values).all() or degrees < LIGHTEST:
            raise ForecastError(
                f"no GARCH can be fitted to {len(returns)} returns (flag {flag}, {degrees:.2f} "
                f"degrees of freedom). Give more history, check the prices for steps and repeats, or use ewma."
            )
        return Garch(omega * unit**2, alpha, beta, degrees, backcast, train.horizon, since)


@functools.lru_cache(maxsize=REMEMBERED)
def _searched(returns: bytes, unit: float) -> tuple[int, tuple[float, ...], float]:
    """How the search for a GARCH of float64 returns ended, its parameters in this unit, and the backcast.

    Remembered, as the fits of all horizons at one cut see the same returns.
    """
    from arch import arch_model

    values = np.frombuffer(returns)
    recipe = arch_model(values / unit, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False)
    result = recipe.fit(disp="off", show_warning=False)
    parameters = tuple(float(value) for value in result.params)
    return int(result.convergence_flag), parameters, float(recipe.volatility.backcast(values))
