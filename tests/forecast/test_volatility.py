import numpy as np
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import Series, Training
from stockkit.forecast.models.volatility import (
    Ewma,
    Garch,
    GarchT,
    RollingVolatility,
    ewma,
    known_returns,
    rolling,
    usual,
)
from stockkit.market import simulate
from tests.forecast.walks import YEAR, pair, restored, sees_only_the_past, series, student, training, with_hole

CUT = 300
MODELS = [RollingVolatility(), Ewma(), GarchT()]
pytestmark = pytest.mark.filterwarnings("error")


def garch_t(n: int, rng: np.random.Generator) -> np.ndarray:
    """omega 2e-6, alpha 0.08, beta 0.9, 6 degrees of freedom."""
    out, variance = np.empty(n), 1e-4
    for t, shock in enumerate(rng.standard_t(6, n) * np.sqrt(4 / 6)):
        out[t] = np.sqrt(variance) * shock
        variance = 2e-6 + 0.08 * out[t] ** 2 + 0.9 * variance
    return out


def clustered(n: int = 500) -> np.ndarray:
    """Returns to which a GARCH can be fitted on any machine: its alpha is far from 0."""
    return simulate.garch_t(n, alpha=0.2, beta=0.7, rng=np.random.default_rng(3))[:, 0]


def test_ewma_is_the_recursion_from_the_mean_square_of_twenty_returns():
    returns = student(30)
    variance = np.mean(returns[:20] ** 2)
    for value in returns[20:]:
        variance = 0.9 * variance + 0.1 * value**2
    result = ewma(series(returns), 5, 0.9)
    assert result[-1] == pytest.approx(np.sqrt(5 * variance), rel=1e-12)
    assert np.isnan(result[:20]).all()
    assert np.isfinite(result[20:]).all()


def test_ewma_of_just_twenty_returns_is_their_root_mean_square():
    assert ewma(series(student(20)), 1)[20] == pytest.approx(np.sqrt(np.mean(student(20) ** 2)), rel=1e-12)


def test_rolling_is_the_root_mean_square_of_the_last_window():
    returns = student(30)
    result = rolling(series(returns), 4, 10)
    np.testing.assert_allclose(result[[10, 30]], [2 * np.sqrt(np.mean(r**2)) for r in (returns[:10], returns[20:])])
    assert np.isnan(result[:10]).all()


def test_an_absurd_return_leaves_the_rolling_window_without_a_trace():
    returns = student(200)
    returns[50] = 300.0  # a sum of squares that were running on would keep a rounding error of 1e-11
    np.testing.assert_allclose(rolling(series(returns), 1, 60)[120:], rolling(series(student(200)), 1, 60)[120:])


def test_a_short_series_has_no_volatility_yet():
    for history in (series(student(5)), series(student(5)).until(1), series(student(5)).until(0)):
        assert np.isnan(ewma(history, 1)).all()
        assert np.isnan(rolling(history, 1, 60)).all()
        assert len(ewma(history, 1)) == len(history)


def test_a_return_across_a_missing_year_is_no_return_of_one_session():
    history = series(student(50))
    holed = with_hole(history, 30)
    returns, count = known_returns(holed)
    np.testing.assert_allclose(returns, student(50), atol=1e-12)
    assert count.tolist() == [*range(31), *range(30, 51)]
    np.testing.assert_allclose(ewma(holed, 1)[31:], ewma(history, 1)[30:])
    assert ewma(holed, 1)[31] == ewma(holed, 1)[30]


@pytest.mark.parametrize(("days", "kept"), [(15, 1), (16, 0)])
def test_fifteen_days_are_no_hole_and_sixteen_are(days, kept):
    date = np.array(["2020-01-01", np.datetime64("2020-01-01") + days], dtype="datetime64[D]")
    assert len(known_returns(Series("ON", date, np.ones(2), np.empty((2, 0))))[0]) == kept


