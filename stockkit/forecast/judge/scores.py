"""Out-of-sample scores against the random walk, tested, and corrected for how many models were tried."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stockkit.forecast import models
from stockkit.forecast.judge import losses
from stockkit.forecast.judge.diebold_mariano import Paired, pair
from stockkit.forecast.judge.multiple_testing import Trial, against_walk, holm, interval_chance, rank_ic_chance
from stockkit.forecast.models import RANDOM_WALK
from stockkit.market import schema

FIGURES = ["mae", "rmse", "mae_ratio", "rmse_ratio", "mase", "pinball", "crps", "winkler90", "winkler90_ratio",
           "coverage80", "coverage90", "coverage95", "width90", "hit_rate", "n_hit", "hit_lo", "hit_hi", "up_rate",
           "ic", "ic_80", "rank_ic", "rank_ic_se", "rank_ic_p", "rank_ic_holm", "winkler90_p", "winkler90_holm",
           "test", "dm_p", "p_holm"]  # fmt: skip
KINDS = {"n_hit": "int64", "test": "string"}
SCORES: dict[str, str] = {
    "symbol": "string",
    "model": "string",
    "horizon": "int64",
    "n": "int64",
    "first": "datetime64[ns]",
    "last": "datetime64[ns]",
    **{name: KINDS.get(name, "float64") for name in FIGURES},
}
OVERALL: dict[str, str] = {
    "model": "string",
    "horizon": "int64",
    "symbols": "int64",
    "n": "int64",
    "n_sessions": "int64",
    "first": "datetime64[ns]",
    "last": "datetime64[ns]",
    **{name: KINDS.get(name, "float64")
       for name in ["mae_ratio", "rmse_ratio", "winkler90_ratio", "coverage90", *FIGURES[FIGURES.index("ic_80"):]]},
}  # fmt: skip
CORRECTED = {"dm_p": "p_holm", "winkler90_p": "winkler90_holm", "rank_ic_p": "rank_ic_holm"}
SERIES = ["model", "horizon"]
ALL = "all_"  # what the columns over all symbols begin with where they stand beside those of each symbol
LEVEL = 0.05  # the chance allowed of a single false claim
MIN_SYMBOLS = 5  # with fewer, a rank correlation across symbols tells next to nothing
NESTING = models.nesting()


@dataclass(frozen=True, eq=False)
class Board:
    """All scores of one set of forecasts, corrected together.

    Attributes:
        by_symbol: a row a symbol, model and horizon, columns of `SCORES`.
        overall: a row a model and horizon over all symbols, columns of `OVERALL`; none where only the former were kept.
    """

    by_symbol: pd.DataFrame
    overall: pd.DataFrame = field(default_factory=lambda: schema.empty(OVERALL))

    def table(self) -> pd.DataFrame:
        """The scores by symbol, with those over all symbols beside each model and horizon, as ``all_…``.

        `from_table` is the inverse. Counts are floats, for there may be none.
        """
        counts = {name: "float64" for name, dtype in OVERALL.items() if dtype == "int64" and name not in SERIES}
        beside = self.overall.astype(counts).rename(columns=lambda name: name if name in SERIES else f"{ALL}{name}")
        return self.by_symbol.merge(beside, how="left", on=SERIES) if len(beside) else self.by_symbol.copy()


def board(rows: pd.DataFrame, *, nesting: Collection[str] = NESTING) -> Board:
    """Score forecasts by symbol, model and horizon, and each model and horizon over all symbols.

    Args:
        rows: symbol, model, as_of, horizon, mean, actual and scale of each forecast; sigma and the interval bounds
            lo80 to hi95 where there are any. In any order; left untouched.
        nesting: the models that contain the random walk as a special case, as from `models.nesting`; the package's
            own if not given. Any other is judged by Diebold and Mariano's test, which is right for it, and for these
            finds little.

    Returns:
        By symbol, in the order of `rows`, over the n sessions from first to last whose outcome is known and which the
        random walk forecast, too, in log return:

        - mae, rmse, and their ratios to the random walk's on the same sessions; mase (Hyndman and Koehler 2006);
        - pinball, over seven quantiles; crps, of the normal with mean and sigma; winkler90, of the 90 % interval, and
          its ratio to the random walk's; coverage80, coverage90, coverage95 and the mean width90: each over the rows
          that have what it needs;
        - hit_rate, the share of right signs among n_hit rows where neither mean nor actual is 0, with its exact 95 %
          interval hit_lo to hit_hi; up_rate, the share of rises among moves, which is what "always up" would get;
        - ic and rank_ic, Pearson's and Spearman's correlation of mean and actual over time, the latter with its
          standard error rank_ic_se and rank_ic_p, one-sided for an ic over 0;
        - dm_p, one-sided, of squared errors, by the `test` named: "clark_west" for the models of `nesting`,
          "diebold_mariano" for others (see `multiple_testing`);
        - ic_80, the correlation with the outcome at which a forecast that moves as this one does would have
          had a p_holm under 5 % with 80 % probability, were it the only one (worked out from forecasts and outcomes);
        - winkler90_p, one-sided, of interval scores, for models with a sigma that is not the random walk's;
        - p_holm, winkler90_holm, rank_ic_holm: each corrected by Holm's method for all of its kind in both tables.

        Overall, of models with two symbols or more: every figure is averaged over the symbols of a session first, so
        that symbols which move together count once, then over n_sessions; rank_ic is the mean over sessions of
        Spearman's correlation across symbols (5 symbols or more). The tests are of the series of session means, each
        symbol's losses first divided by the mean of the random walk's, so that a wild symbol counts no more.

        NaN where a figure has no rows to stand on; tests are NaN for the random walk, and for a model equal to
        it. No rows give no scores. With horizon > 1 outcomes overlap, and hit_lo to hit_hi is narrower than it should
        be; the tests allow for it, counting overlap in sessions of any symbol.

    Raises:
        ForecastError: a column missing, a symbol and horizon without a forecast of the random walk, or a session
            that stands twice.
    """
    if rows.empty:
        return Board(schema.empty(SCORES), schema.empty(OVERALL))
    paired = pair(rows)
    known = losses.compared(paired)
    tests = _tests(paired, known, nesting)
    lines, pooled = _over_all_symbols(paired, known, nesting)
    by_symbol, overall = pd.DataFrame(_by_symbol(paired, known, tests)), pd.DataFrame(lines)
    level = LEVEL / max(sum(np.isfinite(trial.p) for trial in [*tests, *pooled]), 1)
    by_symbol["ic_80"] = [trial.detectable_ic(level) for trial in tests]
    overall["ic_80"] = [trial.detectable_ic(level) for trial in pooled]
    for p, q in CORRECTED.items():
        by_symbol[q], overall[q] = _corrected(by_symbol[p].to_numpy(), overall[p].to_numpy() if pooled else np.empty(0))
    return Board(schema.cast(by_symbol, SCORES), schema.cast(overall, OVERALL) if pooled else schema.empty(OVERALL))


def from_table(rows: pd.DataFrame) -> Board:
    """The board that `Board.table` made these rows of; by symbol only where they are of before that.

    Where rows of several boards stand in one table, each of these has its scores over all of its symbols.
    """
    beside = {f"{ALL}{name}": name for name in OVERALL if name not in SERIES}
    if not set(beside) <= set(rows.columns):
        return Board(rows)
    overall = rows[[*SERIES, *beside]].rename(columns=beside).dropna(subset=["symbols"]).drop_duplicates()
    by_symbol = rows.drop(columns=list(beside))
    return Board(by_symbol, schema.cast(overall, OVERALL)) if len(overall) else Board(by_symbol)


def score(rows: pd.DataFrame, *, nesting: Collection[str] = NESTING) -> pd.DataFrame:
    """The scores of each symbol, model and horizon: `board(rows).by_symbol`."""
    return board(rows, nesting=nesting).by_symbol


def _corrected(by_symbol: np.ndarray, overall: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The p values of both tables, corrected for all of them; NaN stays."""
    p = np.concatenate([by_symbol, overall])
    p[np.isfinite(p)] = holm(p[np.isfinite(p)])
    return p[: len(by_symbol)], p[len(by_symbol) :]


