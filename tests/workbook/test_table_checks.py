"""What a run is held to, planted fault by planted fault, on a lake and without a kernel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from stockkit.errors import RunError
from stockkit.files import Folder
from stockkit.provenance import PINS_VARIABLE, pins
from stockkit.workbook import handover, table_checks
from stockkit.workbook.manifest import Step
from stockkit.workbook.notebooks import Notebook
from tests.conftest import ROOT

RUN = "run-1"


def rows(*values):
    return pd.DataFrame({"symbol": pd.Series(["A"] * len(values), dtype="string"), "value": [*values]}, dtype=None)


@pytest.fixture
def book(lake, monkeypatch):
    """A lake in which an earlier step of this run has written t1."""
    monkeypatch.setenv("STOCKKIT_RUN", RUN)
    lake.write("t1", rows(1.0), symbols=["A"])
    return lake


def faults(book, act, writes=()):
    """What is found wrong after a step that does `act` and hands over what it declares."""
    notebook = Notebook("02_x", Path("02_x.ipynb"), "?", {}, (), tuple(writes))
    before = table_checks.states(book)
    act()
    step = Step("02_x", "?", writes={table: book.version(table) for table in writes})
    return [*table_checks.broken_tables(notebook, step, book, before, RUN)]


def test_a_step_that_does_what_it_declares_has_no_fault(book):
    assert faults(book, lambda: book.write("t2", rows(2.0), symbols=["A"]), ["t2"]) == []


def test_a_table_written_without_a_word_is_found_whichever_lake_object_wrote_it(book):
    (fault,) = faults(book, lambda: type(book)(book.files, book.root).write("t2", rows(2.0), symbols=["A"]))
    assert fault == "02_x writes 't2' but its metadata does not declare that."


def test_a_table_that_a_later_step_empties_deletes_or_replaces_is_found(book):
    (emptied,) = faults(book, lambda: book.write("t1", rows(1.0).iloc[:0], symbols=["A"]))
    assert "writes 't1'" in emptied
    (gone,) = faults(book, lambda: shutil.rmtree(book.folder / "tables" / "t1"))
    assert gone == "table 't1' was there before 02_x and is gone after it."
    book.write("t1", rows(1.0), symbols=["A"])

    def replace():
        shutil.rmtree(book.folder / "tables" / "t1")
        book.write("t1", rows(3.0), symbols=["A"])

    (replaced,) = faults(book, replace)
    assert "was replaced" in replaced


def test_the_files_of_a_table_have_to_be_there_at_the_end(book):
    assert [*table_checks.vanished(book, {"t1": 0})] == []
    shutil.rmtree(book.folder / "tables" / "t1" / "symbol=A")
    (lost,) = table_checks.vanished(book, {"t1": 0})
    assert lost.startswith("1 of 1 files of table 't1' are gone")


@pytest.mark.parametrize(
    ("values", "says"), [([], "has no rows"), ([float("nan")] * 3, "has no number in any of value"), ([None, 1.0], "")]
)
def test_a_table_without_rows_or_without_a_number_is_a_fault(book, values, says):
    frame = rows(*values).astype({"value": "float64"})
    assert says in " ".join(faults(book, lambda: book.write("t3", frame, symbols=["A"]), ["t3"]))
    assert says or not faults(book, lambda: None, ["t3"])


def test_another_writers_commit_is_said_and_not_read(book, monkeypatch):
    notebook = Notebook("02_x", Path("02_x.ipynb"), "?", {}, ("t1",), ())
    monkeypatch.setenv("STOCKKIT_RUN", "another")
    book.write("t1", rows(9.0), symbols=["A"])
    (warning,) = table_checks.other_writers(notebook, book, {"t1": 0}, RUN)
    assert warning.startswith("another writer (another) changed 't1'")
    monkeypatch.setenv(PINS_VARIABLE, pins(book.files.identity, {"t1": 0}))
    assert book.read("t1")["value"].tolist() == [1.0]
    assert book.sql("SELECT value FROM t1")["value"].tolist() == [1.0]
    assert book.reads == {"t1": 0}
    elsewhere = type(book)(Folder(book.folder / "elsewhere"), book.root)
    elsewhere.write("t1", rows(5.0), symbols=["A"])
    elsewhere.write("t1", rows(6.0), symbols=["A"])
    assert elsewhere.read("t1")["value"].tolist() == [6.0]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ([], "a list"),
        ({"writes": ["t1"]}, "writes must map names to int"),
        ({"writes": {"t1": "3"}}, "writes must map names to int"),
        ({"reads": {"t1": True}}, "reads must map names to int"),
        ({"headlines": {"missing_symbols": ["A"]}}, "missing_symbols must map"),
        ({"headlines": {"warnings": "x"}}, "warnings must be a list"),
        ({"headlines": {"x": float("nan")}}, "no plain JSON"),
        ({"headlines": {"x": "\ud800"}}, "no plain JSON"),
        ({"headlines": {"x": [1, None]}, "writes": {"t1": 3}, "empty": {"t1": "why"}}, ""),
    ],
)
def test_a_malformed_hand_over_is_said(payload, says):
    assert says in handover.fault(payload)
    assert bool(says) == bool(handover.fault(payload))


def test_what_is_ensured_holds_under_every_setting_of_python():
    handover.ensure(True, "never shown")
    with pytest.raises(RunError, match="planted"):
        handover.ensure(False, "planted")


def test_the_notebooks_ensure_and_do_not_assert():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = "".join(line for cell in cells if cell["cell_type"] == "code" for line in [*cell["source"], "\n"])
        assert "\nassert " not in code, path.name


def test_the_files_of_a_symbol_whose_name_is_spelt_otherwise_in_paths_are_there(book):
    rows = book.read("t1").assign(symbol="EURUSD=X").astype({"symbol": "string"})
    book.write("t2", rows, symbols=["EURUSD=X"])
    assert [*table_checks.vanished(book, {"t2": 0})] == []
