"""Several models at one horizon: their backtest, their newest forecasts, and both as rows with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import counted, listed
from stockkit.forecast.judge import intervals
from stockkit.forecast.models.ensemble import Recipe
from stockkit.forecast.models.protocol import RANDOM_WALK, SERIES
from stockkit.forecast.walk import backtest, folds
from stockkit.forecast.walk.backtest import Backtest
from stockkit.forecast.walk.histories import Histories
from stockkit.forecast.walk.kept_fits import FitStore
from stockkit.forecast.walk.processes import begin, end_processes

KNOWN = 100  # outcomes that intervals need before there are any: `intervals.conformal`
FEW = 6  # names that a sentence lists


@dataclass(frozen=True, eq=False)
class Study:
    """A backtest, the newest forecasts, and both as rows with intervals.

    Attributes:
        horizon: sessions ahead. features: names of what the models were given.
        past: as from `backtest.run`. newest: as from `backtest.latest`.
        rows: as from `intervals.borrow`, the newest among them.
        min_train: sessions that the first fit of a symbol has to have, as from `sessions_before`.
        begin: sessions of the panel before the first forecast of the past.
    """

    horizon: int
    features: tuple[str, ...]
    past: Backtest = field(repr=False)
    newest: Backtest = field(repr=False)
    rows: pd.DataFrame = field(repr=False)
    min_train: int = 250
    begin: int = 251


def run(panel: pd.DataFrame, *, horizon: int, **how: Any) -> Study:
    """Backtest the models, forecast from the last session, and add the intervals of every forecast.

    Arguments and errors as for `backtest.run`; of `min_train` as many more as the features ask for, see
    `sessions_before`.
    """
    return several(panel, horizons=[horizon], **how)[0]


def sessions_before(
    panel: pd.DataFrame, *, models: Sequence[Recipe], features: Sequence[str], horizon: int, min_train: int
) -> int:
    """The sessions that the first fit has to have for every model that uses features to begin with it.

    The longest look-back of the features (the fewest rows of a symbol before all of them have values), and the rows
    that the model which needs most of them has to have (its `needs`, where it states any); `min_train` where that is
    more, or where the longest history would leave fewer than 100 sessions to judge by.
    """
    rows = max((getattr(model, "needs", lambda k, h: 0)(len(features), horizon) for model in models), default=0)
    if not features or not rows or panel.empty or not set(features) <= set(panel):
        return min_train
    complete = np.isfinite(panel[list(features)].to_numpy(dtype="float64", na_value=np.nan)).all(axis=1)
    number = panel.groupby("symbol", observed=True).cumcount()
    first = number[complete].groupby(panel.loc[complete, "symbol"], observed=True).min()
    wanted = int(first.min()) + rows + horizon if len(first) else 0
    longest = int(number.max()) + 1
    return wanted if min_train < wanted <= longest - horizon - KNOWN else min_train


def several(
    panel: pd.DataFrame,
    *,
    models: Sequence[Recipe],
    features: Sequence[str],
    horizons: Sequence[int],
    jobs: int = 1,
    on_done: backtest.OnDone | None = None,
    store: FitStore | None = None,
    min_train: int = 250,
    step: int = 126,
    **how: Any,
) -> list[Study]:
    """A study a horizon, by the same processes, which end with the last of them; other arguments as for `run`.

    All horizons are refitted on the same sessions (`folds.together`): those that could begin less than `step` sessions
    apart are judged on the same ones, and a model that sees one-session returns alone searches once for all of them. A
    horizon that would leave fewer than 100 sessions to judge by does not delay the others.
    """
    walks: list[backtest.Walk] = []
    try:
        if jobs != 1 and not _keeps(store, panel):
            begin(jobs)
        same: dict[str, Any] = {"models": models, "features": features, "min_train": min_train}
        befores = [sessions_before(panel, horizon=horizon, **same) for horizon in horizons]
        histories = [Histories.from_frame(panel, features, horizon) for horizon in horizons]
        begins = _begins(histories, befores, step=step, **how)
        for known, before, first in zip(histories, befores, begins, strict=True):
            past = backtest.past_walk(known, min_train=before, begin=first, step=step, **how)
            walks += [past, backtest.newest_walk(known)]
        done = backtest.fit(walks, models, jobs=jobs, on_done=on_done, store=store)
    finally:
        if jobs != 1:
            end_processes()
    parts = zip(horizons, done[::2], done[1::2], befores, begins, strict=True)
    return [_study(tuple(features), *each) for each in parts]


def _begins(histories: Sequence[Histories], befores: Sequence[int], *, step: int, **how: Any) -> list[int]:
    """The first session that each horizon is to be tested on."""
    pairs = list(zip(histories, befores, strict=True))
    firsts = [
        before + folds.check(horizon=known.horizon, min_train=before, step=step, **how) for known, before in pairs
    ]
    return folds.together(firsts, [len(known.sessions) - KNOWN for known in histories], step=step)


def _keeps(store: FitStore | None, panel: pd.DataFrame) -> bool:
    """Whether a store has anything of the first symbol."""
    symbols = panel["symbol"].iloc[:1] if "symbol" in panel else []
    return store is not None and any(store.load(backtest.place_of(str(symbol))) for symbol in symbols)


def _study(features: tuple[str, ...], horizon: int, past: Backtest, newest: Backtest, *first: int) -> Study:
    rows = intervals.borrow(intervals.conformal(backtest.forecast_rows(past.rows, newest.rows)))
    return Study(horizon, features, past, newest, rows, *first)


def rows_of(studies: Sequence[Study]) -> pd.DataFrame:
    """The rows of several studies, one after the other."""
    return pd.concat([study.rows for study in studies], ignore_index=True)


def skipped(studies: Sequence[Study]) -> dict[str, str]:
    """Why a symbol, or a model of a symbol, has no forecasts, or none of some fold, whatever the horizon."""
    return {who: why for study in studies for who, why in (study.newest.skipped | study.past.skipped).items()}


def trials(studies: Sequence[Study]) -> int:
    """How many settings of how many models, symbols and horizons were tried, the random walk not counted."""
    return sum(study.past.trials for study in studies)


def common(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows to compare models by: of each symbol and horizon the sessions that all of its models forecast.

    A model that forecast less than half of what the random walk did would leave the others too few: it is left out
    of the comparison (`late` names it).
    """
    place = ["symbol", "horizon"]
    made = rows[rows["mean"].notna()]
    counts = made.groupby(SERIES, observed=True, sort=False).size().reset_index(name="n")
    most = counts[counts["model"] == RANDOM_WALK].set_index(place)["n"]
    asked = most.reindex(pd.MultiIndex.from_frame(counts[place])).to_numpy()
    compared = counts[~(counts["n"].to_numpy() * 2 < asked)]
    kept = made.merge(compared[SERIES], on=SERIES)
    models = compared.groupby(place, observed=True).size()
    answers = kept.groupby([*place, "as_of"], observed=True)["model"].transform("size")
    return kept[answers.to_numpy() == models.reindex(pd.MultiIndex.from_frame(kept[place])).to_numpy()]


