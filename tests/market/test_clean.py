from __future__ import annotations

import csv
import re

import numpy as np
import pandas as pd
import pytest

from stockkit.market import clean, corporate_actions, rules, schema, simulate
from stockkit.market.answers import plain as plain_answers
from tests.conftest import ROOT, SYMBOLS

FETCHED = pd.Timestamp("2023-12-31", tz="UTC")
FAR = pd.Timestamp("2023-12-31")
LARGE_SPLITS = {
    ("AAPL", "2014-06-09"), ("AAPL", "2020-08-31"), ("AMZN", "2022-06-06"), ("GOOG", "2014-03-27"),
    ("GOOG", "2022-07-18"), ("NFLX", "2015-07-15"), ("NVDA", "2021-07-20"),
}  # fmt: skip


def run(body: bytes, known: pd.DataFrame | None = None, **window) -> clean.Cleaned:
    window = {"start": pd.Timestamp("1900-01-01"), "as_of": FAR, **window}
    answer = clean.Answer("AAA", body, "AAA.csv", FETCHED)
    return clean.clean({answer.symbol: [answer]}, corporate_actions.none() if known is None else known, **window)


@pytest.fixture
def good() -> list[str]:
    """A header and eight good lines, newest first: 2023-09-21 down to 2023-09-12."""
    bars = simulate.bars(["AAA"], count=8, rng=np.random.default_rng(5))
    return simulate.csv_bytes(bars).decode().splitlines()


def body(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def edit(line: str, **fields: str) -> str:
    names = ["timestamp", "open", "high", "low", "close", "volume"]
    return ",".join(fields.get(name, old) for name, old in zip(names, line.split(","), strict=True))


def test_good_rows_all_pass(good):
    cleaned = run(body(good))
    assert len(cleaned.prices) == 8
    assert cleaned.rejects.empty
    schema.check_bars(cleaned.prices, contract=schema.PRICES)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("short_row", lambda line: line[:25]),
        ("bad_date", lambda line: edit(line, timestamp="15/09/2023")),
        ("bad_date", lambda line: edit(line, timestamp="2023-02-30")),
        ("missing_value", lambda line: edit(line, close="")),
        ("missing_value", lambda line: edit(line, open="NaN")),
        ("not_a_number", lambda line: edit(line, close="n/a")),
        ("not_a_number", lambda line: edit(line, high="inf")),
        ("not_a_number", lambda line: edit(line, volume="10.5")),
        ("not_a_number", lambda line: edit(line, volume="1e300")),
        ("non_positive_price", lambda line: edit(line, low="0")),
        ("non_positive_price", lambda line: edit(line, low="-3")),
        ("negative_volume", lambda line: edit(line, volume="-1")),
        ("high_below_low", lambda line: edit(line, high="1.0")),
        ("outside_range", lambda line: edit(line, close="1.0")),
        ("closed_day", lambda line: edit(line, timestamp="2023-09-16")),
        ("closed_day", lambda line: edit(line, timestamp="2023-09-04")),
        ("unexplained_jump", lambda line: edit(line, open="9000", high="9000", low="9000", close="9000")),
    ],
)
def test_a_planted_fault_is_found_and_costs_only_its_row(good, rule, change):
    lines = [*good[:4], change(good[4]), *good[5:]]
    cleaned = run(body(lines))
    assert cleaned.rejects[["rule", "line", "file"]].values.tolist() == [[rule, 5, "AAA.csv"]]
    assert cleaned.rejects["reason"][0] == clean.meaning(rule)
    assert len(cleaned.prices) == 7


def test_a_rule_that_is_put_into_the_table_fires_on_a_file_that_is_clean_otherwise(good, monkeypatch):
    monkeypatch.setitem(rules.RULES, "no_trade", rules.Rule("nobody traded", lambda rows: rows.volume == 0))
    cleaned = run(body([*good[:4], edit(good[4], volume="0"), *good[5:]]))
    assert cleaned.rejects[["rule", "line", "reason"]].values.tolist() == [["no_trade", 5, "nobody traded"]]
    assert len(cleaned.prices) == 7


