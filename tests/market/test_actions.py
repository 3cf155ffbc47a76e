from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import SchemaError
from stockkit.market import actions

HEADER = b"symbol,ex_date,kind,value\n"


def parse(*lines: bytes) -> pd.DataFrame:
    return actions.parse(HEADER + b"\n".join(lines), file="actions.csv")


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
        actions.parse(b"", file="actions.csv")


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
    adjusted = actions.adjust(raw, splits)
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
        [("A", day0 + pd.Timedelta(days=k), "split", ratio) for k, ratio in splits], columns=list(actions.ACTIONS)
    ).astype(dict(actions.ACTIONS))
    dates = pd.date_range(day0, periods=51).to_numpy()
    expected = [np.prod([ratio for k, ratio in splits if k > at] or [1.0]) for at in range(51)]
    assert np.allclose(actions.split_factor(dates, frame), expected)


@pytest.mark.parametrize(
    ("symbol", "ex_date", "ratio"),
    [("AAPL", "2020-08-31", 4), ("AAPL", "2014-06-09", 7), ("NVDA", "2021-07-20", 4), ("AMZN", "2022-06-06", 20),
     ("GOOG", "2014-03-27", 2.002), ("NFLX", "2015-07-15", 7)],
)  # fmt: skip
def test_a_real_split_leaves_an_ordinary_return(prices, symbol, ex_date, ratio):
    days = actions.split_days(prices).set_index(["symbol", "ex_date"]).loc[(symbol, ex_date)]
    assert days["ratio"] == pytest.approx(ratio)
    assert abs(days["adjusted_return_pct"]) < 15
    assert days["raw_return_pct"] < -45
