"""Sorting by key, which skips what is sorted already."""

from __future__ import annotations

import io
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stockkit.cli.lake import app
from stockkit.lake import frames
from stockkit.market import symbols


def rows(*pairs):
    frame = pd.DataFrame(pairs, columns=["symbol", "date"]).astype({"symbol": "string[pyarrow]"})
    return frame.assign(date=pd.to_datetime(frame["date"]), value=range(len(frame)))


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("A", "2020-01-02")],
        [("A", "2020-01-02"), ("A", "2020-01-03"), ("B", "2020-01-01")],
        [("A", "2020-01-02"), ("A", "2020-01-02"), ("A", None)],
    ],
)
def test_a_sorted_frame_is_itself(pairs):
    frame = rows(*pairs)
    assert frames.by_key(frame, ("symbol", "date", "absent")) is frame


@pytest.mark.parametrize(
    "pairs",
    [
        [("B", "2020-01-01"), ("A", "2020-01-02")],
        [("A", "2020-01-03"), ("A", "2020-01-02"), ("B", "2020-01-01")],
        [("A", None), ("A", "2020-01-02")],
        [("B", "2020-01-01"), ("A", "2020-01-09"), ("B", "2020-01-01")],
    ],
)
def test_any_other_is_sorted_as_pandas_does(pairs):
    frame = rows(*pairs)
    expected = frame.sort_values(["symbol", "date"], ignore_index=True)
    pd.testing.assert_frame_equal(frames.by_key(frame, ("symbol", "date")), expected)


FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", " =1", "\t=1", "-", "=", "-1-2", "+1;=2", "\r=1", "\n=1", "\uff1d1",
            "-2+3*cmd|' /C calc'!A0"]  # fmt: skip
HARMLESS = ["AAPL", "-5", "+3.25", "-1e-05", ".5", "", "a=b", "2020-01-01", "'=1", "^GSPC", "Société", "x\ny"]


def test_no_cell_of_an_export_is_taken_for_a_formula():
    frame = pd.DataFrame({"text": FORMULAS, "=name": pd.Series(FORMULAS, dtype="string"), "n": -1.5}).astype(
        {"text": "category"}
    )
    back = pd.read_csv(io.StringIO(frames.to_csv(frame), newline=""), keep_default_na=False)
    assert list(back) == ["text", "'=name", "n"]
    assert back["text"].tolist() == back["'=name"].tolist() == [f"'{cell}".replace("\r", "\n") for cell in FORMULAS]
    assert set(back["n"]) == {-1.5}


@given(st.from_regex(symbols.SYMBOL, fullmatch=True))
def test_no_symbol_can_be_taken_for_a_formula(symbol):
    assert frames.to_csv(pd.DataFrame({"symbol": [symbol]})) == f"symbol\n{symbol}\n"


def test_everything_else_is_exported_as_it_is():
    frame = pd.DataFrame({"text": HARMLESS, "n": range(-6, 6), "b": True, "d": pd.Timestamp("2020-01-02")})
    assert frames.to_csv(frame) == frame.to_csv(index=False, lineterminator="\n")
    assert frames.to_csv(pd.DataFrame({"x": [1.0, float("nan")], "t": ["a", None]})) == "x,t\n1.0,a\n,\n"
    odd = pd.DataFrame([[Decimal("-1.5"), ["=x"]]], columns=["a", "a"])
    assert frames.to_csv(odd) == odd.to_csv(index=False, lineterminator="\n")


def test_the_command_exports_what_a_spreadsheet_can_open(tmp_path):
    done = CliRunner().invoke(app, ["sql", "SELECT '=1+1' AS a, -1 AS b", "--csv", "--lake", str(tmp_path)])
    assert done.stdout == "a,b\n'=1+1,-1\n"