def test_the_text_of_a_plain_file_is_read_for_its_bad_rows_alone(good, monkeypatch):
    lines = [*good[:3], "", edit(good[3], close="-1"), edit(good[4], volume="-1"), *good[5:], good[7], ""]
    careful = run(body(["# a comment", *lines]))
    monkeypatch.setattr(clean.careful, "read", None)
    cleaned = run(body(lines))
    assert cleaned.rejects["line"].tolist() == [5, 6, 11]
    assert cleaned.rejects["rule"].tolist() == ["non_positive_price", "negative_volume", "repeated_row"]
    by_line = careful.rejects.assign(line=careful.rejects["line"] - 1)
    pd.testing.assert_frame_equal(cleaned.rejects, by_line)


def test_a_session_that_had_not_closed_when_it_was_fetched_is_no_bar_yet(good):
    early = clean.Answer("AAA", body(good), "AAA.csv", pd.Timestamp("2023-09-21 15:00", tz="UTC"))
    cleaned = clean.clean({"AAA": [early]}, corporate_actions.none(), start=pd.Timestamp("1900-01-01"), as_of=FAR)
    assert list(cleaned.rejects["rule"]) == ["session_not_closed"]


def test_of_equal_rows_one_is_kept(good):
    cleaned = run(body([*good, good[3]]))
    assert (len(cleaned.prices), list(cleaned.rejects["rule"])) == (8, ["repeated_row"])


def test_of_rows_that_disagree_none_is_kept(good):
    cleaned = run(body([*good, edit(good[3], volume="7"), good[3]]))
    assert len(cleaned.prices) == 7
    assert list(cleaned.rejects["rule"]) == ["conflicting_rows"] * 3


def test_rows_in_any_order_give_the_same_bars(good):
    shuffled = [good[0], *np.random.default_rng(2).permutation(good[1:])]
    pd.testing.assert_frame_equal(run(body(shuffled)).prices, run(body(good)).prices)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"Note": "Thank you for using our API"}', "got JSON: Thank you"),
        (b'{"Error Message": "Invalid API call"}', "got JSON: Invalid"),
        (b"{broken", "got JSON: {broken"),
        (b"<html>busy</html>", "HTML"),
        (
            b"timestamp,open,high,low,volume\n2023-09-21,1,1,1,1\n",
            "lacks the column 'close'; its columns are timestamp",
        ),
        (b"timestamp,open,high,low,close,close,volume\n", "more than one column 'close'"),
        (b"timestamp;open;high;low;close;volume\n", "no rows"),
        (b"timestamp,open,high,low,close,volume\n", "no rows"),
        (b"timestamp,open,high,low,close,volume\nThursday,1,1,1,1,1\n", "YYYY-MM-DD.* line 2 has 'Thursday'"),
        (b"timestamp,open,high,low,close,volume\n09/11/2023,1,1,1,1,1\n", "-p dates=DMY, MDY"),
        ("timestamp,open\n".encode("utf-16"), "lacks the column 'high'"),
        (b"timestamp,open,high,low,close,volume\n2023-09-21,\xff,1,1,1,1\n", "not UTF-8 text .byte"),
        (b"timestamp,open,high,low,close,volume\n\x00", "NUL"),
    ],
)
def test_an_answer_that_is_no_csv_of_bars_is_refused_whole(bad, says):
    cleaned = run(bad)
    assert re.search(says, cleaned.failures["AAA"])
    assert "AAA (AAA.csv)" in cleaned.failures["AAA"]
    assert cleaned.prices.empty


def test_a_price_is_the_nearest_double_to_what_is_written(good):
    text = "96.16697945981976"
    lines = [good[0], edit(good[1], open=text, high=text, low=text, close=text), *good[2:]]
    assert run(body(lines)).prices["close_raw"].iloc[-1] == float(text)


def test_a_byte_order_mark_windows_line_ends_and_a_date_column_are_fine(good):
    lines = [good[0].replace("timestamp", "Date").upper(), *good[1:]]
    assert len(run(b"\xef\xbb\xbf" + "\r\n".join(lines).encode()).prices) == 8


