"""Walk-forward backtests: refit through time, on labels that were realised before the first row forecast."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models import Model, Training

NEWEST = -1  # the fold of `latest`
SHORTEST = 60  # sessions: with fewer, no symbol is forecast
KEY = ["symbol", "model", "horizon", "as_of"]


@dataclass(frozen=True)
class Fold:
    """Row positions, stops exclusive: the model is fitted on `train` and forecasts every row of `test`."""

    number: int
    train_start: int
    train_stop: int
    test_start: int
    test_stop: int

    @property
    def train(self) -> slice:
        """The training rows."""
        return slice(self.train_start, self.train_stop)

    @property
    def test(self) -> slice:
        """The rows forecast."""
        return slice(self.test_start, self.test_stop)


@dataclass(frozen=True, eq=False)
class Backtest:
    """What a backtest gave.

    Attributes:
        rows: one row a symbol, model and as-of session, sorted by symbol, model (as given) and as_of: symbol,
            model, as_of (the session whose close is the last thing known), horizon (sessions), mean and actual
            (h-session log return; actual is NaN where not yet realised), fold (-1 from `latest`), scale (mean
            absolute h-session log return of the fold's training rows: the denominator of MASE, Hyndman and
            Koehler 2006, section 3).
        skipped: why there are no rows of a symbol ("IBM") or of one model of a symbol ("IBM lasso").
    """

    rows: pd.DataFrame
    skipped: dict[str, str]


def target(close: np.ndarray, horizon: int) -> np.ndarray:
    """The h-session log return ln(close[t + h] / close[t]), shape (n,), NaN in the last h rows.

    Raises:
        ForecastError: a horizon under 1, or a close that is not a positive finite number.
    """
    if horizon < 1:
        raise ForecastError(f"horizon {horizon}: give at least 1 session.")
    bad = np.flatnonzero(~(np.isfinite(close) & (close > 0)))
    if len(bad):
        raise ForecastError(f"close {close[bad[0]]} in row {bad[0]} is no price: clean the bars first.")
    out = np.full(len(close), np.nan)
    out[:-horizon] = np.log(close[horizon:] / close[:-horizon])
    return out


def walk_forward(n: int, *, horizon: int, min_train: int, step: int, embargo: int = 0) -> list[Fold]:
    """Expanding folds over n rows: each row from the first test row on is tested exactly once.

    Purged: the label of the last training row ends before the first test row (López de Prado 2018, 7.4.1), and
    `embargo` sessions earlier than that if wanted.

    Args:
        n: rows of one symbol.
        horizon: sessions that a label reaches ahead.
        min_train: training rows of the first fold.
        step: test rows of a fold (the last may have fewer), which is how often a model is refitted.
        embargo: extra sessions between the last training label and the first test row.

    Raises:
        ForecastError: no row is left to test, or an argument is out of range.
    """
    least = {"horizon": (horizon, 1), "min_train": (min_train, 1), "step": (step, 1), "embargo": (embargo, 0)}
    for name, (value, bound) in least.items():
        if value < bound:
            raise ForecastError(f"{name} {value}: give at least {bound}.")
    gap = horizon + embargo
    if n <= min_train + gap:
        raise ForecastError(
            f"{n} sessions are too few: {min_train} to train on, {gap} kept apart and 1 to test make "
            f"{min_train + gap + 1}. Give more history or a smaller min_train."
        )
    starts = range(min_train + gap, n, step)
    return [Fold(k, 0, start - gap, start, min(start + step, n)) for k, start in enumerate(starts)]


def backtest(
    panel: pd.DataFrame,
    *,
    models: Sequence[Model],
    features: list[str],
    horizon: int,
    min_train: int = 250,
    step: int = 126,
) -> Backtest:
    """Forecast every session after the first `min_train`, refitting each model every `step` sessions.

    Args:
        panel: symbol, date, close and the features, sorted by symbol then date; left untouched.
        models: with distinct names; include the random walk, or `scores` has nothing to compare with.
        features: columns given to the models; row t may hold what was known at the close of t, nothing later.
        horizon: sessions ahead.
        min_train: training rows of the first fit.
        step: sessions between fits.

    Raises:
        ForecastError: a panel that lacks a column or is not sorted, models with the same name. What is wrong with
            one symbol only (too short, constant) is told in `skipped`, and the others go on. A model that cannot be
            fitted yet (too few rows with all features) has NaN as its mean until it can.
    """
    return _run(
        panel, models, features, horizon, lambda n: walk_forward(n, horizon=horizon, min_train=min_train, step=step)
    )


def latest(panel: pd.DataFrame, *, models: Sequence[Model], features: list[str], horizon: int) -> Backtest:
    """Forecast from each symbol's last row, fitted on every label realised by then; arguments as in `backtest`."""
    return _run(panel, models, features, horizon, lambda n: [Fold(NEWEST, 0, n - horizon, n - 1, n)])


