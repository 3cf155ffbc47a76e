"""When the models of a study begin, and what they are compared on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.forecast.models import (
    Arima,
    AutoEts,
    Drift,
    Forecast,
    GarchT,
    Lasso,
    RandomWalk,
    Series,
    Theta,
    Training,
    statistical,
    volatility,
)
from stockkit.forecast.walk import folds, study

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


def firsts(count: int, horizons: list[int], **how: object) -> dict[int, int]:
    """The session of the first forecast of the past of each horizon."""
    given: dict[str, object] = {"models": [RandomWalk(), Lasso()], "features": ["ret_1", "slow"], "min_train": 100}
    studies = study.several(panel(count), horizons=horizons, **given | {"step": 100} | how)  # type: ignore[arg-type]
    days = pd.Index(panel(count)["date"].unique())
    for result in studies:
        begin = result.past.rows["as_of"].min()
        assert pd.isna(begin) or days.get_loc(begin) == result.begin
    return {result.horizon: result.begin for result in studies}


def test_all_horizons_begin_on_the_same_session_and_one_alone_where_it_can() -> None:
    alone = {horizon: firsts(600, [horizon])[horizon] for horizon in (1, 5)}
    assert alone == {1: LOOK_BACK + 6 * 21 + 1 + 1, 5: LOOK_BACK + 6 * 25 + 5 + 5}
    assert firsts(600, [1, 5]) == firsts(600, [5, 1]) == {1: alone[5], 5: alone[5]}
    assert firsts(600, [1, 5], embargo=7) == {1: alone[5] + 7, 5: alone[5] + 7}
    assert firsts(600, [1, 5], window=215) == {1: alone[5], 5: alone[5]}


def test_no_horizon_waits_for_another_from_one_refit_to_the_next() -> None:
    assert firsts(900, [1, 30]) == {1: 220, 30: 420}  # alone it begins at 188


def test_a_horizon_that_leaves_too_few_sessions_to_judge_by_delays_no_other() -> None:
    assert firsts(260, [1, 60]) == {1: 160, 60: 160}
    assert firsts(260, [1, 61]) == {1: 101, 61: 161}  # 99 are left of 260
    assert firsts(260, [1, 252])[1] == 101  # the history is too short for any forecast 252 sessions ahead


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(-100, 900)), max_size=4), st.integers(1, 300))
def test_walks_are_moved_onto_the_sessions_of_the_last_and_by_less_than_a_step(
    pairs: list[tuple[int, int]], step: int
) -> None:
    moved = folds.together([first for first, _ in pairs], [last for _, last in pairs], step=step)
    latest = max((first for first, last in pairs if first <= last), default=0)
    for (first, last), begin in zip(pairs, moved, strict=True):
        assert first <= begin < first + step
        assert begin == first if first > last else (latest - begin) % step == 0


def test_a_young_symbol_is_fitted_as_soon_as_its_own_horizon_allows() -> None:
    frame = panel(600)
    young = (frame["symbol"] == "BBB") & (frame.groupby("symbol").cumcount() < 218)
    how = {"models": [RandomWalk()], "features": [], "min_train": 100, "step": 100}
    studies = study.several(frame[~young], horizons=[1, 20], **how)  # type: ignore[arg-type]
    begins = [result.past.rows.groupby("symbol")["as_of"].min() for result in studies]
    assert begins[0].tolist() == begins[1].tolist() == [frame["date"].iloc[120], frame["date"].iloc[320]]


def test_a_model_of_returns_alone_searches_once_for_all_horizons() -> None:
    models = [RandomWalk(), Arima(), AutoEts(), Theta(), GarchT()]
    how = {"models": models, "features": [], "min_train": 250, "step": 16}
    for module in (statistical, volatility):
        module._searched.cache_clear()
    studies = study.several(panel(620, ("AAA",)), horizons=[1, 5], **how)  # type: ignore[arg-type]
    fits = len(studies[0].past.fits.query("model == 'theta'")) + 1  # of the past, and the newest
    for module, searches in ((statistical, 3 * fits), (volatility, fits)):
        known = module._searched.cache_info()
        assert (known.misses, known.hits) == (searches, searches)
    assert 3 * fits > 64
