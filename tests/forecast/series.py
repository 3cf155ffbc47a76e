"""Series and training sets for the tests of models."""

import numpy as np

from stockkit.forecast.models import Series, Training


def series(close: np.ndarray, features: np.ndarray | None = None, symbol: str = "AAA") -> Series:
    """A series of consecutive days."""
    described = np.empty((len(close), 0)) if features is None else features
    days = np.datetime64("2020-01-01", "D") + np.arange(len(close))
    return Series(symbol, days, close, described, tuple(f"f{k}" for k in range(described.shape[1])))


def training(*parts: Series, horizon: int = 1) -> Training:
    """All of some series, as known at the last session of any."""
    return Training(parts, horizon, max(part.date[-1] for part in parts))


def planted(n: int = 600, k: int = 4, *, slope: float = 0.01, seed: int = 0, symbol: str = "AAA") -> Series:
    """Noise features, the first of which moves the next session's log return by `slope` a unit."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, k))
    returns = rng.normal(0, 0.01, n)
    returns[1:] += slope * features[:-1, 0]
    return series(100 * np.exp(np.cumsum(returns)), features, symbol)
