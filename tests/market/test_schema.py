from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import SchemaError, SymbolError
from stockkit.market import schema, simulate

ODD = ["ON", "NO", "NAN", "INF", "TRUE", "1E5", "0005.HK", "7203.T", "BRK.B", "^GSPC", "EURUSD=X", "BF-B", "M&M.NS"]
HOSTILE = ["", " ", "../../etc/passwd", "A'; DROP TABLE prices; --", "a", "A/B", "A B", "A\n", "A..B", ".", "..", "-A",
           "A.", "Ä", "٣", "A\x00", "C:\\A", "A" * 21, "%2e%2e", "$(id)", "*"]  # fmt: skip


@pytest.mark.parametrize("symbol", ODD)
def test_an_odd_but_real_symbol_stays_as_it_is(symbol):
    assert schema.check_symbol(symbol) == symbol


@pytest.mark.parametrize("symbol", HOSTILE)
def test_what_is_no_symbol_is_refused(symbol):
    with pytest.raises(SymbolError, match="is not a symbol"):
        schema.check_symbol(symbol)


@pytest.mark.parametrize("value", [True, False, 100000.0, None, 5, ["A"]])
def test_a_symbol_that_yaml_turned_into_something_else_is_refused_with_the_way_out(value):
    with pytest.raises(SymbolError, match="quote it"):
        schema.check_symbol(value)


@given(st.text(max_size=25))
def test_no_accepted_symbol_can_leave_its_folder_or_end_a_sql_string(text):
    try:
        schema.check_symbol(text)
    except SymbolError:
        return
    assert not set(text) & set("/\\'\"; \n\0%*?<>|:")
    assert ".." not in text
    assert text.strip(".") == text


@pytest.mark.parametrize(
    ("symbols", "says"), [([], "empty"), ("AAPL", "must be a list"), (["A", "B", "A"], "more than once")]
)
def test_a_list_of_symbols_is_refused_when_it_is_none(symbols, says):
    with pytest.raises(SymbolError, match=says):
        schema.check_symbols(symbols)


@pytest.fixture
def bars():
    return simulate.bars(["AAA", "BBB"], count=5, rng=np.random.default_rng(1))


def test_simulated_bars_keep_the_contract(bars):
    assert schema.check_bars(bars) is bars


def broken(column, value):
    def change(bars):
        return bars.assign(**{column: bars[column].where(bars.index != 3, value)})

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b.drop(columns="low"), "lacks the column 'low'"),
        (lambda b: b.astype({"close": "float32"}), "'close' must be float64, found float32"),
        (lambda b: b.astype({"volume": "float64"}), "'volume' must be int64, found float64"),
        (lambda b: b.astype({"symbol": "object"}), "'symbol' must be string, found object"),
        (lambda b: b.assign(date=b["date"].astype(str)), "'date' must be datetime64"),
        (broken("close", np.nan), "close is not a finite price above zero in row 3"),
        (broken("open", -1.0), "open is not a finite price"),
        (broken("high", 1e-9), "out of order"),
        (broken("volume", -1), "volume is below zero in row 3 .symbol AAA"),
        (lambda b: b.iloc[[0, 0, 1]], "repeats symbol and date"),
        (lambda b: b.iloc[::-1], "must be sorted"),
        (lambda b: b.assign(date=b["date"] + np.timedelta64(1, "h")), "time of day"),
    ],
)
def test_bars_that_break_the_contract_are_named(bars, change, says):
    with pytest.raises(SchemaError, match=says):
        schema.check_bars(change(bars))
