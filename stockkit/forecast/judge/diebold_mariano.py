"""Forecasts sorted into series, each beside the random walk's of the same symbol, horizon and session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import RANDOM_WALK, SERIES

VALUES = ["mean", "sigma", "actual", "scale", "lo80", "hi80", "lo90", "hi90", "lo95", "hi95"]
NEEDED = [*SERIES, "as_of", "mean", "actual", "scale"]


@dataclass(frozen=True, eq=False)
class Paired:
    """Rows by series, then session; a series is one symbol, model and horizon.

    Attributes:
        keys: symbol, model and horizon of each of s series, in the order in which they first stand in the rows.
        starts: (s,) the first row of each series.
        series: (n,) the series of each row.
        day: (n,) which of `days` a row is made on.
        days: all as-of sessions, datetime64[ns], ascending.
        values: `VALUES`, (n,) each; a column that the rows lack is NaN.
        walk: (n,) the row of the random walk's forecast to compare with, −1 where there is none.
    """

    keys: pd.DataFrame
    starts: np.ndarray
    series: np.ndarray
    day: np.ndarray
    days: np.ndarray
    values: dict[str, np.ndarray]
    walk: np.ndarray

    def beside(self, name: str) -> np.ndarray:
        """The random walk's value of the same symbol, horizon and session, (n,); NaN where there is none."""
        return np.where(self.walk >= 0, self.values[name][self.walk], np.nan)

    def own_sigma(self, rows: np.ndarray) -> bool:
        """Whether a sigma of the rows given is not the random walk's, or nothing is known of it."""
        walk = self.walk[rows]
        mine, base = self.values["sigma"][rows], np.where(walk >= 0, self.values["sigma"][walk], np.nan)
        return bool((~(np.abs(mine - base) <= 1e-9 * base)).any())

    def total(self, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Sums (s,) of each series' values (n,) over the rows `where`."""
        return np.add.reduceat(np.where(where, values, 0.0), self.starts)

    def average(self, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Means (s,) of each series' values (n,) over the rows `where`; NaN where there is no row."""
        count = self.total(np.ones(len(where)), where)
        return np.divide(self.total(values, where), count, out=np.full(len(count), np.nan), where=count > 0)


def pair(rows: pd.DataFrame) -> Paired:
    """Sort forecasts by series and session, and find the random walk's for each.

    Args:
        rows: symbol, model, as_of, horizon, mean, actual and scale; sigma and the interval bounds if there are
            any. At least one row, in any order; left untouched.

    Raises:
        ForecastError: a column missing, a row without symbol, model or session, two forecasts of one model for the
            same session, or a symbol and horizon without a forecast of the random walk.
    """
    _check(rows)
    symbol, model, horizon = (pd.factorize(rows[name])[0].astype("int64") for name in SERIES)
    day, days = pd.factorize(rows["as_of"].to_numpy(dtype="datetime64[ns]"), sort=True)
    if min(part.min() for part in (symbol, model, horizon, day)) < 0:
        raise ForecastError("a forecast without a symbol, model, horizon or as_of cannot be scored: drop the row.")
    place = symbol * (horizon.max() + 1) + horizon
    series = pd.factorize(place * (model.max() + 1) + model)[0]
    order = np.argsort(series * len(days) + day)  # no two are equal: checked below
    series, day, place = series[order], day[order], place[order]
    starts = np.flatnonzero(np.diff(series, prepend=-1))
    keys = rows[SERIES].iloc[order[starts]].reset_index(drop=True)
    keys = keys.astype({"symbol": "string", "model": "string", "horizon": "int64"})
    _check_once(keys, series, days[day])
    values = {name: _column(rows, name, order) for name in VALUES}
    walk = _walk(keys, series, place * len(days) + day)
    _check_walks(keys, series[np.isfinite(values["mean"][walk]) & (walk >= 0)])
    return Paired(keys, starts, series, day, days, values, walk)


def _check(rows: pd.DataFrame) -> None:
    lacking = [name for name in NEEDED if name not in rows]
    if lacking:
        raise ForecastError(f"the forecasts have no column {lacking[0]!r}; they have {', '.join(map(str, rows))}.")


def _check_once(keys: pd.DataFrame, series: np.ndarray, as_of: np.ndarray) -> None:
    twice = np.flatnonzero((series[1:] == series[:-1]) & (as_of[1:] == as_of[:-1]))
    if len(twice):
        key, when = keys.loc[series[twice[0]]], pd.Timestamp(as_of[twice[0]])
        raise ForecastError(f"{key['model']} has two forecasts of {key['symbol']} as of {when:%Y-%m-%d}: keep one.")


def _column(rows: pd.DataFrame, name: str, order: np.ndarray) -> np.ndarray:
    return rows[name].to_numpy(dtype="float64")[order] if name in rows else np.full(len(order), np.nan)


def _walk(keys: pd.DataFrame, series: np.ndarray, where: np.ndarray) -> np.ndarray:
    """For each row, the row of the random walk with the same number in `where` (symbol, horizon and session)."""
    rows = np.flatnonzero((keys["model"] == RANDOM_WALK).to_numpy(dtype=bool)[series])
    return np.append(rows, -1)[pd.Index(where[rows]).get_indexer(where)]


def _check_walks(keys: pd.DataFrame, compared: np.ndarray) -> None:
    """Refuse a symbol and horizon none of whose series has a row `compared` with the random walk."""
    with_walk = pd.Series(np.isin(np.arange(len(keys)), compared)).groupby([keys["symbol"], keys["horizon"]]).any()
    if not with_walk.all():
        symbol, horizon = with_walk.idxmin()
        where = f"{symbol} {horizon} session(s) ahead"
        raise ForecastError(
            f"no forecast of {RANDOM_WALK!r} of {where}: nothing to compare with. Add it to the models."
        )
