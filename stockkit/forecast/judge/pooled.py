"""The figures of a model over all its symbols together, and those that need a grid of symbols and sessions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from stockkit.forecast.judge.diebold_mariano import Paired
from stockkit.forecast.judge.losses import rank_correlations, rank_products, winkler
from stockkit.forecast.judge.trials import Trial, against_walk, of_intervals, of_rank_ic

MIN_SYMBOLS = 5  # with fewer, a rank correlation across symbols says next to nothing


def rank_ic(paired: Paired, known: np.ndarray) -> dict[str, np.ndarray]:
    """Spearman's correlation of mean and actual over the time of each series, its error and p value, (s,) each.

    NaN where either is constant.
    """
    out = np.full((3, len(paired.keys)), np.nan)
    for own, rows in _pools(paired, known):
        horizon = int(paired.keys["horizon"].iloc[own[0]])
        products = rank_products(*_grids(paired, own, rows))
        out[:, own] = np.array([of_rank_ic(row[np.isfinite(row)], horizon) for row in products]).T
    return dict(zip(("rank_ic", "rank_ic_se", "rank_ic_p"), out, strict=True))


def overall(paired: Paired, known: np.ndarray, nesting: Collection[str]) -> tuple[list[dict[str, Any]], list[Trial]]:
    """A row a model and horizon with two symbols or more, `scores.OVERALL` without corrections, and its test each."""
    found = [_line(paired, own, rows, nesting) for own, rows in _pools(paired, known) if len(own) > 1]
    return [line for line, _ in found], [trial for _, trial in found]


def _pools(paired: Paired, known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The series that have rows `known`, and those rows, of each model and horizon."""
    pool = paired.keys.groupby(["model", "horizon"], sort=False).ngroup().to_numpy()
    scored = paired.total(np.ones(len(known)), known) > 0
    for k in range(pool.max() + 1):
        own = np.flatnonzero((pool == k) & scored)
        if len(own):
            yield own, np.flatnonzero(known & (pool == k)[paired.series])


def _grids(paired: Paired, own: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean and actual as (series, sessions), NaN where there is no row."""
    at = np.searchsorted(own, paired.series[rows]), paired.day[rows]
    grids = np.full((2, len(own), len(paired.days)), np.nan)
    for grid, name in zip(grids, ("mean", "actual"), strict=True):
        grid[at] = paired.values[name][rows]
    return grids[0], grids[1]


def _line(paired: Paired, own: np.ndarray, rows: np.ndarray, nesting: Collection[str]) -> tuple[dict[str, Any], Trial]:
    name, horizon = str(paired.keys["model"].iloc[own[0]]), int(paired.keys["horizon"].iloc[own[0]])
    values, actual, walk = paired.values, paired.values["actual"][rows], paired.walk[rows]
    error, base = actual - values["mean"][rows], actual - values["mean"][walk]
    trial = _trial(paired, rows, base, base - error, horizon, name in nesting)
    line = {
        "model": name,
        "horizon": horizon,
        "symbols": len(own),
        "n": len(rows),
        "n_sessions": np.count_nonzero(np.bincount(paired.day[rows])),
        "first": paired.days[paired.day[rows].min()],
        "last": paired.days[paired.day[rows].max()],
        "mae_ratio": _relative(paired, rows, np.abs(error), np.abs(base)),
        "rmse_ratio": np.sqrt(_relative(paired, rows, error**2, base**2)),
        **_intervals(paired, rows, walk, horizon),
        **_daily_rank_ic(paired, own, rows, horizon),
        "test": trial.test,
        "dm_p": trial.p,
    }
    return line, trial


def _trial(paired: Paired, rows: np.ndarray, base: np.ndarray, apart: np.ndarray, horizon: int, nests: bool) -> Trial:
    """The test over all symbols, each in the unit of its outcomes: a wild one counts no more than a calm one."""
    if not apart.any():
        return Trial()
    unit, reach = (np.sqrt(_per_symbol(paired, rows, part**2)) for part in (base, apart))
    outcome, forecast = (np.divide(part, unit, out=np.zeros(len(rows)), where=unit > 0) for part in (base, apart))
    scaled = np.divide(unit, reach, out=np.zeros(len(rows)), where=reach > 0)  # the forecast in a unit of its own
    parts = 2 * outcome * forecast - forecast**2, forecast**2, outcome * forecast * scaled
    return against_walk(*(_by_session(paired, rows, part) for part in parts), horizon=horizon, nests=nests)


def _per_symbol(paired: Paired, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean of values (one a row of `rows`) over all rows of the same series, for each of them."""
    series = paired.series[rows]
    return (np.bincount(series, values) / np.maximum(np.bincount(series), 1))[series]


def _intervals(paired: Paired, rows: np.ndarray, walk: np.ndarray, horizon: int) -> dict[str, float]:
    actual, low, high = (paired.values[name] for name in ("actual", "lo90", "hi90"))
    score = winkler(actual[rows], low[rows], high[rows], 0.9)
    base = winkler(actual[rows], low[walk], high[walk], 0.9)
    both = np.isfinite(score + base)
    inside = (low[rows] <= actual[rows]) & (actual[rows] <= high[rows])
    covered = _by_session(paired, rows, np.where(np.isfinite(score), inside, np.nan))
    known, score, base = rows[both], score[both], base[both]
    out = {
        "winkler90_ratio": _relative(paired, known, score, base),
        "coverage90": float(covered.mean()) if len(covered) else np.nan,
        "winkler90_p": np.nan,
    }
    if paired.own_sigma(known):
        unit = _per_symbol(paired, known, base)
        gain = np.divide(base - score, unit, out=np.zeros(len(known)), where=unit > 0)
        out["winkler90_p"] = of_intervals(_by_session(paired, known, gain), horizon)
    return out


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


def _daily_rank_ic(paired: Paired, own: np.ndarray, rows: np.ndarray, horizon: int) -> dict[str, float]:
    """The mean over sessions of Spearman's correlation across symbols, of those with 5 or more, and its test."""
    daily = np.empty(0)
    if len(own) >= MIN_SYMBOLS:
        mean, actual = _grids(paired, own, rows)
        enough = np.isfinite(mean).sum(axis=0) >= MIN_SYMBOLS
        daily = rank_correlations(mean.T[enough], actual.T[enough])
    found = of_rank_ic(daily[np.isfinite(daily)], horizon)
    return dict(zip(("rank_ic", "rank_ic_se", "rank_ic_p"), found, strict=True))
