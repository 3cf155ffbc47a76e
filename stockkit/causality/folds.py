"""The audit of models: whether a fold, or a pipeline that is fitted already, saw rows past its cut."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.causality.isolation import ProcessEnded, isolated
from stockkit.causality.subjects import fresh
from stockkit.causality.verdicts import EMPTY, Audit, Finding, weigh
from stockkit.errors import ParamError

CHECKS = ("runs", "overlap", "forward", "purge", "fitted")
TOLERANCE = 1e-9  # relative to the spread of the predictions
MOST_SESSIONS = 8  # looked at one by one, where labels outside training matter
Predict = Callable[[Any, Any, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class _Fold:
    """Row positions of one fold, and `rank`: each row's session, counted from 0."""

    name: str
    train: np.ndarray
    test: np.ndarray
    rank: np.ndarray


def audit_fit(model: Any, X: Any, y: Any, folds: Any, *, horizon: int = 1, dates: Any = None, seed: int = 11) -> Audit:
    """Test whether a fold's predictions know anything from after the session they are made in.

    Every fold is fitted and predicted again with X and y corrupted where they may not be known: at the first, middle
    and last test session the rows of X after it and the labels that end after it, and the same for labels at further
    sessions where labels outside training matter at all. Predictions made until then must stay as they were; a label
    that has ended by then may be used. Models run in forked processes (on Linux), as in `audit`.

    Args:
        model: an unfitted estimator or Pipeline; or a function (X_train, y_train, X_test) -> predictions; or, for code
            that scales, selects or encodes outside the folds, (X, y, train, test) -> predictions of the test rows.
        X: features, shape (n, k), array or frame; y: labels, shape (n,), array or Series. Left untouched.
        folds: (train, test) pairs of row positions or slices, `backtest.Fold`s, or a splitter such as TimeSeriesSplit.
        horizon: sessions that a label reaches ahead.
        dates: each row's session, shape (n,); by default a DatetimeIndex of X, or else the rows are sessions in order.
        seed: of the corruption.

    Returns:
        One row a fold, with the checks runs, overlap (a row in both), forward (training after the test), purge (a
        training label ends after the first test session) and fitted.

    Raises:
        ParamError: lengths that differ, a model or folds that cannot be used.
    """
    rank = _ranks(X, y, dates)
    predict = _predictor(model)
    if horizon < 0:
        raise ParamError(f"horizon {horizon}: give 0 or more sessions.")
    findings: list[Finding] = []
    for k, (train, test) in enumerate(_pairs(folds, X, len(rank))):
        fold = _Fold(f"fold {k}", train, test, rank)
        findings += [*_layout(fold, horizon), *_refits(predict, X, y, fold, horizon, [seed, k])]
    if not findings:
        raise ParamError("there are no folds: give at least one pair of training and test rows.")
    return weigh(findings, CHECKS)


def _ranks(X: Any, y: Any, dates: Any) -> np.ndarray:
    """Each row's session, counted from 0."""
    n = len(X)
    if len(y) != n:
        raise ParamError(f"X has {n} rows and y {len(y)}: give a label a row.")
    if dates is None and isinstance(getattr(X, "index", None), pd.DatetimeIndex):
        dates = X.index
    if dates is None:
        return np.arange(n)
    if len(dates) != n:
        raise ParamError(f"X has {n} rows and dates {len(dates)}: give a date a row.")
    return np.asarray(np.unique(np.asarray(pd.to_datetime(np.asarray(dates))), return_inverse=True)[1])


def _pairs(folds: Any, X: Any, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for fold in folds.split(X) if hasattr(folds, "split") else folds:
        parts = (fold.train, fold.test) if hasattr(fold, "train") and hasattr(fold, "test") else tuple(fold)
        if len(parts) != 2:
            raise ParamError(f"a fold has {len(parts)} parts: give pairs of training and test rows.")
        train, test = (np.arange(n)[part] if isinstance(part, slice) else _positions(part, n) for part in parts)
        if not len(train) or not len(test):
            raise ParamError(f"a fold has {len(train)} training and {len(test)} test rows: give at least one of each.")
        yield train, test


def _positions(part: Any, n: int) -> np.ndarray:
    rows = np.asarray(part)
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    if rows.ndim != 1 or (len(rows) and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= n)):
        raise ParamError(f"a fold's rows must be positions from 0 to {n - 1}, found {np.asarray(part)[:3]}….")
    return rows


