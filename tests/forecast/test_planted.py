import numpy as np
import pytest

from tests.forecast import planted


def test_the_feature_tells_of_the_next_return_and_of_no_other():
    made = planted.panel(50, 4000, ic=0.05, rng=np.random.default_rng(1))
    correlations = [np.corrcoef(made.feature[:-lag].ravel(), made.returns[lag:].ravel())[0, 1] for lag in (1, 2)]
    assert correlations == pytest.approx([0.05, 0.0], abs=0.008)
    assert np.corrcoef(made.feature.ravel(), made.returns.ravel())[0, 1] == pytest.approx(0, abs=0.008)


def test_symbols_move_together_as_asked():
    made = planted.panel(2, 20_000, together=0.3, volatility=0.01, rng=np.random.default_rng(2))
    assert np.corrcoef(made.returns.T)[0, 1] == pytest.approx(0.3, abs=0.03)
    assert made.returns.std() == pytest.approx(0.01, rel=0.03)


def test_the_same_seed_gives_the_same_panel():
    one, other = (planted.panel(3, 10, ic=0.1, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.returns, other.returns)
