"""One question put to several models: how they would have done at a horizon, and what they say now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from stockkit.forecast import backtest, intervals, workers
from stockkit.forecast.backtest import Backtest
from stockkit.forecast.models.ensemble import Recipe


@dataclass(frozen=True, eq=False)
class Study:
    """A backtest, the newest forecasts, and both as rows with intervals.

    Attributes:
        horizon: sessions ahead. features: names of what the models were given.
        past: as from `backtest.backtest`. newest: as from `backtest.latest`.
        rows: as from `intervals.conformal`, the newest among them.
    """

    horizon: int
    features: tuple[str, ...]
    past: Backtest = field(repr=False)
    newest: Backtest = field(repr=False)
    rows: pd.DataFrame = field(repr=False)


def run(
    panel: pd.DataFrame,
    *,
    models: Sequence[Recipe],
    features: Sequence[str],
    horizon: int,
    jobs: int = 1,
    **how: Any,
) -> Study:
    """Backtest the models, let them forecast from the last session, and give every forecast its intervals.

    Arguments (those of the folds and `on_done` in `how`) and errors as for `backtest.backtest`.
    """
    same: dict[str, Any] = {"models": models, "features": features, "horizon": horizon, "jobs": jobs}
    past, newest = backtest.backtest(panel, **same, **how), backtest.latest(panel, **same)
    rows = intervals.conformal(backtest.forecast_rows(past.rows, newest.rows))
    return Study(horizon, tuple(features), past, newest, rows)


def several(panel: pd.DataFrame, *, horizons: Sequence[int], jobs: int = 1, **how: Any) -> list[Study]:
    """A study a horizon, by the same processes, which end with the last of them; other arguments as for `run`."""
    try:
        return [run(panel, horizon=horizon, jobs=jobs, **how) for horizon in horizons]
    finally:
        if jobs != 1:
            workers.dismiss()


def rows_of(studies: Sequence[Study]) -> pd.DataFrame:
    """The rows of several studies, one after the other."""
    return pd.concat([one.rows for one in studies], ignore_index=True)


def skipped(studies: Sequence[Study]) -> dict[str, str]:
    """Why a symbol, or a model of a symbol, has no forecasts, whatever the horizon."""
    return {who: why for one in studies for who, why in (one.newest.skipped | one.past.skipped).items()}


def trials(studies: Sequence[Study]) -> int:
    """How many settings of how many models, symbols and horizons were tried, the random walk not counted."""
    return sum(one.past.trials for one in studies)
