"""The figure of the drift alarm says who has drifted, and since when."""

from __future__ import annotations

import pandas as pd
import pytest

from stockkit import plots
from stockkit.forecast.judge import drift
from tests.forecast.test_drift import lives, normal


@pytest.fixture
def rows():
    scaled = normal(3, 400, seed=8)
    scaled[1, 200:] *= 3
    return lives(scaled, symbols=3)


def test_the_title_names_who_has_drifted_and_the_panel_since_when(rows):
    alarms, before = drift.watch(rows), rows.copy()
    plot = plots.running_coverage(rows, alarms)
    assert plot.alt.startswith("m0 has drifted on S1 (1 of 3)")
    assert len(plot.alt) > 30
    titles = [axis.get_title(loc="left") for axis in plot.axes]
    assert titles == ["S0", f"S1: alarm {alarms['since'].dropna().iloc[0]:%Y-%m-%d}", "S2"]
    assert plot._repr_mimebundle_()[0]["image/png"].startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(rows, before)


def test_without_an_alarm_the_title_says_so(rows):
    sound = rows[rows["symbol"] != "S1"]
    assert plots.running_coverage(sound, drift.watch(sound)).alt.startswith("m0 has not drifted on any")


@pytest.mark.parametrize("count", [0, 1, 30])
def test_few_outcomes_can_be_drawn_and_none_are_told_of(rows, count):
    few = rows[rows["symbol"] == "S0"].head(count)
    plot = plots.running_coverage(few, drift.watch(few))
    assert plot._repr_mimebundle_()[0]["image/png"]
    assert plot.alt.startswith("No forecast 1 ahead has come due") == (count == 0)
