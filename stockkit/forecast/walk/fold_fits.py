"""Fits inside the folds: each model is fitted to a fold's past, forecasts it, and is checked for look-ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from stockkit.errors import ForecastError
from stockkit.forecast.models.ensemble import MedianEnsemble, combined
from stockkit.forecast.models.protocol import STILL, Fitted, Forecast, Model, Series, Training
from stockkit.forecast.walk import kept_fits
from stockkit.forecast.walk.folds import NEWEST, Fold
from stockkit.forecast.walk.histories import Cut, Histories, SymbolHistory
from stockkit.forecast.walk.kept_fits import KeptFit, KeptFits

ALL = ""  # in place of a symbol: the fit of a pooled model


class LookAhead(ForecastError):
    """A model whose forecast of a session changes when later sessions are taken away."""


@dataclass(eq=False)
class FitResults:
    """The results of some fits, gathered while they run.

    Attributes:
        blocks: the forecasts of a symbol, model and fold each, with the row of the symbol's history that they start at.
        fits: a row a fit, as in `Backtest.fits`.
        skipped: why a symbol, or a model of a symbol, has no forecasts, or none of some fold.
        fitted: the newest fold's fit of each symbol and model.
    """

    blocks: list[dict[str, Any]] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    fitted: dict[tuple[str, str], Fitted] = field(default_factory=dict)

    def add(self, other: FitResults) -> None:
        """Take over the results of other fits."""
        self.blocks += other.blocks
        self.fits += other.fits
        self.skipped |= other.skipped
        self.fitted |= other.fitted


@dataclass(frozen=True, eq=False)
class FoldPast:
    """What a fold has of the symbols that take part in it: where it cuts them, and what a fit may know.

    `past` and `seen` are the hashes of what a fit and each symbol's forecast are made of; "" where nothing is kept.
    """

    fold: Fold
    some: Sequence[SymbolHistory]
    cuts: Sequence[Cut]
    training: Training
    past: str = ""
    seen: Sequence[str] = ()

    @cached_property
    def shown(self) -> list[list[Series]]:
        """Of each symbol the rows that a forecast may use, up to each cut of `check_cuts` and, last, all of them.

        All models are shown the same.
        """
        rows = [_seen(history, cut) for history, cut in zip(self.some, self.cuts, strict=True)]
        firsts = [cut.start - cut.first for cut in self.cuts]
        return [
            [*(series.until(at + 1) for at in check_cuts(series, first)), series]
            for series, first in zip(rows, firsts, strict=True)
        ]


def fit_per_symbol(
    histories: Histories,
    history: SymbolHistory,
    models: Sequence[Model],
    folds: list[Fold],
    min_train: int,
    kept: KeptFits | None = None,
) -> FitResults:
    """Every model that is fitted to one symbol at a time, in every fold that the symbol takes part in."""
    results = FitResults()
    symbol, kept = history.series.symbol, kept or KeptFits()
    pasts = fold_pasts(histories, [history], folds, min_train, kept)
    if not pasts:
        results.skipped[symbol] = (
            f"{len(history.series)} sessions are too few: {min_train} to train on in which the close moves, those kept "
            f"apart, and 1 to test. Give more history or a smaller min_train."
        )
    for model in models:
        refused = [_fit(results, histories, model, past, kept) for past in pasts]
        if pasts and all(refused):
            results.skipped[f"{symbol} {model.name}"] = str(refused[-1])
            results.blocks = [block for block in results.blocks if block["model"] != model.name]
    return results


def fit_pooled(
    histories: Histories, model: Model, folds: list[Fold], min_train: int, kept: KeptFits | None = None
) -> FitResults:
    """One pooled model in every fold, fitted to the symbols that take part."""
    results, kept = FitResults(), kept or KeptFits()
    pasts = fold_pasts(histories, list(histories.by_symbol.values()), folds, min_train, kept)
    refused = [_fit(results, histories, model, past, kept) for past in pasts]
    if refused and all(refused):
        results.skipped[model.name] = str(refused[-1])
        results.blocks = []
    return results


def fold_pasts(
    histories: Histories, candidates: Sequence[SymbolHistory], folds: list[Fold], min_train: int, kept: KeptFits
) -> list[FoldPast]:
    """The folds in which some of the symbols take part, with what they have of those."""
    pasts = []
    for fold in folds:
        some = [history for history in candidates if _takes_part(histories, history, fold, min_train)]
        if some:
            cuts = [histories.cut(history, fold) for history in some]
            past = FoldPast(fold, some, cuts, histories.training(some, fold))
            pasts.append(_with_hashes(past) if kept.origins else past)
    return pasts


def _with_hashes(past: FoldPast) -> FoldPast:
    seen = [
        kept_fits.seen_of(_seen(history, cut), cut.start - cut.first, history.sigma[cut.start : cut.stop])
        for history, cut in zip(past.some, past.cuts, strict=True)
    ]
    return replace(past, past=kept_fits.past_of(past.training), seen=seen)


def _takes_part(histories: Histories, history: SymbolHistory, fold: Fold, min_train: int) -> bool:
    """Whether a symbol has sessions to test, enough to train on, and outcomes among those that differ."""
    cut = histories.cut(history, fold)
    labels = history.labels[cut.first : max(cut.known - histories.horizon, cut.first)]
    known = labels[np.isfinite(labels)]
    return cut.known - cut.first >= min_train and cut.stop > cut.start and len(known) > 1 and np.ptp(known) > STILL


def _fit(
    results: FitResults, histories: Histories, model: Model, past: FoldPast, kept: KeptFits
) -> ForecastError | None:
    """Fit a model, forecast the fold's rows and take note of both; the error where it refuses, its rows then NaN.

    What is kept of the same fit takes its place, and a fit that nothing is asked of any more is not made.
    """
    fold = past.fold
    symbol = ALL if getattr(model, "pooled", False) else past.some[0].series.symbol
    key, keys, forecasts = _kept(model, past, kept)
    fitted: Fitted | KeptFit | None = None
    try:
        with _named(results, model, symbol, fold):
            fitted = _fit_or_kept(model, past, kept, key, further=fold.number == NEWEST or None in forecasts)
            note = _note(symbol, model, fitted, histories, past)
            kept.keep_fit(key, fitted, note, further=fold.test_stop == len(histories.sessions))
    except ForecastError as error:
        blocks = [_block(model, past, k, None) for k in range(len(past.some))]
        results.blocks += blocks
        return error
    results.fits.append(note)
    if fold.number == NEWEST and not isinstance(fitted, KeptFit):
        results.fitted[symbol, model.name] = fitted
    refused = [_forecast_part(results, model, fitted, past, kept, k, (keys[k], forecasts[k])) for k in range(len(keys))]
    return refused[0] if all(refused) else None


def _forecast_part(
    results: FitResults,
    model: Model,
    fitted: Fitted | KeptFit,
    past: FoldPast,
    kept: KeptFits,
    k: int,
    known: tuple[str, Forecast | None],
) -> ForecastError | None:
    """Take note of the forecast of the k-th symbol, by its key the kept one where there is any; the error otherwise."""
    key, forecast = known
    refused = None
    try:
        with _named(results, model, past.some[k].series.symbol, past.fold):
            if forecast is None and not isinstance(fitted, KeptFit):
                forecast = _forecast(model, fitted, past, k)
                kept.keep_forecast(key, forecast)
    except LookAhead:
        raise
    except ForecastError as error:
        refused = error
    results.blocks.append(_block(model, past, k, forecast))
    return refused


def _kept(model: Model, past: FoldPast, kept: KeptFits) -> tuple[str, list[str], list[Forecast | None]]:
    """The key of a fit, those of its forecasts, and the forecasts that are kept."""
    key = kept.fit_key(model, past.past)
    parts = len(past.some)
    keys = [
        kept_fits.hashed("forecast", key, past.seen[k], f"{k % 4} {parts < 4}") if key else "" for k in range(parts)
    ]
    sizes = [cut.stop - cut.start for cut in past.cuts]
    return key, keys, [kept.forecast(*pair) if kept.fit(key) else None for pair in zip(keys, sizes, strict=True)]


def _fit_or_kept(model: Model, past: FoldPast, kept: KeptFits, key: str, *, further: bool) -> Fitted | KeptFit:
    """A fit that can forecast; where its forecasts are all kept, what is kept of the fit will do."""
    known = kept.fit(key)
    if known is not None and not further:
        return known
    return kept.fitted(key) or model.fit(past.training)


def _block(model: Model, past: FoldPast, k: int, forecast: Forecast | None) -> dict[str, Any]:
    """A forecast of the k-th symbol's rows of a fold; without one they are NaN."""
    cut, labels = past.cuts[k], past.training.targets[k]
    return {
        "symbol": past.some[k].series.symbol,
        "model": model.name,
        "fold": past.fold.number,
        "start": cut.start,
        "forecast": forecast or Forecast(*np.full((2, cut.stop - cut.start), np.nan)),
        "scale": np.abs(labels[np.isfinite(labels)]).mean(),
    }