def _layout(fold: _Fold, horizon: int) -> list[Finding]:
    """Overlap, order in time and purge, from the row positions alone."""
    train, test = fold.rank[fold.train], fold.rank[fold.test]
    both, late = np.intersect1d(fold.train, fold.test), int((train > test.min()).sum())
    ends = int(train.max()) + horizon - int(test.min())
    twice = f"{len(both)} rows are in training and in the test" if len(both) else ""
    overlap = Finding(fold.name, "overlap", "leak" if twice else "ok", None, twice)
    behind = f"{late} of {len(train)} training rows come after the first test session" if late else ""
    forward = Finding(fold.name, "forward", "leak" if late else "ok", None, behind)
    if late:
        return [overlap, forward, Finding(fold.name, "purge", "n/a")]
    state = "leak" if ends > 0 else "touches" if ends == 0 and horizon else "ok"
    sentences = {
        "leak": f"the last training label ends {ends} sessions after the first test session",
        "touches": "the last training label ends on the first test session: known only at its close",
    }
    return [overlap, forward, Finding(fold.name, "purge", state, None, sentences.get(state, ""))]


def _predictor(model: Any) -> Predict:
    """Any model as a function of (X, y, train, test), fitted anew at each call."""
    if hasattr(model, "fit") and hasattr(model, "predict"):
        from sklearn.base import clone

        return lambda X, y, train, test: clone(model).fit(_take(X, train), _take(y, train)).predict(_take(X, test))
    if isinstance(model, type) or not callable(model):
        raise ParamError(f"{model!r} cannot be fitted: give an estimator, or a function that fits and predicts.")
    count = len(inspect.signature(model).parameters)
    if count == 3:
        return lambda X, y, train, test: fresh(model)(_take(X, train), _take(y, train), _take(X, test))
    if count == 4:
        return lambda X, y, train, test: fresh(model)(X, y, train, test)
    raise ParamError(f"a function of {count} arguments: give (X_train, y_train, X_test) or (X, y, train, test).")


def _take(data: Any, rows: np.ndarray) -> Any:
    return data.iloc[rows] if hasattr(data, "iloc") else np.asarray(data)[rows]


@dataclass(frozen=True, eq=False)
class _Reference:
    """The predictions of a fold's test rows from the rows as they are, and how far they spread."""

    predictions: np.ndarray
    spread: float


def _refits(predict: Predict, X: Any, y: Any, fold: _Fold, horizon: int, seed: list[int]) -> Iterator[Finding]:
    """The reference in one process, the refits in another: what a model keeps from a fit does not reach them."""
    try:
        for item in isolated(lambda: _reference(predict, X, y, fold, np.random.default_rng([*seed, 0]))):
            if isinstance(item, Finding):
                yield item
            else:
                rng = np.random.default_rng([*seed, 1])
                yield from isolated(lambda: _probed(predict, X, y, fold, horizon, item, rng))  # noqa: B023 - used at once
    except ProcessEnded as ended:
        yield Finding(fold.name, "runs", "ends", None, str(ended))


def _reference(
    predict: Predict, X: Any, y: Any, fold: _Fold, rng: np.random.Generator
) -> Iterator[Finding | _Reference]:
    first = _attempt(predict, X, y, fold)
    again = first if isinstance(first, str) else _attempt(predict, X, y, fold)
    if isinstance(first, str) or isinstance(again, str):
        yield Finding(fold.name, "runs", "raises", None, str(first if isinstance(first, str) else again))
        return
    spread = float(np.abs(first - np.median(first)).max()) + 1e-12 * float(np.abs(first).max()) + 1e-300
    if not _same(first, again, spread).all():
        what = "gives other predictions when fitted again on the same rows: set random_state"
        yield Finding(fold.name, "runs", "random", None, what)
        return
    every = np.ones(len(fold.rank), dtype=bool)
    noise = _attempt(predict, corrupted(X, every, rng), corrupted(y, every, rng), fold)
    if not isinstance(noise, str) and _same(first, noise, spread).all():
        yield Finding(fold.name, "runs", EMPTY, None, "its predictions do not depend on X and y: nothing to check")
        return
    yield Finding(fold.name, "runs", "ok")
    yield _Reference(first, spread)


@dataclass(frozen=True, eq=False)
class _Probe:
    """Rows of X and y to corrupt, the predictions that must stay as they were, and both in words."""

    x: np.ndarray
    y: np.ndarray
    same: np.ndarray
    words: str


def _probed(predict: Predict, X: Any, y: Any, fold: _Fold, horizon: int, reference: _Reference,
            rng: np.random.Generator) -> Iterator[Finding]:  # fmt: skip
    for probe in _probes(fold, horizon):
        yield _finding(fold, probe, _changed(predict, X, y, fold, probe, reference, rng))
    unseen = _labels_outside_training(fold)
    changed = _changed(predict, X, y, fold, unseen, reference, rng)
    if isinstance(changed, str) or not changed.any():
        yield _finding(fold, unseen, changed)
        return
    sessions = np.unique(fold.rank[fold.test][changed])  # a label that has ended by then may be used: look at each
    for at in sessions[np.unique(np.linspace(0, len(sessions) - 1, MOST_SESSIONS).astype(int))]:
        probe = _not_ended(fold, int(at), horizon)
        yield _finding(fold, probe, _changed(predict, X, y, fold, probe, reference, rng))


