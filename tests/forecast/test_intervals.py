"""Intervals adapt, hold what they claim, and know nothing before its time."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mapie.conformity_scores import AbsoluteConformityScore
from mapie.regression import TimeSeriesRegressor
from sklearn.base import BaseEstimator, RegressorMixin

from stockkit.errors import ForecastError
from stockkit.forecast.judge.intervals import BOUNDS, LEVELS, STANDSTILL, TAKES, conformal

ADDED = list(BOUNDS)


def forecasts(count: int = 400, *, horizon: int = 5, model: str = "drift", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sigma = 0.02 * np.exp(rng.normal(0, 0.3, count))
    actual = rng.standard_t(4, count) * sigma
    actual[count - horizon :] = np.nan
    days = pd.bdate_range("2020-01-01", periods=count)
    rows = pd.DataFrame({"as_of": days, "mean": rng.normal(0, 0.002, count), "sigma": sigma, "actual": actual})
    return rows.assign(symbol="AAA", model=model, horizon=horizon)


def assert_causal(intervals: Callable[[pd.DataFrame], pd.DataFrame], *, horizon: int, row: int, seed: int) -> None:
    """Outcomes of `row` and later are known from row + horizon on: other ones change no bound before that."""
    rows = forecasts(160, horizon=horizon, seed=seed)
    other = rows.copy()
    other.loc[row:, "actual"] = np.random.default_rng(seed + 1).normal(0, 0.1, 160 - row)
    other.loc[row + horizon :, ["mean", "sigma"]] = [0.5, 3.0]
    before = slice(0, row + horizon)
    pd.testing.assert_frame_equal(intervals(other)[ADDED][before], intervals(rows)[ADDED][before], check_exact=True)


@settings(max_examples=60)
@given(st.integers(1, 10), st.integers(0, 159), st.integers(0, 1000), st.sampled_from([0.0, 0.005, 0.2]))
def test_no_bound_hangs_on_an_outcome_that_was_still_open(horizon: int, row: int, seed: int, rate: float) -> None:
    def of_series(rows: pd.DataFrame) -> pd.DataFrame:
        return conformal(rows, rate=rate, window=40, minimum=20)

    assert_causal(of_series, horizon=horizon, row=row, seed=seed)


def test_outcomes_used_before_they_were_known_are_caught() -> None:
    def hasty(rows: pd.DataFrame) -> pd.DataFrame:
        return conformal(rows.assign(horizon=rows["horizon"] - 1), window=40, minimum=20)

    with pytest.raises(AssertionError):
        assert_causal(hasty, horizon=5, row=80, seed=0)


def test_the_outcome_of_a_row_counts_from_the_row_at_which_its_session_closes() -> None:
    rows = forecasts(160, horizon=5)
    shocked = rows.assign(actual=rows["actual"].where(rows.index != 80, 9.0))
    changed = conformal(rows, window=40, minimum=20)["hi95"] != conformal(shocked, window=40, minimum=20)["hi95"]
    assert changed[20 + 5 :].idxmax() == 85


def test_without_adapting_bounds_are_the_mean_and_ranked_scores_times_sigma() -> None:
    rows = forecasts(300, horizon=5)
    row = conformal(rows, rate=0, window=119, minimum=50).iloc[250]
    scores = np.sort(((rows["actual"] - rows["mean"]).abs() / rows["sigma"])[250 - 5 - 119 + 1 : 250 - 5 + 1])
    for level, rank in ((80, 96), (90, 108), (95, 114)):  # of 119 scores the 120 x level-th
        half = scores[rank - 1] * row["sigma"]
        assert (row[f"lo{level}"], row[f"hi{level}"]) == pytest.approx((row["mean"] - half, row["mean"] + half))


@pytest.mark.parametrize(("outcome", "tail", "rank"), [(5.0, 0.01, 100), (0.0, 0.11, 90)])
def test_a_miss_widens_the_next_interval_and_a_hit_narrows_it(outcome: float, tail: float, rank: int) -> None:
    """From a tail of 0.10 by 0.1 (0.10 − miss), then the ⌈101 (1 − tail)⌉-th of 100 scores."""
    scores = [*np.linspace(0.01, 1, 100), outcome]
    rows = forecasts(102, horizon=1).assign(mean=0.0, sigma=1.0, actual=[*scores, np.nan])
    bounds = conformal(rows, rate=0.1, window=100, minimum=100)
    assert rank == np.ceil(101 * (1 - tail))
    assert bounds["hi90"][101] == sorted(scores[1:])[rank - 1]


def test_there_is_no_interval_before_the_minimum_of_outcomes_is_known() -> None:
    bounds = conformal(forecasts(horizon=5), minimum=100)
    for name in ADDED:
        assert bounds[name].first_valid_index() == 104


finite = st.floats(-1e6, 1e6)
hole = st.just(float("nan"))
row_values = st.tuples(finite | hole, finite | hole | st.just(float("inf")), finite | hole)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(row_values, min_size=8, max_size=60), st.integers(1, 5), st.floats(0, 1))
def test_bounds_are_finite_and_nested_wherever_there_is_a_mean_and_a_sigma(
    values: list[tuple[float, float, float]], horizon: int, rate: float
) -> None:
    rows = forecasts(len(values), horizon=horizon).assign(**pd.DataFrame(values, columns=["mean", "sigma", "actual"]))
    bounds = conformal(rows, rate=rate, window=10, minimum=2)
    order = bounds[["lo95", "lo90", "lo80", "hi80", "hi90", "hi95"]].to_numpy()
    usable = np.isfinite(rows["mean"]) & np.isfinite(rows["sigma"]) & (rows["sigma"] > STANDSTILL)
    enough = (usable & rows["actual"].notna()).cumsum().shift(horizon).fillna(0) >= 2
    np.testing.assert_array_equal(np.isfinite(order).all(axis=1), usable & enough)
    assert np.isnan(order[~(usable & enough)]).all()
    assert (np.diff(order[usable & enough], axis=1) >= 0).all()


def test_a_higher_claim_is_never_the_narrower_one() -> None:
    """0.85 is a miss at 80 % and a hit at 90 %: with a large step the tail of the one falls to 0, the other's rises."""
    scores = [*np.linspace(0.01, 1, 100), 0.85, np.nan]
    bounds = conformal(forecasts(102, horizon=1).assign(mean=0.0, sigma=1.0, actual=scores), rate=0.5)
    assert bounds.loc[100, ["hi80", "hi90"]].tolist() == pytest.approx([0.81, 0.91])
    assert bounds.loc[101, ["hi80", "hi90", "hi95"]].tolist() == [1.0, 1.0, 1.0]


