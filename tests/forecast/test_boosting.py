import numpy as np
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models import Boosting, Series
from tests.forecast.series import planted, series, training


def test_a_signal_shared_by_two_symbols_is_found_and_noise_is_not() -> None:
    both = [planted(symbol="AAA"), planted(seed=1, symbol="BBB")]
    fitted = Boosting().fit(training(*both))
    for history in both:
        result = np.corrcoef(fitted.forecast(history, 30).mean[:-1], history.features[30:-1, 0])[0, 1]
        assert result > 0.9
    noise = planted(slope=0.0, seed=5)
    assert np.nanstd(Boosting().fit(training(noise)).forecast(noise, 30).mean) < 0.003


def test_the_setting_is_chosen_inside_the_training_rows() -> None:
    fitted = Boosting().fit(training(planted()))
    assert fitted.tried == 3
    assert f"{fitted.leaves} leaves" in fitted.chosen


def test_features_may_be_missing_and_a_feature_may_be_empty() -> None:
    history = planted()
    features = history.features.copy()
    features[::3, 1], features[:, 3] = np.inf, np.nan
    holes = Series(history.symbol, history.date, history.close, features, history.names)
    forecasts = Boosting().fit(training(holes)).forecast(holes, 0).mean
    np.testing.assert_array_equal(np.isnan(forecasts), np.arange(600) < 20)


def test_twice_gives_the_same_bytes() -> None:
    history = planted()
    first, second = (Boosting().fit(training(history)).forecast(history, 20).mean for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_too_little_to_learn_from_is_refused() -> None:
    with pytest.raises(ForecastError, match="at least one feature"):
        Boosting().fit(training(series(planted().close)))
    with pytest.raises(ForecastError, match="needs 100 sessions with known outcomes, found 79"):
        Boosting().fit(training(planted(n=100)))
    fitted = Boosting().fit(training(planted()))
    with pytest.raises(ForecastError, match="fitted on 4 features, given 3"):
        fitted.forecast(planted(k=3), 0)
