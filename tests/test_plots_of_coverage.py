"""Figures of coverage state what the intervals held, and of how many groups that is what they claim."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit.forecast.judge import coverage
from stockkit.plots import coverage_by
from stockkit.plots.figure import Plot


def rows(count: int = 400, *, width: float = 1.0, model: str = "random_walk") -> pd.DataFrame:
    """Two symbols' outcomes, evenly spread over −1 to 1, with intervals of ± level x width."""
    days = pd.bdate_range("2020-01-01", periods=count)
    outcomes = pd.DataFrame({"as_of": days, "actual": (np.arange(count) * 0.61803) % 1 * 2 - 1, "sigma": 1.0})
    bounds = {f"{side}{n}": sign * n / 100 * width for n in (80, 90, 95) for side, sign in (("lo", -1), ("hi", 1))}
    parts = [outcomes.assign(symbol=symbol, model=model, horizon=1, **bounds) for symbol in ("AAA", "BBB")]
    return pd.concat(parts, ignore_index=True)


def shown(plot: Plot) -> str:
    """The alt text of a figure that could be drawn."""
    data, metadata = plot._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert plot.get_suptitle().replace("\n", " ") in plot.alt
    return str(metadata["image/png"]["alt"])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("all", "in all: 1 of 1"),
        ("symbol", "by symbol: 2 of 2"),
        ("year", "by year: 2 of 2"),
        ("volatility", "by volatility tercile: "),
    ],
)
def test_the_title_states_what_was_held_and_how_many_are_as_claimed(kind: str, words: str) -> None:
    table = coverage.by(rows(), kind)
    before = table.copy()
    assert words in shown(coverage_by(table))
    pd.testing.assert_frame_equal(table, before)


def test_intervals_too_narrow_are_said_to_miss_the_claim() -> None:
    table = coverage.by(rows(width=0.8), "symbol")
    assert shown(coverage_by(table)).startswith("90 % intervals held 72.0 to 72.0 % of outcomes by symbol: 0 of 2 as")


def test_every_share_is_drawn_in_percent_beside_its_band() -> None:
    both = pd.concat([rows(), rows(width=0.8, model="drift")])
    table = pd.concat([coverage.by(both, kind) for kind in ("all", "symbol")])
    plot = coverage_by(table)
    for axis, (level, points) in zip(plot.axes, table.groupby("level"), strict=True):
        drawn = np.concatenate([line.get_xdata() for line in axis.lines if line.get_linestyle() == "None"])
        np.testing.assert_allclose(np.sort(drawn), np.sort(points["share"] * 100))
        bands = np.concatenate([np.array(lines.get_segments())[:, :, 0] for lines in axis.collections])
        np.testing.assert_allclose(np.sort(bands, axis=0), np.sort(points[["band_lo", "band_hi"]] * 100, axis=0))
        assert f"{level} %" in axis.get_xlabel()
    assert [label.get_text() for label in plot.legends[0].get_texts()] == ["drift, horizon 1", "random walk, horizon 1"]


def test_coverage_of_nothing_says_so() -> None:
    assert coverage_by(coverage.by(rows()[:0])).alt.startswith("No intervals to judge")
