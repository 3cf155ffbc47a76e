from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict, fields

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models.prophet_trend import Curve, Prophet
from stockkit.forecast.models.protocol import Series, Training
from stockkit.market import sessions
from tests.conftest import ROOT, lacking

CUT = 600  # sessions known at the fit


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    if importlib.util.find_spec("prophet") is None:
        lacking("prophet", "Prophet is missing: make deep")


def series(seed: int = 0, n: int = 660, *, drift: float = 0.0, noise: float = 0.01) -> Series:
    date = sessions.every()[-4000:][:n].values
    log_close = drift * np.arange(n) + np.random.default_rng(seed).normal(0, noise, n).cumsum()
    return Series("AAA", date, 100 * np.exp(log_close), np.empty((n, 0)))


def training(history: Series, horizon: int = 1, cut: int = CUT) -> Training:
    return Training((history.until(cut),), horizon, history.date[cut - 1])


@pytest.fixture(scope="module")
def walk() -> Series:
    return series()


@pytest.fixture(scope="module")
def fitted(walk: Series) -> Curve:
    return Prophet().fit(training(walk))


def test_the_curve_is_the_librarys_own():
    from prophet import Prophet as Library

    for cut, waves in ((CUT, 13), (300, 3)):  # two years have a yearly season, one has not
        history = series(3, cut)
        curve = Prophet().fit(training(history, cut=cut))
        frame = pd.DataFrame({"ds": history.date, "y": np.log(history.close / history.close[0]).round(9)})
        library = Library(daily_seasonality=False, scaling="minmax", uncertainty_samples=0).fit(frame)
        days = np.busday_offset(history.date[-1].astype("datetime64[D]"), np.arange(10))
        level = library.predict(pd.DataFrame({"ds": days.astype("datetime64[ns]")}))["yhat"].to_numpy()
        later = Series("AAA", days[:-1], np.ones(9), np.empty((9, 0)))
        np.testing.assert_allclose(curve.forecast(later, 0).mean, np.diff(level), atol=1e-9)
        assert len(curve.waves) == waves


def test_a_steady_climb_goes_on():
    history = series(drift=0.002, noise=1e-4)
    mean = Prophet().fit(training(history, 5)).forecast(history, CUT).mean
    np.testing.assert_allclose(mean, 5 * 0.002, rtol=0.15)


def test_no_close_after_the_cut_and_no_later_date_changes_a_forecast(walk, fitted):
    other = Series("AAA", walk.date, np.where(np.arange(len(walk)) < CUT, walk.close, 7.0), walk.features)
    expected = fitted.forecast(walk, CUT).mean
    assert expected.tobytes() == fitted.forecast(other, CUT).mean.tobytes()
    for stop in range(CUT + 1, len(walk)):
        shorter = fitted.forecast(walk.until(stop), CUT).mean
        assert expected[: len(shorter)].tobytes() == shorter.tobytes()


def test_two_fits_give_the_same_bytes_and_leave_numpys_generator_alone(walk, fitted):
    before = np.random.get_state()[1].tobytes()
    again = Prophet().fit(training(walk)).forecast(walk, CUT).mean
    assert fitted.forecast(walk, CUT).mean.tobytes() == again.tobytes()
    assert np.random.get_state()[1].tobytes() == before


def test_a_curve_read_back_from_json_forecasts_the_same(walk, fitted):
    text = json.dumps(asdict(fitted), default=np.ndarray.tolist)
    values = {name: np.array(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}
    restored = Curve(**values)
    assert {field.name for field in fields(Curve)} == set(values)
    assert fitted.forecast(walk, CUT).mean.tobytes() == restored.forecast(walk, CUT).mean.tobytes()


def test_the_unit_of_the_price_does_not_matter(walk, fitted):
    pence = Series("AAA", walk.date, 100 * walk.close, walk.features)
    forecast = Prophet().fit(training(pence)).forecast(pence, CUT).mean
    np.testing.assert_allclose(forecast, fitted.forecast(walk, CUT).mean, atol=1e-12)


def test_the_hour_of_a_session_does_not_matter(walk, fitted):
    evening = Series("AAA", walk.date + np.timedelta64(21, "h"), walk.close, walk.features)
    forecast = Prophet().fit(training(evening)).forecast(evening, CUT).mean
    assert fitted.forecast(walk, CUT).mean.tobytes() == forecast.tobytes()


def test_friday_is_followed_by_the_next_weekday_that_was_traded():
    monday, sunday = np.datetime64("2026-01-05"), np.datetime64("2026-01-04")
    days = np.arange("2024-01-01", "2026-01-03", dtype="datetime64[D]")
    for weekend, after in (([4, 5], sunday), ([5, 6], monday)):  # Friday and Saturday as in Riyadh, or the usual
        weekday = (days.astype(int) + 3) % 7
        history = series(1, int((~np.isin(weekday, weekend)).sum()))
        history = Series("AAA", days[~np.isin(weekday, weekend)], history.close, history.features)
        curve = Prophet().fit(training(history, cut=len(history)))
        expected = curve._height(np.array([after])) - curve._height(history.date[-1:])
        np.testing.assert_array_equal(curve.forecast(history, len(history) - 1).mean, expected)


def test_a_process_that_fits_prints_nothing_and_keeps_its_loggers():
    code = """if True:
        from tests.forecast.test_prophet import Prophet, series, training
        Prophet().fit(training(series()))
        import logging
        raise SystemExit(any(logging.getLogger(name).disabled for name in ("cmdstanpy", "prophet", "prophet.plot")))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_short_history_and_two_symbols_are_refused(walk):
    with pytest.raises(ForecastError, match="AAA: Prophet needs 100 sessions, found 99"):
        Prophet().fit(training(walk, cut=99))
    with pytest.raises(ForecastError, match="one at a time"):
        Prophet().fit(Training((walk, walk), 1, walk.date[-1]))


def test_a_fit_that_fails_names_the_symbol(walk, monkeypatch):
    from prophet.models import CmdStanPyBackend

    def fails(self, *args, **kwargs):
        raise RuntimeError("Error during optimization!")

    monkeypatch.setattr(CmdStanPyBackend, "fit", fails)
    with pytest.raises(ForecastError, match="AAA: Prophet could not be fitted: Error during"):
        Prophet().fit(training(walk))


def test_a_missing_package_names_the_extra(walk, monkeypatch):
    monkeypatch.setitem(sys.modules, "prophet", None)
    with pytest.raises(ForecastError, match=r"pip install stockkit\[prophet\]"):
        Prophet().fit(training(walk))
