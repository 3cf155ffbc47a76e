import subprocess
import sys

import numpy as np
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models import CORE, Drift, Lasso, RandomWalk, Training, by_name

pytestmark = pytest.mark.filterwarnings("error")


def training(n: int = 600, k: int = 4, *, slope: float = 0.01, horizon: int = 1, seed: int = 0) -> Training:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, k))
    return Training(features, slope * features[:, 0] + rng.normal(0, 0.01, n), horizon)


def test_the_random_walk_says_zero_and_drift_says_the_mean() -> None:
    train = Training(np.empty((3, 0)), np.array([0.01, 0.02, 0.06]), 1)
    np.testing.assert_array_equal(RandomWalk().fit(train).predict(np.empty((2, 0))), [0.0, 0.0])
    np.testing.assert_allclose(Drift().fit(train).predict(np.empty((2, 0))), [0.03, 0.03])


def test_lasso_finds_the_planted_feature_and_drops_the_noise() -> None:
    fitted = Lasso().fit(training())
    assert fitted.coefficients[0] == pytest.approx(0.01, rel=0.1)
    assert np.abs(fitted.coefficients[1:]).max() < 0.001
    assert fitted.alpha > 0


def test_the_unit_of_a_feature_does_not_matter() -> None:
    train = training()
    in_percent = train.features * np.array([100.0, 1.0, 1e-6, 1e6]) + 50
    expected = Lasso().fit(train).predict(train.features)
    found = Lasso().fit(Training(in_percent, train.target, 1)).predict(in_percent)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_lasso_on_pure_noise_shrinks_to_the_drift() -> None:
    train = training(slope=0.0, seed=3)
    features = train.features[:5]
    assert np.abs(Lasso().fit(train).predict(features) - Drift().fit(train).predict(features)).max() < 0.001


def test_lasso_twice_gives_the_same_bytes() -> None:
    train = training()
    first, second = (Lasso().fit(train).predict(train.features) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_lasso_trains_on_complete_rows_only() -> None:
    train = training()
    holes = train.features.copy()
    holes[:50, 2], holes[50, 1] = np.nan, np.inf
    fitted = Lasso().fit(Training(holes, train.target, 1))
    assert fitted.rows == 549
    assert fitted.alpha == Lasso().fit(Training(train.features[51:], train.target[51:], 1)).alpha


def test_a_row_without_a_feature_gets_no_forecast_and_no_exception() -> None:
    fitted = Lasso().fit(training())
    features = np.zeros((3, 4))
    features[1, 3] = np.nan
    np.testing.assert_array_equal(np.isnan(fitted.predict(features)), [False, True, False])
    assert np.isnan(fitted.predict(features[1:2])).all()
    assert fitted.predict(features[:0]).shape == (0,)


def test_inner_folds_keep_labels_apart_by_the_horizon() -> None:
    folds = Lasso()._pipeline(horizon=5)[-1].cv
    assert all(inner.max() + 5 < outer.min() for inner, outer in folds.split(np.zeros((300, 1))))


def test_lasso_converges_on_features_that_nearly_repeat_each_other() -> None:
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(size=800))
    features = walk[:, None] + rng.normal(0, 1e-3, (800, 16))
    features[:, 15] = 7.0
    target = rng.normal(0, 0.02, 800) + 1e-3 * rng.standard_t(2, 800)
    assert np.isfinite(Lasso().fit(Training(features, target, 1)).predict(features)).all()


@pytest.mark.parametrize(
    ("features", "target", "horizon", "said"),
    [
        (np.zeros((3, 1)), np.array([0.1, np.nan, 0.2]), 1, "target row 1 is nan"),
        (np.zeros((3, 1)), np.full(3, 0.01), 1, "constant"),
        (np.zeros((1, 1)), np.array([0.1]), 1, "1 rows"),
        (np.zeros((3, 1)), np.array([0.1, 0.2]), 1, r"\(3, 1\) and \(2,\)"),
        (np.zeros((2, 1)), np.array([0.1, 0.2]), 0, "horizon 0"),
    ],
)
def test_a_training_set_that_teaches_nothing_is_refused(
    features: np.ndarray, target: np.ndarray, horizon: int, said: str
) -> None:
    with pytest.raises(ForecastError, match=said):
        Training(features, target, horizon)


def test_lasso_says_which_feature_left_it_too_few_rows() -> None:
    train = training(n=200)
    train.features[:150, 2] = np.nan
    with pytest.raises(ForecastError, match=r"found 50 of 200.*feature 3 of 4, with 50 values"):
        Lasso().fit(train)


def test_lasso_without_features_is_refused() -> None:
    with pytest.raises(ForecastError, match="at least one feature"):
        Lasso().fit(Training(np.empty((600, 0)), training().target, 1))


def test_models_are_found_by_name_and_typos_get_the_nearest() -> None:
    assert by_name(["lasso", "random_walk"]) == (Lasso(), RandomWalk())
    assert by_name("drift") == (Drift(),)
    assert [model.name for model in CORE] == ["random_walk", "drift", "lasso"]
    with pytest.raises(ForecastError, match=r"'laso' is no model\. Did you mean 'lasso'"):
        by_name(["laso"])
    with pytest.raises(ForecastError, match="Known: random_walk, drift, lasso"):
        by_name(["prophet"])


def test_importing_the_room_loads_neither_pandas_nor_sklearn() -> None:
    code = "import sys, stockkit.forecast; assert not {'pandas', 'sklearn', 'scipy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
