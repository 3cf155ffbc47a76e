"""The figures of scores and of trading say what their tables say, of few symbols, of many and of none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit import plots
from stockkit.forecast.judge import scores
from stockkit.forecast.trading import rules
from stockkit.market import schema, simulate


def forecasts(symbols: int, horizons: tuple[int, ...] = (1,), n: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bars of random walks, and noise as forecasts of them."""
    rng = np.random.default_rng(3)
    bars = simulate.bars([f"S{k:02}" for k in range(symbols)], count=n, rng=rng)
    parts = []
    for horizon in horizons:
        close = np.log(bars["close"]).groupby(bars["symbol"])
        columns = bars[["symbol"]].assign(
            as_of=bars["date"],
            horizon=horizon,
            scale=0.02,
            sigma=0.02,
            actual=close.shift(-horizon) - np.log(bars["close"]),
        )
        parts += [
            columns.assign(model="random_walk", mean=0.0),
            columns.assign(model="noise", mean=rng.normal(0, 0.002, len(columns))),
        ]
    return pd.concat(parts, ignore_index=True), bars


@pytest.mark.parametrize(("symbols", "horizons"), [(1, (1,)), (3, (1, 5)), (40, (1,))])
def test_the_scoreboard_counts_the_pairs_with_a_smaller_error(symbols, horizons):
    table = scores.score(forecasts(symbols, horizons)[0])
    before = table.copy()
    plot = plots.scoreboard(table)
    tried = table[table["model"] == "noise"]
    assert plot.alt.startswith(f"{(tried['mae_ratio'] < 1).sum()} of {symbols * len(horizons)} model and symbol pairs")
    assert len(plot.axes) == 2 * len(horizons)
    assert plot._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("symbols", [3, 40])
def test_a_model_with_a_volatility_of_its_own_has_its_interval_score_in_a_third_panel(symbols):
    rows = forecasts(symbols)[0]
    calm = rows[rows["model"] == "random_walk"].assign(model="calm", sigma=0.015)
    both = pd.concat([rows, calm])
    table = scores.score(both.assign(lo90=both["mean"] - 1.7 * both["sigma"], hi90=both["mean"] + 1.7 * both["sigma"]))
    plot = plots.scoreboard(table)
    shown = np.concatenate([line.get_xdata() for line in plot.axes[2].lines if line.get_marker() != "None"])
    expected = table.loc[table["model"] == "calm", "winkler90_ratio"]
    np.testing.assert_allclose(np.sort(shown[np.isfinite(shown)]), np.sort(expected))
    assert f"interval score ratios from {expected.min():.3f}" in plot.alt
    assert len(plots.scoreboard(table.drop(columns="winkler90_p")).axes) == 2  # scores of before


def test_a_scoreboard_of_many_symbols_has_a_line_a_model():
    labels = [text.get_text() for text in plots.scoreboard(scores.score(forecasts(40)[0])).axes[0].get_yticklabels()]
    assert labels == ["noise"]


@pytest.mark.parametrize(("symbols", "horizons"), [(1, (1,)), (3, (1, 5))])
def test_the_capital_ends_where_the_returns_after_costs_lead(symbols, horizons):
    traded = rules.trade(*forecasts(symbols, horizons))
    plot = plots.equity(traded, cost=20)
    first = traded.daily[traded.daily["horizon"] == 1]
    ends = np.prod(1 + first["gross"] - 0.002 * first["turnover"])
    assert plot.axes[0].lines[0].get_ydata()[-1] == pytest.approx(ends)
    assert plot.alt.startswith("After 20 bp, ")
    assert f"of {len(horizons)} portfolios" in plot.alt
    assert plot._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")


def test_a_figure_of_nothing_says_so():
    rows = forecasts(1)[0]
    assert plots.equity(rules.trade(rows[:0], schema.empty(schema.BARS))).alt.startswith("No trades to show")
    assert plots.equity(rules.trade(rows, schema.empty(schema.BARS))).alt.startswith("No trades to show")
    assert plots.scoreboard(scores.score(rows[rows["model"] == "random_walk"])).alt.startswith("No scores to show")
