from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockkit.forecast.models.innovations import Arma, Smoothing, ThetaLines, _trend_lines, levels
from stockkit.forecast.models.statistical import Arima, AutoArima, AutoEts, Theta
from stockkit.forecast.models.volatility import known_returns
from tests.forecast.walks import pair, restored, series, student, training, with_hole

CUT, HORIZON = 300, 5
MODELS = [Arima(), Arima((1, 0, 1)), Arima((2, 0, 1)), Arima((0, 0, 2)), Arima((0, 0, 0)), AutoEts(), Theta()]


def theirs(model):
    from statsforecast import models

    if isinstance(model, Arima):
        return models.ARIMA(order=model.order)
    return models.AutoETS(season_length=1, model="AZN") if isinstance(model, AutoEts) else models.Theta(season_length=1)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_one_pass_is_what_statsforecast_says_at_each_session(model):
    # its Kalman filter starts from the stationary variance, ours from innovations of 0: 300 sessions forget it
    history = series(student())
    returns, _ = known_returns(
        history
    )  # to the last bit, as the search stops within 1e-6 of the best coefficients only
    path = levels(returns)
    ours = model.fit(training(history, CUT, HORIZON)).forecast(history, CUT).mean
    oracle = theirs(model).fit(returns[: CUT - 1] if isinstance(model, Arima) else path[:CUT])
    for row in (CUT, CUT + 1, CUT + 77, len(history) - 1):
        if isinstance(model, Arima):
            expected = oracle.forward(returns[:row], h=HORIZON)["mean"].sum()
        else:
            expected = oracle.forward(path[: row + 1], h=HORIZON)["mean"][-1] - path[row]
        assert ours[row - CUT] == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore:.*encountered in divide:RuntimeWarning")  # theirs, of terms it does not use
@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize(
    ("kind", "beta", "phi", "slope"), [("ANN", 0.0, 1.0, 0.0), ("AAN", 0.1, 1.0, 0.002), ("AAD", 0.2, 0.9, 0.002)]
)
def test_every_trend_of_smoothing_is_what_statsforecast_says(kind, beta, phi, slope, horizon):
    from statsforecast.ets import ets_f, forecast_ets

    history = series(student(100))
    path = levels(known_returns(history)[0])
    start = [0.01, slope] if beta else [0.01]
    form = {"components": f"{kind[:2]}N{kind[2]}", "m": 1, "fit": None, "n_params": 4}
    model = ets_f(path, 1, model={**form, "par": np.array([0.7, beta, np.nan, phi, *start])})
    oracle = forecast_ets(model, horizon)
    ours = Smoothing(kind, 0.7, beta, phi, 0.01, slope, horizon, since=0).forecast(history, 100)
    if kind != "AAD" or horizon == 1:  # up to 2.1.1 its second step is as little damped as its first (pull 1219)
        assert ours.mean[0] == pytest.approx(oracle["mean"][-1] - path[-1], abs=1e-12)


@pytest.mark.parametrize(
    "fitted",
    [
        Smoothing("AAD", 0.7, 0.2, 0.9, 0.01, 0.002, 1, 0),
        Smoothing("AAN", 0.9, 0.1, 1.0, 0.01, 0.002, 1, 0),
        Arma(np.array([0.5, -0.2]), np.array([0.3]), 0.001, 1, 0),
    ],
    ids=str,
)
def test_a_week_is_what_five_sessions_of_no_surprise_add_up_to(fitted):
    returns = student(100)
    expected = replace(fitted, horizon=5).forecast(series(returns), 100).mean[0]
    for _ in range(5):
        returns = np.append(returns, fitted.forecast(series(returns), len(returns)).mean)
    assert returns[100:].sum() == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40))
@settings(max_examples=50)
def test_the_trend_line_at_each_session_is_the_least_squares_one(values):
    close = np.array(values)
    base, slope = _trend_lines(close)
    expected = np.polyfit(np.arange(1, len(close) + 1), close, 1)
    np.testing.assert_allclose([slope[-1], base[-1]], expected, atol=1e-9)
    assert (base[0], slope[0]) == (close[0], 0.0)


