from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
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
    cast = schema.cast(bars, schema.BARS)
    assert schema.check_bars(cast) is cast


def broken(column, value):
    def change(bars):
        return bars.assign(**{column: bars[column].where(bars.index != 3, value)})

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b.drop(columns="low"), "lacks the column 'low'"),
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


SAME = {
    "symbol: object": lambda b: b.astype({"symbol": "object"}),
    "symbol: string of Python": lambda b: b.astype({"symbol": "string[python]"}),
    "symbol: string of Arrow": lambda b: b.astype({"symbol": "string[pyarrow]"}),
    "symbol: pandas 3": lambda b: b.astype({"symbol": pd.StringDtype(na_value=np.nan)}),
    "symbol: Arrow's own": lambda b: b.astype({"symbol": pd.ArrowDtype(pa.large_string())}),
    "symbol: category": lambda b: b.astype({"symbol": "category"}),
    **{f"date: {unit}": lambda b, unit=unit: b.assign(date=b["date"].dt.as_unit(unit)) for unit in ("s", "ms", "us")},
    "date: objects": lambda b: b.assign(date=b["date"].dt.date),
    "date: Arrow's own": lambda b: b.astype({"date": pd.ArrowDtype(pa.timestamp("us"))}),
    "prices: whole": lambda b: b.assign(**{c: [1, 2, 3] for c in PRICES}),
    "prices: narrow": lambda b: b.assign(**{c: np.array([1, 2, 3], "float32") for c in PRICES}),
    "prices: objects": lambda b: b.assign(close=b["close"].astype(object)),
    "prices: nullable": lambda b: b.astype({"close": "Float64"}),
    **{f"volume: {kind}": lambda b, kind=kind: b.astype({"volume": kind})
       for kind in ("int32", "uint32", "uint64", "Int64", "float64", "float32", "object")},
    "more columns": lambda b: b.assign(name="x", at=pd.Timestamp("2020-01-01", tz="UTC")),
    "an index": lambda b: b.set_axis([7, 7, 7]),
}  # fmt: skip
PRICES = ("open", "high", "low", "close")


@pytest.fixture
def three():
    bars = simulate.bars(["AAA"], count=3, rng=np.random.default_rng(1))
    return bars.assign(**{c: [1.0, 2.0, 3.0] for c in PRICES}, volume=[1, 2, 3])


@pytest.mark.parametrize("way", SAME)
def test_bars_as_users_make_them_are_taken_as_they_are_meant(three, way):
    made = SAME[way](three)
    before = made.copy()
    checked = schema.check_bars(made)
    pd.testing.assert_frame_equal(made, before)
    assert list(checked) == list(made)
    for name in schema.BARS:
        assert checked[name].tolist() == three[name].tolist()
    schema.check_frame(checked, schema.BARS, what="bars")


def test_an_empty_frame_has_no_value_to_lose():
    checked = schema.check_bars(pd.DataFrame(columns=list(schema.BARS)))
    schema.check_frame(checked, schema.BARS, what="bars")


def test_a_volume_that_is_not_known_stays_so(three):
    checked = schema.check_bars(three.assign(volume=pd.array([1, None, 3], dtype="Int64")))
    assert checked["volume"].dtype == "float64"
    assert checked["volume"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b.assign(symbol=["AAA", 7, "AAA"]), "'symbol' must be string, found object, of which 7 in row 1"),
        (lambda b: b.assign(symbol=[1, 1, 1]), "'symbol' must be string, found int64, of which .*1.* in row 0"),
        (lambda b: b.assign(symbol=[b"AAA"] * 3), "'symbol' must be string, found object, of which b'AAA'"),
        (lambda b: b.assign(symbol=["AAA", None, "AAA"]), "symbol is empty in row 1"),
        (lambda b: b.assign(symbol=["AAA", np.nan, "AAA"]), "symbol is empty in row 1"),
        (lambda b: b.assign(date=["2020-01-01"] * 3), "'2020-01-01' in row 0 .* pd.to_datetime.frame.'date'."),
        (lambda b: b.assign(date=b["date"].dt.tz_localize("UTC")), "found datetime64.ns, UTC.*tz_localize.None."),
        (lambda b: b.assign(date=pd.Series(["2020-01-01", "9999-12-31", "2020-01-02"]).astype("datetime64[s]")),
         "9999-12-31.* in row 1 .* 2262-04-11"),
        (lambda b: b.assign(date=[date(2020, 1, 1), date(9999, 12, 31), date(2020, 1, 2)]), "9999, 12, 31. in row 1"),
        (lambda b: b.assign(date=b["date"].where(b.index != 1)), "date is missing in row 1"),
        (lambda b: b.assign(date=b["date"].dt.as_unit("s") + np.timedelta64(1, "h")), "time of day in row 0"),
        (lambda b: b.assign(close=["1", "2", "3"]), "'close' must be float64, found .*'1' in row 0 .*to_numeric"),
        (lambda b: b.assign(close=[1.0, "n/a", 3.0]), "'close' must be float64, found object, of which 'n/a' in row 1"),
        (lambda b: b.assign(close=[1.0, True, 3.0]), "'close' must be float64, found object, of which True in row 1"),
        (lambda b: b.assign(close=[True] * 3), "'close' must be float64, found bool"),
        (lambda b: b.assign(close=[1, 2**53 + 1, 3]), "'close' must be float64, found int64, of which .*740993"),
        (lambda b: b.assign(close=[Decimal(1)] * 3), "'close' must be float64, found object, of which Decimal"),
        (lambda b: b.assign(volume=[1.0, 2.5, 3.0]), "must be int64, found float64, of which .*2.5.* in row 1"),
        (lambda b: b.assign(volume=np.array([1, 2**63, 3], "uint64")), "found uint64, of which .*775808.* in row 1"),
        (lambda b: b.assign(volume=[1, np.inf, 3]), "must be int64, found float64, of which .*inf.* in row 1"),
        (lambda b: pd.concat([b, b[["close"]]], axis=1), "more than one column 'close'"),
        (lambda b: b.set_index(["symbol", "date"]), "lacks the column 'symbol'.* reset_index.. first"),
        (lambda b: pd.concat({"Close": b[["close"]]}, axis=1), "columns have 2 levels"),
    ],
)  # fmt: skip
def test_bars_that_cannot_be_converted_without_loss_are_refused_by_column_dtype_and_value(three, change, says):
    with pytest.raises(SchemaError, match=says):
        schema.check_bars(change(three))


def test_a_fault_that_is_put_into_the_table_is_found_in_bars_that_are_sound_otherwise(three, monkeypatch):
    monkeypatch.setitem(schema.FAULTS, "nobody traded", lambda bars, lowest: bars["volume"] == 0)
    with pytest.raises(SchemaError, match="nobody traded in row 1"):
        schema.check_bars(three.assign(volume=[1, 0, 3]))


@pytest.mark.parametrize("storage", ["python", "pyarrow"])
def test_text_of_any_string_dtype_passes_where_a_table_is_checked(storage):
    frame = pd.DataFrame({"model": pd.Series(["lasso"], dtype=pd.StringDtype(storage))})
    assert schema.check_frame(frame, {"model": "string"}, what="forecasts") is frame
    with pytest.raises(SchemaError, match="column 'model' must be string, found object"):
        schema.check_frame(frame.astype(object), {"model": "string"}, what="forecasts")
