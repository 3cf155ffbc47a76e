"""Simulated returns have the properties that they are simulated for."""

import numpy as np
import pytest

from stockkit.errors import ParamError
from stockkit.market import simulate


def test_the_parameters_of_a_garch_t_are_found_again_by_a_fit() -> None:
    """The oracle is the library arch, which shares no code with the simulation."""
    from arch import arch_model

    returns = simulate.garch_t(20_000, volatility=0.015, alpha=0.08, beta=0.90, nu=6, rng=np.random.default_rng(1))
    fit = arch_model(returns[:, 0] * 100, mean="Zero", dist="t").fit(disp="off").params
    alpha, beta, nu = fit["alpha[1]"], fit["beta[1]"], fit["nu"]
    assert (alpha, beta) == pytest.approx((0.08, 0.90), abs=0.02)
    assert nu == pytest.approx(6, abs=0.6)
    assert np.sqrt(fit["omega"] / (1 - alpha - beta)) == pytest.approx(1.5, rel=0.1)


def test_the_series_of_a_garch_t_are_independent_and_the_same_for_a_seed() -> None:
    returns = simulate.garch_t(3000, 2, rng=np.random.default_rng(2))
    np.testing.assert_array_equal(simulate.garch_t(3000, 2, rng=np.random.default_rng(2)), returns)
    assert returns.shape == (3000, 2)
    assert abs(np.corrcoef(returns.T)[0, 1]) < 0.08


@pytest.mark.parametrize("wrong", [{"alpha": 0.2, "beta": 0.8}, {"alpha": -0.1}, {"nu": 2.0}, {"beta": np.nan}])
def test_a_garch_t_without_a_long_run_variance_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParamError, match="no long-run variance"):
        simulate.garch_t(10, **wrong, rng=np.random.default_rng(1))
