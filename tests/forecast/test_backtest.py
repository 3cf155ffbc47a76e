from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockkit.errors import ForecastError
from stockkit.forecast.models import (
    Boosting,
    Drift,
    ElasticNet,
    Forecast,
    HistoricalMean,
    Lasso,
    MedianEnsemble,
    RandomWalk,
    Recipe,
    Series,
    Training,
)
from stockkit.forecast.walk import backtest, folds
from stockkit.forecast.walk.fold_fits import LookAhead
from stockkit.forecast.walk.folds import Fold, walk_forward

FEATURES = ["ret_1", "ret_5"]
HORIZON, MIN_TRAIN, STEP = 3, 200, 40
FEW: tuple[Recipe, ...] = (RandomWalk(), Drift(), Lasso())
MANY: tuple[Recipe, ...] = (*FEW, HistoricalMean(), ElasticNet(), Boosting(trees=5), MedianEnsemble())


def panel(symbols: Sequence[str] = ("AAA", "BBB"), count: int = 330, seed: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for symbol in symbols:
        level = pd.Series(np.cumsum(rng.normal(0.0005, 0.02, count)))
        days = pd.bdate_range("2020-01-01", periods=count)
        columns = {"close": 100 * np.exp(level), "ret_1": level.diff(), "ret_5": level.diff(5)}
        parts.append(pd.DataFrame({"symbol": symbol, "date": days, **columns}))
    return pd.concat(parts, ignore_index=True).astype({"symbol": "string"})


def run(frame: pd.DataFrame, models: Sequence[Recipe] = FEW) -> backtest.Backtest:
    return backtest.run(frame, models=models, features=FEATURES, horizon=HORIZON, min_train=MIN_TRAIN, step=STEP)


def newest(frame: pd.DataFrame, models: Sequence[Recipe] = FEW) -> backtest.Backtest:
    return backtest.latest(frame, models=models, features=FEATURES, horizon=HORIZON)


def assert_blind_to_the_future(models: Sequence[Recipe]) -> None:
    """Rows made from a panel that ends earlier equal the rows made from the whole panel."""
    frame = panel()
    full, days = run(frame, models).rows, frame["date"].unique()
    first = MIN_TRAIN + HORIZON
    at_random = np.random.default_rng(0).integers(first + 1, len(days), 4)
    for cut in days[[first, first + 1, first + STEP, *at_random]]:
        early = run(frame[frame["date"] <= cut], models).rows
        expected = full[full["as_of"] <= cut].reset_index(drop=True)
        pd.testing.assert_frame_equal(early.drop(columns="actual"), expected.drop(columns="actual"), atol=1e-12)
        known = early["actual"].notna()
        pd.testing.assert_series_equal(early["actual"][known], expected["actual"][known])
        assert (~known).groupby([early["symbol"], early["model"]]).sum().le(HORIZON).all()


@st.composite
def plans(draw: st.DrawFn) -> dict[str, int]:
    plan = {"horizon": draw(st.integers(1, 30)), "embargo": draw(st.integers(0, 10))}
    plan |= {"min_train": draw(st.integers(1, 300)), "step": draw(st.integers(1, 200))}
    return plan | {"n": plan["min_train"] + plan["horizon"] + plan["embargo"] + draw(st.integers(1, 700))}


@settings(max_examples=150)
@given(plans())
def test_the_last_training_label_ends_before_the_first_test_row(plan: dict[str, int]) -> None:
    for fold in walk_forward(**plan):
        label_ends = np.arange(plan["n"])[fold.train] + plan["horizon"]
        assert label_ends.max() + plan["embargo"] < fold.test_start


@settings(max_examples=150)
@given(plans())
def test_every_row_after_the_first_training_set_is_tested_once(plan: dict[str, int]) -> None:
    tested = np.concatenate([np.arange(plan["n"])[fold.test] for fold in walk_forward(**plan)])
    first = plan["min_train"] + plan["horizon"] + plan["embargo"]
    np.testing.assert_array_equal(tested, np.arange(first, plan["n"]))


@settings(max_examples=100)
@given(plans(), st.integers(0, 100))
def test_training_sets_only_grow_and_do_not_depend_on_the_end(plan: dict[str, int], more: int) -> None:
    folds = walk_forward(**plan)
    sizes = [fold.train_stop - fold.train_start for fold in folds]
    assert sizes[0] == plan["min_train"]
    assert sizes == sorted(set(sizes))
    longer = walk_forward(**{**plan, "n": plan["n"] + more})
    assert [fold.train for fold in folds] == [fold.train for fold in longer[: len(folds)]]


def test_folds_need_a_row_to_test() -> None:
    with pytest.raises(ForecastError, match=r"103 sessions are too few: .* make 104"):
        walk_forward(103, horizon=3, min_train=100, step=10)
    assert len(walk_forward(104, horizon=3, min_train=100, step=10)) == 1
    with pytest.raises(ForecastError, match="step 0"):
        walk_forward(104, horizon=3, min_train=100, step=0)


def test_a_backtest_never_sees_the_future() -> None:
    assert_blind_to_the_future(MANY)


@dataclass(frozen=True)
class Peek:
    """Centres each batch by itself, so that a forecast depends on rows after it."""

    name: str = "peek"

    def fit(self, train: Training) -> "Peek":
        return self

    def forecast(self, series: Series, first: int) -> Forecast:
        history = series.features[first:, 0]
        return Forecast(history - history.mean())


def test_a_model_that_peeks_is_caught_by_the_backtest_itself() -> None:
    with pytest.raises(LookAhead, match="peek sees the future: without the sessions after"):
        run(panel(), [RandomWalk(), Peek()])


@dataclass(frozen=True)
class Own(Peek):
    """A user's model in a few lines: what went up goes on."""

    name: str = "momentum"

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(0.1 * np.log(series.close[first:] / series.close[first - 20 : -20]))


@dataclass(frozen=True)
class PeekingSigma(Peek):
    """Its mean is honest, its sigma is that of the whole batch."""

    def forecast(self, series: Series, first: int) -> Forecast:
        history = series.returns[first:]
        return Forecast(np.zeros(len(history)), np.full(len(history), history.std()))


def test_a_sigma_that_peeks_is_caught_too() -> None:
    with pytest.raises(LookAhead, match="peek sees the future"):
        run(panel(), [RandomWalk(), PeekingSigma()])


def _late(series: Series) -> np.ndarray:
    return np.arange(len(series)) >= 500


def _fridays(series: Series) -> np.ndarray:
    return (series.date.astype("datetime64[D]").astype("int64") + 3) % 7 == 4


def _after_large_moves(series: Series) -> np.ndarray:
    return np.abs(np.nan_to_num(series.returns)) > 0.03


def _before_large_moves(series: Series) -> np.ndarray:
    return np.append(_after_large_moves(series)[1:], False)


def _after_falls(series: Series) -> np.ndarray:
    return np.nan_to_num(series.returns) < -0.03


def _at_month_ends(series: Series) -> np.ndarray:
    month = series.date.astype("datetime64[M]")
    return np.append(month[1:] != month[:-1], False)


@dataclass(frozen=True)
class PeekingAtTimes(Peek):
    """Knows the next session's return, but uses it on some rows only."""

    when: Callable[[Series], np.ndarray] = _late
    pooled: bool = False

    def forecast(self, series: Series, first: int) -> Forecast:
        ahead = np.append(np.diff(np.log(series.close)), 0.0)
        return Forecast(np.where(self.when(series), ahead, 0.0)[first:])


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(
    "when", [_late, _fridays, _after_large_moves, _before_large_moves, _after_falls, _at_month_ends]
)
def test_a_model_that_peeks_at_times_only_is_caught(when: Callable[[Series], np.ndarray], pooled: bool) -> None:
    walks = _walks(("AAA", "BBB", "CCC", "DDD"), 760)
    with pytest.raises(LookAhead, match=r"peek sees the future: without the sessions after \d{4}-\d\d-\d\d"):
        backtest.run(
            walks, models=[RandomWalk(), PeekingAtTimes(when=when, pooled=pooled)], features=[], horizon=1,
            min_train=250, step=250,
        )  # fmt: skip


def _walks(symbols: tuple[str, ...], count: int) -> pd.DataFrame:
    """Random walks with a standard deviation of 2 %."""
    rng = np.random.default_rng(3)
    days = pd.bdate_range("2019-01-01", periods=count)
    closes = [100 * np.exp(np.cumsum(rng.normal(0, 0.02, count))) for _ in symbols]
    return pd.concat(
        [
            pd.DataFrame({"symbol": name, "date": days, "close": close})
            for name, close in zip(symbols, closes, strict=True)
        ],
        ignore_index=True,
    )


def test_a_model_that_remembers_what_it_was_shown_gains_nothing() -> None:
    shown: dict[str, Series] = {}

    @dataclass(frozen=True)
    class Remembering(Peek):
        def forecast(self, series: Series, first: int) -> Forecast:
            longest = max(series, shown.get(series.symbol, series), key=len)
            shown[series.symbol] = longest
            ahead = np.append(np.diff(np.log(longest.close)), 0.0)
            return Forecast(ahead[first : len(series)])

    with pytest.raises(LookAhead):
        backtest.run(
            _walks(("AAA",), 600), models=[RandomWalk(), Remembering()], features=[], horizon=1, min_train=250, step=250
        )


def test_a_model_of_a_users_own_takes_a_few_lines() -> None:
    rows = run(panel(), [RandomWalk(), Own()]).rows
    assert rows.query("model == 'momentum'")["mean"].notna().all()


def test_folds_that_are_not_purged_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def unpurged(n: int, *, horizon: int, min_train: int, step: int, **_: object) -> list[Fold]:
        starts = range(min_train + horizon, n, step)
        return [
            Fold(k, 0, start, min(start + horizon, n), start, min(start + step, n)) for k, start in enumerate(starts)
        ]

    monkeypatch.setattr(folds, "walk_forward", unpurged)
    fits = run(panel()).fits
    assert not (fits["label_end"] < fits["test_start"]).all()
    with pytest.raises(AssertionError):
        assert_blind_to_the_future([Drift()])


@settings(max_examples=25)
@given(
    st.integers(1, 20), st.integers(0, 10), st.integers(60, 150), st.integers(20, 90), st.booleans(),
    st.lists(st.integers(1, 250), max_size=30), st.integers(0, 120),
)  # fmt: skip
def test_every_label_of_every_fit_ended_before_its_first_test_session(
    horizon: int, embargo: int, min_train: int, step: int, rolls: bool, holes: list[int], later: int
) -> None:
    frame = panel(count=260)
    missing = (frame["symbol"] == "BBB") & (
        frame.groupby("symbol").cumcount().isin(holes) | (frame.index < 260 + later)
    )
    how = {"features": [], "horizon": horizon, "min_train": min_train, "step": step, "embargo": embargo}
    window = min_train + 10 if rolls else None
    result = backtest.run(frame[~missing], models=[RandomWalk(), Drift(), Pooled()], window=window, **how)
    assert (result.fits["label_end"] < result.fits["test_start"]).all()
    assert len(result.fits)
    assert result.rows.groupby(["symbol", "model"])["as_of"].apply(lambda days: days.is_unique).all()
    newest_fits = backtest.latest(frame[~missing], models=[Drift(), Pooled()], features=[], horizon=horizon).fits
    assert (newest_fits["label_end"] < newest_fits["test_start"]).all()


@dataclass(frozen=True)
class Pooled(Drift):
    """The mean target of all symbols."""

    name: str = "pooled"
    pooled: bool = True

    def fit(self, train: Training) -> "Level":
        return Level(float(train.rows()[1].mean()))


@dataclass(frozen=True)
class Level:
    mean: float

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(np.full(len(series) - first, self.mean))


def test_a_rolling_window_forgets_what_is_older() -> None:
    frame = panel(["AAA"])
    rolled = backtest.run(frame, models=[Drift()], features=[], horizon=1, min_train=100, step=50, window=100)
    assert set(rolled.fits["rows"]) == {100}
    frame.loc[frame.index[:120], "close"] *= 3
    again = backtest.run(frame, models=[Drift()], features=[], horizon=1, min_train=100, step=50, window=100)
    assert rolled.rows["mean"].iloc[-1] == again.rows["mean"].iloc[-1]


def test_more_processes_give_the_same_numbers() -> None:
    alone = run(panel(), MANY).rows
    together = backtest.run(
        panel(), models=MANY, features=FEATURES, horizon=HORIZON, min_train=MIN_TRAIN, step=STEP, jobs=2
    )
    pd.testing.assert_frame_equal(alone, together.rows, rtol=1e-12)


@pytest.mark.parametrize("jobs", [0, -2, True, 1.5])
def test_a_number_of_processes_that_cannot_be_is_refused(jobs: object) -> None:
    with pytest.raises(ForecastError, match="give a number of processes"):
        backtest.run(panel(), models=FEW, features=FEATURES, horizon=1, jobs=jobs)  # type: ignore[arg-type]


def test_a_symbol_with_a_year_missing_goes_on_and_no_label_reaches_across() -> None:
    frame = panel(["AAA", "BBB"], count=700)
    hole = (frame["symbol"] == "BBB") & frame["date"].between("2021-01-01", "2021-12-31")
    frame.loc[frame["symbol"].eq("BBB") & frame["date"].gt("2021-12-31"), "close"] *= 10
    result = run(frame[~hole])
    history = result.rows.query("symbol == 'BBB' and model == 'drift'").set_index("as_of")
    assert history["actual"].abs().max() < 0.5
    assert history.loc["2020-12-29":"2020-12-31", "actual"].isna().all()
    assert history.loc["2022-06-01":, "mean"].notna().all()


def test_a_symbol_that_stands_still_at_first_joins_when_it_moves_and_stops_nobody() -> None:
    frame = panel(["AAA", "BBB"], count=500)
    frame.loc[frame.index[500:760], "close"] = 7.0
    result = run(frame, [RandomWalk(), Drift(), Boosting(trees=5)])
    assert result.skipped == {}
    first = result.rows[result.rows["mean"].notna()].groupby(["symbol", "model"])["as_of"].min()
    assert (first["AAA"] < first["BBB"]).all()


@dataclass(frozen=True)
class Shy(Level):
    """Says nothing of BBB."""

    def forecast(self, series: Series, first: int) -> Forecast:
        if series.symbol == "BBB":
            raise ForecastError("BBB is not for me.")
        return super().forecast(series, first)


@dataclass(frozen=True)
class Chooser(Pooled):
    name: str = "chooser"

    def fit(self, train: Training) -> Shy:
        return Shy(float(train.rows()[1].mean()))


def test_a_pooled_model_that_refuses_one_symbol_keeps_the_others() -> None:
    rows = run(panel(), [RandomWalk(), Chooser()]).rows.query("model == 'chooser'")
    assert rows.groupby("symbol")["mean"].apply(lambda mean: mean.notna().all()).to_dict() == {
        "AAA": True,
        "BBB": False,
    }


def test_every_setting_compared_in_a_fold_counts_as_a_trial() -> None:
    result = run(panel(), [RandomWalk(), Drift(), Lasso(alphas=7), Boosting(trees=5)])
    assert result.trials == 2 * (1 + 7) + 3
    assert result.fits.query("model == 'lasso'")["chosen"].str.contains("alpha").all()


def test_the_median_lies_between_its_members() -> None:
    rows = run(panel(), MANY).rows.pivot(index=["symbol", "as_of"], columns="model", values="mean")
    members = rows[["drift", "lasso", "elastic_net", "boosting"]]
    np.testing.assert_allclose(rows["median"], members.median(axis=1), atol=1e-15)
    with pytest.raises(ForecastError, match=r"add two of them to the models \(found \['drift'\]\)"):
        run(panel(), [RandomWalk(), Drift(), MedianEnsemble()])


def test_progress_is_told_part_by_part() -> None:
    calls: list[tuple[str, int, int]] = []
    how = {"features": FEATURES, "horizon": 1, "on_done": lambda *step: calls.append(step)}
    backtest.run(panel(), models=MANY, **how)
    assert calls == [("boosting", 1, 3), ("AAA", 2, 3), ("BBB", 3, 3)]


def test_there_is_one_row_a_symbol_session_and_model() -> None:
    rows = run(panel()).rows
    columns = ["symbol", "model", "as_of", "horizon", "mean", "sigma", "actual", "fold", "scale"]
    assert list(rows.columns) == columns
    assert not rows.duplicated(backtest.KEY).any()
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


def test_drift_is_the_slope_and_scale_the_mean_move_of_the_first_rows() -> None:
    level = np.log(panel(["AAA"])["close"].to_numpy())
    known = MIN_TRAIN + HORIZON
    labels = level[HORIZON:known] - level[:MIN_TRAIN]
    row = run(panel(["AAA"])).rows.query("model == 'drift'").iloc[0]
    assert row["mean"] == pytest.approx(HORIZON * (level[known - 1] - level[0]) / (known - 1))
    assert row["scale"] == pytest.approx(np.abs(labels[: known - HORIZON]).mean())


def test_latest_uses_every_label_that_ended_before_the_last_session() -> None:
    frame = panel(["AAA"])
    result = newest(frame, [RandomWalk(), Drift()])
    level = np.log(frame["close"].to_numpy())[:-1]
    assert result.rows["as_of"].tolist() == [frame["date"].iloc[-1]] * 2
    assert result.rows["mean"].tolist() == pytest.approx([0.0, HORIZON * (level[-1] - level[0]) / (len(level) - 1)])
    assert result.rows["fold"].tolist() == [folds.NEWEST] * 2
    assert result.rows["actual"].isna().all()
    assert result.fitted.keys() == {("AAA", "random_walk"), ("AAA", "drift")}


def test_a_symbol_that_is_no_longer_traded_gets_no_newest_forecast() -> None:
    frame = panel()
    gone = frame[(frame["symbol"] == "AAA") | (frame["date"] < frame["date"].iloc[300])]
    result = newest(gone)
    assert result.rows["symbol"].unique().tolist() == ["AAA"]
    assert result.skipped == {"BBB": "its last session, 2021-02-23, is over a week old"}


def test_latest_takes_the_place_of_the_last_backtest_row() -> None:
    frame = panel()
    past, last = run(frame).rows, newest(frame).rows
    joined = backtest.forecast_rows(past, last)
    assert len(joined) == len(past)
    pd.testing.assert_series_equal(joined.dtypes, past.dtypes)
    assert (joined["fold"] == folds.NEWEST).sum() == 6
    assert len(backtest.forecast_rows(past[:0], last)) == 6
    assert len(backtest.forecast_rows(past, last[:0])) == len(past)


def test_what_is_wrong_with_one_symbol_leaves_the_others_alone() -> None:
    frame = panel(["AAA", "BAD", "FLAT", "GAP", "NEW"])
    frame.loc[frame["symbol"] == "FLAT", "close"] = 5.0
    frame.loc[frame["symbol"] == "GAP", "ret_5"] = np.nan
    frame.loc[frame.index[frame["symbol"] == "BAD"][17], "close"] = 0.0
    frame = frame[(frame["symbol"] != "NEW") | (frame["date"] > frame["date"].iloc[300])]
    for result in (run(frame), newest(frame)):
        assert result.rows["symbol"].unique().tolist() == ["AAA", "GAP"]
        message = {"BAD": "row 17", "FLAT": "never moves", "GAP lasso": "The emptiest is ret_5", "NEW": "29 sessions"}
        assert result.skipped.keys() == message.keys()
        assert all(part in result.skipped[who] for who, part in message.items())


def test_a_model_that_cannot_be_fitted_yet_has_no_forecast_until_it_can() -> None:
    frame = panel(["AAA"])
    frame.loc[frame.index[:150], "ret_5"] = np.nan
    result = run(frame)
    history = result.rows[result.rows["model"] == "lasso"]
    assert result.skipped == {}
    assert history["mean"].isna().iloc[0]
    assert history["mean"].notna().iloc[-1]
    assert result.rows.loc[result.rows["model"] == "drift", "mean"].notna().all()


@pytest.mark.parametrize("text", ["object", "category"])
def test_a_panel_as_users_of_pandas_make_it_gives_the_same_rows(text):
    frame = panel()
    frame = frame.assign(close=frame["close"].round())
    users = frame.astype({"symbol": text, "date": "datetime64[s]", "close": "int64"})
    pd.testing.assert_frame_equal(run(users).rows, run(frame).rows)


def test_a_backtest_of_nothing_usable_has_no_rows_but_the_same_columns() -> None:
    result = run(panel()[:50])
    assert result.skipped.keys() == {"AAA"}
    pd.testing.assert_series_equal(result.rows.dtypes, run(panel()).rows.dtypes)


def test_symbols_do_not_influence_each_other_and_the_panel_is_untouched() -> None:
    frame = panel()
    before = frame.copy()
    both = run(frame).rows
    alone = run(frame[frame["symbol"] == "BBB"]).rows
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(both[both["symbol"] == "BBB"].reset_index(drop=True), alone)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (panel().drop(columns="ret_5"), "no column 'ret_5'"),
        (panel()[::-1], "not sorted"),
        (pd.concat([panel(["AAA"]), panel(["AAA"])]), "repeats a session"),
        (pd.concat([panel(["AAA"])] * 2).sort_values("date"), "repeats a session"),
        (panel()[:0], "no rows"),
    ],
)
def test_a_broken_panel_is_refused(broken: pd.DataFrame, message: str) -> None:
    with pytest.raises(ForecastError, match=message):
        run(broken)


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ForecastError, match="a name of its own"):
        run(panel(), [Lasso(), Lasso(alphas=5)])


@dataclass(frozen=True)
class Broken:
    """A model of the user's own that fails in some folds."""

    name: str = "broken"
    sessions: int = 0  # with fewer to train on it fails

    def fit(self, train: Training) -> "Broken":
        if len(train.close) > self.sessions:
            raise ZeroDivisionError("division by zero")
        return self

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(np.zeros(len(series) - first))


@pytest.mark.parametrize(("sessions", "kept"), [(0, False), (MIN_TRAIN + STEP, True)])
def test_a_model_that_raises_is_named_with_symbol_and_fold_and_the_others_go_on(sessions: int, kept: bool) -> None:
    result = run(panel(), [RandomWalk(), Broken(sessions=sessions), Drift()])
    why = result.skipped["AAA broken"]
    assert why.startswith("broken raised ZeroDivisionError in fold ")
    assert "of AAA: division by zero" in why
    assert set(result.rows["model"]) == {"random_walk", "drift"} | ({"broken"} if kept else set())
    assert result.rows.query("model == 'drift'")["mean"].notna().all()