@pytest.mark.parametrize("horizon", [1, 5, 252])
def test_garch_is_what_arch_says_with_the_same_parameters(horizon):
    from arch import arch_model

    history = series(garch_t(800, np.random.default_rng(0)))
    returns, _ = known_returns(history)
    fitted = GarchT().fit(training(history, 500, horizon))
    # in per cent, as arch keeps a variance under 1e-8 of the sample's from falling further, which never happens here
    same = [fitted.omega * 1e4, fitted.alpha, fitted.beta, fitted.degrees]
    oracle = arch_model(returns * 100, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False).fix(same)
    steps = oracle.forecast(horizon=horizon, start=0, reindex=True).variance.to_numpy()
    result = fitted.forecast(history, 1).sigma ** 2
    np.testing.assert_allclose(result, steps.sum(axis=1) / 1e4, rtol=1e-8)


def test_garch_fits_what_arch_fits():
    from arch import arch_model

    history = series(garch_t(800, np.random.default_rng(0)))
    expected = arch_model(known_returns(history)[0] * 100, mean="Zero", dist="t", rescale=False).fit(disp="off").params
    fitted = GarchT().fit(training(history, len(history)))
    result = [fitted.omega * 1e4, fitted.alpha, fitted.beta, fitted.degrees]
    np.testing.assert_allclose(result, expected, rtol=0.01)  # two starts of one search on a flat top


def test_garch_finds_the_planted_volatility():
    history = series(garch_t(4000, np.random.default_rng(2)))
    fitted = GarchT().fit(training(history, 4001))
    assert (fitted.alpha, fitted.beta) == (pytest.approx(0.08, abs=0.02), pytest.approx(0.9, abs=0.03))
    assert fitted.degrees == pytest.approx(6, abs=1.5)
    assert fitted.chosen.startswith("alpha + beta 0.9")
    assert pair(fitted.forecast(history, 0))[1].mean() == pytest.approx(np.sqrt(5 * 1e-4), rel=0.15)


def test_a_garch_whose_alpha_is_0_says_that_there_is_no_arch_effect():
    rng = np.random.default_rng(0)
    returns = rng.normal(size=500) * np.where(np.arange(500) % 2, 0.008, 0.012)  # a calm one after each wild one
    fitted = GarchT().fit(training(series(returns), 501))
    assert fitted.alpha < 1e-6
    assert fitted.chosen.startswith("alpha 0: no ARCH effect, ")
    wild, calm = (fitted.forecast(series(times * returns), 100).sigma for times in (3, 1))
    np.testing.assert_allclose(wild, calm, rtol=1e-3)  # it does not react to returns
    assert GarchT().fit(training(series(clustered()), 501)).chosen.startswith("alpha + beta 0.9")


def test_a_garch_that_remembers_for_ever_has_a_finite_forecast():
    history = series(student(100))
    year = Garch(0.0, 0.06, 0.94, 5.0, 1e-4, 252, 0).forecast(history, 50).sigma
    day = Garch(0.0, 0.06, 0.94, 5.0, 1e-4, 1, 0).forecast(history, 50).sigma
    np.testing.assert_allclose(year, day * np.sqrt(252))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_no_forecast_sees_the_future(model):
    sees_only_the_past(model, series(clustered()), CUT, 320)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_mean_is_zero_and_the_newest_session_alone_can_be_forecast(model):
    history = series(clustered())
    fitted = model.fit(training(history, CUT))
    assert (fitted.forecast(history, CUT).mean == 0).all()
    assert pair(fitted.forecast(history, 500)).tolist() == pair(fitted.forecast(history, CUT))[:, -1:].tolist()
    assert fitted.forecast(history, 501).mean.shape == (0,)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_saved_as_json_and_restored_it_says_the_same_to_the_last_bit(model):
    history = series(clustered())
    fitted = model.fit(training(history, CUT))
    assert pair(restored(fitted).forecast(history, CUT)).tobytes() == pair(fitted.forecast(history, CUT)).tobytes()


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_after_a_missing_year_forecasts_go_on_as_if_it_had_not_been(model):
    history = series(clustered())
    expected = pair(model.fit(training(history, CUT)).forecast(history, CUT + 20))
    holed = with_hole(history, 100)
    again = with_hole(holed, CUT + 21)
    assert again.date[-1] == history.date[-1] + 2 * YEAR
    np.testing.assert_allclose(pair(model.fit(training(again, CUT + 1)).forecast(again, CUT + 22)), expected, rtol=1e-3)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_history_from_before_the_training_does_not_matter(model):
    history = series(clustered())
    window = history.since(100)
    fitted = model.fit(training(window, CUT - 100))
    np.testing.assert_allclose(pair(fitted.forecast(history, CUT)), pair(fitted.forecast(window, CUT - 100)), rtol=1e-4)


