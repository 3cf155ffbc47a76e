from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ParamError, SourceError
from stockkit.lake import ingest, sources
from stockkit.market import simulate
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path):
    """A user's own folder: two symbols, other dates, no actions."""
    bars = simulate.bars(["IBM", "MSFT"], count=60, last="2021-03-31", rng=np.random.default_rng(11))
    place = tmp_path / "mine"
    place.mkdir()
    for symbol, own in bars.groupby("symbol"):
        (place / f"{symbol}.csv").write_bytes(simulate.csv_bytes(own))
    return place


def get(lake, folder, symbols, **window):
    return ingest.clean_all(ingest.fetch(lake, f"folder:{folder}", symbols), **window)


def test_a_users_own_folder_is_read(lake, folder):
    got = get(lake, folder, ["IBM", "MSFT"])
    assert len(got.prices) == 120
    assert got.figures()["as_of"] == "2021-03-31"


def test_an_absent_symbol_is_listed_with_the_nearest_and_the_others_go_on(lake, folder):
    got = get(lake, folder, ["IBM", "MSFTX"])
    assert "Did you mean 'MSFT'" in got.missing["MSFTX"]
    assert set(got.prices["symbol"]) == {"IBM"}
    assert list(got.defects()["rule"]) == ["no_fresh_answer"]


def test_a_broken_answer_never_reaches_the_raw_zone_and_the_last_good_one_stands(lake, folder):
    get(lake, folder, ["IBM"])
    (folder / "IBM.csv").write_text('{"Note": "25 requests a day"}')
    got = get(lake, folder, ["IBM"])
    assert "25 requests a day" in got.missing["IBM"]
    assert "is used instead" in got.missing["IBM"]
    assert len(got.prices) == 60
    assert len(list((lake.path / "raw").rglob("*.csv"))) == 1


def test_no_usable_symbol_at_all_stops_with_every_reason(lake, folder):
    (folder / "IBM.csv").write_bytes(b"")
    with pytest.raises(SourceError, match=r"IBM.*empty.*XYZ is not in the source"):
        get(lake, folder, ["IBM", "XYZ"])


def test_a_window_without_bars_is_said(lake, folder):
    with pytest.raises(SourceError, match="no usable row between 2022-01-01"):
        get(lake, folder, ["IBM"], start="2022-01-01")


def test_a_missing_session_is_listed_as_a_gap(lake, folder):
    lines = (folder / "IBM.csv").read_text().splitlines()
    (folder / "IBM.csv").write_text("\n".join([*lines[:10], *lines[11:]]) + "\n")
    got = get(lake, folder, ["IBM", "MSFT"])
    assert got.gaps() == {"IBM": [lines[10].split(",")[0]]}


def test_all_symbols_broken_in_different_ways_leaves_the_good_one(lake, folder):
    (folder / "BAD.csv").write_bytes(b"timestamp,open,high,low,close,volume\n2021-03-31,1,1,1,0,5\n")
    got = get(lake, folder, ["BAD", "IBM"])
    assert "no usable row" in got.missing["BAD"]
    assert got.figures()["rejects"] == {"non_positive_price": 1}


def test_rejects_and_prices_always_keep_their_contract(lake, folder):
    got = get(lake, folder, ["IBM"])
    assert lake.write("rejects", got.rejects, symbols=["IBM"]) == 0
    assert lake.write("prices", got.prices, symbols=["IBM"]) == 0
    assert str(lake.read("rejects")["line"].dtype) == "int64"


@pytest.mark.parametrize("source", ["", "smaple", "folder:", "folder:/nowhere/at/all", "https://x", "folder"])
def test_a_source_that_is_none_is_refused(source):
    with pytest.raises(ParamError, match=r"source"):
        sources.open_source(source, root=ROOT)


def test_the_clock_of_the_sample_stands_still(lake):
    times = {sources.open_source("sample", root=ROOT).now() for _ in range(2)}
    assert times == {pd.Timestamp("2026-11-21", tz="UTC")}
