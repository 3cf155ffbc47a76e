"""Closes made of known returns, and the questions that every model of closes has to answer."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from stockkit.forecast.models.protocol import Fitted, Forecast, Model, Series, Training

YEAR = np.timedelta64(365, "D")


def student(n: int = 500, *, seed: int = 0) -> np.ndarray:
    """Fat-tailed returns with a little memory in their sign and in their size."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(5, n) * 0.01 * np.exp(0.3 * np.sin(np.arange(n) / 40))
    return 0.0005 + shocks + 0.3 * np.concatenate([[0.0], shocks[:-1]])


def series(returns: np.ndarray, *, unit: str = "ns", start: float = 100.0) -> Series:
    """One session a day, the first close at `start`."""
    n = len(returns) + 1
    dates = np.datetime64("2015-01-01", unit) + np.arange(n) * np.timedelta64(1, "D")
    return Series("ON", dates, start * np.exp(np.concatenate([[0.0], np.cumsum(returns)])), np.empty((n, 0)))


def training(history: Series, cut: int, horizon: int = 5) -> Training:
    """The first `cut` rows."""
    return Training((history.until(cut),), horizon, history.date[cut - 1])


def with_hole(history: Series, row: int, factor: float = 3.0) -> Series:
    """The same returns, but after `row` a year is missing, over which the price went to `factor` times what it was."""
    date = np.concatenate([history.date[: row + 1], history.date[row:] + YEAR])
    close = np.concatenate([history.close[: row + 1], history.close[row:] * factor])
    return Series(history.symbol, date, close, np.empty((len(date), 0)))


def restored(fitted: Any) -> Fitted:
    """What comes back from the JSON of its fields."""
    values = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in asdict(fitted).items()}
    back = json.loads(json.dumps(values))
    arrays = {field.name for field in fields(fitted) if isinstance(getattr(fitted, field.name), np.ndarray)}
    return type(fitted)(**{name: np.array(v, dtype=float) if name in arrays else v for name, v in back.items()})


def pair(forecast: Forecast) -> np.ndarray:
    """Mean and sigma, shape (2, m); a sigma that the model leaves to others as 0."""
    return np.array([forecast.mean, np.zeros_like(forecast.mean) if forecast.sigma is None else forecast.sigma])


def sees_only_the_past(model: Model, history: Series, cut: int, row: int) -> None:
    """Neither cutting the series after `row` nor moving its later closes changes a forecast up to `row`."""
    fitted = model.fit(training(history, cut))
    expected = pair(fitted.forecast(history, cut))[:, : row + 1 - cut]
    moved = history.close * np.where(np.arange(len(history)) > row, 1.5, 1.0)
    later = Series(history.symbol, history.date, moved, history.features)
    np.testing.assert_array_equal(pair(fitted.forecast(history.until(row + 1), cut)), expected)
    np.testing.assert_array_equal(pair(fitted.forecast(later, cut))[:, : row + 1 - cut], expected)
    assert np.isfinite(expected).all()
    next_one = [pair(fitted.forecast(any_, row + 1))[:, 0].tolist() for any_ in (history, later)]
    assert next_one[0] != next_one[1]  # what moved is seen as soon as it may be
