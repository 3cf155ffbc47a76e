"""Fits inside the folds: each model is shown a fold's past, forecasts its sessions, and is checked not to peek."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stockkit.errors import ForecastError
from stockkit.forecast.models import ensemble
from stockkit.forecast.models.protocol import STILL, Fitted, Forecast, Model, Series, Training
from stockkit.forecast.walk.folds import NEWEST, Fold
from stockkit.forecast.walk.panel import Cut, Own, Panel

ALL = ""  # in place of a symbol: the fit of a pooled model


class LookAhead(ForecastError):
    """A model whose forecast of a session changes when later sessions are taken away."""


@dataclass(eq=False)
class Said:
    """What some fits said, gathered while they run."""

    blocks: list[dict[str, Any]] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    fitted: dict[tuple[str, str], Fitted] = field(default_factory=dict)

    def add(self, other: Said) -> None:
        """Take over what others said."""
        self.blocks += other.blocks
        self.fits += other.fits
        self.skipped |= other.skipped
        self.fitted |= other.fitted


def alone(whole: Panel, own: Own, models: Sequence[Model], planned: list[Fold], min_train: int) -> Said:
    """Every model that is fitted to one symbol at a time, in every fold that the symbol takes part in."""
    said = Said()
    taken = [fold for fold in planned if _takes_part(whole, own, fold, min_train)]
    symbol = own.series.symbol
    if not taken:
        said.skipped[symbol] = (
            f"{len(own.series)} sessions are too few: {min_train} to train on in which the close moves, those kept "
            f"apart, and 1 to test. Give more history or a smaller min_train."
        )
    trainings = [whole.training([own], fold) for fold in taken]
    for model in models:
        refused = [_fit(said, whole, model, [own], fold, now) for fold, now in zip(taken, trainings, strict=True)]
        if taken and all(refused):
            said.skipped[f"{symbol} {model.name}"] = str(refused[-1])
            said.blocks = [block for block in said.blocks if block["model"] != model.name]
    return said


def together(whole: Panel, model: Model, planned: list[Fold], min_train: int) -> Said:
    """One pooled model in every fold, fitted to the symbols that take part."""
    said = Said()
    refused: list[ForecastError | None] = []
    for fold in planned:
        owns = [own for own in whole.owns.values() if _takes_part(whole, own, fold, min_train)]
        if owns:
            refused.append(_fit(said, whole, model, owns, fold, whole.training(owns, fold)))
    if refused and all(refused):
        said.skipped[model.name] = str(refused[-1])
        said.blocks = []
    return said


def _takes_part(whole: Panel, own: Own, fold: Fold, min_train: int) -> bool:
    """Whether a symbol has sessions to test, enough to train on, and outcomes among those that differ."""
    cut = whole.cut(own, fold)
    labels = own.labels[cut.first : max(cut.known - whole.horizon, cut.first)]
    known = labels[np.isfinite(labels)]
    return cut.known - cut.first >= min_train and cut.stop > cut.start and len(known) > 1 and np.ptp(known) > STILL


def _fit(
    said: Said, whole: Panel, model: Model, owns: Sequence[Own], fold: Fold, now: Training
) -> ForecastError | None:
    """Fit a model, forecast the fold's rows and take note of both; the error where it refuses, its rows then NaN."""
    symbol = ALL if getattr(model, "pooled", False) else owns[0].series.symbol
    try:
        with _named(said, model, symbol, fold):
            fitted = model.fit(now)
    except ForecastError as error:
        for own, labels in zip(owns, now.targets, strict=True):
            _keep(said, whole, model, own, fold, labels, None)
        return error
    said.fitted[symbol, model.name] = fitted
    said.fits.append(_note(symbol, model, fitted, whole, fold, now))
    refused: dict[str, ForecastError] = {}
    for k, (own, labels) in enumerate(zip(owns, now.targets, strict=True)):
        forecast = None
        try:
            with _named(said, model, own.series.symbol, fold):
                forecast = _forecast(model, fitted, own, whole.cut(own, fold), (k, len(owns)))
        except LookAhead:
            raise
        except ForecastError as error:
            refused[own.series.symbol] = error
        _keep(said, whole, model, own, fold, labels, forecast)
    return next(iter(refused.values())) if len(refused) == len(owns) else None