def late(rows: pd.DataFrame) -> list[str]:
    """Which models begin later than the random walk of the same symbol and horizon, a sentence a model and horizon."""
    first = rows[rows["mean"].notna()].groupby(SERIES, observed=True, sort=False)["as_of"].agg(["min", "size"])
    walk = first.xs(RANDOM_WALK, level="model") if RANDOM_WALK in first.index.get_level_values("model") else first[:0]
    both = first.reset_index().merge(walk.reset_index(), on=["symbol", "horizon"], suffixes=("", "_walk"))
    behind = both[both["min"] > both["min_walk"]]
    sentences = []
    for (model, horizon), group in behind.groupby(["model", "horizon"], sort=False):
        row = group.iloc[0]
        few = " (too few to be compared)" if (group["size"] * 2 < group["size_walk"]).any() else ""
        sentences.append(
            f"{model}, {counted(horizon, 'session')} ahead, begins late for {listed(list(group['symbol']), FEW)}: "
            f"{row['symbol']} on {row['min']:%Y-%m-%d}, the random walk on {row['min_walk']:%Y-%m-%d}{few}"
        )
    return sentences


def skipped_in_words(reasons: Mapping[str, str]) -> list[str]:
    """The reasons that `skipped` gives, a sentence each, with those whom it concerns."""
    groups: dict[str, list[str]] = {}
    for who, why in reasons.items():
        groups.setdefault(why, []).append(who)
    return [f"{listed(who, FEW)}: {why}" for why, who in groups.items()]
