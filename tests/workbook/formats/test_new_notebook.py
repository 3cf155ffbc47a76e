"""`stockkit new notebook` writes one that passes at once, wherever it is run."""

from __future__ import annotations

import os
import subprocess
import sys

import nbformat
import pandas as pd
import pytest

from stockkit import plots
from stockkit.lake.tables import open_lake
from stockkit.workbook import notebooks
from stockkit.workbook.formats import chain_file, new_notebook
from tests.conftest import ROOT, make_workbook, manifest_of, stockkit

SYMBOLS = ["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]
NEW = ("new", "notebook", "07_mine", "--writes", "my_table")


@pytest.fixture
def workbook(tmp_path):
    book = make_workbook(tmp_path / "book", own_notebooks=True)
    (book / "params" / "own.yaml").write_text("# mine\nnotebooks: [01_a]  # one\n")
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    nbformat.write(document, book / "notebooks" / "01_a.ipynb")
    return book


@pytest.fixture
def with_prices(workbook, prices):
    shown = prices[prices["date"] >= "2023-01-01"]
    open_lake(root=workbook).write("prices", shown, symbols=SYMBOLS)
    return workbook


def test_it_passes_in_a_run_and_its_own_table_is_there(with_prices):
    done = stockkit(with_prices, *NEW, "--into", "params/own.yaml", "--title", "What is mine?")
    assert done.returncode == 0, done.stderr
    assert (with_prices / "params" / "own.yaml").read_text() == "# mine\nnotebooks: [01_a, 07_mine]  # one\n"
    command = done.stdout.splitlines()[-1].split()
    ran = stockkit(with_prices, *command[1:])
    assert ran.returncode == 0, ran.stderr
    (step,) = manifest_of(with_prices)["steps"]
    assert (step["title"], step["reads"], step["writes"]) == ("What is mine?", {"prices": 0}, {"my_table": 0})
    page = (manifest_of(with_prices)["folder"] / "07_mine.html").read_text()
    assert "of prices goes from" in page
    assert open_lake(root=with_prices).read("my_table")["rows"].gt(100).all()


def outcome(workbook, *command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=workbook, capture_output=True, text=True, timeout=600, env=environment
    )
    return done.returncode, done.stderr[-2000:] if done.returncode else ""


@pytest.mark.parametrize(
    "command",
    [
        ("papermill", "notebooks/07_mine.ipynb", "out.ipynb"),
        ("pytest", "-p", "nbval.plugin", "-q", "--nbval-lax", "-p", "no:cacheprovider", "notebooks/07_mine.ipynb"),
        ("nbconvert", "--to", "notebook", "--execute", "notebooks/07_mine.ipynb", "--output", "out.ipynb"),
    ],
    ids=lambda command: command[0],
)
def test_it_passes_in_other_programs(with_prices, command, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # nbval is named, once
    assert stockkit(with_prices, *NEW).returncode == 0
    assert outcome(with_prices, *command) == (0, "")
    assert open_lake(root=with_prices).version("my_table") == 0


@pytest.mark.parametrize("reads", [["prices"], ["forecasts", "prices"], ["dead_letters"], ["their_table"]])
@pytest.mark.parametrize("writes", [[], ["one", "two"]])
def test_it_is_a_notebook_of_this_workbook(tmp_path, reads, writes):
    path = tmp_path / "07_mine.ipynb"
    path.write_text(new_notebook.text("What is mine?", reads, writes))
    document = nbformat.read(path, as_version=4)
    nbformat.validate(document)
    assert path.read_text() == nbformat.writes(document) + "\n"
    loaded = notebooks.load(tmp_path, "07_mine")
    assert (loaded.title, loaded.reads, loaded.writes) == ("What is mine?", tuple(reads), tuple(writes))
    for cell in document.cells:
        if cell.cell_type == "code":
            compile(cell.source, cell.id, "exec")
            assert len(cell.source.splitlines()) <= 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["../07_mine"], "is no name of a notebook"),
        (["07 mine"], "is no name of a notebook"),
        (["07_mine.ipynb"], "without folders and .ipynb"),
        (["index"], "a report's front page is called so"),
        (["NUL"], "Windows has no file of that name"),
        (["01_A"], "is there already, and is left as it is"),
        (["07_mine", "--writes", "prices"], "written by a notebook of the workbook itself"),
        (["07_mine", "--writes", "My-Table"], "is no name of a table"),
        (["07_mine", "--reads", "x", "--writes", "x"], "named as read and as written"),
        (["07_mine", "--into", "params/none.yaml"], "cannot read the parameters file"),
        (
            ["07_mine", "--into", "params/own.yaml", "--reads", "theirs"],
            "could not run with it: 07_mine reads 'theirs'",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(workbook, words, says):
    before = {path: path.read_bytes() for path in workbook.glob("*s/*.*")}
    done = stockkit(workbook, "new", "notebook", *words)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert {path: path.read_bytes() for path in workbook.glob("*s/*.*")} == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("notebooks: [a,  b ] # c\nx: 1\n", "notebooks: [a,  b, n ] # c\nx: 1\n"),
        ("x: é\nnotebooks:\n  - a  # one\n  # last\ny: 1\n", "x: é\nnotebooks:\n  - a  # one\n  - n\n  # last\ny: 1\n"),
        ("notebooks:\n- a\n- b", "notebooks:\n- a\n- b\n- n"),
        ("notebooks:\r\n- a\r\nx: 1\r\n", "notebooks:\r\n- a\r\n- n\r\nx: 1\r\n"),
        ('notebooks: ["a",\n  b,\n]\n', 'notebooks: ["a",\n  b, n,\n]\n'),
    ],
)  # fmt: skip
def test_all_else_in_a_parameters_file_stays(tmp_path, before, after):
    (tmp_path / "p.yaml").write_bytes(before.encode())
    assert chain_file.with_notebook(tmp_path / "p.yaml", "n").decode() == after


def test_the_first_look_draws_any_table():
    dates = [*pd.bdate_range("2024-01-01", periods=3)] * 2
    days = pd.DataFrame({"symbol": ["A"] * 3 + ["B"] * 3, "date": dates, "v": range(6)})
    frames = [
        (days, "v of t goes from 0 to 5"),
        (days.drop(columns="date"), "v, mean of t is largest for B, 4"),
        (days[["symbol"]], "rows of t is largest for A, 3"),
        (days.iloc[:0], "t has no rows"),
        (days[["v"]], "t has 6 rows"),
    ]
    for frame, says in frames:
        assert plots.first_look(frame, "t").alt.startswith(says)