@contextmanager
def _named(said: Said, model: Model, symbol: str, fold: Fold) -> Iterator[None]:
    """Make whatever a model raises the refusal of one fit, which names model, symbol and fold; the others go on."""
    try:
        yield
    except ForecastError:
        raise
    except Exception as error:  # a model of the user's may raise anything, and must not stop the others
        where = "the newest fit" if fold.number == NEWEST else f"fold {fold.number}"
        who = f"{symbol} {model.name}".strip()
        why = f"{model.name} raised {type(error).__name__} in {where} of {symbol or 'all symbols'}: {error}"
        said.skipped[who] = why = f"{why.rstrip('.')}. There are no forecasts of that fold."
        raise ForecastError(why) from error


def _keep(
    said: Said, whole: Panel, model: Model, own: Own, fold: Fold, labels: np.ndarray, forecast: Forecast | None
) -> None:
    """Take note of a forecast of one symbol's rows; without one they are NaN."""
    cut = whole.cut(own, fold)
    said.blocks.append(
        {
            "symbol": own.series.symbol,
            "model": model.name,
            "fold": fold.number,
            "start": own.start + cut.start,
            "forecast": forecast or Forecast(*np.full((2, cut.stop - cut.start), np.nan)),
            "scale": np.abs(labels[np.isfinite(labels)]).mean(),
        }
    )


def _forecast(model: Model, fitted: Fitted, own: Own, cut: Cut, part: tuple[int, int]) -> Forecast:
    """The fold's rows, sigma filled in, checked not to hang on later rows at cuts of the (k, n)-th part."""
    seen = own.series.until(cut.stop).since(cut.first)
    first = cut.start - cut.first
    cuts = _cuts_of_part(check_cuts(seen, first), *part)
    shorter = [(at, fitted.forecast(seen.until(at + 1), first)) for at in cuts]  # first: a model may remember
    forecast = fitted.forecast(seen, first)
    for what, values in (("mean", forecast.mean), ("sigma", forecast.sigma)):
        if values is not None and np.shape(values) != (len(seen) - first,):
            raise ForecastError(f"{model.name}: {what} must be ({len(seen) - first},), found {np.shape(values)}.")
    for at, again in shorter:
        rows = at + 1 - first
        if not (_same(again.mean, forecast.mean, rows) and _same(again.sigma, forecast.sigma, rows)):
            raise LookAhead(
                f"{model.name} sees the future: without the sessions after {np.datetime_as_string(seen.date[at], 'D')} "
                f"of {own.series.symbol} it forecasts those up to it differently. A row may use itself and what came "
                f"before."
            )
    sigma = own.sigma[cut.start : cut.stop] if forecast.sigma is None else forecast.sigma
    return Forecast(np.asarray(forecast.mean, dtype="float64"), np.asarray(sigma, dtype="float64"))


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


def _cuts_of_part(cuts: list[int], k: int, n: int) -> list[int]:
    """A pooled model is one fit: of four symbols or more each takes a quarter of the cuts."""
    return cuts if n < 4 else cuts[k % 4 :: 4]


def _same(again: np.ndarray | None, before: np.ndarray | None, rows: int) -> bool:
    if again is None or before is None:
        return again is before
    return np.shape(again) == (rows,) and np.allclose(again, before[:rows], rtol=1e-6, atol=1e-12, equal_nan=True)


def _note(symbol: str, model: Model, fitted: Fitted, whole: Panel, fold: Fold, now: Training) -> dict[str, Any]:
    ends = [
        own.date[np.flatnonzero(np.isfinite(labels))[-1] + now.horizon]
        for own, labels in zip(now.series, now.targets, strict=True)
    ]
    return {
        "symbol": symbol,
        "model": model.name,
        "fold": fold.number,
        "label_end": max(ends),
        "test_start": whole.sessions[fold.test_start],
        "rows": sum(int(np.isfinite(labels).sum()) for labels in now.targets),
        "tried": int(getattr(fitted, "tried", 1)),
        "chosen": str(getattr(fitted, "chosen", "")),
    }


def median(model: Any, whole: Panel, said: Said) -> None:
    """Add the blocks of an ensemble, made of those of its members."""
    members = [name for name in dict.fromkeys(block["model"] for block in said.blocks) if name in model.members]
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for block in said.blocks:
        if block["model"] in members:
            groups.setdefault((block["symbol"], block["fold"]), []).append(block)
    for group in groups.values():
        median = ensemble.combined([block["forecast"] for block in group])
        said.blocks.append(group[0] | {"model": model.name, "forecast": median})
    for symbol in {symbol for symbol, fold in groups if fold == NEWEST}:
        own = {name: said.fitted.get((symbol, name), said.fitted.get((ALL, name))) for name in members}
        said.fitted[symbol, model.name] = model.of({k: v for k, v in own.items() if v is not None}, whole.horizon)
