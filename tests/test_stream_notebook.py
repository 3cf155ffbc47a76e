"""Notebook 06: a day of ticks goes through, and what is said of it is computed from what arrived."""

from __future__ import annotations

import re
from dataclasses import fields

import pandas as pd
import pytest

from stockkit import open_lake
from stockkit.errors import ParamError, RunError
from stockkit.stream import setup
from stockkit.workbook import params
from stockkit.workbook.notebooks import load
from tests import cells
from tests.conftest import ROOT, SYMBOLS, make_workbook, manifest_of, stockkit_process
from tests.workbook.test_report import loads

NAME = "06_stream"
DAY = {"day": "2023-09-21", "ticks": 600}


@pytest.fixture(scope="module")
def workbook(tmp_path_factory, sample):
    """A workbook whose lake has the sample's prices."""
    folder = make_workbook(tmp_path_factory.mktemp("streamed"))
    open_lake("data/lake", root=folder).write("prices", sample.prices, symbols=SYMBOLS)
    return folder


@pytest.fixture(scope="module")
def page(workbook):
    return cells.run(workbook, NAME, **DAY)


def test_it_says_what_arrived_and_that_the_signals_are_those_of_the_ticks(page):
    ticks, signals = len(page.names["arrived"]), len(page.names["stored"])
    assert (ticks, page.names["arrived"]["symbol"].nunique()) == (3_600, 6)
    assert "**3,600 ticks** of 6 symbols, 2023-09-21 13:30 to 2023-09-21 19:59 UTC, from simulator-7" in page.text
    assert (
        f"**The same:** {signals:,} signals are stored, {signals:,} come out of the ticks, none differs." in page.text
    )
    assert signals > 100
    assert "A replay has no lag" in page.text


def test_a_crossing_in_simulated_ticks_and_in_the_sample_is_not_distinguishable_from_the_random_walk(page):
    assert page.text.count("Not distinguishable from the random walk.") == 2
    crossing = page.headlines["crossing"]
    assert crossing["text"] == "Not distinguishable from the random walk"
    assert "to get in and out costs 20 bp: as a trade it was worth nothing" in crossing["detail"]
    assert page.headlines["warnings"] == []


def test_run_again_on_the_same_lake_it_says_the_same(workbook, page):
    again = cells.run(workbook, NAME, **DAY)
    texts, before = ([text for text in shown if "a row is" not in text] for shown in (again.shown, page.shown))
    assert texts == before  # the hand-over alone has the versions of tables
    assert again.headlines == page.headlines


def test_the_averages_may_count_minutes(workbook, sample):
    open_lake("data/minutes", root=workbook).write("prices", sample.prices, symbols=SYMBOLS)
    given = {"lake": "data/minutes", "interval": "1m", "drawn": ["NVDA", "ABSENT"], "minutes_after": [2]}
    page = cells.run(workbook, NAME, **DAY, **given)
    assert set(page.names["stored"]["interval"]) == {"1m"}
    assert len(page.names["stored"]) > 20
    entered = page.names["followed"].outcomes.dropna()
    assert (entered["entry_time"] - entered["event_time"]).min() > pd.Timedelta("2s"), "no minute is known before"


def test_signals_that_are_not_those_of_the_ticks_stop_it(workbook):
    with pytest.raises(RunError, match="signals differ from those of the ticks"):
        cells.run(workbook, NAME, **DAY, fast=3)


def test_a_stream_that_cannot_be_is_refused_before_anything_starts():
    notebook = load(ROOT / "notebooks", NAME)
    assert params.resolve([notebook])["fast"] == 5
    for override, says in (
        ("fast=30", "1 <= fast < slow"), ("interval=5m", "averages count one of"), ("producer=''", "bus is memory"),
        ("minutes_after=[0]", "from 1 on"), ("sessions_after=[]", "an empty list"), ("flush=0", "0.1 to 3600"),
        ("drawn=[]", "an empty list"),
    ):  # fmt: skip
        with pytest.raises(ParamError, match=says):
            params.resolve([notebook], params.parse_overrides([override]))


def test_its_parameters_have_the_defaults_of_a_stream():
    parameters = load(ROOT / "notebooks", NAME).parameters
    for field in fields(setup.Parameters):
        default = getattr(setup.Parameters(), field.name)
        expected = SYMBOLS if field.name == "symbols" else list(default) if isinstance(default, tuple) else default
        assert parameters[field.name] == expected, field.name


def test_the_chain_of_the_stream_is_green_and_its_front_page_bears_the_verdict(tmp_path):
    workbook = make_workbook(tmp_path)
    done = stockkit_process(workbook, "run", "params/stream.yaml", "-p", "ticks=400")
    assert done.returncode == 0, done.stderr
    run = manifest_of(workbook)
    (step,) = [step for step in run["steps"] if step["name"] == NAME]
    assert set(step["writes"]) == {"ticks", "bars_1m", "signals", "dead_letters"}
    assert set(step["reads"]) == {"prices", *step["writes"]}
    assert open_lake("data/lake", root=workbook).count("ticks") == 2_400
    assert "Not distinguishable from the random walk" in (run["folder"] / "index.html").read_text()
    page = (run["folder"] / f"{NAME}.html").read_text()
    images = re.findall(r"<img[^>]*>", page)
    assert len(images) == 8
    assert all(len(re.search(r'alt="([^"]*)"', image).group(1)) > 30 for image in images)
    assert loads(page) == []
    executed = (run["folder"] / f"{NAME}.ipynb").read_text()
    assert str(workbook) not in executed
    assert "BUY " not in executed, "alerts on the console are not for a page that is read later"


def test_a_day_of_a_few_ticks_of_one_symbol_goes_through_and_says_that_nothing_can_be_judged(workbook, sample):
    open_lake("data/few", root=workbook).write("prices", sample.prices.query("symbol == 'META'"), symbols=["META"])
    page = cells.run(workbook, NAME, lake="data/few", symbols=["META"], day="2023-09-21", ticks=10)
    assert "**10 ticks** of 1 symbol," in page.text
    assert "0 signals are stored, 0 come out of the ticks" in page.text
    assert "Nothing could be judged." in page.text
    assert "No records were rejected" in page.text
    assert page.headlines["crossing"]["text"]
