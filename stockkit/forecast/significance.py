"""Whether a difference is more than luck: one test, one interval, one correction for the number of tries."""

from __future__ import annotations

import numpy as np


def diebold_mariano(gain: np.ndarray, horizon: int) -> float:
    """One-sided p value that the mean of `gain` is over 0: a reference's losses less a model's, (n,), in time order.

    Diebold and Mariano 1995 with the rectangular kernel over horizon − 1 lags and the small-sample correction of
    Harvey, Leybourne and Newbold 1997, equation 9, on Student's t. Where that kernel gives no positive variance,
    Bartlett weights do (Newey and West 1987). They take n − 1 degrees of freedom; here it is n // horizon − 1, the
    number of losses that do not overlap, because a correction for many tries looks at the far tail: of 120
    sessions and horizon 5, or of 500 and 21, theirs gives p < 0.001 two to four times too often.
    1 where nothing can be told: no gain anywhere, no spread, or n too small for the horizon. Conservative for a
    model that contains the reference as a special case (Clark and West 2007).
    """
    from scipy import special

    n = len(gain)
    freedom = n // horizon - 1
    if freedom < 1 or np.ptp(gain) <= 1e-12 * np.abs(gain).max():
        return 1.0
    centred = gain - gain.mean()
    lags = np.arange(horizon)
    covariance = np.array([centred[: n - lag] @ centred[lag:] / n for lag in lags])
    twice = np.where(lags == 0, 1.0, 2.0)
    variance = twice @ covariance
    if variance <= 0:
        variance = (twice * (1 - lags / horizon)) @ covariance
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    if variance <= 0 or correction <= 0:
        return 1.0
    return float(special.stdtr(freedom, -gain.mean() / np.sqrt(variance / n) * np.sqrt(correction)))


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
