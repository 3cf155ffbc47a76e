from __future__ import annotations

import importlib.util
import io
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockkit.errors import ForecastError
from stockkit.forecast.models import deep
from stockkit.forecast.models.deep import Lstm, Network
from stockkit.forecast.models.protocol import Series, Training, target
from stockkit.market import sessions
from tests.conftest import lacking

CUT = 700  # sessions known at the fit
NAMES = ("planted", "noise", "never", "constant")
SMALL = Lstm(window=5, hidden=13, epochs=3)  # an odd size, at which the last bits show who sits beside whom


@pytest.fixture(autouse=True, scope="module")
def installed() -> None:
    if importlib.util.find_spec("torch") is None:
        lacking("torch", "PyTorch is missing: make deep")


def walk(seed: int, n: int = 1000, *, signal: float = 0.0, start: int = 0) -> Series:
    """A random walk, of whose next return the first feature tells with correlation `signal`."""
    rng = np.random.default_rng(seed)
    features = np.column_stack([rng.normal(size=(n, 2)), np.full(n, np.nan), np.full(n, 3.0)])
    features[:40, 1] = np.nan
    returns = 0.02 * rng.normal(size=n)
    returns[1:] = signal * 0.02 * features[:-1, 0] + np.sqrt(1 - signal**2) * returns[1:]
    date = sessions.every()[-4000:][start : start + n].values
    return Series(f"S{seed}", date, 100 * np.exp(returns.cumsum()), features, NAMES)


def panel(count: int = 4, *, signal: float = 0.0) -> list[Series]:
    return [walk(seed, signal=signal) for seed in range(count)]


def training(symbols: list[Series], horizon: int = 1, cut: int = CUT) -> Training:
    return Training(tuple(history.until(cut) for history in symbols), horizon, symbols[0].date[cut - 1])


def out_of_sample(network: Network, symbols: list[Series]) -> tuple[np.ndarray, np.ndarray]:
    means = np.concatenate([network.forecast(history, CUT).mean for history in symbols])
    came = np.concatenate([target(history, network.horizon)[CUT:] for history in symbols])
    return means[np.isfinite(came)], came[np.isfinite(came)]


@pytest.fixture(scope="module")
def symbols() -> list[Series]:
    return panel(signal=0.3)


@pytest.fixture(scope="module")
def network(symbols: list[Series]) -> Network:
    return SMALL.fit(training(symbols))


def test_a_planted_signal_is_learnt(symbols):
    means, came = out_of_sample(Lstm().fit(training(symbols)), symbols)
    assert np.corrcoef(means, came)[0, 1] > 0.2
    assert 0.1 * 0.02 < means.std() < 0.4 * 0.02  # the truth is 0.3 of a volatility of 0.02


def test_a_signal_in_the_order_of_the_last_returns_is_learnt():
    rng = np.random.default_rng(5)
    returns = np.zeros((3, 1000))
    for t in range(2, 1000):  # what came two sessions ago comes back: a memory is needed
        returns[:, t] = 0.02 * rng.normal(size=3) + 0.5 * returns[:, t - 2]
    days = sessions.every()[-4000:][:1000].values
    moved = [Series(f"S{i}", days, 100 * np.exp(row.cumsum()), np.empty((1000, 0))) for i, row in enumerate(returns)]
    means, came = out_of_sample(Lstm().fit(training(moved)), moved)
    assert np.corrcoef(means, came)[0, 1] > 0.3


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_left_near_the_random_walk(seed):
    noise = [walk(100 * seed + i) for i in range(4)]
    means, came = out_of_sample(Lstm(seed=seed).fit(training(noise)), noise)
    assert np.mean((came - means) ** 2) < 1.01 * np.mean(came**2)
    assert means.std() < 0.1 * 0.02


def test_nothing_after_a_row_changes_its_forecast_by_a_bit(symbols, network):
    history = symbols[0]
    expected = network.forecast(history, 0).mean
    assert np.isfinite(expected).sum() == len(history) - 24  # 20 returns, then a window of 5
    for stop in (CUT, CUT + 1, 767, 768, 769, 900):
        shorter = history.until(stop)
        close, features = history.close.copy(), history.features.copy()
        close[stop:], features[stop:] = 1.0, 1e6
        other = Series(history.symbol, history.date, close, features, NAMES)
        assert network.forecast(shorter, 0).mean.tobytes() == expected[:stop].tobytes()
        assert network.forecast(other, 0).mean[:stop].tobytes() == expected[:stop].tobytes()
        assert network.forecast(history, stop).mean.tobytes() == expected[stop:].tobytes()