def forecast_rows(past: pd.DataFrame, newest: pd.DataFrame) -> pd.DataFrame:
    """The rows of `backtest` with those of `latest` appended, in the place of the backtest's own at that session.

    Each session then stands once, with none left out, which is what `intervals.residual_intervals` wants.
    Sorted by symbol, model and as_of.
    """
    both = pd.concat([past, newest], ignore_index=True) if len(past) and len(newest) else past if len(past) else newest
    return both.drop_duplicates(KEY, keep="last").sort_values(KEY, kind="stable", ignore_index=True)


def _run(
    panel: pd.DataFrame, models: Sequence[Model], features: list[str], horizon: int, plan: Callable[[int], list[Fold]]
) -> Backtest:
    symbols = _check(panel, models, features)
    values = np.ascontiguousarray(panel[features].to_numpy(dtype="float64", na_value=np.nan))
    values.setflags(write=False)  # a model that scales in place would spoil the next one's input
    close = panel["close"].to_numpy(dtype="float64", na_value=np.nan)
    parts: list[pd.DataFrame] = []
    skipped: dict[str, str] = {}
    for first, last in _edges(symbols):
        symbol = str(symbols[first])
        try:
            folds = plan(_enough(last - first, horizon))
            labels = target(close[first:last], horizon)
            trainings = [Training(values[first:last][fold.train], labels[fold.train], horizon) for fold in folds]
        except ForecastError as error:
            skipped[symbol] = str(error)
            continue
        for model in models:
            try:
                found = _forecasts(model, values[first:last], labels, folds, trainings)
                parts.append(found.assign(position=found["position"] + first))
            except ForecastError as error:
                skipped[f"{symbol} {model.name}"] = str(error)
    return Backtest(_rows(panel, parts, horizon), skipped)


def _enough(n: int, horizon: int) -> int:
    if n < SHORTEST + 2 * horizon:
        raise ForecastError(f"{n} sessions are too few: give {SHORTEST + 2 * horizon} at the least.")
    return n


def _check(panel: pd.DataFrame, models: Sequence[Model], features: list[str]) -> np.ndarray:
    """The symbols of a panel that is fit to use."""
    missing = [name for name in ("symbol", "date", "close", *features) if name not in panel.columns]
    if missing:
        raise ForecastError(f"the panel has no column {missing[0]!r}; it has {', '.join(map(str, panel.columns))}.")
    if panel.empty:
        raise ForecastError("the panel has no rows: ingest and compute features first.")
    names = [model.name for model in models]
    if not names or len(set(names)) < len(names):
        raise ForecastError(f"models {names}: give at least one, each with a name of its own.")
    symbols, later = panel["symbol"].to_numpy(dtype=str), panel["date"].diff().gt(pd.Timedelta(0)).to_numpy()
    if not ((symbols[1:] > symbols[:-1]) | ((symbols[1:] == symbols[:-1]) & later[1:])).all():
        raise ForecastError("the panel is not sorted or repeats a session: sort_values(['symbol', 'date']) first.")
    return symbols


def _edges(symbols: np.ndarray) -> list[tuple[int, int]]:
    changes = np.flatnonzero(symbols[1:] != symbols[:-1]) + 1
    return list(itertools.pairwise([0, *changes.tolist(), len(symbols)]))


def _forecasts(
    model: Model, features: np.ndarray, labels: np.ndarray, folds: list[Fold], trainings: list[Training]
) -> pd.DataFrame:
    """One model's forecasts of one symbol, NaN in the folds it refuses; `position` counts the symbol's rows from 0."""
    parts, refused = [], []
    for fold, training in zip(folds, trainings, strict=True):
        try:
            mean = model.fit(training).predict(features[fold.test])
        except ForecastError as error:
            refused.append(error)
            mean = np.full(fold.test_stop - fold.test_start, np.nan)
        at = np.arange(fold.test_start, fold.test_stop)
        told = {"mean": mean, "actual": labels[fold.test], "scale": np.abs(training.target).mean()}
        parts.append(pd.DataFrame({"position": at, "model": model.name, "fold": fold.number, **told}))
    if len(refused) == len(folds):
        raise refused[-1]
    return pd.concat(parts, ignore_index=True)


def _rows(panel: pd.DataFrame, parts: list[pd.DataFrame], horizon: int) -> pd.DataFrame:
    none = pd.DataFrame(columns=["position", "model", "mean", "actual", "fold", "scale"])
    found = pd.concat(parts, ignore_index=True) if parts else none
    at = found["position"].to_numpy(dtype="int64")
    return pd.DataFrame(
        {
            "symbol": panel["symbol"].take(at).array,
            "model": found["model"].astype("string"),
            "as_of": panel["date"].take(at).array,
            "horizon": np.full(len(at), horizon, dtype="int64"),
            "mean": found["mean"].astype("float64"),
            "actual": found["actual"].astype("float64"),
            "fold": found["fold"].astype("int64"),
            "scale": found["scale"].astype("float64"),
        }
    )