def _by_symbol(paired: Paired, known: np.ndarray, tests: list[Trial]) -> dict[str, Any]:
    n = paired.total(np.ones(len(known)), known).astype("int64")
    latest = np.maximum.reduceat(np.where(known, paired.day, -1), paired.starts)
    earliest = np.minimum.reduceat(np.where(known, paired.day, len(paired.days)), paired.starts)
    dates = np.append(paired.days, np.datetime64("NaT", "ns"))  # the last stands for none
    return {
        **paired.keys,
        "n": n,
        "first": dates[earliest],
        "last": dates[latest],
        **losses.errors(paired, known),
        **losses.distributions(paired, known),
        **losses.hits(paired, known),
        "ic": losses.correlation(paired, known),
        **_rank_ic_over_time(paired, known),
        "winkler90_p": _interval_tests(paired, known),
        "test": [trial.test for trial in tests],
        "dm_p": [trial.p for trial in tests],
    }


def _tests(paired: Paired, known: np.ndarray, nesting: Collection[str]) -> list[Trial]:
    """The test of each series against the random walk."""
    base = paired.values["actual"] - paired.beside("mean")
    apart = paired.values["mean"] - paired.beside("mean")
    out = [Trial()] * len(paired.keys)
    for k, horizon, rows in _tried_series(paired, known):
        y, d = base[rows], apart[rows]
        unit = np.sqrt((y**2).mean() * (d**2).mean()) if len(y) else 0.0
        product = y * d / unit if unit > 0 else np.zeros(len(y))
        nests = str(paired.keys["model"].iloc[k]) in nesting
        out[k] = against_walk(2 * y * d - d**2, d**2, product, horizon=horizon, nests=nests)
    return out