def test_start_and_as_of_bound_the_bars(good):
    cleaned = run(body(good), start=pd.Timestamp("2023-09-13"), as_of=pd.Timestamp("2023-09-19"))
    assert [f"{day:%m-%d}" for day in cleaned.prices["date"]] == ["09-13", "09-14", "09-15", "09-18", "09-19"]


def test_a_split_after_the_as_of_date_is_not_known_yet(good):
    split = corporate_actions.parse(b"symbol,ex_date,kind,value\nAAA,2023-09-20,split,2\n", file="a")
    early = run(body(good), split, as_of=pd.Timestamp("2023-09-19"))
    assert (early.prices["split_factor"] == 1).all()


def test_a_move_that_actions_call_real_passes(good):
    lines = [
        good[0],
        *(edit(line, **dict.fromkeys(("open", "high", "low", "close"), "5")) for line in good[1:4]),
        *good[4:],
    ]
    assert len(run(body(lines)).prices) == 5
    real = corporate_actions.parse(b"symbol,ex_date,kind,value\nAAA,2023-09-19,split,1.0\n", file="a")
    assert len(run(body(lines), real).prices) == 8


def test_the_sample_has_every_bar_and_no_false_alarm(sample):
    assert len(sample.prices) == 16_194
    assert sample.rejects.empty
    assert sample.missing == {}
    assert sample.gaps() == {}


def test_close_raw_is_the_file_to_the_last_digit(prices):
    for symbol in SYMBOLS:
        with open(ROOT / "data" / "sample" / f"{symbol}.csv", newline="") as file:
            written = {row["timestamp"]: row["close"] for row in csv.DictReader(file)}
        rows = prices[prices["symbol"] == symbol]
        closes = dict(zip(rows["date"].dt.strftime("%Y-%m-%d"), rows["close_raw"], strict=True))
        assert {day: repr(float(text)) for day, text in written.items()} == {
            d: repr(float(v)) for d, v in closes.items()
        }


@pytest.fixture(scope="module")
def without_actions():
    """The sample cleaned as if no split were known."""
    answers = {}
    for symbol in SYMBOLS:
        data = (ROOT / "data" / "sample" / f"{symbol}.csv").read_bytes()
        answers[symbol] = [clean.Answer(symbol, data, f"{symbol}.csv", FETCHED)]
    return clean.clean(answers, corporate_actions.none(), start=pd.Timestamp("1900-01-01"), as_of=FAR)


def test_without_the_actions_every_large_split_is_found_with_its_ratio_and_nothing_else(without_actions):
    jumps = without_actions.jumps
    assert {(row.symbol, f"{row.ex_date:%Y-%m-%d}") for row in jumps.itertuples()} == LARGE_SPLITS
    assert set(jumps["kind"]) == {"split"}
    ratios = {(row.symbol, f"{row.ex_date:%Y}"): row.ratio for row in jumps.itertuples()}
    assert ratios == {("AAPL", "2014"): 7, ("AAPL", "2020"): 4, ("AMZN", "2022"): 20, ("GOOG", "2014"): 2,
                      ("GOOG", "2022"): 20, ("NFLX", "2015"): 7, ("NVDA", "2021"): 4}  # fmt: skip


def test_without_the_actions_the_newest_rows_are_trusted_and_none_on_another_scale(without_actions):
    for symbol, rows in without_actions.prices.groupby("symbol"):
        newest_split = max((day for name, day in LARGE_SPLITS if name == symbol), default="2000-01-01")
        assert rows["date"].min() >= pd.Timestamp(newest_split)
        assert rows["date"].max() == pd.Timestamp("2023-09-21")
    counts = without_actions.rejects.groupby("symbol")["rule"].value_counts()
    assert counts["AAPL"].to_dict() == {"before_jump": 1928, "unexplained_jump": 1}
    assert len(without_actions.prices) + len(without_actions.rejects) == 16_194


