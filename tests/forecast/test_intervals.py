from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockkit.errors import ForecastError
from stockkit.forecast.intervals import BOUNDS, residual_intervals

ADDED = ["sigma", *BOUNDS]


def forecasts(count: int = 400, *, horizon: int = 5, model: str = "drift", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    actual = rng.standard_t(4, count) * 0.02
    actual[count - horizon :] = np.nan
    days = pd.bdate_range("2020-01-01", periods=count)
    rows = pd.DataFrame({"as_of": days, "mean": rng.normal(0, 0.002, count), "actual": actual})
    return rows.assign(symbol="AAA", model=model, horizon=horizon)


def as_known_at(rows: pd.DataFrame, position: int) -> pd.DataFrame:
    """The rows of one series up to a position, outcomes blank where they were still open."""
    early = rows.iloc[: position + 1].copy()
    early.loc[early.index[-int(rows["horizon"].iloc[0]) :], "actual"] = np.nan
    return early


def assert_causal(intervals: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    rows = forecasts()
    whole = intervals(rows)
    for position in [104, 105, 106, *np.random.default_rng(1).integers(110, 400, 6)]:
        early = intervals(as_known_at(rows, position))
        pd.testing.assert_frame_equal(early[ADDED], whole[ADDED].iloc[: position + 1], check_exact=True)


def test_earlier_intervals_are_the_same_bytes_without_the_later_rows() -> None:
    assert_causal(residual_intervals)


def test_residuals_used_before_they_were_realised_are_caught() -> None:
    def hasty(rows: pd.DataFrame) -> pd.DataFrame:
        return residual_intervals(rows.assign(horizon=1))

    with pytest.raises(AssertionError):
        assert_causal(hasty)


def test_bounds_are_the_mean_plus_quantiles_of_realised_residuals() -> None:
    rows = forecasts(300, horizon=5)
    row = residual_intervals(rows, window=120, minimum=50).iloc[250]
    residuals = (rows["actual"] - rows["mean"]).to_numpy()[250 - 5 - 120 + 1 : 250 - 5 + 1]
    expected = row["mean"] + np.percentile(residuals, [10, 90, 5, 95, 2.5, 97.5])
    np.testing.assert_allclose(row[list(BOUNDS)].astype(float), expected, rtol=1e-12)
    assert row["sigma"] == pytest.approx(np.std(residuals, ddof=1))


def test_there_is_no_interval_before_the_minimum_of_residuals_is_realised() -> None:
    found = residual_intervals(forecasts(horizon=5), minimum=100)
    for name in ADDED:
        assert found[name].first_valid_index() == 104


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=12, max_size=40), st.integers(1, 5), st.floats(-1, 1))
def test_intervals_are_nested(actual: list[float], horizon: int, mean: float) -> None:
    rows = forecasts(len(actual), horizon=horizon).assign(actual=actual, mean=mean)
    found = residual_intervals(rows, window=10, minimum=5).dropna(subset="lo80")
    order = found[["lo95", "lo90", "lo80", "hi80", "hi90", "hi95"]].to_numpy()
    assert len(order) == len(actual) - horizon - 4
    assert (np.diff(order, axis=1) >= 0).all()


def test_series_do_not_mix_and_rows_keep_their_order() -> None:
    first, second = forecasts(seed=1), forecasts(model="lasso", horizon=2, seed=2)
    shuffled = pd.concat([first, second]).sample(frac=1, random_state=3)
    found = residual_intervals(shuffled)
    np.testing.assert_array_equal(found["mean"], shuffled["mean"])
    for own in (first, second):
        alone = residual_intervals(own)
        mixed = found[found["model"] == own["model"].iloc[0]].sort_values("as_of", ignore_index=True)
        pd.testing.assert_frame_equal(mixed, alone)


def test_a_latest_row_appended_gets_the_intervals_of_all_realised_residuals() -> None:
    rows = forecasts(300, horizon=1)
    appended = pd.concat([rows.iloc[:-1], rows.iloc[-1:].assign(mean=0.5)], ignore_index=True)
    last = residual_intervals(appended).iloc[-1]
    residuals = (rows["actual"] - rows["mean"]).iloc[:-1]
    assert last["hi90"] == pytest.approx(0.5 + residuals.quantile(0.95))


def test_a_row_without_a_mean_has_no_interval() -> None:
    rows = forecasts()
    rows.loc[399, "mean"] = np.nan
    assert residual_intervals(rows).loc[399, ADDED].isna().all()


def test_steady_noise_is_covered_as_claimed() -> None:
    found = residual_intervals(forecasts(6000, horizon=1, seed=5)).dropna()
    for level in (80, 90, 95):
        inside = found["actual"].between(found[f"lo{level}"], found[f"hi{level}"]).mean()
        assert inside == pytest.approx(level / 100, abs=0.015)


def test_a_session_that_stands_twice_is_refused_with_the_way_out() -> None:
    rows = forecasts(20)
    with pytest.raises(ForecastError, match=r"drift has two forecasts of AAA as of 2020-01-28.*forecast_rows"):
        residual_intervals(pd.concat([rows, rows.iloc[-1:]]))


@pytest.mark.parametrize(("window", "minimum"), [(50, 100), (50, 1)])
def test_a_minimum_that_cannot_be_is_refused(window: int, minimum: int) -> None:
    with pytest.raises(ForecastError, match="2 <= minimum <= window"):
        residual_intervals(forecasts(20), window=window, minimum=minimum)


def test_no_rows_give_no_intervals() -> None:
    assert set(ADDED) <= set(residual_intervals(forecasts(20)[:0]).columns)
