import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stockkit.errors import ForecastError
from stockkit.forecast.backtest import backtest
from stockkit.forecast.intervals import residual_intervals
from stockkit.forecast.models import CORE
from stockkit.forecast.scores import Verdict, clopper_pearson, diebold_mariano, holm, score, verdict

pytestmark = pytest.mark.filterwarnings("error")

ACTUAL = [0.02, -0.01, 0.0, 0.04, np.nan]


def rows(means: dict[str, list[float]], actual: list[float] = ACTUAL, horizon: int = 1) -> pd.DataFrame:
    days = pd.bdate_range("2023-01-02", periods=len(actual))
    fixed = {"as_of": days, "actual": actual, "symbol": "AAA", "horizon": horizon, "scale": 0.02}
    return pd.concat([pd.DataFrame({"model": name, "mean": mean, **fixed}) for name, mean in means.items()])


def line(frame: pd.DataFrame, model: str) -> pd.Series:
    return score(frame).set_index("model").loc[model]


ZERO = [0.0] * 5
KNOWN = rows({"random_walk": ZERO, "guess": [0.01, 0.01, 0.01, 0.02, 0.01]})


def test_errors_are_over_known_outcomes_and_relative_to_the_random_walk() -> None:
    found = line(KNOWN, "guess")
    assert (found["n"], found["first"], found["last"]) == (4, pd.Timestamp("2023-01-02"), pd.Timestamp("2023-01-05"))
    assert found["mae"] == pytest.approx((0.01 + 0.02 + 0.01 + 0.02) / 4)
    assert found["rmse"] == pytest.approx(np.sqrt((1 + 4 + 1 + 4) * 1e-4 / 4))
    assert found["mae_ratio"] == pytest.approx(0.06 / 0.07)
    assert found["rmse_ratio"] == pytest.approx(np.sqrt(10 / 21))
    assert found["mase"] == pytest.approx(0.75)


def test_signs_count_where_both_the_forecast_and_the_market_moved() -> None:
    found = line(KNOWN, "guess")
    assert (found["n_hit"], found["hit_rate"], found["up_rate"]) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    base = line(KNOWN, "random_walk")
    assert base["n_hit"] == 0
    assert base[["hit_rate", "hit_lo", "hit_hi", "dm_p", "p_holm"]].isna().all()
    assert (base["mae_ratio"], base["rmse_ratio"]) == (1.0, 1.0)


def test_a_model_is_compared_on_its_own_dates_only() -> None:
    frame = rows({"random_walk": ZERO, "picky": [np.nan, np.nan, 0.0, 0.04, 0.0]})
    found = line(frame, "picky")
    assert (found["n"], found["mae_ratio"]) == (2, 0.0)


def test_dates_without_the_random_walk_are_left_out() -> None:
    frame = rows({"random_walk": [0.0, np.nan, 0.0, 0.0, 0.0], "guess": [0.01] * 5})
    assert line(frame, "guess")["n"] == 3


def test_coverage_and_width_are_over_rows_with_intervals() -> None:
    bands = {"lo80": -0.01, "hi80": 0.01, "lo90": -0.02, "hi90": 0.02, "lo95": -0.05, "hi95": 0.05}
    frame = KNOWN.assign(**bands).reset_index(drop=True)
    frame.loc[frame["as_of"] == pd.Timestamp("2023-01-02"), list(bands)] = np.nan
    found = line(frame, "guess")
    assert found[["coverage80", "coverage90", "coverage95"]].tolist() == pytest.approx([2 / 3, 2 / 3, 1.0])
    assert found["width90"] == pytest.approx(0.04)
    assert line(KNOWN, "guess")[["coverage80", "width90"]].isna().all()


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 7), (880, 1697)])
def test_the_hit_interval_is_the_exact_binomial_one(hits: int, n: int) -> None:
    exact = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(hits, n) == pytest.approx((exact.low, exact.high))


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
    errors, reference = np.random.default_rng(0).normal(size=(2, 60))
    t = stats.ttest_1samp(reference**2 - errors**2, 0, alternative="greater")
    assert diebold_mariano(errors, reference, 1) == pytest.approx(t.pvalue)


def test_at_four_sessions_it_counts_the_covariance_of_neighbours() -> None:
    rng = np.random.default_rng(2)
    errors, reference = (np.convolve(rng.normal(size=83), np.ones(4), "valid") for _ in range(2))
    gain = reference**2 - errors**2
    n, h = len(gain), 4
    centred = gain - gain.mean()
    near = np.tri(n, n, h - 1) - np.tri(n, n, -h)  # 1 where two sessions are fewer than h apart
    variance_of_mean = centred @ near @ centred / n**2
    t = gain.mean() / np.sqrt(variance_of_mean) * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    assert diebold_mariano(errors, reference, h) == pytest.approx(1 - stats.t.cdf(t, n - 1))


def test_a_negative_variance_estimate_falls_back_and_stays_a_probability() -> None:
    gain = np.tile([1.0, -0.9], 20)  # its rectangular variance at 2 lags is below 0
    p = diebold_mariano(np.zeros(40), np.sqrt(gain + 1), 2)
    assert 0 < p < 1


def test_gains_without_spread_prove_nothing() -> None:
    assert diebold_mariano(np.full(50, 0.1), np.full(50, 0.3), 1) == 1.0


