"""The Sharpe ratio of a strategy, and how sure one may be of it, given how many were tried."""

from __future__ import annotations

import numpy as np

from stockkit.errors import ForecastError

SESSIONS_A_YEAR = 252


def sharpe(returns: np.ndarray) -> np.ndarray:
    """Mean over standard deviation of returns (..., n) a session, not annualised; NaN for n < 2 or without spread."""
    if returns.shape[-1] < 2:
        return np.full(returns.shape[:-1], np.nan)
    mean, spread = returns.mean(axis=-1), returns.std(axis=-1, ddof=1)
    spread = np.where(np.ptp(returns, axis=-1) > 1e-12 * np.abs(mean), spread, np.nan)
    return mean / spread


def probabilistic(returns: np.ndarray, benchmark: float | np.ndarray = 0.0) -> np.ndarray:
    """The probability that the true Sharpe ratio is over `benchmark` (a session's, not annualised).

    Bailey and López de Prado 2012, the probabilistic Sharpe ratio (section 3); allows for skewness and kurtosis.

    Args:
        returns: (..., n), independent sessions.
        benchmark: one, or (...).
    """
    from scipy import special

    ratio = sharpe(returns)
    if np.isnan(ratio).all():
        return ratio
    centred = returns - returns.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        second, third, fourth = ((centred**k).mean(axis=-1) for k in (2, 3, 4))
        skewness, kurtosis = third / second**1.5, fourth / second**2
        error = np.sqrt(1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2)
        return special.ndtr((ratio - benchmark) * np.sqrt(returns.shape[-1] - 1) / error)


def best_of(trials: int, variance: float) -> float:
    """The Sharpe ratio to expect of the best of `trials` strategies without skill, whose ratios have this variance.

    Bailey and López de Prado 2014, equation 1; 0 for one trial. In the unit of the ratios.

    Raises:
        ForecastError: fewer than one trial.
    """
    from scipy import special

    if trials < 1:
        raise ForecastError(f"trials {trials}: count every strategy that was tried, this one included.")
    if trials == 1:
        return 0.0
    one, other = special.ndtri([1 - 1 / trials, 1 - 1 / (trials * np.e)])
    return float(np.sqrt(variance) * ((1 - np.euler_gamma) * one + np.euler_gamma * other))


def deflated(returns: np.ndarray, trials: int, variance: float | None = None) -> np.ndarray:
    """The probability that the true Sharpe ratio is over what the best of `trials` without skill would show.

    Bailey and López de Prado 2014, equation 2.

    Args:
        returns: (..., n), independent sessions.
        trials: strategies tried in all, this one included.
        variance: of the trials' Sharpe ratios a session; 1 / (n − 1), that of a strategy without skill, if not given.

    Raises:
        ForecastError: fewer than one trial.
    """
    n = returns.shape[-1]
    return probabilistic(returns, best_of(trials, 1 / max(n - 1, 1) if variance is None else variance))
