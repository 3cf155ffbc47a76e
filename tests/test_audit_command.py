"""`stockkit audit` as a user runs it: the catalogue's features, functions of their own, simulated bars or a lake's."""

from __future__ import annotations

import sys

import pytest

from stockkit.cli import audit
from stockkit.errors import ParamError
from stockkit.files import Folder
from stockkit.lake.tables import Lake
from tests.conftest import stockkit

OWN = """
import pandas as pd

def momentum(bars: pd.DataFrame) -> pd.Series:
    return bars.groupby("symbol")["close"].pct_change(21)

def peeking(bars: pd.DataFrame) -> pd.Series:
    return bars.groupby("symbol")["close"].shift(-1) / bars["close"]

def flat(bars: pd.DataFrame) -> pd.Series:
    return bars["close"] * 0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    return tmp_path


def test_features_that_hold_give_exit_code_0(folder):
    done = stockkit(folder, "audit", "rsi_14", "sma_20", "--function", "mine.py:momentum")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:4]] == ["rsi_14", "sma_20", "momentum"]
    assert "not for models" in done.stdout
    assert "3 of 3 without a leak, tested at" in done.stdout


def test_a_function_that_leaks_is_named_with_the_way_out_and_gives_exit_code_1(folder):
    done = stockkit(folder, "audit", "ret_1", "--function", "mine.py:peeking", "--function", "mine:momentum")
    assert done.returncode == 1
    assert "error: 1 leak: peeking" in done.stderr
    assert "changes when the rows after it are taken away" in done.stderr
    assert "The way out: use only rows up to the one computed" in done.stderr
    assert "2 of 3 without a leak, tested at" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_module_of_this_folder_is_meant_also_where_another_has_its_name(folder, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    (other / "mine.py").write_text("def momentums(bars):\n    return bars['close']\n")
    monkeypatch.setattr(sys, "path", [str(other), *sys.path, str(folder)])
    done = stockkit(folder, "audit", "--function", "mine:momentum")
    assert done.returncode == 0, done.stderr


def test_a_function_with_nothing_to_check_is_not_green(folder):
    done = stockkit(folder, "audit", "--function", "mine.py:flat")
    assert done.returncode == 1
    assert "error: 1 not tested: flat" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rsi14"], "Did you mean 'rsi_14'"),
        (["--function", "mine.py:momentun"], "Did you mean 'momentum'"),
        (["--function", "absent.py:f"], "there is no file absent.py"),
        (["--function", "mine.py"], "write path/to/file.py:name"),
        (["--function", "broken.py:f"], "broken.py cannot be loaded: ModuleNotFoundError"),
        (["--bars", "nowhere"], "nowhere"),
        (["ret_1", "--cuts", "1"], "cuts 1: give at least 5"),
    ],
)
def test_a_wrong_command_is_one_clear_error_and_exit_code_2(folder, words, message):
    done = stockkit(folder, "audit", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_bars_of_a_lake_are_audited(folder, prices):
    recent = prices[prices["symbol"].isin(["AAPL", "NVDA"]) & (prices["date"] >= "2021-01-01")]
    Lake(Folder(folder / "lake"), folder).write("prices", recent, symbols=["AAPL", "NVDA"])
    done = stockkit(folder, "audit", "ret_5", "--function", "mine.py:peeking", "--bars", "lake")
    assert done.returncode == 1
    assert "1 leak: peeking" in done.stderr
    assert "(AAPL)" in done.stderr
    assert "1 of 2 without a leak, tested at" in done.stdout


def test_two_functions_of_one_name_are_refused(folder):
    with pytest.raises(ParamError, match="have one name"):
        audit.run([], ["a.py:f", "b.py:f"], None, cuts=20)


@pytest.mark.parametrize("end", ["import sys; sys.exit(0)", "raise SystemExit", "exit()", "import os; os._exit(0)"])
def test_a_module_that_ends_python_when_it_is_loaded_is_refused_not_passed(tmp_path, end):
    (tmp_path / "mine.py").write_text(f"def f(bars):\n    return bars['close']\n\n\n{end}\n")
    with pytest.raises(ParamError, match="nothing was audited"):
        audit.function_at(f"{tmp_path / 'mine.py'}:f")
