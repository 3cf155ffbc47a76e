"""Whether a model beats the random walk by more than luck: tests of a mean over time, corrected for many tries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POWER = 0.8  # the chance with which what `detectable` gives would be found
MONTH = 21  # sessions


def mean_error(values: np.ndarray, horizon: int) -> tuple[float, float]:
    """The standard error of the mean of values (n,) in time order, and its degrees of freedom.

    At one session, that of independent values. Where outcomes of `horizon` sessions overlap, the long-run variance is
    the mean square of the first waves of a cosine transform, as many as there are degrees of freedom:
    min(n / 2 horizon, 0.4 n^(2/3)) (the equal-weighted cosine estimate of Lazarus, Lewis, Stock and Watson 2018,
    section 3; Müller 2004). It is divided by the share that these waves have of the spectrum at zero where neighbours
    overlap as outcomes do, and never taken to be less than that of independent values: of gains that shrink as a fit
    settles, few waves alone give p < 0.001 five times too often. NaN and 0 of too few values.
    """
    n = len(values)
    waves = min(n // (2 * horizon), int(0.4 * n ** (2 / 3)))
    if n < 2 or waves < 1:
        return np.nan, 0
    centred = values - values.sum() / n
    alone = float(np.sqrt(centred @ centred / (n - 1) / n))
    if horizon == 1:
        return alone, n - 1
    from scipy import fft

    half = np.pi * np.arange(1, waves + 1) / n / 2
    share = ((np.sin(horizon * half) / (horizon * np.sin(half))) ** 2).mean()
    squares = fft.dct(values, norm="ortho")[1 : waves + 1] ** 2
    return max(float(np.sqrt(squares.mean() / share / n)), alone), waves


def chance_of_mean(values: np.ndarray, horizon: int) -> float:
    """One-sided p value, on Student's t, that the mean of values (n,) in time order is over 0; see `mean_error`.

    1 where nothing can be told: no value other than 0, no spread, or too few of them for the horizon.
    """
    return chance(values, *mean_error(values, horizon))


def chance(values: np.ndarray, error: float, freedom: float) -> float:
    """What `chance_of_mean` gives, with the error and degrees of freedom that `mean_error` gave."""
    from scipy import special

    spread = 1e-12 * np.sqrt(values @ values)  # up to here the values differ by rounding only
    if not error * len(values) > spread:
        return 1.0
    return float(special.stdtr(freedom, -values.sum() / len(values) / error))


def diebold_mariano(gain: np.ndarray, horizon: int) -> float:
    """One-sided p value that the mean of `gain` is over 0: a reference's losses less a model's, (n,), in time order.

    Diebold and Mariano 1995, with the error of `mean_error`: their own over horizon − 1 lags (and that of Harvey,
    Leybourne and Newbold 1997) is too small in the far tail, where a correction for many tries looks. 1 where nothing
    can be told. Conservative for a model that contains the reference as a special case: see `clark_west`.
    """
    return chance_of_mean(gain, horizon)


def clark_west(gain: np.ndarray, apart: np.ndarray, horizon: int) -> float:
    """One-sided p value that a model beats the reference that it contains as a special case, by squared errors.

    Clark and West 2007, equation 3.1: if the reference is right, the model's errors are larger by the noise of what it
    estimated, (reference − model)², which is added to the gain again. Only where the model's errors are the smaller
    ones as they are, however: else the bare gain is tested, which gives one half or more. What is said to beat the
    reference can then be used in its place.

    Args:
        gain: squared errors of the reference less the model's, (n,), in time order.
        apart: (n,) squared distance of the two forecasts, in the same unit.
    """
    return chance_of_mean(gain + apart if gain.sum() > 0 else gain, horizon)


def detectable(error: float, freedom: float, level: float) -> float:
    """The mean that a one-sided test at `level` finds with a chance of `POWER`, given its error; NaN without one."""
    from scipy import special

    if not (error > 0 and freedom >= 1):
        return np.nan
    return float(error * (special.stdtrit(freedom, 1 - level) + special.stdtrit(freedom, POWER)))


def holm(p: np.ndarray) -> np.ndarray:
    """P values corrected for having tried all of them (Holm 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(stepped, 1.0)
    return out


def clopper_pearson(hits: np.ndarray, n: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The exact binomial intervals of shares hits / n (Clopper and Pearson 1934), (s,) each; NaN for n = 0."""
    from scipy import special

    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, special.betaincinv(np.maximum(hits, 1), n - hits + 1, tail), 0.0)
        high = np.where(hits < n, special.betaincinv(hits + 1, np.maximum(n - hits, 1), 1 - tail), 1.0)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


@dataclass(frozen=True)
class Trial:
    """The test of one model's mean.

    Attributes:
        p: one-sided, that its squared errors are not smaller; NaN where it says what the random walk says.
        test: "clark_west", "diebold_mariano", or "" without one.
        error, freedom: of the mean product of forecast and outcome, each of mean square 1.
    """

    p: float = np.nan
    test: str = ""
    error: float = np.nan
    freedom: float = 0

    def detectable_ic(self, level: float) -> float:
        """The correlation with the outcome that a forecast which moves as this one does would be found with, 8 in 10.

        Diebold and Mariano's statistic is half of Clark and West's, for a forecast of the best size. NaN where even a
        perfect one would not be.
        """
        twice = 2 if self.test == "diebold_mariano" else 1
        needed = twice * detectable(self.error, self.freedom, level)
        return needed if needed <= 1 else np.nan


def against_walk(gain: np.ndarray, apart: np.ndarray, product: np.ndarray, *, horizon: int, nests: bool) -> Trial:
    """Test a model's mean against the random walk's.

    Args:
        gain: (n,) squared errors of the random walk less the model's, in time order.
        apart: (n,) squared distance of the two forecasts.
        product: (n,) of outcome and forecast, both less the random walk's and of mean square 1.
        nests: whether the model contains the random walk as a special case.
    """
    if len(gain) and not gain.any():  # a model equal to the random walk is not a try at beating it
        return Trial()
    error, freedom = mean_error(product, horizon) if len(product) else (np.nan, 0)
    p = clark_west(gain, apart, horizon) if nests else diebold_mariano(gain, horizon)
    return Trial(p, "clark_west" if nests else "diebold_mariano", error, freedom)


def interval_chance(gain: np.ndarray, horizon: int) -> float:
    """One-sided p that interval scores are not better: `gain` is the random walk's less the model's, in time order.

    Widths differ for weeks in a row, so that gains hang together as if outcomes were a month long, or longer.
    NaN where they are the same throughout, or there are none.
    """
    return chance_of_mean(gain, max(horizon, MONTH)) if gain.any() else np.nan


def rank_ic_chance(parts: np.ndarray, horizon: int) -> tuple[float, float, float]:
    """The mean of `parts` in time order, its error, and the one-sided p value that it is not over 0; NaN of none."""
    if not len(parts):
        return np.nan, np.nan, np.nan
    error, freedom = mean_error(parts, horizon)
    return float(parts.mean()), error, chance(parts, error, freedom)
