"""The package's face: what a notebook calls, each with an example that runs, and cheap to import."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys

import pytest

import stockkit
from stockkit.files import Folder
from stockkit.lake.tables import Lake
from stockkit.provenance import RUN_VARIABLE
from tests.conftest import make_workbook

OFFERED = [name for name in dir(stockkit) if not name.startswith("_")]


@pytest.fixture(scope="module")
def workbook(tmp_path_factory, prices):
    """A workbook with prices of one symbol and a user's file."""
    folder = make_workbook(tmp_path_factory.mktemp("examples"))
    Lake(Folder(folder / "data" / "lake"), folder).write("prices", prices[prices["symbol"] == "AAPL"], symbols=["AAPL"])
    line = 'features.register("body", lambda a: a.close / a.open - 1, look_back=0)'
    (folder / "my_features.py").write_text(f"from stockkit import features\n\n{line}\n")
    yield folder
    stockkit.user_file.load("")


def test_about_a_dozen_things_are_offered():
    assert 10 <= len(OFFERED) <= 14
    assert sorted(OFFERED) == OFFERED == stockkit.__all__


@pytest.mark.parametrize("name", OFFERED)
def test_each_has_a_docstring_with_an_example_that_gives_what_it_says(name, workbook, monkeypatch, capsys):
    monkeypatch.chdir(workbook)
    monkeypatch.setenv(RUN_VARIABLE, "test")  # nobody watches: no lines that are written over
    offered = getattr(stockkit, name)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(offered), {name: offered}, name, None, 0)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0, capsys.readouterr().out


def test_importing_it_loads_no_heavy_library():
    heavy = ("pandas", "numpy", "matplotlib", "sklearn", "pyarrow", "deltalake")
    code = f"import sys, stockkit; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_offered_is_an_ordinary_error():
    with pytest.raises(AttributeError, match="module 'stockkit' has no attribute 'nothing'"):
        stockkit.nothing  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from stockkit import nothing")