def test_the_seed_alone_decides(symbols, network):
    import torch

    expected = network.forecast(symbols[0], 0).mean.tobytes()
    threads = torch.get_num_threads()
    try:
        torch.manual_seed(99)
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        drawn = torch.get_rng_state()
        again = SMALL.fit(training(symbols)).forecast(symbols[0], 0).mean.tobytes()
        assert (torch.get_num_threads(), torch.is_grad_enabled()) == (2, False)
        assert torch.equal(torch.get_rng_state(), drawn)
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert expected == again
    other = replace(SMALL, seed=1).fit(training(symbols))
    assert expected != other.forecast(symbols[0], 0).mean.tobytes()


def test_a_network_read_back_from_weights_alone_forecasts_the_same(symbols, network):
    import torch

    file = io.BytesIO()
    torch.save(network.weights, file)
    file.seek(0)
    values = {field.name: getattr(network, field.name) for field in fields(network)}
    restored = Network(**{**values, "weights": torch.load(file, weights_only=True)})
    assert network.forecast(symbols[1], CUT).mean.tobytes() == restored.forecast(symbols[1], CUT).mean.tobytes()
    assert all(type(value) in (int, float, np.ndarray, dict) for value in values.values())


@settings(max_examples=30)
@given(horizon=st.integers(1, 30), starts=st.lists(st.integers(0, 300), min_size=1, max_size=3))
def test_no_label_that_is_learnt_ends_in_the_tail_that_judges(horizon, starts):
    symbols = [walk(i, 400, start=start) for i, start in enumerate(starts)]
    cut = max(series.date[-1] for series in symbols)
    train = Training(tuple(symbols), horizon, cut)
    split = deep._split(train, 5)
    _, learn, tail = deep._labels(train, 5, split)
    dates = np.concatenate([series.date for series in symbols])
    ends = np.concatenate([np.append(series.date[horizon:], series.date[:horizon]) for series in symbols])
    assert ends[learn].max(initial=dates.min()) < dates[tail].min()
    assert len(learn) > len(tail) > 0


def test_the_tail_does_not_scale_the_features(symbols):
    train = training(symbols)
    split = deep._split(train, 5)
    wild = [
        Series(s.symbol, s.date, s.close, np.where((s.date < split)[:, None], s.features, 50.0), NAMES) for s in symbols
    ]
    for scale, expected in zip(deep._standards(training(wild), split), deep._standards(train, split), strict=True):
        np.testing.assert_array_equal(scale, expected)


def test_a_missing_feature_counts_as_its_mean_and_one_that_never_varied_does_not_count(symbols, network):
    history = symbols[0]
    missing, mean, unseen = history.features.copy(), history.features.copy(), history.features.copy()
    missing[CUT, 0], mean[CUT, 0] = np.inf, network.centre[0]
    unseen[:, 2], unseen[:, 3] = 8.0, -8.0
    expected = network.forecast(history, CUT).mean
    means = [
        network.forecast(Series("S0", history.date, history.close, f, NAMES), CUT).mean for f in (missing, mean, unseen)
    ]
    np.testing.assert_array_equal(means[0], means[1])
    assert means[0][0] != expected[0]
    np.testing.assert_array_equal(means[2], expected)


def test_the_units_of_prices_and_features_do_not_matter(symbols):
    scaled = [Series(s.symbol, s.date, 64 * s.close, 1024 * s.features, NAMES) for s in symbols]
    expected, means = (SMALL.fit(training(some)).forecast(some[0], CUT).mean for some in (symbols, scaled))
    np.testing.assert_allclose(means, expected, rtol=1e-3, atol=1e-7)


def test_a_halted_symbol_has_no_forecast_and_the_others_do(symbols, network):
    halted = Series("HALT", symbols[0].date, np.full(1000, 5.0), symbols[0].features, NAMES)
    assert np.isnan(network.forecast(halted, 0).mean).all()
    short = symbols[1].until(10)
    assert np.isnan(network.forecast(short, 0).mean).all()
    with_short = Training((*training(symbols).series, short), 1, symbols[0].date[CUT - 1])
    assert np.isfinite(SMALL.fit(with_short).forecast(symbols[0], CUT).mean).all()


def test_too_few_windows_other_features_and_odd_settings_are_refused(symbols, network):
    with pytest.raises(ForecastError, match="lstm: 61 windows of 5 sessions to learn from, 16 to stop by"):
        SMALL.fit(training(symbols[:1], cut=103))
    with pytest.raises(ForecastError, match="fitted on 4 features, given 0"):
        network.forecast(Series("S0", symbols[0].date, symbols[0].close, np.empty((1000, 0))), CUT)
    with pytest.raises(ForecastError, match="window is 0: give 1 or more"):
        Lstm(window=0)


def test_a_missing_package_names_the_extra(symbols, network, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ForecastError, match=r"pip install stockkit\[deep\]"):
        SMALL.fit(training(symbols))
    with pytest.raises(ForecastError, match=r"pip install stockkit\[deep\]"):
        network.forecast(symbols[0], CUT)
