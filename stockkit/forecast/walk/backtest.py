"""Walk-forward backtests: refit through time, on labels that were realised before the first session forecast."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models.ensemble import MedianEnsemble, Recipe
from stockkit.forecast.models.protocol import RANDOM_WALK, SERIES, Fitted, names_of
from stockkit.forecast.walk import folds
from stockkit.forecast.walk.fold_fits import FitResults, add_median, fit_per_symbol, fit_pooled
from stockkit.forecast.walk.folds import Fold
from stockkit.forecast.walk.histories import SHORTEST, Histories

KEY = [*SERIES, "as_of"]
FITS = ["symbol", "model", "fold", "label_end", "test_start", "rows", "tried", "chosen"]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # each has a core
OnDone = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Backtest:
    """What a backtest gave.

    Attributes:
        rows: one row a symbol, model and as-of session, sorted by symbol, model (as given) and as_of: symbol,
            model, as_of (the session whose close is the last thing known), horizon (sessions), mean, sigma and
            actual (h-session log return; actual is NaN where not yet realised), fold (-1 from `latest`), scale
            (mean absolute h-session log return of the fold's training rows: the denominator of MASE, Hyndman and
            Koehler 2006, section 3).
        fits: one row a fit: symbol ("" for a pooled model), model, fold, label_end (the session on which its last
            label ended), test_start, rows (labels trained on), tried (settings compared), chosen (which won).
        skipped: why there are no rows of a symbol ("IBM") or of one model of a symbol ("IBM lasso").
        fitted: from `latest`, each fit by (symbol, model).
    """

    rows: pd.DataFrame
    fits: pd.DataFrame
    skipped: dict[str, str]
    fitted: Mapping[tuple[str, str], Fitted] = field(default_factory=dict, repr=False)

    @property
    def trials(self) -> int:
        """How many settings of how many models and symbols were tried, the random walk not counted."""
        tried = self.fits[self.fits["model"] != RANDOM_WALK]
        return int(tried.groupby(["symbol", "model"])["tried"].max().sum())


def run(
    panel: pd.DataFrame,
    *,
    models: Sequence[Recipe],
    features: Sequence[str],
    horizon: int,
    min_train: int = 250,
    step: int = 126,
    embargo: int = 0,
    window: int | None = None,
    jobs: int = 1,
    on_done: OnDone | None = None,
) -> Backtest:
    """Forecast every session after the first `min_train`, refitting each model every `step` sessions.

    Args:
        panel: symbol, date, close and the features, sorted by symbol then date; left untouched.
        models: with distinct names; include the random walk, or `scores` has nothing to compare with.
        features: columns given to the models; row t may hold what was known at the close of t, nothing later.
        horizon: sessions ahead, 1 to 252.
        min_train, step, embargo, window: as for `folds.walk_forward`, in sessions of the panel. A symbol takes part
            in a fold if it has min_train sessions to train on.
        jobs: processes to work in; -1 for one a core. The numbers are the same.
        on_done: called with a name, how many parts are done, and of how many.

    Raises:
        ForecastError: a panel that lacks a column or is not sorted, models with the same name. What is wrong with
            one symbol only (too short, constant) stands in `skipped`, and the others go on. A model that cannot be
            fitted yet (too few rows with all features) has NaN as its mean until it can.
        LookAhead: a model used rows after the one that it forecast. Every fit is made to forecast its rows with the
            later ones taken away, at up to eleven cuts (`fold_fits.check_cuts`), and has to say the same.
    """
    names_of(models)
    histories = Histories.from_frame(panel, features, horizon)
    sessions = len(histories.sessions)
    how: dict[str, Any] = {"horizon": horizon, "min_train": min_train, "step": step, "embargo": embargo}
    enough = min_train + folds.check(**how, window=window) < sessions
    walked = folds.walk_forward(sessions, **how, window=window) if enough else []
    return _fit_all(histories, models, walked, min_train, jobs, on_done)


def latest(
    panel: pd.DataFrame,
    *,
    models: Sequence[Recipe],
    features: Sequence[str],
    horizon: int,
    jobs: int = 1,
    on_done: OnDone | None = None,
) -> Backtest:
    """Forecast from each symbol's last session, fitted on every label that ended before it; arguments as in `run`.

    A symbol whose last session is over a week older than the panel's is left out, with the reason in `skipped`.
    """
    names_of(models)
    histories = Histories.from_frame(panel, features, horizon).traded()
    newest = []
    if histories.by_symbol:
        earliest = min(history.series.date[-1] for history in histories.by_symbol.values())
        start = int(np.searchsorted(histories.sessions, earliest))
        newest = [folds.newest(len(histories.sessions), horizon=horizon, start=start)]
    return _fit_all(histories, models, newest, SHORTEST, jobs, on_done)


def forecast_rows(past: pd.DataFrame, newest: pd.DataFrame) -> pd.DataFrame:
    """The rows of `run` with those of `latest` appended, in the place of the backtest's own at that session.

    Each session then stands once, with none left out, as `intervals` needs it.
    Sorted by symbol, model and as_of.
    """
    both = pd.concat([past, newest], ignore_index=True) if len(past) and len(newest) else past if len(past) else newest
    return both.drop_duplicates(KEY, keep="last").sort_values(KEY, kind="stable", ignore_index=True)


def _fit_all(
    histories: Histories,
    models: Sequence[Recipe],
    walked: list[Fold],
    min_train: int,
    jobs: int,
    on_done: OnDone | None,
) -> Backtest:
    ensembles = [model for model in models if isinstance(model, MedianEnsemble)]
    to_fit = [model for model in models if not isinstance(model, MedianEnsemble)]
    for ensemble in ensembles:
        ensemble.choose([model.name for model in to_fit])
    pooled = [model for model in to_fit if getattr(model, "pooled", False)]
    single = [model for model in to_fit if model not in pooled]
    bare = replace(histories, by_symbol={})  # a process is sent one symbol, not all of them each time
    todo = [(model.name, partial(fit_pooled, histories, model, walked, min_train)) for model in pooled] + [
        (symbol, partial(fit_per_symbol, bare, history, single, walked, min_train))
        for symbol, history in histories.by_symbol.items()
    ]
    total = FitResults(skipped=dict(histories.skipped))
    for number, results in enumerate(in_processes([call for _, call in todo], jobs)):
        total.add(results)
        if on_done:
            on_done(todo[number][0], number + 1, len(todo))
    for ensemble in ensembles:
        add_median(ensemble, histories.horizon, total)
    order = {model.name: k for k, model in enumerate(models)}
    blocks = sorted(total.blocks, key=lambda block: (block["symbol"], order[block["model"]], block["start"]))
    fits = pd.DataFrame(total.fits, columns=FITS)
    return Backtest(_rows(histories, blocks), fits, total.skipped, total.fitted)


def _rows(histories: Histories, blocks: list[dict[str, Any]]) -> pd.DataFrame:
    sizes = [len(block["forecast"].mean) for block in blocks]
    parts = [
        (histories.by_symbol[block["symbol"]], slice(block["start"], block["start"] + size))
        for block, size in zip(blocks, sizes, strict=True)
    ]

    def repeated(name: str, dtype: str) -> np.ndarray:
        return np.repeat(np.array([block[name] for block in blocks], dtype=dtype), sizes)

    def joined(values: Iterable[np.ndarray], dtype: str = "float64") -> np.ndarray:
        return np.concatenate([np.empty(0, dtype=dtype), *values])

    return pd.DataFrame(
        {
            "symbol": pd.array(repeated("symbol", "object"), dtype="string[pyarrow]"),
            "model": pd.array(repeated("model", "object"), dtype="string[pyarrow]"),
            "as_of": joined((history.series.date[rows] for history, rows in parts), "datetime64[ns]"),
            "horizon": np.full(sum(sizes), histories.horizon, dtype="int64"),
            "mean": joined(block["forecast"].mean for block in blocks),
            "sigma": joined(block["forecast"].sigma for block in blocks),
            "actual": joined(history.labels[rows] for history, rows in parts),
            "fold": repeated("fold", "int64"),
            "scale": repeated("scale", "float64"),
        }
    )


def in_processes(todo: Sequence[Callable[[], Any]], jobs: int) -> Iterator[Any]:
    """What each of `todo` returns, in order, from `jobs` processes; 1: this one, -1: one a core.

    Where processes cannot share locks, as on Lambda, which has no writable /dev/shm, the calls take turns in this one,
    after a warning.

    Raises:
        ForecastError: another number of jobs; a process that was killed. And whatever a call raises.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or (jobs < 1 and jobs != -1):
        raise ForecastError(f"jobs {jobs!r}: give a number of processes, or -1 for one a core.")
    results = None if jobs == 1 else _from_processes(todo, jobs)
    if results is None:
        yield from map(_call, todo)
        return
    from loky.process_executor import TerminatedWorkerError

    try:
        yield from results
    except TerminatedWorkerError as error:
        raise ForecastError(
            "a process that fitted models was killed, as happens where memory runs out: give it fewer symbols, more "
            "memory, or jobs=1."
        ) from error


def _from_processes(todo: Sequence[Callable[[], Any]], jobs: int) -> Iterator[Any] | None:
    """The results from several processes, to come; None where there can be none beside this one."""
    try:
        import loky

        count = loky.cpu_count() if jobs == -1 else jobs
        if count == 1:
            return None
        return loky.get_reusable_executor(count, env=ONE_THREAD).map(_call, todo)  # type: ignore[no-any-return]
    except (OSError, ImportError) as error:
        warnings.warn(
            f"No process can be started beside this one ({error}; is /dev/shm writable?): fits take turns.",
            stacklevel=3,
        )
        return None


def end_processes() -> None:
    """End the processes; a kernel that is killed first would leave their locks behind, and a warning."""
    with suppress(OSError, ImportError):
        import loky

        loky.get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _call(work: Callable[[], Any]) -> Any:
    """The result of a call; sums that BLAS divides among threads would round as the machine's cores have it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return work()
