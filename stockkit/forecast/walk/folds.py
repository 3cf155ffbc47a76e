"""Folds through time: fitted on what was known before the first session forecast, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import check_horizon

NEWEST = -1  # the number of the fold that forecasts from each symbol's last session


@dataclass(frozen=True)
class Fold:
    """Positions among the sessions of a panel, stops exclusive.

    A model is fitted on what was known at the close of session `known_stop` − 1: the labels of the sessions
    `train_start` to `train_stop`, all of which end by then. It forecasts the sessions `test_start` to `test_stop`.
    """

    number: int
    train_start: int
    train_stop: int
    known_stop: int
    test_start: int
    test_stop: int

    @property
    def train(self) -> slice:
        """The sessions whose labels are trained on."""
        return slice(self.train_start, self.train_stop)

    @property
    def test(self) -> slice:
        """The sessions forecast."""
        return slice(self.test_start, self.test_stop)


def walk_forward(
    n: int, *, horizon: int, min_train: int, step: int, embargo: int = 0, window: int | None = None, begin: int = 0
) -> list[Fold]:
    """Folds over n sessions: each session from the first test on is tested exactly once.

    Purged: the label of the last training session ends before the first test session (López de Prado 2018, 7.4.1),
    and `embargo` sessions earlier than that if wanted.

    Args:
        n: sessions.
        horizon: sessions that a label reaches ahead.
        min_train: training sessions of the first fold, at the least.
        step: test sessions of a fold (the last may have fewer), which is how often a model is refitted.
        embargo: extra sessions between the end of the last training label and the first test session.
        window: training sessions of every fold, which then roll; None: all from the first session on.
        begin: the first session to test, where `min_train` would allow an earlier one.

    Raises:
        ForecastError: no session is left to test, or an argument is out of range.
    """
    gap = check(horizon=horizon, min_train=min_train, step=step, embargo=embargo, window=window)
    if n <= min_train + gap:
        raise ForecastError(
            f"{n} sessions are too few: {min_train} to train on, {gap} kept apart and 1 to test make "
            f"{min_train + gap + 1}. Give more history or a smaller min_train."
        )
    starts = range(max(min_train + gap, begin), n, step)
    firsts = [0 if window is None else max(0, start - gap - window) for start in starts]
    return [
        Fold(k, first, start - gap, start - embargo, start, min(start + step, n))
        for k, (first, start) in enumerate(zip(firsts, starts, strict=True))
    ]


def check(*, horizon: int, min_train: int, step: int, embargo: int = 0, window: int | None = None) -> int:
    """The sessions that `walk_forward` keeps between training and test; ForecastError where an argument is unfit."""
    least = {"min_train": (min_train, 1), "step": (step, 1), "embargo": (embargo, 0)}
    if window is not None:
        least["window"] = (window, min_train)
    for name, (value, bound) in least.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < bound:
            raise ForecastError(f"{name} {value!r}: give a whole number of sessions, at least {bound}.")
    return check_horizon(horizon) + embargo


def together(firsts: Sequence[int], lasts: Sequence[int], *, step: int) -> list[int]:
    """The first sessions to test of several walks, moved on so that all of them are refitted on the same sessions.

    Those are the sessions of the walk that begins last; another begins less than `step` sessions later than it could.

    Args:
        firsts: where each could begin. lasts: where it has to begin to have enough to test: one that cannot stays as
            it is, and moves no other.
        step: sessions between two refits.
    """
    latest = max((first for first, last in zip(firsts, lasts, strict=True) if first <= last), default=0)
    moved = [min(latest, last) for last in lasts]
    return [
        first + (latest - first) % step if first <= end else first for first, end in zip(firsts, moved, strict=True)
    ]


def newest(n: int, *, horizon: int, start: int) -> Fold:
    """The fold that forecasts each symbol's last session, `start` or later, fitted on labels that end before it."""
    return Fold(NEWEST, 0, max(start - horizon, 0), start, start, n)