def _labels_outside_training(fold: _Fold) -> _Probe:
    none, untrained = np.zeros(len(fold.rank), dtype=bool), ~np.isin(np.arange(len(fold.rank)), fold.train)
    return _Probe(none, untrained, fold.rank[fold.test] >= 0, "the labels outside training")


def _not_ended(fold: _Fold, at: int, horizon: int) -> _Probe:
    none, tested = np.zeros(len(fold.rank), dtype=bool), fold.rank[fold.test]
    return _Probe(none, fold.rank + horizon > at, tested <= at, f"the labels that end after session {at}")


def _probes(fold: _Fold, horizon: int) -> list[_Probe]:
    """At the first, middle and last test session: later rows of X, and labels that end later."""
    rank, none = fold.rank, np.zeros(len(fold.rank), dtype=bool)
    tested = rank[fold.test]
    sessions = np.unique(tested)
    probes = []
    for at in dict.fromkeys((sessions[0], sessions[len(sessions) // 2], sessions[-1])):
        probes.append(_Probe(rank > at, none, tested <= at, f"the features of rows after session {at}"))
        probes.append(_not_ended(fold, int(at), horizon))
    return probes


def _changed(predict: Predict, X: Any, y: Any, fold: _Fold, probe: _Probe, reference: _Reference,
             rng: np.random.Generator) -> np.ndarray | str:  # fmt: skip
    """Which predictions that must not change do, or how the fit with other rows fails."""
    if not probe.x.any() and not probe.y.any():
        return np.zeros(0, dtype=bool)
    answer = _attempt(predict, corrupted(X, probe.x, rng), corrupted(y, probe.y, rng), fold)
    if isinstance(answer, str):
        return answer
    return probe.same & ~_same(reference.predictions, answer, reference.spread)


def _finding(fold: _Fold, probe: _Probe, changed: np.ndarray | str) -> Finding:
    if isinstance(changed, str):
        return Finding(fold.name, "fitted", "raises", None, f"with {probe.words} being other ones it {changed}")
    if not len(changed):
        return Finding(fold.name, "fitted", "n/a")
    if not changed.any():
        return Finding(fold.name, "fitted", "ok")
    return Finding(
        fold.name, "fitted", "leak", None, f"predictions of the test rows change when {probe.words} are other ones"
    )


def _attempt(predict: Predict, X: Any, y: Any, fold: _Fold) -> np.ndarray | str:
    """The predictions of the fold's test rows, or what went wrong in words."""
    import warnings

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of models that do not converge on corrupted rows
            predicted = np.asarray(predict(X.copy(), y.copy(), fold.train.copy(), fold.test.copy()))
    except Exception as error:  # a user's model may raise anything: that is a finding, not our failure
        return f"raises {type(error).__name__}: {str(error)[:160]}"
    if predicted.shape[:1] != fold.test.shape:
        return f"gives predictions of shape {predicted.shape} for {len(fold.test)} test rows"
    predicted = predicted.reshape(len(predicted), -1)[:, 0]
    codes = pd.util.hash_array(predicted.astype(str).astype(object)).astype("float64")
    return predicted.astype("float64") if predicted.dtype.kind in "fiub" else codes


def _same(a: np.ndarray, b: np.ndarray, spread: float) -> np.ndarray:
    return np.asarray((np.abs(a - b) <= TOLERANCE * spread) | (np.isnan(a) & np.isnan(b)))


def corrupted(data: Any, where: np.ndarray, rng: np.random.Generator) -> Any:
    """A copy of X or y with other values in the rows `where`: far off for floats, drawn from the rest for classes."""
    if isinstance(data, pd.DataFrame):
        return data.assign(**{name: corrupted(data[name], where, rng) for name in data.columns})
    out = data.copy() if isinstance(data, pd.Series) else np.array(data)
    if not where.any():
        return out
    values = np.asarray(data)
    if values.ndim == 2:
        return np.column_stack([corrupted(values[:, k], where, rng) for k in range(values.shape[1])])
    if values.dtype.kind == "f" and len(np.unique(values[np.isfinite(values)])) > 10:
        scale = float(np.nanstd(values)) * 10 ** rng.uniform(0, 3, int(where.sum()))
        new = rng.normal(0, 1, int(where.sum())) * scale + float(np.nanmean(values))
    else:
        new = _others(values, values[where], rng)
    if isinstance(out, pd.Series):
        out.iloc[np.flatnonzero(where)] = new
    else:
        out[where] = new
    return out


def _others(values: np.ndarray, now: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each value another one of the same column."""
    known = pd.unique(values)
    at = pd.Index(known).get_indexer(now)
    return np.asarray(known)[(at + rng.integers(1, max(len(known), 2), len(now))) % len(known)]
