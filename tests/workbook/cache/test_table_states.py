"""Versions of tables from their logs alone, the same as deltalake tells."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from stockkit.files import Folder
from stockkit.lake.tables import Lake
from stockkit.workbook.cache import table_states
from tests.workbook.cache.planted import Steps, plant


def write(lake, value, table="t1"):
    rows = pd.DataFrame({"symbol": pd.Series(["A"], dtype="string"), "value": [float(value)]})
    return lake.write(table, rows, symbols=["A"])


@pytest.fixture
def lake(tmp_path):
    (tmp_path / "book").mkdir()
    lake = Lake(Folder(tmp_path / "book" / "data" / "lake"), tmp_path / "book")
    for value in (1, 2):
        write(lake, value)
    return lake


def test_the_newest_version_is_the_one_that_deltalake_tells(lake):
    assert table_states.newest(lake.files, "t1") == lake.version("t1") == 1
    assert table_states.newest(lake.files, "t2") is None


def test_it_is_so_after_a_checkpoint_and_a_clean_up_of_the_log(lake):
    delta = lake.delta("t1")
    delta.create_checkpoint()
    state = table_states.at(lake.files, "t1", 1)
    (lake.folder / table_states.log("t1", 0)).unlink()
    assert table_states.newest(lake.files, "t1") == lake.version("t1") == 1
    assert table_states.difference(lake.files, "t1", state) == ""


def another_writer(lake):
    write(lake, 3)


def dropped(lake):
    shutil.rmtree(lake.folder / "tables" / "t1")


def made_anew(lake):
    dropped(lake)
    for value in (1, 2):
        write(lake, value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lake: None, "kept"),
        (lambda lake: write(lake, 2), "kept"),  # the rows that are there: no new version
        (lambda lake: write(lake, 1, table="t2"), "kept"),
        (another_writer, "table t1 is at version 2, was 1"),
        (dropped, "table t1 is gone, was at version 1"),
        (made_anew, "table t1 is another one, also at version 1"),
    ],
)
@pytest.mark.parametrize("written", [False, True])
def test_a_step_runs_again_where_a_table_that_it_read_or_wrote_is_another(lake, change, says, written):
    steps = Steps(lake.root)
    path = plant(lake.root, "01_a", "1")
    touched = {"writes": {"t1": 1}} if written else {"reads": {"t1": 1}}
    steps.run(path, **touched)
    assert steps.unkept == ""
    change(lake)
    assert steps.outcome(path) == (says + ", which it wrote" if written and says != "kept" else says)


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_step_runs_again_where_a_file_of_a_table_that_it_wrote_is_lost(lake, how):
    steps = Steps(lake.root)
    path = plant(lake.root, "01_a", "1")
    steps.run(path, writes={"t1": 1})
    file = max(lake.folder.glob("tables/t1/symbol=A/*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    file.unlink() if how == "gone" else file.write_bytes(b"")
    assert steps.outcome(path).endswith(f".parquet of the lake is {how}")


def test_a_version_that_the_run_holds_on_to_counts_whatever_others_commit(lake):
    state = table_states.at(lake.files, "t1", 1)
    write(lake, 3)
    assert table_states.difference(lake.files, "t1", state, pinned=1) == ""
    assert table_states.difference(lake.files, "t1", state, pinned=2) == "table t1 is at version 2, was 1"


OPENED = """from stockkit.lake.tables import open_lake
book = open_lake('data/lake', root=Path())
"""


@pytest.mark.parametrize(
    ("cell", "change", "says"),
    [
        ("book.read('t1')", another_writer, "table t1 is at version 2, was 1"),  # and hands nothing over
        ("book.version('t2')", lambda lake: write(lake, 1, table="t2"), "table t2 is at version 0, was not there"),
        ("book.tables()", lambda lake: write(lake, 1, table="t2"), "tables of the lake changed"),
        ("book.version('t1')", lambda lake: write(lake, 1, table="t2"), "kept"),
    ],
)
def test_tables_that_are_not_handed_over_count_as_well(lake, cell, change, says):
    steps = Steps(lake.root)
    path = plant(lake.root, "01_a", OPENED + cell)
    steps.run(path)
    assert steps.unkept == ""
    change(lake)
    assert steps.outcome(path) == says