def test_rows_without_mean_sigma_or_outcome_teach_nothing() -> None:
    rows = forecasts(300, horizon=1)
    holes = rows.copy()
    holes.loc[120, "mean"], holes.loc[121, "sigma"], holes.loc[122, "actual"] = np.nan, 0.0, np.nan
    bounds = conformal(holes, minimum=50)
    assert bounds.loc[[120, 121], ADDED].isna().all(axis=None)
    assert bounds.loc[122, ADDED].notna().all()
    without = conformal(rows.drop(index=[120, 121, 122]), minimum=50)
    pd.testing.assert_frame_equal(bounds.loc[123:, ADDED], without.loc[123:, ADDED])


def test_series_do_not_mix_and_rows_keep_their_order_and_index() -> None:
    both = forecasts(seed=1), forecasts(model="lasso", horizon=2, seed=2)
    first, second = (
        of_series.fillna({"actual": 9.0}) for of_series in both
    )  # a last outcome that would be seen next door
    shuffled = pd.concat([first, second], ignore_index=True).sample(frac=1, random_state=3)
    before = shuffled.copy()
    bounds = conformal(shuffled)
    pd.testing.assert_frame_equal(shuffled, before)
    pd.testing.assert_frame_equal(bounds[list(shuffled)], shuffled)
    for of_series in (first, second):
        mixed = bounds[bounds["model"] == of_series["model"].iloc[0]].sort_values("as_of", ignore_index=True)
        pd.testing.assert_frame_equal(mixed, conformal(of_series))


def test_a_latest_row_gets_an_interval_although_its_outcome_is_open() -> None:
    assert conformal(forecasts(300))[ADDED].iloc[-1].notna().all()


def test_the_claim_holds_after_volatility_has_doubled_against_sigma() -> None:
    rows = forecasts(4000, horizon=1, seed=5)
    rows.loc[2000:, "actual"] *= 2
    rigid, adaptive = (conformal(rows, rate=rate, window=1000).loc[2000:3000] for rate in (0, 0.02))
    shares = [
        of_series["actual"].between(of_series["lo90"], of_series["hi90"]).mean() for of_series in (rigid, adaptive)
    ]
    assert shares[0] < 0.86
    assert shares[1] == pytest.approx(0.9, abs=0.01)


