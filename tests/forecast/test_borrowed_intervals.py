"""Symbols too young for intervals of their own take those of the others."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from stockkit.forecast.judge import intervals
from stockkit.forecast.judge.intervals import BOUNDS, conformal
from stockkit.forecast.models import volatility
from stockkit.forecast.models.protocol import Series
from stockkit.market import simulate

YOUNG = 62  # sessions from which on a symbol is forecast


def walk_rows(returns: np.ndarray, symbol: str, since: int, horizon: int = 1) -> pd.DataFrame:
    """The random walk's rows of one symbol that is listed at `since`, its volatility from its own past alone."""
    close = np.exp(np.cumsum(returns))[since:]
    days = pd.bdate_range("2015-01-01", periods=len(returns)).to_numpy()[since:]
    series = Series(symbol, days, close, np.empty((len(close), 0)))
    actual = np.full(len(close), np.nan)
    actual[:-horizon] = np.log(close[horizon:] / close[:-horizon])
    frame = pd.DataFrame({"symbol": symbol, "model": "random_walk", "horizon": horizon, "as_of": days, "mean": 0.0,
                          "sigma": volatility.usual(series, horizon), "actual": actual})  # fmt: skip
    return frame.iloc[YOUNG:]


def listing(returns: np.ndarray, young: int, since: int, horizon: int = 1) -> pd.DataFrame:
    """All symbols, of which one has no past before `since`."""
    parts = [
        walk_rows(history, f"S{k}", since if k == young else 0, horizon)
        for k, history in enumerate(returns.T)
    ]  # fmt: skip
    return intervals.borrow(conformal(pd.concat(parts, ignore_index=True)))


@pytest.fixture(scope="module")
def returns() -> np.ndarray:
    scale = np.array([0.4, 0.7, 1.0, 1.3, 1.6, 2.5])
    return simulate.garch_t(1200, 6, beta=0.91, rng=np.random.default_rng(5)) * scale


@pytest.mark.parametrize("horizon", [1, 5])
def test_a_new_listing_is_covered_as_claimed_from_its_first_forecast_on(returns, horizon):
    inside = []
    full = {
        k: walk_rows(history, f"S{k}", 0, horizon).assign(**dict.fromkeys(BOUNDS, 0.0))
        for k, history in enumerate(returns.T)
    }
    for young, since in itertools.product(range(6), range(300, 1000, 100)):
        history = walk_rows(returns[: since + 170, young], f"S{young}", since, horizon).assign(
            **dict.fromkeys(BOUNDS, np.nan)
        )
        rows = intervals.borrow(pd.concat([history, *(full[k] for k in full if k != young)], ignore_index=True))
        first = rows[rows["borrowed"] & rows["actual"].notna()]
        inside.append(first["actual"].between(first["lo90"], first["hi90"]))
    hits = pd.concat(inside)
    assert len(hits) > 4_000
    assert 0.875 < hits.mean() < 0.925


def test_a_symbol_of_several_years_keeps_its_own_intervals(returns):
    before = conformal(
        pd.concat([walk_rows(history, f"S{k}", 0) for k, history in enumerate(returns.T)], ignore_index=True)
    )
    after = intervals.borrow(before)
    pd.testing.assert_frame_equal(after[list(BOUNDS)], before[list(BOUNDS)])
    assert not after["borrowed"].any()


def test_bounds_know_only_outcomes_that_were_known(returns):
    rows = listing(returns[:700], 0, 560)
    row = rows[(rows["symbol"] == "S0") & rows["borrowed"]].iloc[20]
    spoiled = rows.drop(columns="borrowed").copy()
    later = spoiled["as_of"] >= row["as_of"]
    spoiled.loc[later, "actual"] = 9.0
    spoiled.loc[:, list(BOUNDS)] = np.nan
    again = intervals.borrow(conformal(spoiled))
    same = again[(again["symbol"] == "S0") & (again["as_of"] == row["as_of"])].iloc[0]
    assert same[list(BOUNDS)].tolist() == pytest.approx(row[list(BOUNDS)].tolist())


def test_it_is_said_whose_intervals_are_borrowed(returns):
    rows = listing(returns[:700], 2, 600)
    assert intervals.borrowers(rows) == ["S2"]
    assert rows.loc[rows["borrowed"], "hi95"].notna().all()


def test_without_others_there_are_no_bounds(returns):
    alone = intervals.borrow(conformal(walk_rows(returns[:150, 0], "S0", 0)))
    assert alone["hi95"].isna().all()
    assert intervals.borrowers(alone) == []
