import numpy as np
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models import Drift, ElasticNet, Lasso, Series, target
from tests.forecast.series import planted, series, training

pytestmark = pytest.mark.filterwarnings("error")


def described(history: Series, features: np.ndarray) -> Series:
    return Series(history.symbol, history.date, history.close, features, history.names)


@pytest.mark.parametrize("model", [Lasso(), ElasticNet(), ElasticNet(ratios=(0.2, 0.8))])
def test_the_planted_feature_is_found_and_the_noise_shrunk(model: ElasticNet) -> None:
    fitted = model.fit(training(planted()))
    slopes = fitted.coefficients / fitted.scale
    assert slopes[0] == pytest.approx(0.01, rel=0.1)
    assert np.abs(slopes[1:]).max() < 0.001
    assert fitted.tried == 20 * len(model.ratios)


def test_the_lasso_is_that_of_scikit_learn_at_the_penalty_chosen() -> None:
    from sklearn.linear_model import Lasso as Plain
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    history = planted()
    train = training(history)
    fitted = Lasso().fit(train)
    plain = make_pipeline(StandardScaler(), Plain(alpha=fitted.alpha, tol=1e-8)).fit(*train.rows())
    np.testing.assert_allclose(fitted.forecast(history, 0).mean, plain.predict(history.features), atol=1e-6)


def test_the_penalty_is_the_one_that_lasso_cv_would_choose_on_the_same_folds() -> None:
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import TimeSeriesSplit

    x, y = training(planted(slope=0.002)).rows()
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    chosen = LassoCV(alphas=20, eps=0.01, cv=TimeSeriesSplit(5, gap=1)).fit(x, y)
    assert Lasso().fit(training(planted(slope=0.002))).alpha == pytest.approx(chosen.alpha_)


def test_the_unit_of_a_feature_does_not_matter() -> None:
    history = planted()
    in_percent = described(history, history.features * np.array([100.0, 1.0, 1e-6, 1e6]) + 50)
    expected = Lasso().fit(training(history)).forecast(history, 0).mean
    np.testing.assert_allclose(Lasso().fit(training(in_percent)).forecast(in_percent, 0).mean, expected, atol=1e-9)


def test_on_pure_noise_it_shrinks_to_the_drift() -> None:
    history = planted(slope=0.0, seed=3)
    train = training(history)
    apart = Lasso().fit(train).forecast(history, 595).mean - Drift().fit(train).forecast(history, 595).mean
    assert np.abs(apart).max() < 0.001


def test_twice_gives_the_same_bytes() -> None:
    history = planted()
    first, second = (Lasso().fit(training(history)).forecast(history, 0).mean for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_it_trains_on_complete_rows_only() -> None:
    history = planted()
    holes = history.features.copy()
    holes[:50, 2], holes[50, 1] = np.nan, np.inf
    fitted = Lasso().fit(training(described(history, holes)))
    assert fitted.rows == 548
    assert fitted.alpha == Lasso().fit(training(history.since(51))).alpha


def test_a_row_without_a_feature_that_is_used_gets_no_forecast_and_no_exception() -> None:
    history = planted()
    fitted = Lasso().fit(training(history))
    used, unused = fitted.uses[0], next(k for k in range(4) if k not in fitted.uses)
    features = history.features.copy()
    features[598, used] = np.nan
    features[599, unused] = np.nan
    np.testing.assert_array_equal(
        np.isnan(fitted.forecast(described(history, features), 597).mean), [False, True, False]
    )
    assert fitted.forecast(history, 600).mean.shape == (0,)


def test_other_features_than_it_was_fitted_on_are_refused() -> None:
    fitted = Lasso().fit(training(planted()))
    with pytest.raises(ForecastError, match="fitted on 4 features, given 3"):
        fitted.forecast(planted(k=3), 0)


def test_it_converges_on_features_that_nearly_repeat_each_other_or_never_change() -> None:
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(size=800))
    features = walk[:, None] + rng.normal(0, 1e-3, (800, 16))
    features[:, 15] = 7.0
    history = series(np.exp(np.cumsum(rng.normal(0, 0.02, 800) + 1e-3 * rng.standard_t(2, 800))), features)
    fitted = Lasso().fit(training(history))
    assert np.isfinite(fitted.forecast(history, 0).mean).all()
    assert fitted.coefficients[15] == 0


def test_it_says_which_feature_left_too_few_rows() -> None:
    history = planted(n=201)
    features = history.features.copy()
    features[:151, 2] = np.nan
    with pytest.raises(ForecastError, match=r"found 49 of 200.*The emptiest is f2, with 49 values"):
        Lasso().fit(training(described(history, features)))


def test_without_features_it_is_refused() -> None:
    with pytest.raises(ForecastError, match="at least one feature"):
        Lasso().fit(training(series(planted().close)))


def test_two_symbols_at_once_are_not_for_a_model_of_one() -> None:
    with pytest.raises(ForecastError, match="2 symbols: this model is fitted to one at a time"):
        Drift().fit(training(planted(), planted(symbol="BBB")))


def test_an_inner_label_never_overlaps_what_it_is_judged_on() -> None:
    history = planted(n=400)
    labels = target(history, 5)
    assert Lasso().fit(training(history, horizon=5)).rows == np.isfinite(labels).sum() == 395
