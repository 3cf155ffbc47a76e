from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import SchemaError
from stockkit.market import corporate_actions

HEADER = b"symbol,ex_date,kind,value\n"


def parse(*lines: bytes) -> pd.DataFrame:
    return corporate_actions.parse(HEADER + b"\n".join(lines), file="actions.csv")


def test_a_repeated_line_counts_once():
    assert len(parse(b"AAPL,2020-08-31,split,4", b"AAPL,2020-08-31,split,4.0")) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"AAPL,2020-08-31,split", "line 2"),
        (b"AAPL,31/08/2020,split,4", "line 2"),
        (b"AAPL,2020-08-31,splt,4", "expected split or dividend"),
        (b"AAPL,2020-08-31,split,0", "above zero"),
        (b"AAPL,2020-08-31,split,nan", "above zero"),
        (b"AAPL,2020-08-31,split,inf", "above zero"),
        (b"../x,2020-08-31,split,4", "is not a symbol"),
        (b"\xff,2020-08-31,split,4", "not UTF-8"),
        (b"A,2020-08-31,split,4\nA,2020-08-31,split,5", "two different values"),
    ],
)
def test_a_broken_action_is_refused_by_line(line, says):
    with pytest.raises(SchemaError, match=says):
        parse(line)


def test_another_header_is_refused():
    with pytest.raises(SchemaError, match="first line must be"):
        corporate_actions.parse(b"", file="actions.csv")


def test_a_price_before_two_splits_is_divided_by_both():
    splits = parse(b"A,2020-01-03,split,2", b"A,2020-01-06,split,5", b"A,2020-01-03,dividend,1.5")
    raw = pd.DataFrame(
        {
            "symbol": "A",
            "date": pd.to_datetime(["2020-01-02", "2020-01-03", "2020-01-06"]),
            **{name: [100.0, 50.0, 10.0] for name in ("open", "high", "low", "close")},
            "volume": [10, 20, 100],
        }
    )
    adjusted = corporate_actions.adjust(raw, splits)
    assert list(adjusted["split_factor"]) == [10, 5, 1]
    assert list(adjusted["close"]) == [10, 10, 10]
    assert list(adjusted["close_raw"]) == [100, 50, 10]
    assert list(adjusted["volume"]) == [100, 100, 100]
    assert list(adjusted["dividend"]) == [0, 0.3, 0]
    assert list(raw["close"]) == [100, 50, 10], "the input is left untouched"


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from([0.5, 2.0, 3.0, 7.0])), unique_by=lambda x: x[0], max_size=6)
)
def test_the_factor_is_the_product_of_the_later_ratios(splits):
    day0 = pd.Timestamp("2020-01-01")
    frame = pd.DataFrame(
        [("A", day0 + pd.Timedelta(days=k), "split", ratio) for k, ratio in splits],
        columns=list(corporate_actions.ACTIONS),
    ).astype(dict(corporate_actions.ACTIONS))
    dates = pd.date_range(day0, periods=51).to_numpy()
    expected = [np.prod([ratio for k, ratio in splits if k > at] or [1.0]) for at in range(51)]
    assert np.allclose(corporate_actions.split_factor(dates, frame), expected)


@pytest.mark.parametrize(
    ("symbol", "ex_date", "ratio"),
    [("AAPL", "2020-08-31", 4), ("AAPL", "2014-06-09", 7), ("NVDA", "2021-07-20", 4), ("AMZN", "2022-06-06", 20),
     ("GOOG", "2014-03-27", 2.002), ("NFLX", "2015-07-15", 7)],
)  # fmt: skip
def test_a_real_split_leaves_an_ordinary_return(prices, symbol, ex_date, ratio):
    days = corporate_actions.split_days(prices).set_index(["symbol", "ex_date"]).loc[(symbol, ex_date)]
    assert days["ratio"] == pytest.approx(ratio)
    assert abs(days["adjusted_return_pct"]) < 15
    assert days["raw_return_pct"] < -45


def test_a_split_that_both_sources_tell_is_trusted_with_the_value_of_the_first():
    first = parse(b"AAPL,2020-08-31,split,4", b"GOOG,2014-03-27,split,2.002", b"AAPL,2020-08-07,dividend,0.82")
    second = parse(b"AAPL,2020-08-31,split,4.0", b"GOOG,2014-03-27,split,2.0019", b"AAPL,2020-08-07,dividend,0.8175")
    trusted, conflicts = corporate_actions.agree(first, second)
    pd.testing.assert_frame_equal(trusted, first)
    assert conflicts.empty


def test_what_one_source_tells_alone_or_otherwise_is_listed_and_not_trusted():
    first = parse(b"A,2020-01-03,split,2", b"A,2020-02-03,split,3", b"A,2020-03-03,split,5", b"A,2020-05-04,dividend,1")
    second = parse(
        b"A,2020-01-03,split,2.01", b"A,2020-02-04,split,3", b"B,2020-03-03,split,5", b"A,2020-05-04,dividend,1.1"
    )
    trusted, conflicts = corporate_actions.agree(first, second)
    assert trusted.empty
    assert list(trusted.columns) == list(corporate_actions.ACTIONS)
    reasons = {(row.symbol, f"{row.ex_date:%m-%d}"): row.reason for row in conflicts.itertuples()}
    assert reasons == {
        ("A", "01-03"): "the sources give different values",
        ("A", "02-03"): "only the first source has it",
        ("A", "02-04"): "only the second source has it",
        ("A", "03-03"): "only the first source has it",
        ("B", "03-03"): "only the second source has it",
        ("A", "05-04"): "the sources give different values",
    }


