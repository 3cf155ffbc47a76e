import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models import statistical
from stockkit.forecast.models.protocol import Series, Training
from stockkit.forecast.models.statistical import Arima, AutoArima, AutoEts, Theta, _check
from tests.forecast.walks import pair, sees_only_the_past, series, student, training

MODELS = [Arima(), AutoArima(), AutoEts(), Theta()]
pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_no_forecast_sees_the_future(model):
    sees_only_the_past(model, series(student()), 300, 320)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_fitted_twice_it_is_the_same(model):
    train = training(series(student()), 300)
    assert str(model.fit(train)) == str(model.fit(train))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_newest_session_alone_can_be_forecast(model):
    history = series(student(100))
    forecast = model.fit(training(history, 101)).forecast(history, 100)
    assert forecast.mean.shape == (1,)
    assert model.fit(training(history, 101)).forecast(history, 101).mean.shape == (0,)


def test_arima_finds_the_planted_memory():
    rng = np.random.default_rng(3)
    returns = rng.normal(0.001, 0.01, 3000)
    for t in range(1, len(returns)):
        returns[t] += 0.4 * returns[t - 1]
    fitted = Arima().fit(training(series(returns), 3001))
    assert fitted.ar[0] == pytest.approx(0.4, abs=0.05)
    assert fitted.mean == pytest.approx(0.001 / 0.6, abs=0.001)
    assert fitted.chosen == "(1, 0, 0) with a mean"


def test_auto_arima_chooses_the_planted_order_and_counts_what_it_tried(capsys):
    from statsforecast.models import AutoARIMA

    rng = np.random.default_rng(1)
    shocks = rng.normal(0, 0.01, 800)
    returns = shocks.copy()
    for t in range(2, len(returns)):
        returns[t] += 0.5 * returns[t - 1] - 0.4 * returns[t - 2]
    fitted = AutoArima().fit(training(series(returns), 801))
    assert (len(fitted.ar), len(fitted.ma)) == (2, 0)
    AutoARIMA(d=0, seasonal=False, stationary=True, max_p=3, max_q=3, trace=True).fit(returns)
    looked_at = {line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("ARIMA")}
    assert 4 < len(looked_at) <= fitted.tried == 32


def test_ets_of_a_random_walk_is_the_last_close():
    rng = np.random.default_rng(0)
    history = series(rng.normal(0, 0.01, 1000))
    fitted = AutoEts().fit(training(history, 800))
    assert fitted.tried == 3
    assert fitted.chosen.startswith("A")
    assert np.abs(fitted.forecast(history, 800).mean).max() < 0.01


def test_theta_goes_up_half_as_fast_as_the_line_through_the_closes():
    rng = np.random.default_rng(0)
    history = series(rng.normal(0.002, 0.001, 500))
    assert Theta().fit(training(history, 400, 10)).forecast(history, 400).mean.mean() == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_too_little_history_says_how_much_is_needed(model):
    with pytest.raises(ForecastError, match=r"39 one-session returns in 40 training sessions.*needs 60.*more history"):
        model.fit(training(series(student()), 40))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_prices_that_rise_by_the_same_each_day_are_refused(model):
    history = series(np.where(np.arange(200) < 198, 0.001, 0.0))
    labels = np.full(199, np.nan)
    labels[:2] = 0.0, 1.0  # as if somebody had worked them out in another way
    with pytest.raises(ForecastError, match=r"all 198 one-session returns are 0\.001.*halted"):
        model.fit(Training((history.until(199),), 5, history.date[198], (labels,)))


def with_absurd_price(row: int, factor: float) -> Series:
    history = series(student())
    close = np.where(np.arange(len(history)) == row, history.close * factor, history.close)
    return Series("ON", history.date, close, history.features)


@pytest.mark.parametrize("model", [Arima(), AutoEts(), Theta()], ids=str)
@pytest.mark.parametrize("factor", [1e100, 1e-12])
def test_an_absurd_price_in_the_training_poisons_nothing(model, factor):
    wild = with_absurd_price(150, factor)
    assert np.isfinite(pair(model.fit(training(wild, 300)).forecast(wild, 300))).all()


@pytest.mark.parametrize("model", [Arima((1, 0, 1)), AutoArima()], ids=str)
def test_a_moving_average_made_of_one_absurd_price_is_refused(model):
    with pytest.raises(ForecastError, match=r"never forgets its start\. Give more history, check the prices"):
        model.fit(training(with_absurd_price(150, 1e12), 300))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_an_absurd_price_after_the_cut_is_forgotten(model):
    history = series(student())
    fitted = model.fit(training(history, 300))
    after = fitted.forecast(with_absurd_price(310, 1e12), 400).mean
    np.testing.assert_allclose(
        after, fitted.forecast(history, 400).mean, atol=0.5 if isinstance(model, Theta) else 1e-3
    )


@pytest.mark.parametrize("order", [(1, 1, 1), (-1, 0, 1), (1, 1)])
def test_an_order_that_differences_or_is_none_is_refused(order):
    with pytest.raises(ForecastError, match=r"order \(.*\): give \(p, 0, q\)"):
        Arima(order).fit(training(series(student()), 300))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_of_no_use_are_refused(value):
    with pytest.raises(ForecastError, match=r"ETS.*are of no use\. Give more history"):
        _check("ETS", 0.1, value)


def test_two_symbols_at_once_are_refused():
    history = series(student())
    with pytest.raises(ForecastError, match="2 symbols"):
        Arima().fit(Training((history, history), 5, history.date[-1]))


class Fails:
    def fit(self, values):
        raise Exception("no model able to be fitted")


class Wanders:
    model_ = {"code": 1}  # noqa: RUF012

    def fit(self, values):
        return self


@pytest.mark.parametrize(
    ("model", "message"), [(Fails(), r"no model able to be fitted"), (Wanders(), "did not converge")]
)
def test_a_search_that_fails_says_so_and_the_way_out(model, message, monkeypatch):
    monkeypatch.setattr(statistical, "_library", lambda: SimpleNamespace(Search=lambda: model))
    statistical._searched.cache_clear()
    with pytest.raises(ForecastError, match=rf"ETS.*{message}.*Give more history"):
        statistical._fitted("ETS", "Search", np.zeros(100))


def test_a_search_that_is_remembered_gives_what_it_gave(monkeypatch):
    history = student()
    first = [model.fit(training(series(history), 300)) for model in (Arima(), AutoEts(), Theta())]
    monkeypatch.setattr(statistical, "_library", lambda: pytest.fail("it is searched again"))
    again = [model.fit(training(series(history), 300)) for model in (Arima(), AutoEts(), Theta())]
    assert list(map(str, again)) == list(map(str, first))


def test_importing_them_loads_no_heavy_library():
    code = (
        "import sys, stockkit.forecast.models.statistical; "
        "assert not {'statsforecast', 'arch', 'scipy', 'pandas', 'numba'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
