"""Figures say what they show, carry alt text, and survive data that has nothing to show."""

from __future__ import annotations

import pandas as pd
import pytest

from stockkit import features, plots
from stockkit.forecast.judge import scores
from stockkit.market import schema, simulate
from stockkit.plots import figure

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


@pytest.mark.parametrize(
    "draw",
    [
        plots.return_distributions,
        lambda p: plots.through_time(p, plots.deepest_falls(p)),
        lambda p: plots.candlesticks(p, "NVDA"),
        lambda p: plots.price_with_indicators(p, features.compute(p), "NVDA"),
    ],
)
def test_no_text_of_panels_with_shared_axes_is_cut_off_or_runs_into_another_panel(prices, draw):
    plot = draw(prices)
    bundle(plot)
    whole = plot.bbox.padded(1)
    for axis in plot.axes:
        extent = axis.get_tightbbox()
        assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1
        assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1
        assert not any(extent.overlaps(other.bbox) for other in plot.axes if other is not axis)


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("days", [False, True])
def test_bars_as_one_artist_have_the_limits_of_bars(days, sticky):
    at = pd.Series(pd.date_range("2026-01-05", periods=3) if days else [0, 1, 2])
    (_, one), (_, other) = figure.chart(2), figure.chart(2)
    figure.boxes(one, at, pd.Series([3.0, 1.0, 2.0]), 0.8)
    other.bar(at, [3.0, 1.0, 2.0], 0.8)
    one.use_sticky_edges = other.use_sticky_edges = sticky
    assert one.get_xlim() == pytest.approx(other.get_xlim())
    assert one.get_ylim() == pytest.approx(other.get_ylim())


def test_a_panel_with_a_title_has_no_offset_where_the_title_stands():
    plot, axis = figure.chart(2)
    axis.plot([1e9 + 1, 1e9 + 2])
    figure.heading(axis, "AAPL")
    bundle(plot)
    assert axis.yaxis.get_offset_text().get_text() == ""
