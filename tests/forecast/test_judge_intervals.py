"""The intervals on returns whose truth is known, and on the sample: they hold what they claim, at a good price."""

import numpy as np
import pandas as pd
import pytest

from stockkit.forecast.judge import coverage
from stockkit.forecast.judge.intervals import conformal
from stockkit.forecast.judge.losses import winkler
from stockkit.forecast.models.protocol import Series, target
from stockkit.forecast.models.volatility import usual
from stockkit.market import simulate


def forecasts(symbol: str, date: np.ndarray, close: np.ndarray, horizon: int) -> pd.DataFrame:
    """The random walk's forecasts of one symbol with the usual volatility."""
    series = Series(symbol, date, close, np.empty((len(close), 0)))
    given = {"as_of": date, "mean": 0.0, "sigma": usual(series, horizon), "actual": target(series, horizon)}
    return pd.DataFrame(given).assign(symbol=symbol, model="random_walk", horizon=horizon)


def simulated(horizon: int, *, beta: float = 0.91) -> pd.DataFrame:
    """Twenty GARCH-t series of 5,000 sessions; alpha + beta as it is found for the sample's symbols, 0.97 to 0.99."""
    returns = simulate.garch_t(5000, 20, alpha=0.08, beta=beta, nu=6, rng=np.random.default_rng(0))
    closes = 100 * np.exp(np.cumsum(returns, axis=0))
    days = pd.date_range("2000-01-01", periods=5000).to_numpy()
    return pd.concat(
        [forecasts(f"S{k:02}", days, rows_of_symbol, horizon) for k, rows_of_symbol in enumerate(closes.T)],
        ignore_index=True,
    )


def interval_score(rows: pd.DataFrame) -> float:
    """The mean 90 % interval score, the smaller the better."""
    return float(winkler(*(rows[name].to_numpy() for name in ("actual", "lo90", "hi90")), level=0.9).mean())


def gain(rows: pd.DataFrame) -> float:
    """How much better the intervals score than the same procedure with one sigma for all rows, as a share."""
    ours, fixed = (conformal(rows_of_symbol).dropna() for rows_of_symbol in (rows, rows.assign(sigma=0.015)))
    return 1 - interval_score(ours) / interval_score(fixed.loc[ours.index])


@pytest.mark.parametrize("beta", [0.90, 0.91])
@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_intervals_of_simulated_returns_hold_their_claim_in_every_series(horizon: int, beta: float) -> None:
    rows = conformal(simulated(horizon, beta=beta))
    table = coverage.by(rows, "symbol")
    assert table.loc[table["level"] == 90, "share"].between(0.885, 0.915).all()
    assert coverage.by(rows)["as_claimed"].all()


@pytest.mark.parametrize("horizon", [1, 5])
def test_intervals_that_follow_the_volatility_score_8_percent_better_than_a_fixed_sigma(horizon: int) -> None:
    assert gain(simulated(horizon)) >= 0.08


def test_intervals_that_follow_another_symbol_s_volatility_gain_nothing() -> None:
    rows = simulated(1)
    assert gain(rows.assign(sigma=np.roll(rows["sigma"], 5000))) < 0


@pytest.mark.parametrize("horizon", [5, 20])
def test_small_steps_and_a_long_memory_make_bands_narrower_where_outcomes_overlap(horizon: int) -> None:
    """By how much their interval score is better than that of the steps and the memory that one session has."""
    rows = simulated(horizon)
    ours, hasty = conformal(rows).dropna(), conformal(rows, rate=0.002, window=500).dropna()
    better = 1 - interval_score(ours) / interval_score(hasty.loc[ours.index])
    widths = [(frame["hi90"] - frame["lo90"]).mean() for frame in (ours, hasty)]
    print(f"horizon {horizon}: {better:.1%} better, {1 - widths[0] / widths[1]:.1%} narrower")
    assert better >= {5: 0.004, 20: 0.03}[horizon]
    assert widths[0] < widths[1]


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_intervals_of_the_sample_hold_their_claim_for_every_symbol(prices: pd.DataFrame, horizon: int) -> None:
    groups = prices.groupby("symbol")
    parts = [
        forecasts(name, rows_of_symbol["date"].to_numpy(), rows_of_symbol["close"].to_numpy(), horizon)
        for name, rows_of_symbol in groups
    ]
    table = coverage.by(conformal(pd.concat(parts)), "symbol")
    assert table[table["level"] == 90]["share"].between(0.885, 0.915).all()
    assert table["as_claimed"].all()