def test_a_model_that_repeats_the_random_walk_has_p_one() -> None:
    found = line(rows({"random_walk": ZERO, "shrunk": ZERO}), "shrunk")
    assert (found["dm_p"], found["p_holm"], found["mae_ratio"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("actual", [[np.nan] * 5, [0.01, *[np.nan] * 4], [0.0] * 5])
def test_too_little_to_judge_gives_p_one_not_an_error(actual: list[float]) -> None:
    found = line(rows({"random_walk": ZERO, "guess": [0.01] * 5}, actual), "guess")
    assert (found["dm_p"], found["p_holm"], found["n"]) == (1.0, 1.0, np.isfinite(actual).sum())


@pytest.mark.parametrize("horizon", [1, 5])
def test_of_equal_models_about_one_in_twenty_looks_better(horizon: int) -> None:
    rng = np.random.default_rng(11)
    kernel = np.ones(horizon)
    draws = rng.normal(size=(800, 2, 300 + horizon - 1))
    p = [diebold_mariano(np.convolve(a, kernel, "valid"), np.convolve(b, kernel, "valid"), horizon) for a, b in draws]
    assert 0.025 < np.mean(np.array(p) < 0.05) < 0.08


def simulated(strength: float, symbols: int, seed: int) -> pd.DataFrame:
    """Walks whose next return is `strength` times the feature plus noise of 2 %."""
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(symbols):
        signal, noise = rng.normal(size=(2, 700))
        returns = np.r_[0.0, strength * signal[:-1]] + 0.02 * noise
        days = pd.bdate_range("2019-01-01", periods=700)
        parts.append(
            pd.DataFrame({"symbol": f"S{k:02}", "date": days, "close": np.exp(np.cumsum(returns)), "f": signal})
        )
    return pd.concat(parts, ignore_index=True)


def judged(strength: float, symbols: int, seed: int) -> tuple[pd.DataFrame, Verdict]:
    frame = simulated(strength, symbols, seed)
    tested = backtest(frame, models=CORE, features=["f"], horizon=1, min_train=300, step=200)
    table = score(residual_intervals(tested.rows))
    return table, verdict(table)


def test_on_random_walks_nothing_is_found() -> None:
    table, said = judged(0.0, symbols=12, seed=4)
    assert said.beats == ()
    assert said.tried == 24
    assert (table["dm_p"] < 0.05).sum() <= 3
    assert said.text.startswith("Not distinguishable from the random walk. 24 symbol and model pairs tried, smallest")


def test_a_planted_signal_is_found() -> None:
    table, said = judged(0.01, symbols=2, seed=5)
    assert set(said.beats) == {("S00", "lasso"), ("S01", "lasso")}
    assert (table.set_index("model").loc["lasso", "hit_lo"] > 0.5).all()


def table(p: dict[tuple[str, str], float], horizon: int = 1) -> pd.DataFrame:
    lines = [
        {"symbol": symbol, "model": model, "horizon": horizon, "p_holm": value} for (symbol, model), value in p.items()
    ]
    return pd.DataFrame([{"symbol": "NVDA", "model": "random_walk", "horizon": horizon, "p_holm": np.nan}, *lines])


def test_the_verdict_claims_only_what_the_corrected_test_shows() -> None:
    said = verdict(table({("NVDA", "lasso"): 0.012, ("NVDA", "drift"): 0.05, ("AAPL", "lasso"): 1.0}))
    assert said.text == "Lasso beats the random walk for NVDA (Holm-corrected p = 0.012, 3 pairs tried)"
    assert (said.beats, said.tried, said.level) == ((("NVDA", "lasso"),), 3, 0.05)


def test_the_verdict_says_so_when_nothing_is_shown() -> None:
    said = verdict(table({("NVDA", "lasso"): 0.34, ("NVDA", "drift"): 1.0}))
    count = "2 symbol and model pairs tried, smallest Holm-corrected p = 0.340."
    assert said.text == f"Not distinguishable from the random walk. {count}"
    assert verdict(score(KNOWN)[:0]).text.startswith("Nothing could be judged.")
    alone = verdict(score(rows({"random_walk": ZERO})))
    assert alone.text == "Not distinguishable from the random walk. No other model was tried."


def test_the_verdict_names_the_horizon_where_there_are_several() -> None:
    both = pd.concat([table({("NVDA", "lasso"): 0.0001}), table({("NVDA", "lasso"): 0.5}, horizon=5)])
    assert verdict(both).text.startswith(
        "Lasso beats the random walk for NVDA 1 session ahead (Holm-corrected p < 0.001"
    )


def test_a_level_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ForecastError, match="level 5"):
        verdict(table({}), level=5)


def test_scores_without_the_random_walk_are_refused() -> None:
    with pytest.raises(ForecastError, match="no forecast of 'random_walk' of AAA 1 session"):
        score(rows({"guess": ZERO}))
    other = rows({"guess": ZERO}).assign(symbol="BBB")
    with pytest.raises(ForecastError, match="of BBB"):
        score(pd.concat([KNOWN, other]))
    assert score(KNOWN[:0]).empty


def test_a_session_that_stands_twice_is_refused() -> None:
    with pytest.raises(ForecastError, match="guess has two forecasts of AAA"):
        score(pd.concat([KNOWN, KNOWN.iloc[-1:]]))
