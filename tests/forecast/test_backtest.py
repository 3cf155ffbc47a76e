from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockkit.errors import ForecastError
from stockkit.forecast import backtest as bt
from stockkit.forecast.models import CORE, Drift, Fitted, Lasso, Model, RandomWalk, Training

FEATURES = ["ret_1", "ret_5"]
HORIZON, MIN_TRAIN, STEP = 3, 200, 40


def panel(symbols: Sequence[str] = ("AAA", "BBB"), count: int = 330, seed: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for symbol in symbols:
        level = pd.Series(np.cumsum(rng.normal(0.0005, 0.02, count)))
        days = pd.bdate_range("2020-01-01", periods=count)
        columns = {"close": 100 * np.exp(level), "ret_1": level.diff(), "ret_5": level.diff(5)}
        parts.append(pd.DataFrame({"symbol": symbol, "date": days, **columns}))
    return pd.concat(parts, ignore_index=True).astype({"symbol": "string"})


def run(frame: pd.DataFrame, models: Sequence[Model] = CORE) -> bt.Backtest:
    return bt.backtest(frame, models=models, features=FEATURES, horizon=HORIZON, min_train=MIN_TRAIN, step=STEP)


def newest(frame: pd.DataFrame, models: Sequence[Model] = CORE) -> bt.Backtest:
    return bt.latest(frame, models=models, features=FEATURES, horizon=HORIZON)


def assert_blind_to_the_future(models: Sequence[Model]) -> None:
    """Rows made from a panel that ends earlier equal the rows made from the whole panel."""
    frame = panel()
    whole, days = run(frame, models).rows, frame["date"].unique()
    first = MIN_TRAIN + HORIZON
    at_random = np.random.default_rng(0).integers(first + 1, len(days), 4)
    for cut in days[[first, first + 1, first + STEP, *at_random]]:
        early = run(frame[frame["date"] <= cut], models).rows
        expected = whole[whole["as_of"] <= cut].reset_index(drop=True)
        pd.testing.assert_frame_equal(early.drop(columns="actual"), expected.drop(columns="actual"), atol=1e-12)
        known = early["actual"].notna()
        pd.testing.assert_series_equal(early["actual"][known], expected["actual"][known])
        assert (~known).groupby([early["symbol"], early["model"]]).sum().le(HORIZON).all()


def test_the_target_is_the_log_return_over_the_horizon() -> None:
    np.testing.assert_allclose(bt.target(np.array([1.0, 2.0, 4.0, 4.0]), 2), [np.log(4), np.log(2), np.nan, np.nan])
    assert np.isnan(bt.target(np.array([1.0, 2.0]), 5)).all()


@pytest.mark.parametrize("close", [0.0, -1.0, np.nan, np.inf])
def test_a_close_that_is_no_price_is_refused_with_its_row(close: float) -> None:
    with pytest.raises(ForecastError, match="in row 1 is no price"):
        bt.target(np.array([1.0, close]), 1)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, int]:
    plan = {"horizon": draw(st.integers(1, 30)), "embargo": draw(st.integers(0, 10))}
    plan |= {"min_train": draw(st.integers(1, 300)), "step": draw(st.integers(1, 200))}
    return plan | {"n": plan["min_train"] + plan["horizon"] + plan["embargo"] + draw(st.integers(1, 700))}


@settings(max_examples=150, deadline=None)
@given(plans())
def test_the_last_training_label_ends_before_the_first_test_row(plan: dict[str, int]) -> None:
    for fold in bt.walk_forward(**plan):
        label_ends = np.arange(plan["n"])[fold.train] + plan["horizon"]
        assert label_ends.max() + plan["embargo"] < fold.test_start


@settings(max_examples=150, deadline=None)
@given(plans())
def test_every_row_after_the_first_training_set_is_tested_once(plan: dict[str, int]) -> None:
    tested = np.concatenate([np.arange(plan["n"])[fold.test] for fold in bt.walk_forward(**plan)])
    first = plan["min_train"] + plan["horizon"] + plan["embargo"]
    np.testing.assert_array_equal(tested, np.arange(first, plan["n"]))


@settings(max_examples=100, deadline=None)
@given(plans(), st.integers(0, 100))
def test_training_sets_only_grow_and_do_not_depend_on_the_end(plan: dict[str, int], more: int) -> None:
    folds = bt.walk_forward(**plan)
    sizes = [fold.train_stop - fold.train_start for fold in folds]
    assert sizes[0] == plan["min_train"]
    assert sizes == sorted(set(sizes))
    longer = bt.walk_forward(**{**plan, "n": plan["n"] + more})
    assert [fold.train for fold in folds] == [fold.train for fold in longer[: len(folds)]]


def test_folds_need_a_row_to_test() -> None:
    with pytest.raises(ForecastError, match=r"103 sessions are too few: .* make 104"):
        bt.walk_forward(103, horizon=3, min_train=100, step=10)
    assert len(bt.walk_forward(104, horizon=3, min_train=100, step=10)) == 1
    with pytest.raises(ForecastError, match="step 0"):
        bt.walk_forward(104, horizon=3, min_train=100, step=0)


def test_a_backtest_never_sees_the_future() -> None:
    assert_blind_to_the_future(CORE)


@dataclass(frozen=True)
class Peek:
    """Centres each batch by itself, so that a forecast depends on rows after it."""

    name: str = "peek"

    def fit(self, train: Training) -> Fitted:
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0] - features[:, 0].mean()


def test_a_model_that_peeks_is_caught() -> None:
    with pytest.raises(AssertionError):
        assert_blind_to_the_future([Peek()])


