from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import LakeError, ParamError, SourceError
from stockkit.files import Folder
from stockkit.intake import ingest, sources
from stockkit.lake.tables import Lake
from stockkit.market import simulate
from tests import raw_answers
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path):
    """A user's own folder: two symbols, other dates, no actions."""
    bars = simulate.bars(["IBM", "MSFT"], count=60, last="2021-03-31", rng=np.random.default_rng(11))
    place = tmp_path / "mine"
    place.mkdir()
    for symbol, rows in bars.groupby("symbol"):
        (place / f"{symbol}.csv").write_bytes(simulate.csv_bytes(rows))
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
    assert re.search("What it said until .* stands", got.missing["IBM"])
    assert len(got.prices) == 60
    assert len(list((lake.folder / "raw").rglob("*.csv"))) == 1


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
    assert re.search(
        r"1 x non_positive_price; the first is line 2 of raw/.*BAD.*'2021-03-31,1,1,1,0,5'", got.missing["BAD"]
    )
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


def arrive(lake, symbol, day, lines):
    """An answer of a source called `late`, fetched on a day."""
    raw_answers.keep(lake.files, "late", symbol, ("\n".join(lines) + "\n").encode(), pd.Timestamp(day, tz="UTC"))


def data_files(lake):
    return sorted((path.parent.name, path.read_bytes()) for path in lake.folder.glob("tables/prices/*/*.parquet"))


@pytest.fixture
def late(lake):
    """Three days of answers: a week of IBM; a correction of it; a later row, a new symbol and a split."""
    lines = simulate.csv_bytes(simulate.bars(["IBM"], count=8, rng=np.random.default_rng(5))).decode().splitlines()
    fixed = [*lines[:5], lines[5].rpartition(",")[0] + ",77", *lines[6:]]
    arrive(lake, "IBM", "2023-10-01", [lines[0], *lines[2:]])
    arrive(lake, "IBM", "2023-10-02", [fixed[0], *fixed[2:]])
    arrive(lake, "IBM", "2023-10-03", fixed)
    arrive(lake, "MSFT", "2023-10-03", lines)
    split = f"symbol,ex_date,kind,value\nIBM,{lines[1][:10]},split,1.2\n".encode()
    raw_answers.keep(lake.files, "late", None, split, pd.Timestamp("2023-10-03", tz="UTC"))
    return lake


def test_prices_can_be_rebuilt_as_they_were_knowable_on_a_day(late):
    first = ingest.rebuild(late, "2023-10-01")
    assert len(first.prices) == 7
    assert (first.prices["volume"] != 77).all()
    second = ingest.rebuild(late, "2023-10-02")
    assert (second.prices["volume"] == 77).sum() == 1
    assert (second.prices["split_factor"] == 1).all(), "the split was not announced yet"
    last = ingest.rebuild(late)
    assert len(last.prices) == 16
    assert last.prices["split_factor"].max() == 1.2
    ingest.rebuild(late, "2023-10-01")
    assert set(late.read("prices")["symbol"]) == {"IBM"}, "of the other nothing was known"


def test_a_rebuild_gives_the_same_bytes_whatever_has_arrived_since(late, tmp_path):
    ingest.rebuild(late, "2023-10-02")
    before = late.read("prices")
    kept = dict(data_files(late))
    ingest.rebuild(late)
    again = Lake(Folder(tmp_path / "again"), ROOT)
    shutil.copytree(late.folder / "raw", again.folder / "raw")
    shutil.copytree(late.folder / "actions", again.folder / "actions")
    ingest.rebuild(again, "2023-10-02")
    pd.testing.assert_frame_equal(again.read("prices"), before, check_exact=True)
    assert dict(data_files(again)).items() <= kept.items()


def test_a_rebuild_of_what_was_not_known_is_refused(late, lake):
    with pytest.raises(SourceError, match="its first answer came later"):
        ingest.rebuild(late, "2023-09-30")
    with pytest.raises(LakeError, match="no source 'x'"):
        ingest.rebuild(late, source="x")
    raw_answers.keep(late.files, "other", "IBM", b"x", pd.Timestamp("2023-10-03", tz="UTC"))
    with pytest.raises(LakeError, match="name one source of the raw zone: it holds late, other"):
        ingest.rebuild(late)


def test_corrections_are_counted(late):
    assert ingest.rebuild(late).figures()["corrections"] == 1