@contextmanager
def _named(results: FitResults, model: Model, symbol: str, fold: Fold) -> Iterator[None]:
    """Make whatever a model raises the refusal of one fit, which names model, symbol and fold; the others go on."""
    try:
        yield
    except ForecastError:
        raise
    except Exception as error:  # a model of the user's may raise anything, and must not stop the others
        where = "the newest fit" if fold.number == NEWEST else f"fold {fold.number}"
        why = f"{model.name} raised {type(error).__name__} in {where} of {symbol or 'all symbols'}: {error}"
        why = f"{why.rstrip('.')}. There are no forecasts of that fold."
        results.skipped[f"{symbol} {model.name}".strip()] = why
        raise ForecastError(why) from error


def _forecast(model: Model, fitted: Fitted, past: FoldPast, k: int) -> Forecast:
    """The fold's rows of the k-th symbol, sigma filled in, checked not to hang on later rows at its cuts."""
    history, cut = past.some[k], past.cuts[k]
    first = cut.start - cut.first
    *shorter, seen = past.shown[k]
    shorter = _cuts_of_part(shorter, k, len(past.some))
    before = [fitted.forecast(series, first) for series in shorter]  # first: a model may remember
    forecast = fitted.forecast(seen, first)
    for what, values in (("mean", forecast.mean), ("sigma", forecast.sigma)):
        if values is not None and np.shape(values) != (len(seen) - first,):
            raise ForecastError(f"{model.name}: {what} must be ({len(seen) - first},), found {np.shape(values)}.")
    for series, again in zip(shorter, before, strict=True):
        rows = len(series) - first
        if not (_same(again.mean, forecast.mean, rows) and _same(again.sigma, forecast.sigma, rows)):
            raise LookAhead(
                f"{model.name} sees the future: without the sessions after "
                f"{np.datetime_as_string(series.date[-1], 'D')} of {history.series.symbol} it forecasts those up to it "
                f"differently. A row may use itself and what came before."
            )
    sigma = history.sigma[cut.start : cut.stop] if forecast.sigma is None else forecast.sigma
    return Forecast(np.asarray(forecast.mean, dtype="float64"), np.asarray(sigma, dtype="float64"))


