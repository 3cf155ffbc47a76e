import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stockkit.forecast.significance import clopper_pearson, diebold_mariano, holm

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


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_only_raises_p_values_and_keeps_their_order(p: list[float]) -> None:
    found = holm(np.array(p))
    assert (found >= p).all()
    assert (found <= 1).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= 0).all()


def test_at_one_session_diebold_mariano_is_students_t_of_the_gains() -> None:
    gain = np.random.default_rng(0).normal(size=60)
    assert diebold_mariano(gain, 1) == pytest.approx(stats.ttest_1samp(gain, 0, alternative="greater").pvalue)


def test_at_four_sessions_it_counts_the_covariance_of_neighbours() -> None:
    gain = np.convolve(np.random.default_rng(2).normal(size=83), np.ones(4), "valid")
    n, h = len(gain), 4
    centred = gain - gain.mean()
    near = np.tri(n, n, h - 1) - np.tri(n, n, -h)  # 1 where two sessions are fewer than h apart
    variance_of_mean = centred @ near @ centred / n**2
    t = gain.mean() / np.sqrt(variance_of_mean) * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    assert diebold_mariano(gain, h) == pytest.approx(1 - stats.t.cdf(t, n // h - 1))


def test_a_negative_variance_estimate_falls_back_and_stays_a_probability() -> None:
    gain = np.tile([1.0, -0.9], 20)  # its rectangular variance at 2 lags is below 0
    assert 0 < diebold_mariano(gain, 2) < 1


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


@pytest.mark.parametrize(("n", "horizon"), [(300, 1), (300, 5), (2000, 5)])
def test_of_equal_models_about_one_in_twenty_looks_better(n: int, horizon: int) -> None:
    assert 0.03 < np.mean(chances(n, horizon, 1500) < 0.05) < 0.065


@pytest.mark.parametrize(("n", "horizon"), [(120, 5), (500, 21)])
def test_the_far_tail_that_a_correction_looks_at_is_not_too_heavy(n: int, horizon: int) -> None:
    assert np.mean(chances(n, horizon, 12_000) < 0.001) < 0.002
