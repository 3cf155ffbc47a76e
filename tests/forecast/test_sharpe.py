import numpy as np
import pytest
from scipy import stats

from stockkit.errors import ForecastError
from stockkit.forecast.trading.sharpe import best_of, deflated, probabilistic, sharpe

pytestmark = pytest.mark.filterwarnings("error")


def test_the_probability_is_that_of_the_formula_with_scipys_moments():
    returns = stats.skewnorm.rvs(4, loc=-0.5, size=300, random_state=1)
    ratio = returns.mean() / returns.std(ddof=1)
    skewness, kurtosis = stats.skew(returns), stats.kurtosis(returns, fisher=False)
    z = (ratio - 0.02) * np.sqrt(299) / np.sqrt(1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2)
    assert probabilistic(returns, 0.02) == pytest.approx(stats.norm.cdf(z))


@pytest.mark.parametrize("kind", ["normal", "fat tails"])
def test_without_skill_one_in_twenty_is_over_95_per_cent(kind):
    rng = np.random.default_rng(5)
    draws = rng.normal(size=(2000, 252)) if kind == "normal" else rng.standard_t(5, size=(2000, 252))
    assert np.mean(probabilistic(draws) > 0.95) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("trials", [2, 10, 500])
def test_the_best_of_many_without_skill_is_as_good_as_expected(trials):
    best = np.random.default_rng(7).normal(size=(4000, trials)).max(axis=1)
    assert best_of(trials, 1.0) == pytest.approx(best.mean(), rel=0.08)


def test_the_best_of_fifty_without_skill_does_not_pass_as_certain():
    rng = np.random.default_rng(9)
    best = [max(rng.normal(size=(50, 252)), key=lambda own: sharpe(own)) for _ in range(200)]
    assert np.mean([probabilistic(own) > 0.95 for own in best]) > 0.8
    assert np.mean([deflated(own, 50) > 0.95 for own in best]) <= 0.05


def test_one_trial_needs_no_deflation():
    returns = np.random.default_rng(3).normal(0.1, size=100)
    assert deflated(returns, 1) == probabilistic(returns)


def test_the_variance_of_the_trials_may_be_given():
    returns = np.random.default_rng(3).normal(0.1, size=100)
    assert deflated(returns, 20, 0.04) == pytest.approx(probabilistic(returns, best_of(20, 0.04)))


@pytest.mark.parametrize("returns", [np.empty(0), np.array([0.1]), np.full(9, 0.1), np.zeros(9)], ids=repr)
def test_returns_without_spread_have_no_ratio(returns):
    assert np.isnan(sharpe(returns))
    assert np.isnan(deflated(returns, 3))


def test_no_trials_are_refused():
    with pytest.raises(ForecastError, match="trials 0"):
        best_of(0, 1.0)