def test_a_jump_is_judged_by_the_rows_before_it_alone(good):
    full = run(body(good)).prices
    spiked = run(body([*good[:1], edit(good[1], open="9000", high="9000", low="9000", close="9000"), *good[2:]])).prices
    pd.testing.assert_frame_equal(spiked, full.iloc[:-1])


def answers_of(*bodies: list[str]) -> list[clean.Answer]:
    """One answer a body, a day apart."""
    days = pd.date_range("2023-12-01", periods=len(bodies), tz="UTC")
    return [
        clean.Answer("AAA", body(lines), f"{k}.csv", day)
        for k, (lines, day) in enumerate(zip(bodies, days, strict=True))
    ]


def merged(*bodies: list[str]) -> clean.Cleaned:
    answers = {"AAA": answers_of(*bodies)}
    return clean.clean(answers, corporate_actions.none(), start=pd.Timestamp("1900-01-01"), as_of=FAR)


def test_a_short_answer_adds_to_a_long_one_and_each_row_keeps_the_day_that_it_was_known(good):
    cleaned = merged([good[0], *good[3:]], good[:4])
    assert len(cleaned.prices) == 8
    assert cleaned.prices["known_at"].dt.day.tolist() == [1] * 6 + [2] * 2
    assert cleaned.corrections.empty


def test_a_correction_counts_from_the_day_that_it_came_and_is_listed(good):
    fixed = [*good[:4], edit(good[4], volume="77"), *good[5:]]
    cleaned = merged(good, fixed, fixed)
    changed = cleaned.prices[cleaned.prices["volume"] == 77]
    assert changed["known_at"].dt.day.tolist() == [2]
    assert cleaned.corrections[["change", "file"]].values.tolist() == [["corrected", "1.csv"]]


def test_a_row_that_a_later_answer_leaves_out_in_its_midst_is_withdrawn(good):
    cleaned = merged(good, [*good[:4], *good[5:]])
    assert len(cleaned.prices) == 7
    assert cleaned.corrections["change"].tolist() == ["withdrawn"]


def test_a_broken_row_does_not_replace_an_earlier_good_one(good):
    cleaned = merged(good, [*good[:4], edit(good[4], close="-1"), *good[5:]])
    assert len(cleaned.prices) == 8
    assert cleaned.rejects[["rule", "file"]].values.tolist() == [["non_positive_price", "1.csv"]]
    assert cleaned.corrections.empty


def test_a_broken_row_that_a_later_answer_puts_right_is_no_longer_a_reject(good):
    cleaned = merged([*good[:4], edit(good[4], close="-1"), *good[5:]], good)
    assert (len(cleaned.prices), len(cleaned.rejects)) == (8, 0)


def test_plain_and_careful_reading_give_the_same_bars(good, monkeypatch):
    plain = run(body(good)).prices
    monkeypatch.setattr(plain_answers, "read", lambda body, symbol, who: None)
    pd.testing.assert_frame_equal(run(body(good)).prices, plain)


def test_a_real_move_on_the_day_of_a_reverse_split_passes_where_it_is_stated(good):
    """1:20 and -45 % on one day: the split alone leaves a jump, a split of 1.0 beside it says that the rest is news."""
    day, factor = good[3][:10], 20 * 0.55
    prices = ("open", "high", "low", "close")
    moved = [edit(line, **{p: f"{float(line.split(',')[k]) * factor:.4f}" for k, p in enumerate(prices, 1)})
             for line in good[1:4]]  # fmt: skip
    lines = [good[0], *moved, *good[4:]]
    text = f"symbol,ex_date,kind,value\nAAA,{day},split,0.05\n"
    assert len(run(body(lines), corporate_actions.parse(text.encode(), file="a")).prices) == 5
    stated = corporate_actions.parse(f"{text}AAA,{day},split,1.0\n".encode(), file="a")
    cleaned = run(body(lines), stated).prices
    assert len(cleaned) == 8
    assert cleaned["split_factor"].tolist() == [0.05] * 5 + [1.0] * 3