def test_steady_noise_is_covered_as_claimed() -> None:
    bounds = conformal(forecasts(6000, horizon=1, seed=5)).dropna()
    for level in LEVELS:
        inside = bounds["actual"].between(bounds[f"lo{level}"], bounds[f"hi{level}"]).mean()
        assert inside == pytest.approx(level / 100, abs=0.01)


class Nought(RegressorMixin, BaseEstimator):
    """A fitted estimator that forecasts 0 of everything, so that residuals are what it is given."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Nought":
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros(len(x))


def mapie_reach(residuals: np.ndarray, *, rate: float, window: int) -> np.ndarray:
    """How far MAPIE's adaptive intervals reach for each residual after the first `window`, shape (n, levels)."""
    x, claims = np.zeros((len(residuals), 1)), [level / 100 for level in LEVELS]
    judge = TimeSeriesRegressor(
        Nought().fit(x, residuals), method="aci", cv="prefit", conformity_score=AbsoluteConformityScore(sym=True)
    ).fit(x[:window], residuals[:window])
    bounds = []
    for t in range(window, len(residuals)):
        row, outcome = x[t : t + 1], residuals[t : t + 1]
        bounds.append(judge.predict(row, confidence_level=claims)[1][0, 1])
        judge.adapt_conformal_inference(row, outcome, gamma=rate, confidence_level=claims)
        judge.update(row, outcome)
    return np.array(bounds)


@pytest.mark.filterwarnings("ignore")  # MAPIE warns at every update that it has changed what `update` does
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.02])
def test_mapie_s_adaptive_intervals_are_the_same(rate: float) -> None:
    """One session ahead, as many scores from the start as the window holds: the same tails, ranks and scores.

    MAPIE keeps its levels apart, so each of ours is compared with its widest up to that level. Under a tail of 1 / n
    it refuses where ours reaches as far as the largest score; further ahead it has no notion of an outcome still open.
    """
    residuals = np.random.default_rng(9).standard_t(4, 500) * np.repeat([1.0, 1.5], 250)  # so that the tails move
    rows = forecasts(500, horizon=1)
    rows["actual"] = rows["mean"] + residuals * rows["sigma"]
    bounds = conformal(rows, rate=rate, window=100, minimum=100)
    ours = [((bounds[f"hi{level}"] - bounds["mean"]) / bounds["sigma"])[100:] for level in LEVELS]
    theirs = np.maximum.accumulate(mapie_reach(residuals, rate=rate, window=100), axis=1)
    np.testing.assert_allclose(np.column_stack(ours), theirs, rtol=1e-9)


def test_a_session_that_stands_twice_is_refused_with_the_way_out() -> None:
    rows = forecasts(20)
    with pytest.raises(ForecastError, match=r"drift has two forecasts of AAA as of 2020-01-28, 5 .* keep one"):
        conformal(pd.concat([rows, rows.iloc[-1:]]))


@pytest.mark.parametrize(("window", "minimum"), [(50, 100), (50, 1)])
def test_a_minimum_that_cannot_be_is_refused(window: int, minimum: int) -> None:
    with pytest.raises(ForecastError, match="2 <= minimum <= window"):
        conformal(forecasts(20), window=window, minimum=minimum)


@pytest.mark.parametrize("rate", [-0.1, 1.5, np.nan])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(ForecastError, match="give a step from 0"):
        conformal(forecasts(20), rate=rate)


@pytest.mark.parametrize("horizon", [0, 1000])
def test_a_horizon_that_cannot_be_is_refused(horizon: int) -> None:
    with pytest.raises(ForecastError, match=f"horizon {horizon}: give a whole number"):
        conformal(forecasts(20).assign(horizon=horizon))


@pytest.mark.parametrize("name", TAKES)
def test_a_missing_column_is_named(name: str) -> None:
    with pytest.raises(ForecastError, match=f"without {name}: intervals need"):
        conformal(forecasts(20).drop(columns=name))


def test_no_rows_give_no_intervals() -> None:
    assert list(conformal(forecasts(20)[:0])[ADDED].dtypes) == ["float64"] * 6