def test_a_series_from_before_the_training_says_nothing_but_the_variance_it_starts_from():
    history = series(clustered())
    result = GarchT().fit(training(history.since(200), CUT)).forecast(history.until(150), 140)
    assert np.ptp(result.sigma) == 0


@pytest.mark.parametrize(
    ("model", "least"), [(RollingVolatility(), 60), (RollingVolatility(12), 12), (Ewma(), 20), (GarchT(), 100)], ids=str
)
def test_too_little_history_says_how_much_is_needed(model, least):
    history = series(clustered())
    with pytest.raises(ForecastError, match=rf"{least - 1} one-session returns.*needs {least}.*more history"):
        model.fit(training(history, least))
    assert model.fit(training(history, least + 1))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_prices_that_stand_still_are_refused(model):
    history = series(np.zeros(200))
    labels = np.full(201, np.nan)
    labels[:2] = 0.0, 1.0  # as if somebody had worked them out in another way
    with pytest.raises(ForecastError, match=r"all 200 one-session returns are 0.*halted"):
        model.fit(Training((history,), 5, history.date[-1], (labels,)))


def test_a_garch_of_prices_that_move_once_in_fifty_sessions_is_refused():
    history = series(np.where(np.arange(500) % 50 == 7, student(), 0.0))
    with pytest.raises(ForecastError, match=r"no GARCH.*2\.05 degrees of freedom.*use ewma"):
        GarchT().fit(training(history, CUT))


def test_while_prices_stand_still_after_the_cut_there_is_no_forecast_of_a_window_without_moves():
    history = series(np.concatenate([student(200), np.zeros(70), student(80)]))
    result = RollingVolatility().fit(training(history, 150)).forecast(history, 150)
    still = np.arange(150, 351)
    still = (still >= 260) & (still <= 270)
    np.testing.assert_array_equal(np.isnan(result.mean), still)
    np.testing.assert_array_equal(np.isnan(result.sigma), still)


@pytest.mark.parametrize("model", [Ewma(), GarchT()], ids=str)
def test_an_absurd_price_is_forgotten_in_the_end(model):
    history = series(clustered(1500))
    close = history.close.copy()
    close[310] *= 1e12
    fitted = model.fit(training(history, CUT))
    result = fitted.forecast(Series("ON", history.date, close, history.features), CUT)
    assert np.isfinite(pair(result)).all()
    np.testing.assert_allclose(result.sigma[-1], fitted.forecast(history, 1500).sigma[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [(RollingVolatility(1), "window 1: give at least 2"), (Ewma(1.0), "decay 1.0"), (Ewma(0.0), "between 0 and 1")],
)
def test_a_setting_that_cannot_be_is_refused(model, message):
    with pytest.raises(ForecastError, match=message):
        model.fit(training(series(clustered()), CUT))


def test_the_usual_volatility_is_a_garch_with_given_weights_and_the_long_run_so_far():
    returns = student(60)
    history = series(returns)
    for horizon in (1, 5):
        variance = np.mean(returns[:20] ** 2)
        for n in range(20, 60):
            long_run = np.mean(returns[: n + 1] ** 2)
            variance = 0.02 * long_run + 0.06 * returns[n] ** 2 + 0.92 * variance
        ahead = [long_run + 0.98**k * (variance - long_run) for k in range(horizon)]
        assert usual(history, horizon)[-1] == pytest.approx(np.sqrt(sum(ahead)), rel=1e-12)
    assert np.isnan(usual(history, 1)[:20]).all()
    assert np.isnan(usual(history.until(20), 1)).all()


def test_the_usual_volatility_sees_the_past_alone_and_goes_on_after_a_hole():
    history = series(student(120))
    np.testing.assert_array_equal(usual(history, 5)[:70], usual(history.until(70), 5))
    assert np.isfinite(usual(with_hole(history, 60), 5)[61:]).all()