def _seen(history: SymbolHistory, cut: Cut) -> Series:
    """The rows that a forecast of a fold may use."""
    return history.series.until(cut.stop).since(cut.first)


def check_cuts(series: Series, first: int) -> list[int]:
    """Rows of a fold after which later ones are taken away: at most eleven, in ascending order.

    One on each weekday, a month's last, the last but one, and those on and before the largest rise and fall: a model
    that peeks on Fridays only, or around large moves, is caught only by a cut on such a row.
    """
    rows = np.arange(first, len(series) - 1)
    if not len(rows):
        return []
    rng = np.random.default_rng([first, len(series)])
    days = series.date.astype("datetime64[D]")
    weekday, month = (days.astype("int64") + 3) % 7, days.astype("datetime64[M]")
    groups = [rows[weekday[rows] == day] for day in range(7)] + [rows[month[rows] != month[rows + 1]]]
    chosen = {int(rng.choice(group)) for group in groups if len(group)} | {int(rows[-1])}
    for moves in (np.nan_to_num(series.returns[rows]), np.nan_to_num(series.returns[rows + 1])):
        chosen |= {int(rows[moves.argmax()]), int(rows[moves.argmin()])}
    return sorted(chosen)


def _cuts_of_part(cuts: list[Series], k: int, n: int) -> list[Series]:
    """A pooled model is one fit: of four symbols or more each takes a quarter of the cuts."""
    return cuts if n < 4 else cuts[k % 4 :: 4]


def _same(again: np.ndarray | None, before: np.ndarray | None, rows: int) -> bool:
    if again is None or before is None:
        return again is before
    return np.shape(again) == (rows,) and np.allclose(again, before[:rows], rtol=1e-6, atol=1e-12, equal_nan=True)


def _note(symbol: str, model: Model, fitted: Fitted | KeptFit, histories: Histories, past: FoldPast) -> dict[str, Any]:
    training = past.training
    known = [np.flatnonzero(np.isfinite(labels)) for labels in training.targets]
    ends = [s.date[rows[-1] + training.horizon] for s, rows in zip(training.series, known, strict=True)]
    return {
        "symbol": symbol,
        "model": model.name,
        "fold": past.fold.number,
        "label_end": max(ends),
        "test_start": histories.sessions[past.fold.test_start],
        "rows": sum(map(len, known)),
        "tried": int(getattr(fitted, "tried", 1)),
        "chosen": str(getattr(fitted, "chosen", "")),
    }


def add_median(model: MedianEnsemble, horizon: int, results: FitResults) -> None:
    """Add the blocks and the fits of an ensemble, made of those of its members."""
    members = [name for name in dict.fromkeys(block["model"] for block in results.blocks) if name in model.members]
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for block in results.blocks:
        if block["model"] in members:
            groups.setdefault((block["symbol"], block["fold"]), []).append(block)
    for group in groups.values():
        median = combined([block["forecast"] for block in group])
        results.blocks.append(group[0] | {"model": model.name, "forecast": median})
    for symbol in {symbol for symbol, fold in groups if fold == NEWEST}:
        fits = {name: results.fitted.get((symbol, name), results.fitted.get((ALL, name))) for name in members}
        known = {name: fitted for name, fitted in fits.items() if fitted is not None}
        results.fitted[symbol, model.name] = model.from_fitted(known, horizon)
