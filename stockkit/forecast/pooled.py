"""The figures of a model over all its symbols together, and those that need a grid of symbols and sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stockkit.forecast.measures import rank_correlations, winkler
from stockkit.forecast.paired import Paired
from stockkit.forecast.significance import diebold_mariano

MIN_SYMBOLS = 5  # with fewer, a rank correlation across symbols says next to nothing


def rank_ic(paired: Paired, known: np.ndarray) -> np.ndarray:
    """Spearman's correlation of mean and actual over the time of each series, (s,); NaN where either is constant."""
    out = np.full(len(paired.keys), np.nan)
    for own, rows in _pools(paired, known):
        out[own] = rank_correlations(*_grids(paired, own, rows))
    return out


def overall(paired: Paired, known: np.ndarray) -> list[dict[str, Any]]:
    """A row a model and horizon with two symbols or more: `scores.OVERALL` without p_holm."""
    return [_line(paired, own, rows) for own, rows in _pools(paired, known) if len(own) > 1]


def _pools(paired: Paired, known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The series that have rows `known`, and those rows, of each model and horizon."""
    pool = paired.keys.groupby(["model", "horizon"], sort=False).ngroup().to_numpy()
    scored = paired.total(np.ones(len(known)), known) > 0
    for k in range(pool.max() + 1):
        yield np.flatnonzero((pool == k) & scored), np.flatnonzero(known & (pool == k)[paired.series])


def _grids(paired: Paired, own: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean and actual as (series, sessions), NaN where there is no row."""
    at = np.searchsorted(own, paired.series[rows]), paired.day[rows]
    grids = np.full((2, len(own), len(paired.days)), np.nan)
    for grid, name in zip(grids, ("mean", "actual"), strict=True):
        grid[at] = paired.values[name][rows]
    return grids[0], grids[1]


def _line(paired: Paired, own: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    name, horizon = paired.keys.loc[own[0], ["model", "horizon"]]
    values, actual, walk = paired.values, paired.values["actual"][rows], paired.walk[rows]
    error, base = actual - values["mean"][rows], actual - values["mean"][walk]
    gain = _by_session(paired, rows, base**2 - error**2)
    return {
        "model": name,
        "horizon": horizon,
        "symbols": len(own),
        "n": len(rows),
        "n_sessions": len(gain),
        "first": paired.days[paired.day[rows].min()],
        "last": paired.days[paired.day[rows].max()],
        "mae_ratio": _relative(paired, rows, np.abs(error), np.abs(base)),
        "rmse_ratio": np.sqrt(_relative(paired, rows, error**2, base**2)),
        **_intervals(paired, rows, walk),
        "rank_ic": _daily_rank_ic(paired, own, rows),
        "dm_p": diebold_mariano(gain, int(horizon)) if gain.any() else np.nan,
    }


def _intervals(paired: Paired, rows: np.ndarray, walk: np.ndarray) -> dict[str, float]:
    actual, low, high = (paired.values[name] for name in ("actual", "lo90", "hi90"))
    score = winkler(actual[rows], low[rows], high[rows], 0.9)
    base = winkler(actual[rows], low[walk], high[walk], 0.9)
    both = np.isfinite(score + base)
    inside = (low[rows] <= actual[rows]) & (actual[rows] <= high[rows])
    covered = _by_session(paired, rows, np.where(np.isfinite(score), inside, np.nan))
    return {
        "winkler90_ratio": _relative(paired, rows[both], score[both], base[both]),
        "coverage90": float(covered.mean()) if len(covered) else np.nan,
    }


def _relative(paired: Paired, rows: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """The mean of one over the mean of other, both averaged by session first; NaN where that is 0 or of no rows."""
    below = _by_session(paired, rows, other).sum()
    return float(_by_session(paired, rows, one).sum() / below) if below > 0 else np.nan


def _by_session(paired: Paired, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean over symbols of values (one a row of `rows`), a session each, of those with any; oldest first."""
    there = np.isfinite(values)
    day = paired.day[rows[there]]
    count = np.bincount(day, minlength=len(paired.days))
    total = np.bincount(day, values[there], minlength=len(paired.days))
    return total[count > 0] / count[count > 0]


def _daily_rank_ic(paired: Paired, own: np.ndarray, rows: np.ndarray) -> float:
    """The mean over sessions of Spearman's correlation across symbols, of those with 5 symbols or more."""
    if len(own) < MIN_SYMBOLS:
        return np.nan
    mean, actual = _grids(paired, own, rows)
    enough = np.isfinite(mean).sum(axis=0) >= MIN_SYMBOLS
    daily = rank_correlations(mean.T[enough], actual.T[enough])
    return float(np.nanmean(daily)) if np.isfinite(daily).any() else np.nan
