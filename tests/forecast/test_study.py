"""When the models of a study begin, and what they are compared on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest

from stockkit.forecast.models import Drift, Forecast, Lasso, RandomWalk, Series, Training
from stockkit.forecast.walk import study

LOOK_BACK = 60


def panel(count: int, symbols: tuple[str, ...] = ("AAA", "BBB")) -> pd.DataFrame:
    """Two features, of which one has no value in its first 60 sessions."""
    rng = np.random.default_rng(3)
    parts = []
    for symbol in symbols:
        level = pd.Series(np.cumsum(rng.normal(0, 0.02, count)))
        columns = {"close": 100 * np.exp(level), "ret_1": level.diff().fillna(0), "slow": level.diff(LOOK_BACK)}
        days = pd.bdate_range("2020-01-01", periods=count)
        parts.append(pd.DataFrame({"symbol": symbol, "date": days, **columns}))
    return pd.concat(parts, ignore_index=True).astype({"symbol": "string"})


@dataclass(frozen=True)
class Late:
    """A model that has nothing to say before row 400."""

    name: str = "late"
    until: int = 400

    def fit(self, train: Training) -> Late:
        return self

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(np.where(np.arange(first, len(series)) < self.until, np.nan, 0.001))


@cache
def done(count: int, until: int = 400, min_train: int = 100) -> study.Study:
    models = [RandomWalk(), Drift(), Lasso(), Late(until=until)]
    return study.run(panel(count), models=models, features=["ret_1", "slow"], horizon=1, min_train=min_train, step=500)


def test_the_first_forecast_waits_for_the_longest_look_back_and_what_the_fits_need() -> None:
    result = done(600)
    assert result.min_train == LOOK_BACK + 6 * 21 + 1
    first = result.rows.dropna(subset=["mean"]).groupby("model")["as_of"].min()
    assert first["lasso"] == first["random_walk"] == panel(600)["date"].iloc[result.min_train + 1]


def test_a_larger_min_train_stays_and_a_short_history_is_not_eaten_up() -> None:
    assert done(600, min_train=250).min_train == 250
    assert done(260).min_train == 100


def test_models_are_compared_on_the_sessions_that_all_of_them_forecast() -> None:
    rows = study.common(done(600, until=300).rows)
    spans = rows.groupby(["symbol", "model"])["as_of"].agg(["min", "max", "size"])
    assert len(spans) == 8
    assert spans.drop_duplicates().shape[0] == 1
    assert spans["min"].iloc[0] == panel(600)["date"].iloc[300]


def test_a_model_that_begins_late_is_named_and_does_not_shorten_the_others() -> None:
    rows = done(600, until=500).rows
    (sentences,) = study.late(rows)
    assert sentences.startswith("late, 1 session ahead, begins late for AAA, BBB: AAA on ")
    assert sentences.endswith("(too few to be compared)")
    assert set(study.common(rows)["model"]) == {"random_walk", "drift", "lasso"}


def test_who_is_left_out_for_the_same_reason_is_named_in_one_sentence() -> None:
    sentences = study.skipped_in_words({f"S{k} lasso": "too short" for k in range(500)} | {"A": "halted"})
    assert sentences == [
        "S0 lasso, S1 lasso, S2 lasso, S3 lasso, S4 lasso, S5 lasso and 494 more: too short",
        "A: halted",
    ]


def test_a_feature_that_is_too_empty_is_named() -> None:
    result = done(260)
    assert "The emptiest is slow, with " in result.past.skipped["AAA lasso"]


@pytest.mark.parametrize("count", [1, 20, 70])
def test_without_forecasts_there_is_nothing_to_compare_and_nothing_fails(count: int) -> None:
    rows = done(count).rows
    assert study.late(rows) == []
    assert len(study.common(rows)) == len(rows.dropna(subset=["mean"]))
