import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models import (
    CORE,
    EXTRAS,
    Drift,
    HistoricalMean,
    Lasso,
    Lstm,
    MedianEnsemble,
    RandomWalk,
    Series,
    by_name,
    nesting,
    target,
)
from tests.forecast.series import series, training

DOUBLING = series(np.array([1.0, 2.0, 4.0, 4.0]))


def test_the_target_is_the_log_return_over_the_horizon() -> None:
    np.testing.assert_allclose(target(DOUBLING, 2), [np.log(4), np.log(2), np.nan, np.nan])
    assert np.isnan(target(DOUBLING, 5)).all()


def test_no_target_reaches_across_a_hole_in_the_sessions() -> None:
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-20", "2020-01-21"], dtype="datetime64[D]")
    mine = Series("AAA", days, DOUBLING.close, np.empty((4, 0)))
    np.testing.assert_allclose(target(mine, 1), [np.log(2), np.nan, 0, np.nan])


@pytest.mark.parametrize("horizon", [0, -1, 253, 1000, 1.5, True, "5"])
def test_a_horizon_that_cannot_be_is_refused(horizon: object) -> None:
    with pytest.raises(ForecastError, match="from 1 to 252"):
        target(DOUBLING, horizon)  # type: ignore[arg-type]


@pytest.mark.parametrize("close", [0.0, -1.0, np.nan, np.inf])
def test_a_close_that_is_no_price_is_refused_with_its_row(close: float) -> None:
    with pytest.raises(ForecastError, match="in row 1 is no price"):
        series(np.array([1.0, close]))


def test_shapes_and_dates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ForecastError, match=r"found \(2,\), \(3,\) and \(3, 0\)"):
        Series("AAA", DOUBLING.date[:2], DOUBLING.close[:3], np.empty((3, 0)))
    with pytest.raises(ForecastError, match="do not ascend"):
        Series("AAA", DOUBLING.date[::-1], DOUBLING.close, np.empty((4, 0)))


def test_a_fit_past_the_cut_is_refused() -> None:
    from stockkit.forecast.models import Training

    with pytest.raises(ForecastError, match="session 2020-01-04 lies past the cut 2020-01-03"):
        Training((DOUBLING,), 1, DOUBLING.date[2])
    with pytest.raises(ForecastError, match="label of 2020-01-04 ends past the cut"):
        Training((DOUBLING,), 1, DOUBLING.date[3], (np.array([0.1, 0.2, 0.3, 0.4]),))


@pytest.mark.parametrize(
    ("close", "message"),
    [([1.0, 1.0, 1.0], "constant"), ([1.0, 2.0], "1 known outcomes"), ([2.0], "0 known outcomes")],
)
def test_a_training_set_that_teaches_nothing_is_refused(close: list[float], message: str) -> None:
    with pytest.raises(ForecastError, match=message):
        training(series(np.array(close)))


def test_the_random_walk_says_zero_and_drift_the_slope() -> None:
    train = training(DOUBLING, horizon=2)
    np.testing.assert_array_equal(RandomWalk().fit(train).forecast(DOUBLING, 2).mean, [0, 0])
    np.testing.assert_allclose(Drift().fit(train).forecast(DOUBLING, 3).mean, [2 * np.log(4) / 3])


def test_the_historical_mean_moves_on_with_each_session() -> None:
    fitted = HistoricalMean().fit(training(DOUBLING))
    np.testing.assert_allclose(fitted.forecast(DOUBLING, 1).mean, [np.log(2), np.log(2), np.log(4) / 3])


def test_models_are_found_by_name_and_typos_get_the_nearest() -> None:
    assert by_name(["lasso", "random_walk"]) == (Lasso(), RandomWalk())
    assert by_name("drift") == (Drift(),)
    assert by_name(["core", "lstm", "lasso"]) == (*CORE, Lstm())
    with pytest.raises(ForecastError, match=r"'laso' is no model\. Did you mean 'lasso'"):
        by_name(["laso"])
    with pytest.raises(ForecastError, match="Known: core, random_walk, drift"):
        by_name(["xyz"])


def test_importing_the_room_loads_neither_pandas_nor_sklearn() -> None:
    code = "import sys, stockkit.forecast; assert not {'pandas', 'sklearn', 'scipy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_models_that_expect_a_change_say_that_they_contain_the_random_walk_and_others_do_not() -> None:
    silent = {"random_walk", "rolling_volatility", "ewma", "garch"}  # whose mean is 0 as it is
    assert nesting() == {model.name for model in (*CORE, *EXTRAS)} - silent


def test_a_model_of_ones_own_does_not_unless_it_says_so_nor_does_an_ensemble_of_it() -> None:
    mine = SimpleNamespace(name="own")
    mixed = MedianEnsemble("mixed", ("lasso", "own"))
    assert nesting([Lasso(), mine, mixed]) == {"lasso"}
    mine.nests_random_walk = True
    assert nesting([Lasso(), mine, mixed]) == {"lasso", "own", "mixed"}
