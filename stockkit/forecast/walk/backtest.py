"""Walk-forward backtests: refit through time, on labels that were realised before the first session forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from stockkit import forked
from stockkit.forecast.models.ensemble import MedianEnsemble, Recipe
from stockkit.forecast.models.protocol import RANDOM_WALK, SERIES, Fitted, Model, names_of
from stockkit.forecast.walk import folds
from stockkit.forecast.walk.fold_fits import FitResults, add_median, fit_per_symbol, fit_pooled, fold_pasts
from stockkit.forecast.walk.folds import Fold
from stockkit.forecast.walk.histories import SHORTEST, Histories
from stockkit.forecast.walk.kept_fits import Entry, FitStore, KeptFits
from stockkit.forecast.walk.processes import in_processes

KEY = [*SERIES, "as_of"]
FITS = ["symbol", "model", "fold", "label_end", "test_start", "rows", "tried", "chosen"]
FEW = 200  # fits of one symbol, which take one process some five seconds: what two take to start and import
FEW_OF_FORKED = 20  # the same where workers are forked with their libraries
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


@dataclass(frozen=True, eq=False)
class Walk:
    """What a backtest asks for: the folds of a panel's histories, and the sessions that a fit has to have."""

    histories: Histories
    folds: list[Fold]
    min_train: int


def run(
    panel: pd.DataFrame,
    *,
    models: Sequence[Recipe],
    features: Sequence[str],
    horizon: int,
    jobs: int = 1,
    on_done: OnDone | None = None,
    store: FitStore | None = None,
    **how: Any,
) -> Backtest:
    """Forecast every session after the first `min_train`, refitting each model every `step` sessions.

    Args:
        panel: symbol, date, close and the features, sorted by symbol then date; left untouched.
        models: with distinct names; include the random walk, or `scores` has nothing to compare with.
        features: columns given to the models; row t may hold what was known at the close of t, nothing later.
        horizon: sessions ahead, 1 to 252.
        jobs: processes to work in; -1 for one a core. The numbers are the same.
        on_done: called with a name, how many parts are done, and of how many.
        store: where fits are kept from run to run (`kept_fits`); the numbers are the same.
        how: the folds, as for `past_walk`.

    Raises:
        ForecastError: a panel that lacks a column or is not sorted, models with the same name. What is wrong with
            one symbol only (too short, constant) stands in `skipped`, and the others go on. A model that cannot be
            fitted yet (too few rows with all features) has NaN as its mean until it can.
        LookAhead: a model used rows after the one that it forecast. Every fit is made to forecast its rows with the
            later ones taken away, at up to eleven cuts (`fold_fits.check_cuts`), and has to say the same.
    """
    walk = past_walk(Histories.from_frame(panel, features, horizon), **how)
    return fit([walk], models, jobs=jobs, on_done=on_done, store=store)[0]


def latest(
    panel: pd.DataFrame,
    *,
    models: Sequence[Recipe],
    features: Sequence[str],
    horizon: int,
    jobs: int = 1,
    on_done: OnDone | None = None,
    store: FitStore | None = None,
) -> Backtest:
    """Forecast from each symbol's last session, fitted on every label that ended before it; arguments as in `run`.

    A symbol whose last session is over a week older than the panel's is left out, with the reason in `skipped`.
    """
    walk = newest_walk(Histories.from_frame(panel, features, horizon))
    return fit([walk], models, jobs=jobs, on_done=on_done, store=store)[0]


def past_walk(
    histories: Histories,
    *,
    min_train: int = 250,
    step: int = 126,
    embargo: int = 0,
    window: int | None = None,
    begin: int = 0,
) -> Walk:
    """Every session after the first `min_train`, or from `begin` on if that is later.

    Args:
        histories: of the panel.
        min_train, step, embargo, window, begin: as for `folds.walk_forward`, in sessions of the panel. A symbol takes
            part in a fold if it has min_train sessions to train on.
    """
    sessions = len(histories.sessions)
    how: dict[str, Any] = {"horizon": histories.horizon, "min_train": min_train, "step": step, "embargo": embargo}
    enough = min_train + folds.check(**how, window=window) < sessions
    made = folds.walk_forward(sessions, **how, window=window, begin=begin) if enough else []
    return Walk(histories, made, min_train)


def newest_walk(histories: Histories) -> Walk:
    """The last session of each symbol that is still traded."""
    histories = histories.traded()
    newest = []
    if histories.by_symbol:
        earliest = min(history.series.date[-1] for history in histories.by_symbol.values())
        start = int(np.searchsorted(histories.sessions, earliest))
        newest = [folds.newest(len(histories.sessions), horizon=histories.horizon, start=start)]
    return Walk(histories, newest, SHORTEST)


def forecast_rows(past: pd.DataFrame, newest: pd.DataFrame) -> pd.DataFrame:
    """The rows of `run` with those of `latest` appended, in the place of the backtest's own at that session.

    Each session then stands once, with none left out, as `intervals` needs it.
    Sorted by symbol, model and as_of.
    """
    both = pd.concat([past, newest], ignore_index=True) if len(past) and len(newest) else past if len(past) else newest
    return both.drop_duplicates(KEY, keep="last").sort_values(KEY, kind="stable", ignore_index=True)


