"""Figures say what they show, carry alt text, and survive data that has nothing to show."""

from __future__ import annotations

import pandas as pd
import pytest

from stockkit import features, plots
from stockkit.forecast.judge import scores
from stockkit.market import schema, simulate

NONE = scores.score(pd.DataFrame())


def bundle(plot):
    return plot._repr_mimebundle_()


@pytest.mark.parametrize(
    "draw",
    [
        plots.adjustment,
        plots.price_bars,
        plots.return_distributions,
        plots.correlation,
        lambda p: plots.through_time(p, plots.deepest_falls(p)),
        lambda p: plots.candlesticks(p, "NVDA"),
        lambda p: plots.completeness(p, schema.empty(schema.REJECTS)),
        lambda p: plots.walks(p, p[p["symbol"] != "NVDA"], "NVDA"),
        lambda p: plots.price_with_indicators(p, features.compute(p), "NVDA"),
        lambda p: plots.feature_correlation(features.compute(p, ["ret_1", "rsi_14"])),
    ],
)
@pytest.mark.parametrize("last", [2699, 21, 1])
def test_a_figure_has_a_title_and_alt_text_and_leaves_its_frame_alone(prices, draw, last):
    """`last`: sessions; with fewer than all, one symbol alone."""
    rows = prices if last == 2699 else prices[prices["symbol"] == "NVDA"].tail(last)
    before = rows.copy()
    plot = draw(rows.reset_index(drop=True))
    data, metadata = bundle(plot)
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == plot.alt
    assert plot.get_suptitle().replace("\n", " ") in plot.alt
    assert len(plot.alt) > 30
    pd.testing.assert_frame_equal(rows, before)


def test_the_same_frame_gives_the_same_bytes(prices):
    assert bundle(plots.price_bars(prices)) == bundle(plots.price_bars(prices))


def test_the_two_that_fell_deepest_in_the_sample_are_meta_and_netflix(prices):
    assert plots.deepest_falls(prices) == ["META", "NFLX"]


@pytest.mark.parametrize(
    "plot",
    [
        lambda: plots.scoreboard(NONE),
        lambda: plots.fan(NONE, NONE),
        lambda: plots.monthly_returns(NONE),
    ],
)
def test_a_figure_of_nothing_says_so(plot):
    assert plot().alt.startswith("No ")


def test_the_title_of_a_share_without_splits_says_that_there_are_none(prices):
    assert plots.adjustment(prices[prices["symbol"] == "META"]).alt.startswith("No splits")


def test_a_flat_price_can_be_drawn():
    import numpy as np

    flat = simulate.bars(["AAA"], count=60, volatility=0.0, rng=np.random.default_rng(1))
    for draw in (plots.price_bars, plots.return_distributions, plots.correlation):
        assert bundle(draw(flat))
