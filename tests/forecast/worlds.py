"""Returns whose volatility moves in ways that no model here knows, (sessions, series) each, and what we say of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from stockkit.forecast.judge.intervals import conformal
from stockkit.forecast.models.protocol import Series, target
from stockkit.forecast.models.volatility import usual
from stockkit.market import simulate


def garch(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """GARCH-t whose shocks last."""
    return simulate.garch_t(*shape, alpha=0.1, beta=0.89, nu=5, rng=rng)


def regimes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A calm and a storm of five times its volatility, which last 100 and 33 sessions on average."""
    flips, storm = rng.random(shape), np.zeros(shape, dtype=bool)
    for t in range(1, shape[0]):
        storm[t] = storm[t - 1] ^ (flips[t] < np.where(storm[t - 1], 0.03, 0.01))
    return 0.01 * np.where(storm, 5, 1) * rng.normal(size=shape)


def stochastic_volatility(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A log variance that wanders by itself (Taylor 1986)."""
    return 0.012 * np.exp(lfilter([1], [1, -0.98], 0.2 * rng.normal(size=shape), axis=0) / 2) * rng.normal(size=shape)


def jumps(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """GARCH-t with a jump of some 6 % once in a hundred sessions (Merton 1976)."""
    return garch(shape, rng) + (rng.random(shape) < 0.01) * rng.normal(0, 0.06, shape)


def ours(returns: np.ndarray, horizon: int) -> pd.DataFrame:
    """The random walk's forecasts of each series with the usual volatility and our intervals, a model each."""
    days = pd.bdate_range("2000-01-03", periods=len(returns)).to_numpy()
    parts = []
    for k, close in enumerate(100 * np.exp(returns.cumsum(axis=0)).T):
        series = Series(f"S{k:03}", days, close, np.empty((len(close), 0)))
        columns = {"as_of": days, "mean": 0.0, "sigma": usual(series, horizon), "actual": target(series, horizon)}
        parts.append(pd.DataFrame(columns).assign(symbol=series.symbol, model=f"m{k:03}", horizon=horizon))
    return conformal(pd.concat(parts, ignore_index=True))