def test_the_split_that_a_repair_invented_for_gme_in_january_2021_changes_no_price():
    """yfinance issue 2660: its repair read the squeeze as a split. GME's only split was 4:1 on 2022-07-22."""
    bars = parse(b"GME,2022-07-22,split,4")
    repaired = parse(b"GME,2021-01-27,split,0.25", b"GME,2022-07-22,split,4")
    trusted, conflicts = corporate_actions.agree(bars, repaired)
    pd.testing.assert_frame_equal(trusted, bars)
    assert [(f"{row.ex_date:%Y-%m-%d}", row.second) for row in conflicts.itertuples()] == [("2021-01-27", 0.25)]
    close = [147.98, 347.51, 193.60, 325.00]  # as traded, 2021-01-26 to 29
    raw = pd.DataFrame(
        {
            "symbol": "GME",
            "date": pd.to_datetime(["2021-01-26", "2021-01-27", "2021-01-28", "2021-01-29"]),
            **dict.fromkeys(("open", "high", "low", "close"), close),
            "volume": 1,
        }
    )
    assert list(corporate_actions.adjust(raw, trusted)["close"]) == [price / 4 for price in close]


@given(
    st.lists(
        st.tuples(st.sampled_from("AB"), st.integers(0, 9), st.sampled_from([2.0, 3.0])), unique_by=lambda x: x[:2]
    )
)
def test_every_action_is_either_trusted_or_listed_and_a_source_agrees_with_itself(rows):
    day0 = pd.Timestamp("2020-01-01")
    frame = pd.DataFrame(
        [(symbol, day0 + pd.Timedelta(days=k), "split", ratio) for symbol, k, ratio in sorted(rows)],
        columns=list(corporate_actions.ACTIONS),
    ).astype(dict(corporate_actions.ACTIONS))
    assert len(corporate_actions.agree(frame, frame)[0]) == len(frame)
    for other in (frame[::2], frame[:0]):
        trusted, conflicts = corporate_actions.agree(frame, other)
        assert (len(trusted), len(trusted) + len(conflicts)) == (len(other), len(frame))


def test_an_event_that_is_no_number_is_refused_by_line():
    body = b"timestamp,close,dividend_amount,split_coefficient\n2020-08-31,129,0.0,four\n"
    (reason,) = corporate_actions.read_events(body, "AAPL").faults["reason"]
    assert reason.startswith("the events of AAPL line 2")


def test_a_repeated_row_is_one_event_and_a_contradicting_one_none():
    row = b"2020-08-31,129,0.0,4.0\n"
    head = b"timestamp,close,dividend_amount,split_coefficient\n"
    assert len(corporate_actions.read_events(head + row + row, "AAPL").actions) == 1
    contradicting = corporate_actions.read_events(head + row + row.replace(b"4.0", b"5.0"), "AAPL")
    assert contradicting.actions.empty
    assert "two different values" in contradicting.faults["reason"].item()


def test_one_bad_line_costs_only_what_it_is_about_and_is_named_by_line_and_value():
    listed = corporate_actions.read(
        HEADER
        + b"# a comment, with commas\nA,2020-01-03,split,4\nB,2020-01-06,split,four\n\nA,2020-02-03,dividend,0.5\n"
        b'A,2020-02-03,dividend,0.7\n"' + b"x" * 200_000 + b'",1,2,3\nC,2020-03-02,split,2\nC,2020-03-02,split,1\n',
        file="actions.csv",
    )
    assert listed.actions[["symbol", "kind", "value"]].values.tolist() == [
        ["A", "split", 4.0],
        ["C", "split", 1.0],
        ["C", "split", 2.0],
    ], "a real move may stand beside a split of its day"
    assert listed.faults["line"].tolist() == [4, 8, 6]
    assert listed.faults["symbol"].fillna("").tolist() == ["B", "", "A"]
    assert "'B,2020-01-06,split,four' is not an action" in listed.faults["reason"][0]
    assert "lines 6 and 7 give two different values for the dividend of A" in listed.faults["reason"][2]


def test_lines_that_end_as_on_an_old_mac_are_read():
    body = (HEADER + b"A,2020-01-03,split,4\n").replace(b"\n", b"\r")
    assert corporate_actions.parse(body, file="a")["value"].tolist() == [4.0]


def test_a_large_move_on_an_ex_date_is_marked_and_nothing_stops(prices):
    assert set(corporate_actions.split_days(prices)["note"]) == {""}
    apple = prices[prices["symbol"] == "AAPL"].reset_index(drop=True)
    later = apple["date"] >= pd.Timestamp("2020-08-31")
    crashed = apple.assign(close=apple["close"].where(~later, apple["close"] * 0.78))
    notes = corporate_actions.split_days(crashed).set_index("ex_date")["note"]
    assert notes.to_dict() == {pd.Timestamp("2014-06-09"): "", pd.Timestamp("2020-08-31"): notes.iloc[1]}
    assert notes.iloc[1].startswith("large")
