"""What is wrong with one answer, line or file costs only what it is about, and is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import LakeError, SchemaError
from stockkit.intake import ingest
from stockkit.market import simulate
from tests import raw_answers

HEADER = "timestamp,open,high,low,close,volume"
EVENTS = HEADER + ",dividend_amount,split_coefficient"
ACTIONS = "symbol,ex_date,kind,value\n"


@pytest.fixture
def folder(tmp_path):
    """Three symbols of 120 sessions."""
    bars = simulate.bars(["IBM", "MSFT", "XOM"], count=120, last="2021-03-31", rng=np.random.default_rng(11))
    place = tmp_path / "mine"
    place.mkdir()
    for symbol, rows in bars.groupby("symbol"):
        (place / f"{symbol}.csv").write_bytes(simulate.csv_bytes(rows))
    return place


def get(lake, folder, symbols=("IBM", "MSFT"), **window):
    return ingest.clean_all(ingest.fetch(lake, f"folder:{folder}", list(symbols)), **window)


def lines_of(folder, symbol="IBM"):
    return (folder / f"{symbol}.csv").read_text().splitlines()


def write(folder, lines, symbol="IBM"):
    (folder / f"{symbol}.csv").write_text("\n".join(lines) + "\n")


def scaled(lines, factor, first=None, last=None):
    """Lines (newest first) of which those from `first` to `last` have prices times `factor`."""
    body = list(lines)
    for at in range(1, len(lines)):
        day, *prices, volume = lines[at].split(",")
        if (first or "") <= day <= (last or "9"):
            body[at] = ",".join([day, *(f"{float(price) * factor:.6f}" for price in prices), volume])
    return body


def counts(made):
    return made.prices.groupby("symbol").size().to_dict()


@pytest.mark.parametrize(
    "unusable", [HEADER + "\n", HEADER + "\n05/04/2021,1,1,1,1,1\n03/04/2021,1,1,1,1,1\n"], ids=["no rows", "no dates"]
)
def test_an_answer_that_cannot_be_read_is_named_and_the_next_good_one_takes_its_place(lake, folder, unusable):
    good = lines_of(folder)
    (folder / "IBM.csv").write_text(unusable)
    made = get(lake, folder)
    assert "IBM" in made.missing
    assert counts(made) == {"MSFT": 120}
    write(folder, good)
    made = get(lake, folder)
    assert made.missing == {}
    assert counts(made) == {"IBM": 120, "MSFT": 120}
    assert made.notes["rule"].tolist() == ["unusable_answer"]
    assert "unusable_answer" in made.defects()["rule"].tolist()
    (folder / "IBM.csv").write_text(unusable)
    made = get(lake, folder)
    assert "What earlier answers said stands" in made.missing["IBM"]
    assert counts(made) == {"IBM": 120, "MSFT": 120}


@pytest.mark.parametrize("at", [1, 60])
def test_an_answer_with_a_byte_that_is_no_text_anywhere_is_not_kept(lake, folder, at):
    for fault in (b"\x00", b"\xe9"):
        body = (folder / "MSFT.csv").read_bytes().split(b"\n")
        body[at] = body[at][:-1] + fault
        (folder / "IBM.csv").write_bytes(b"\n".join(body))
        assert "IBM" in get(lake, folder).missing
        assert list((lake.folder / "raw").rglob("symbol=IBM/*")) == []


def with_events(lines, **values):
    return [EVENTS, *(f"{line},0.0,{values.get('on_' + line[:10].replace('-', ''), '1.0')}" for line in lines[1:])]


def test_a_bad_split_ratio_beside_the_bars_stops_one_symbol_until_it_is_put_right(lake, folder):
    day = lines_of(folder)[40][:10]
    write(folder, with_events(lines_of(folder, "MSFT"), **{"on_" + day.replace("-", ""): "four"}))
    made = get(lake, folder)
    assert "line 41" in made.missing["IBM"]
    assert "four" in made.missing["IBM"]
    assert set(made.missing) == {"IBM"}
    assert counts(made)["MSFT"] == 120
    assert counts(made) == {"IBM": 80, "MSFT": 120}, "the longer stretch is kept"
    write(folder, with_events(lines_of(folder, "MSFT")))
    made = get(lake, folder)
    assert made.missing == {}
    assert counts(made) == {"IBM": 120, "MSFT": 120}


def test_one_bad_line_of_the_actions_stops_only_the_symbol_that_it_is_about(lake, folder):
    days = [line[:10] for line in lines_of(folder)]
    (folder / "actions.csv").write_text(
        f"{ACTIONS}IBM,{days[30]},split,1:2\nMSFT,{days[10]},dividend,0.5\nXOM,{days[9]},dividend,1\n"
        f"XOM,{days[9]},dividend,2\nKO,{days[9]},split,x\n"
    )
    made = get(lake, folder, ["IBM", "MSFT", "XOM"])
    assert set(made.missing) == {"IBM", "XOM"}
    assert "actions.csv line 2" in made.missing["IBM"]
    assert "lines 4 and 5" in made.missing["XOM"]
    assert counts(made) == {"IBM": 90, "MSFT": 120, "XOM": 120}
    assert made.prices["dividend"].sum() == 0.5
    (folder / "actions.csv").write_text(f"{ACTIONS}IBM,{days[30]},split,1.5\n")
    made = get(lake, folder, ["IBM", "MSFT", "XOM"])
    assert made.missing == {}
    assert set(counts(made).values()) == {120}


def test_a_list_of_actions_that_is_none_is_refused_before_it_is_kept(lake, folder):
    (folder / "actions.csv").write_text("ticker,day\n")
    with pytest.raises(SchemaError, match="first line must be"):
        get(lake, folder)
    assert not (lake.folder / "actions").exists()


def raw_file(lake, symbol="IBM"):
    return next((lake.folder / "raw").rglob(f"symbol={symbol}/*.csv"))


def test_a_damaged_raw_file_is_named_and_costs_one_symbol_until_it_is_there_again(lake, folder):
    get(lake, folder)
    path = raw_file(lake)
    body = path.read_bytes()
    path.write_bytes(body[: len(body) // 2])
    made = ingest.rebuild(lake)
    assert counts(made) == {"MSFT": 120}
    assert path.name in made.missing["IBM"]
    assert "damaged_raw_file" in made.defects()["rule"].tolist()
    problems = lake.verify()
    assert problems[["table", "problem"]].values.tolist() == [["raw", "damaged raw file"]]
    made = get(lake, folder)
    assert made.missing == {}
    assert counts(made) == {"IBM": 120, "MSFT": 120}
    assert path.read_bytes() == body[: len(body) // 2], "a raw file is never written again"
    assert any(path.name in warning for warning in made.warnings())


def test_a_damaged_list_of_actions_stops_a_rebuild(lake, folder):
    (folder / "actions.csv").write_text(f"{ACTIONS}IBM,2021-01-05,split,2\n")
    get(lake, folder)
    next((lake.folder / "actions").rglob("*.csv")).write_text(ACTIONS)
    with pytest.raises(LakeError, match="list of corporate actions"):
        ingest.rebuild(lake)


def test_a_foreign_file_in_the_raw_zone_is_a_warning(lake, folder):
    get(lake, folder)
    raw_file(lake).with_name("IBM backup.csv").write_text("x")
    made = get(lake, folder)
    assert made.missing == {}
    assert [("IBM backup.csv" in warning) for warning in made.warnings()] == [True]


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [(0, 0, 119), (119, 119, 119), (0, 29, 90), (90, 119, 90)],
    ids=["first row in pence", "last row in pence", "another unit at first", "another unit at last"],
)
def test_rows_on_another_scale_leave_a_symbol_incomplete_and_their_sessions_are_gaps(lake, folder, first, last, kept):
    lines = lines_of(folder)
    days = sorted(line[:10] for line in lines[1:])
    write(folder, scaled(lines, 100, days[first], days[last]))
    made = get(lake, folder)
    assert counts(made) == {"IBM": kept, "MSFT": 120}
    assert set(made.missing) == {"IBM"}
    assert "stockkit lake actions suggest" in made.missing["IBM"]
    assert len(made.gaps()["IBM"]) == 120 - kept
    assert made.figures()["missing_symbols"] == made.missing
    assert len(made.suggestions()) == 1


def test_newest_rows_that_are_refused_for_any_reason_leave_a_symbol_incomplete(lake, folder):
    lines = lines_of(folder)
    write(folder, [lines[0], *(line.rsplit(",", 2)[0] + ",," for line in lines[1:4]), *lines[4:]])
    made = get(lake, folder)
    assert f"its prices end on {lines[4][:10]}" in made.missing["IBM"]
    assert len(made.gaps()["IBM"]) == 3
    write(folder, [*lines[:20], lines[20].rsplit(",", 2)[0] + ",,", *lines[21:]])
    assert get(lake, folder).missing == {}, "a row in the midst is a reject and a gap"


def test_a_suggested_split_that_is_added_makes_the_symbol_whole_again_for_any_source(lake, folder):
    lines = lines_of(folder)
    write(folder, scaled(lines, 4, last=lines[40][:10]))
    made = get(lake, folder)
    assert set(made.missing) == {"IBM"}
    jumps = ingest.suggest(lake)
    assert jumps[["symbol", "kind", "ratio"]].values.tolist() == [["IBM", "split", 4.0]]
    assert f"{jumps['ex_date'][0]:%Y-%m-%d}" == lines[39][:10]
    now = pd.Timestamp("2030-01-01", tz="UTC")
    ingest.add_actions(lake, f"{ACTIONS}IBM,{lines[39][:10]},split,3\n".encode(), file="mine.csv", now=now)
    body = f"{ACTIONS}IBM,{lines[39][:10]},split,4\n".encode()
    assert ingest.add_actions(lake, body, file="mine.csv", now=now)["value"].tolist() == [4.0]
    made = get(lake, folder)
    assert (made.missing, counts(made)) == ({}, {"IBM": 120, "MSFT": 120})
    assert ingest.suggest(lake).empty


def arrive(lake, symbol, day, lines):
    raw_answers.keep(lake.files, "late", symbol, ("\n".join(lines) + "\n").encode(), pd.Timestamp(day, tz="UTC"))


def test_a_row_is_known_no_earlier_than_the_split_and_dividend_that_changed_it(lake, folder):
    """For every day: the rows that were known by its end are rows that a rebuild as of that day has."""
    lines = lines_of(folder)
    by_four = scaled(lines, 4, last=lines[3][:10])
    plain = lines_of(folder, "MSFT")
    for symbol, body in (("IBM", by_four), ("MSFT", plain)):
        arrive(lake, symbol, "2021-03-30", [body[0], *body[3:]])
        arrive(lake, symbol, "2021-04-02", body)
    days = [line[:10] for line in lines]
    answers = {
        "2021-04-05": f"MSFT,{days[60]},split,1.2\nMSFT,{days[9]},dividend,1\n",
        "2021-04-07": f"MSFT,{days[60]},split,1.3\nMSFT,{days[9]},dividend,1\nIBM,{days[2]},split,4\n",
        "2021-04-09": f"MSFT,{days[9]},dividend,2\nIBM,{days[2]},split,4\n",
    }
    for day, text in answers.items():
        raw_answers.keep(lake.files, "late", None, (ACTIONS + text).encode(), pd.Timestamp(day, tz="UTC"))
    latest = ingest.rebuild(lake).prices
    assert latest.groupby("symbol").size().to_dict() == {"IBM": 120, "MSFT": 120}
    for end in pd.date_range("2021-03-31", "2021-04-10"):
        then = ingest.rebuild(lake, f"{end:%Y-%m-%d}").prices
        known = latest[latest["known_at"] < (end + pd.Timedelta(days=1)).tz_localize("UTC")]
        both = known.merge(then, on=["symbol", "date", "open", "close", "volume", "dividend", "split_factor"])
        assert len(both) == len(known), f"on {end.date()}"
    ibm = latest[latest["symbol"] == "IBM"]
    assert (ibm["known_at"].dt.day == 7).all(), "without the split one side of the jump was not trusted"
    dividend = latest[latest["dividend"] > 0]
    assert dividend["known_at"].dt.day.tolist() == [9]