def fit(
    walks: Sequence[Walk],
    models: Sequence[Recipe],
    *,
    jobs: int = 1,
    on_done: OnDone | None = None,
    store: FitStore | None = None,
) -> list[Backtest]:
    """Several backtests of the same models, by the same processes; a symbol is fitted in all of them at one go."""
    names_of(models)
    ensembles = [model for model in models if isinstance(model, MedianEnsemble)]
    to_fit = [model for model in models if not isinstance(model, MedianEnsemble)]
    for ensemble in ensembles:
        ensemble.choose([model.name for model in to_fit])
    parts = _parts(walks, to_fit, store)
    jobs = _worth(jobs, parts) if store else jobs
    totals = [FitResults(skipped=dict(walk.histories.skipped)) for walk in walks]
    used: dict[str, dict[str, Entry]] = {}
    with closing(in_processes(parts, jobs)) as done:
        for number, (results, entries) in enumerate(done):
            for k, result in results.items():
                totals[k].add(result)
            used.setdefault(parts[number].place, {}).update(entries)
            if on_done:
                on_done(parts[number].name, number + 1, len(parts))
    if store:
        for place, entries in used.items():
            store.save(place, entries)
    return [_backtest(walk, models, ensembles, total) for walk, total in zip(walks, totals, strict=True)]


@dataclass(frozen=True, eq=False)
class _Part:
    """What is fitted at one go: a pooled model in one walk, or all other models of a symbol in all walks.

    Attributes:
        name: of the model or the symbol. pooled: which of the two. walks: by number. place: of the store.
    """

    name: str
    pooled: bool
    walks: Mapping[int, Walk]
    models: Sequence[Model]
    kept: KeptFits
    place: str

    def __call__(self) -> tuple[dict[int, FitResults], dict[str, Entry]]:
        """The results by the number of the walk, and what was used of what is kept."""
        results = {}
        for k, walk in self.walks.items():
            how = (walk.folds, walk.min_train, self.kept)
            if self.pooled:
                results[k] = fit_pooled(walk.histories, self.models[0], *how)
            else:
                history = walk.histories.by_symbol[self.name]
                results[k] = fit_per_symbol(walk.histories, history, self.models, *how)
        return results, self.kept.used

    def lacking(self) -> int:
        """How many fits of one symbol would take as long as those that are not kept, roughly."""
        count = 0
        for walk in self.walks.values():
            candidates = list(walk.histories.by_symbol.values())
            for past in fold_pasts(walk.histories, candidates, walk.folds, walk.min_train, self.kept):
                missing = [self.kept.fit(self.kept.fit_key(model, past.past)) is None for model in self.models]
                count += sum(missing) * len(past.some)
        return count


def _worth(jobs: int, parts: Sequence[_Part]) -> int:
    """1 where the fits that are not kept take less time than a process to start, else `jobs`.

    They are counted for the pooled models and the first symbol.
    """
    alone = [part for part in parts if not part.pooled]
    counted = [part for part in parts if part.pooled] + alone[:1]
    if not all(part.kept.entries for part in counted):
        return jobs
    lacking = sum(part.lacking() * (1 if part.pooled else len(alone)) for part in counted)
    return jobs if lacking > (FEW_OF_FORKED if forked.available() else FEW) else 1


def _parts(walks: Sequence[Walk], models: Sequence[Model], store: FitStore | None) -> list[_Part]:
    """The pooled models first, as they take longest."""
    pooled = [model for model in models if getattr(model, "pooled", False)]
    single = [model for model in models if model not in pooled]
    parts = []
    for model in pooled:
        place = f"model={model.name}"
        kept = _kept_fits(store, place, [model])
        parts += [_Part(model.name, True, {k: walk}, [model], kept, place) for k, walk in enumerate(walks)]
    for symbol in dict.fromkeys(symbol for walk in walks for symbol in walk.histories.by_symbol):
        place = place_of(symbol)
        alone = {k: _alone(walk, symbol) for k, walk in enumerate(walks) if symbol in walk.histories.by_symbol}
        parts.append(_Part(symbol, False, alone, single, _kept_fits(store, place, single), place))
    return parts


def place_of(symbol: str) -> str:
    """Where a store keeps the fits of a symbol."""
    return f"symbol={symbol}"


def _alone(walk: Walk, symbol: str) -> Walk:
    """A walk of one symbol: a process is sent no others."""
    return replace(walk, histories=replace(walk.histories, by_symbol={symbol: walk.histories.by_symbol[symbol]}))


def _kept_fits(store: FitStore | None, place: str, models: Sequence[Model]) -> KeptFits:
    if store is None:
        return KeptFits()
    origins = {model.name: store.origin(model) for model in models}
    known = {name: origin for name, origin in origins.items() if origin is not None}
    return KeptFits(known, store.load(place), store.coder)


def _backtest(walk: Walk, models: Sequence[Recipe], ensembles: Sequence[MedianEnsemble], total: FitResults) -> Backtest:
    for ensemble in ensembles:
        add_median(ensemble, walk.histories.horizon, total)
    order = {model.name: k for k, model in enumerate(models)}
    blocks = sorted(total.blocks, key=lambda block: (block["symbol"], order[block["model"]], block["start"]))
    fits = pd.DataFrame(total.fits, columns=FITS)
    return Backtest(_rows(walk.histories, blocks), fits, total.skipped, total.fitted)


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