def test_folds_that_are_not_purged_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpurged(n: int, *, horizon: int, min_train: int, step: int) -> list[bt.Fold]:
        starts = range(min_train + horizon, n, step)
        return [bt.Fold(k, 0, start, start, min(start + step, n)) for k, start in enumerate(starts)]

    monkeypatch.setattr(bt, "walk_forward", unpurged)
    with pytest.raises(AssertionError):
        assert_blind_to_the_future([Drift()])


def test_there_is_one_row_a_symbol_session_and_model() -> None:
    rows = run(panel()).rows
    columns = ["symbol", "model", "as_of", "horizon", "mean", "actual", "fold", "scale"]
    assert list(rows.columns) == columns
    assert not rows.duplicated(bt.KEY).any()
    assert len(rows) == 2 * 3 * (330 - MIN_TRAIN - HORIZON)
    assert rows["fold"].max() == 3


def test_actual_is_the_return_from_as_of_and_unknown_at_the_end() -> None:
    frame = panel()
    rows = run(frame).rows.query("symbol == 'BBB' and model == 'drift'")
    close = frame[frame["symbol"] == "BBB"].set_index("date")["close"]
    first = rows["as_of"].iloc[0]
    later = close.index[close.index.get_loc(first) + HORIZON]
    assert rows["actual"].iloc[0] == pytest.approx(np.log(close[later] / close[first]))
    assert rows["actual"].isna().tolist() == [False] * (len(rows) - HORIZON) + [True] * HORIZON


def test_drift_and_scale_are_means_over_the_first_rows() -> None:
    level = np.log(panel(["AAA"])["close"].to_numpy())
    labels = level[HORIZON : MIN_TRAIN + HORIZON] - level[:MIN_TRAIN]
    row = run(panel(["AAA"])).rows.query("model == 'drift'").iloc[0]
    assert row["mean"] == pytest.approx(labels.mean())
    assert row["scale"] == pytest.approx(np.abs(labels).mean())


def test_latest_uses_every_label_realised_by_the_last_session() -> None:
    frame = panel(["AAA"])
    rows = newest(frame, [RandomWalk(), Drift()]).rows
    level = np.log(frame["close"].to_numpy())
    assert rows["as_of"].tolist() == [frame["date"].iloc[-1]] * 2
    assert rows["mean"].tolist() == pytest.approx([0.0, (level[HORIZON:] - level[:-HORIZON]).mean()])
    assert rows["fold"].tolist() == [bt.NEWEST] * 2
    assert rows["actual"].isna().all()


def test_latest_takes_the_place_of_the_last_backtest_row() -> None:
    frame = panel()
    past, last = run(frame).rows, newest(frame).rows
    joined = bt.forecast_rows(past, last)
    assert len(joined) == len(past)
    pd.testing.assert_series_equal(joined.dtypes, past.dtypes)
    assert (joined["fold"] == bt.NEWEST).sum() == 6
    assert len(bt.forecast_rows(past[:0], last)) == 6
    assert len(bt.forecast_rows(past, last[:0])) == len(past)


def test_what_is_wrong_with_one_symbol_leaves_the_others_alone() -> None:
    frame = panel(["AAA", "BAD", "FLAT", "GAP", "NEW"])
    frame.loc[frame["symbol"] == "FLAT", "close"] = 5.0
    frame.loc[frame["symbol"] == "GAP", "ret_5"] = np.nan
    frame.loc[frame.index[frame["symbol"] == "BAD"][17], "close"] = 0.0
    frame = frame[(frame["symbol"] != "NEW") | (frame["date"] > frame["date"].iloc[300])]
    for found in (run(frame), newest(frame)):
        assert found.rows["symbol"].unique().tolist() == ["AAA", "GAP"]
        said = {"BAD": "row 17", "FLAT": "constant", "GAP lasso": "feature 2 of 2", "NEW": "29 sessions are too few"}
        assert found.skipped.keys() == said.keys()
        assert all(part in found.skipped[who] for who, part in said.items())


def test_a_model_that_cannot_be_fitted_yet_has_no_forecast_until_it_can() -> None:
    frame = panel(["AAA"])
    frame.loc[frame.index[:150], "ret_5"] = np.nan
    found = run(frame)
    own = found.rows[found.rows["model"] == "lasso"]
    assert found.skipped == {}
    assert own["mean"].isna().iloc[0]
    assert own["mean"].notna().iloc[-1]
    assert found.rows.loc[found.rows["model"] == "drift", "mean"].notna().all()


def test_a_backtest_of_nothing_usable_has_no_rows_but_the_same_columns() -> None:
    found = run(panel()[:50])
    assert found.skipped.keys() == {"AAA"}
    pd.testing.assert_series_equal(found.rows.dtypes, run(panel()).rows.dtypes)


def test_symbols_do_not_influence_each_other_and_the_panel_is_untouched() -> None:
    frame = panel()
    before = frame.copy()
    both = run(frame).rows
    alone = run(frame[frame["symbol"] == "BBB"]).rows
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(both[both["symbol"] == "BBB"].reset_index(drop=True), alone)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (panel().drop(columns="ret_5"), "no column 'ret_5'"),
        (panel()[::-1], "not sorted"),
        (pd.concat([panel(["AAA"]), panel(["AAA"])]), "repeats a session"),
        (pd.concat([panel(["AAA"])] * 2).sort_values("date"), "repeats a session"),
        (panel()[:0], "no rows"),
    ],
)
def test_a_broken_panel_is_refused(broken: pd.DataFrame, said: str) -> None:
    with pytest.raises(ForecastError, match=said):
        run(broken)


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ForecastError, match="a name of its own"):
        run(panel(), [Lasso(), Lasso(alphas=5)])