def _interval_tests(paired: Paired, known: np.ndarray) -> np.ndarray:
    """The p value of each series' interval scores against the random walk's, NaN where its sigma is the same."""
    values, p = paired.values, np.full(len(paired.keys), np.nan)
    score = losses.winkler(values["actual"], values["lo90"], values["hi90"], 0.9)
    gain = np.where(paired.walk >= 0, score[paired.walk], np.nan) - score
    for k, horizon, rows in _tried_series(paired, known & np.isfinite(gain)):
        if paired.own_sigma(rows):
            p[k] = interval_chance(gain[rows], horizon)
    return p


def _tried_series(paired: Paired, where: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Each series but the random walk's, its horizon, and those of its rows that are `where`."""
    ends = np.append(paired.starts[1:], len(where))
    horizon = paired.keys["horizon"].to_numpy()
    for k in np.flatnonzero((paired.keys["model"] != RANDOM_WALK).to_numpy(dtype=bool)):
        first = paired.starts[k]
        yield int(k), int(horizon[k]), first + np.flatnonzero(where[first : ends[k]])


def _rank_ic_over_time(paired: Paired, known: np.ndarray) -> dict[str, np.ndarray]:
    """Spearman's correlation of mean and actual over the time of each series, its error and p value, (s,) each.

    NaN where either is constant.
    """
    out = np.full((3, len(paired.keys)), np.nan)
    for series, rows in _pools(paired, known):
        horizon = int(paired.keys["horizon"].iloc[series[0]])
        products = losses.rank_products(*_grids(paired, series, rows))
        out[:, series] = np.array([rank_ic_chance(row[np.isfinite(row)], horizon) for row in products]).T
    return dict(zip(("rank_ic", "rank_ic_se", "rank_ic_p"), out, strict=True))


def _over_all_symbols(
    paired: Paired, known: np.ndarray, nesting: Collection[str]
) -> tuple[list[dict[str, Any]], list[Trial]]:
    """A row a model and horizon with two symbols or more, `OVERALL` without corrections, and its test each."""
    pairs = [_overall_line(paired, series, rows, nesting) for series, rows in _pools(paired, known) if len(series) > 1]
    return [line for line, _ in pairs], [trial for _, trial in pairs]


def _pools(paired: Paired, known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The series that have rows `known`, and those rows, of each model and horizon."""
    pool = paired.keys.groupby(["model", "horizon"], sort=False).ngroup().to_numpy()
    scored = paired.total(np.ones(len(known)), known) > 0
    for k in range(pool.max() + 1):
        series = np.flatnonzero((pool == k) & scored)
        if len(series):
            yield series, np.flatnonzero(known & (pool == k)[paired.series])


def _grids(paired: Paired, series: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mean and actual as (series, sessions), NaN where there is no row."""
    at = np.searchsorted(series, paired.series[rows]), paired.day[rows]
    grids = np.full((2, len(series), len(paired.days)), np.nan)
    for grid, name in zip(grids, ("mean", "actual"), strict=True):
        grid[at] = paired.values[name][rows]
    return grids[0], grids[1]


def _overall_line(
    paired: Paired, series: np.ndarray, rows: np.ndarray, nesting: Collection[str]
) -> tuple[dict[str, Any], Trial]:
    name, horizon = str(paired.keys["model"].iloc[series[0]]), int(paired.keys["horizon"].iloc[series[0]])
    values, actual, walk = paired.values, paired.values["actual"][rows], paired.walk[rows]
    error, base = actual - values["mean"][rows], actual - values["mean"][walk]
    trial = _trial(paired, rows, base, base - error, horizon, name in nesting)
    line = {
        "model": name,
        "horizon": horizon,
        "symbols": len(series),
        "n": len(rows),
        "n_sessions": np.count_nonzero(np.bincount(paired.day[rows])),
        "first": paired.days[paired.day[rows].min()],
        "last": paired.days[paired.day[rows].max()],
        "mae_ratio": _relative(paired, rows, np.abs(error), np.abs(base)),
        "rmse_ratio": np.sqrt(_relative(paired, rows, error**2, base**2)),
        **_intervals(paired, rows, walk, horizon),
        **_daily_rank_ic(paired, series, rows, horizon),
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
    score = losses.winkler(actual[rows], low[rows], high[rows], 0.9)
    base = losses.winkler(actual[rows], low[walk], high[walk], 0.9)
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
        out["winkler90_p"] = interval_chance(_by_session(paired, known, gain), horizon)
    return out


def _relative(paired: Paired, rows: np.ndarray, above: np.ndarray, under: np.ndarray) -> float:
    """The mean of one over the mean of other, both averaged by session first; NaN where that is 0 or of no rows."""
    below = _by_session(paired, rows, under).sum()
    return float(_by_session(paired, rows, above).sum() / below) if below > 0 else np.nan


def _by_session(paired: Paired, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean over symbols of values (one a row of `rows`), a session each, of those with any; oldest first."""
    there = np.isfinite(values)
    day = paired.day[rows[there]]
    count = np.bincount(day, minlength=len(paired.days))
    total = np.bincount(day, values[there], minlength=len(paired.days))
    return total[count > 0] / count[count > 0]


def _daily_rank_ic(paired: Paired, series: np.ndarray, rows: np.ndarray, horizon: int) -> dict[str, float]:
    """The mean over sessions of Spearman's correlation across symbols, of those with 5 or more, and its test."""
    daily = np.empty(0)
    if len(series) >= MIN_SYMBOLS:
        mean, actual = _grids(paired, series, rows)
        enough = np.isfinite(mean).sum(axis=0) >= MIN_SYMBOLS
        daily = losses.rank_correlations(mean.T[enough], actual.T[enough])
    tested = rank_ic_chance(daily[np.isfinite(daily)], horizon)
    return dict(zip(("rank_ic", "rank_ic_se", "rank_ic_p"), tested, strict=True))
