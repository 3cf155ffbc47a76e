import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stockkit.forecast.judge.multiple_testing import (
    chance_of_mean,
    clark_west,
    clopper_pearson,
    detectable,
    diebold_mariano,
    holm,
)

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 7), (880, 1697)])
def test_the_hit_interval_is_the_exact_binomial_one(hits: int, n: int) -> None:
    exact = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    low, high = clopper_pearson(np.array([hits]), np.array([n]))
    assert (low[0], high[0]) == pytest.approx((exact.low, exact.high))


def test_no_tries_have_no_interval() -> None:
    assert np.isnan(clopper_pearson(np.array([0]), np.array([0]))).all()


def test_holm_gives_the_textbook_values() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1.0, 1.0])


@settings(max_examples=100)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_only_raises_p_values_and_keeps_their_order(p: list[float]) -> None:
    result = holm(np.array(p))
    assert (result >= p).all()
    assert (result <= 1).all()
    assert (np.diff(result[np.argsort(p, kind="stable")]) >= 0).all()


def test_at_one_session_diebold_mariano_is_students_t_of_the_gains() -> None:
    gain = np.random.default_rng(0).normal(size=60)
    assert diebold_mariano(gain, 1) == pytest.approx(stats.ttest_1samp(gain, 0, alternative="greater").pvalue)


def overlapping(n: int, horizon: int, seed: int = 2) -> np.ndarray:
    """White noise summed over `horizon` neighbours, as outcomes are."""
    return np.convolve(np.random.default_rng(seed).normal(size=n + horizon - 1), np.ones(horizon), "valid")


def test_at_four_sessions_its_error_is_that_of_the_slowest_cosine_waves() -> None:
    gain = overlapping(80, 4)
    n, waves = len(gain), 7  # min(80 / 8, 0.4 x 80 ** (2 / 3))
    phase = np.pi * np.outer(np.arange(1, waves + 1), (np.arange(n) + 0.5) / n)
    heights = np.sqrt(2 / n) * np.cos(phase) @ gain
    lags = np.arange(-3, 4)
    shape = ((4 - np.abs(lags)) / 16) @ np.cos(np.pi / n * np.outer(lags, np.arange(1, waves + 1)))  # 1 at frequency 0
    t = gain.mean() / np.sqrt((heights**2).mean() / shape.mean() / n)
    assert diebold_mariano(gain, 4) == pytest.approx(stats.t.sf(t, waves))


def test_clark_and_west_give_back_the_noise_of_what_was_estimated() -> None:
    rng = np.random.default_rng(4)
    actual, mean = rng.normal(size=(2, 300))
    mean = 0.2 * actual + 0.3 * mean
    gain = actual**2 - (actual - mean) ** 2
    expected = stats.ttest_1samp(2 * actual * mean, 0, alternative="greater").pvalue
    assert gain.mean() > 0
    assert clark_west(gain, mean**2, 1) == pytest.approx(expected)
    assert clark_west(gain, mean**2, 1) < diebold_mariano(gain, 1)


def test_what_has_the_larger_errors_as_it_is_does_not_beat() -> None:
    rng = np.random.default_rng(4)
    actual = rng.normal(size=3000)
    mean = 0.2 * actual + 0.8 * rng.normal(size=3000)  # it tells much, and says far too much
    gain = actual**2 - (actual - mean) ** 2
    assert stats.ttest_1samp(gain + mean**2, 0, alternative="greater").pvalue < 1e-6
    assert clark_west(gain, mean**2, 1) == diebold_mariano(gain, 1) > 0.5


def test_what_is_detectable_is_found_in_four_of_five_draws() -> None:
    rng = np.random.default_rng(5)
    draws = rng.normal(detectable(1 / 20, 399, 0.001), 1, size=(4000, 400))
    result = [chance_of_mean(draw, 1) < 0.001 for draw in draws]
    assert 0.78 < np.mean(result) < 0.82
    assert np.isnan(detectable(np.nan, 0, 0.05))


@pytest.mark.parametrize("gain", [np.full(50, 0.08), np.zeros(50), np.array([0.1]), np.empty(0)], ids=len)
def test_gains_without_spread_prove_nothing(gain: np.ndarray) -> None:
    assert diebold_mariano(gain, 1) == 1.0


def test_five_sessions_need_more_than_nine_overlapping_ones() -> None:
    gain = np.random.default_rng(0).normal(5, 1, size=10)
    assert diebold_mariano(gain[:9], 5) == 1.0
    assert diebold_mariano(gain, 5) < 1


def chances(n: int, horizon: int, draws: int) -> np.ndarray:
    """P values of gains whose mean is 0 and whose neighbours overlap as outcomes of `horizon` sessions do."""
    sums = np.random.default_rng(11).normal(size=(draws, n + horizon)).cumsum(axis=1)
    return np.array([diebold_mariano(gain, horizon) for gain in sums[:, horizon:] - sums[:, :-horizon]])


@pytest.mark.parametrize(("n", "horizon"), [(300, 1), (300, 5), (2000, 5), (500, 20)])
def test_of_equal_models_about_one_in_twenty_looks_better(n: int, horizon: int) -> None:
    assert 0.03 < np.mean(chances(n, horizon, 1500) < 0.05) < 0.065


@pytest.mark.parametrize(("n", "horizon"), [(120, 5), (500, 20), (2000, 20)])
def test_the_far_tail_that_a_correction_looks_at_is_not_too_heavy(n: int, horizon: int) -> None:
    assert np.mean(chances(n, horizon, 12_000 if n < 1000 else 4_000) < 0.001) < 0.002