@pytest.mark.parametrize("model", MODELS[:2] + MODELS[-2:], ids=str)
def test_saved_as_json_and_restored_it_says_the_same_to_the_last_bit(model):
    history = series(student())
    fitted = model.fit(training(history, CUT))
    assert pair(restored(fitted).forecast(history, CUT)).tobytes() == pair(fitted.forecast(history, CUT)).tobytes()


@pytest.mark.parametrize("model", MODELS[:2] + MODELS[-2:], ids=str)
def test_after_a_missing_year_forecasts_go_on_as_if_it_had_not_been(model):
    history = series(student())
    fitted = model.fit(training(history, CUT))
    expected = pair(fitted.forecast(history, CUT + 20))
    np.testing.assert_allclose(pair(fitted.forecast(with_hole(history, CUT + 20), CUT + 21)), expected, atol=1e-12)


@pytest.mark.parametrize("model", MODELS[:2] + MODELS[-2:], ids=str)
def test_a_year_missing_from_the_training_leaves_the_fit_alone(model):
    history = series(student())
    expected = pair(model.fit(training(history, CUT)).forecast(history, CUT))
    holed = with_hole(history, 100)
    np.testing.assert_allclose(pair(model.fit(training(holed, CUT + 1)).forecast(holed, CUT + 1)), expected, atol=1e-5)


@pytest.mark.parametrize("model", MODELS[:2] + MODELS[-2:], ids=str)
@pytest.mark.parametrize("unit", ["D", "s", "ns"])
def test_history_from_before_the_training_does_not_matter(model, unit):
    history = series(student(), unit=unit)
    window = history.since(100)
    fitted = model.fit(training(window, CUT - 100))
    expected = pair(fitted.forecast(window, CUT - 100))
    np.testing.assert_allclose(pair(fitted.forecast(history, CUT)), expected, atol=1e-12)
    assert np.isnan(fitted.forecast(history, 0).mean[:101]).all()
    assert np.isnan(fitted.forecast(history.until(50), 40).mean).all()


@pytest.mark.parametrize("model", MODELS[:2] + MODELS[-2:], ids=str)
def test_the_unit_of_the_price_does_not_matter(model):
    fitted = model.fit(training(series(student()), CUT))
    in_cents = fitted.forecast(series(student(), start=1e-9), CUT)
    np.testing.assert_allclose(in_cents.mean, fitted.forecast(series(student()), CUT).mean, atol=1e-12)


def test_horizons_add_up():
    history = series(student())
    for h in (1, 252):
        zero = Arma(np.array([]), np.array([]), 0.001, h, 0).forecast(history, CUT)
        np.testing.assert_allclose(zero.mean, 0.001 * h, rtol=1e-12)
        assert np.isfinite(ThetaLines(0.5, 0.0, h, 0).forecast(history, CUT).mean).all()


def test_a_moving_average_that_is_not_invertible_becomes_the_one_that_is():
    from statsforecast.models import ARIMA

    from stockkit.forecast.models.statistical import _arma

    returns = student()
    oracle = ARIMA(order=(0, 0, 2), include_mean=False, fixed={"ma1": -2.3, "ma2": 0.6}).fit(returns)  # roots 2 and 0.3
    ours = _arma(oracle.model_, horizon=1, since=0)
    expected = oracle.predict(1)
    result = ours.forecast(series(returns), len(returns))
    assert result.mean[0] == pytest.approx(expected["mean"][0], abs=1e-12)


def test_auto_arima_is_one_of_them():
    history = series(student())
    fitted = AutoArima().fit(training(history, CUT))
    assert isinstance(fitted, Arma)
    assert pair(restored(fitted).forecast(history, CUT)).tobytes() == pair(fitted.forecast(history, CUT)).tobytes()
