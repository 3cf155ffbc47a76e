from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from stockkit.errors import LakeError, SymbolError
from stockkit.lake import data_files
from stockkit.lake.tables import Lake
from tests.conftest import ROOT
from tests.lake.test_tables import writers
from tests.market.test_schema import ODD

COLUMNS = pa.schema([("symbol", pa.string()), ("date", pa.date32()), ("value", pa.float64())])


def rows(symbol: str, value: float = 1.0, count: int = 3) -> pd.DataFrame:
    days = pd.date_range("2023-09-18", periods=count).astype("datetime64[ns]")
    return pd.DataFrame({"symbol": pd.Series([symbol] * count, dtype="string"), "date": days, "value": value})


def replace(lake: Lake, *frames: pd.DataFrame, columns: pa.Schema = COLUMNS) -> int:
    """What a driver with its workers does, in one process."""

    def make(stored):
        named = [(str(frame["symbol"].iloc[0]), frame) for frame in frames]
        return [
            data_files.write(lake.location("features"), name, frame, stored=stored.get(name)) for name, frame in named
        ]

    return lake.replace("features", columns, make)


def contents(lake: Lake) -> list[list[object]]:
    return lake.read("features")[["symbol", "value"]].drop_duplicates().values.tolist()


def test_files_of_odd_symbols_become_a_table_that_everybody_reads(lake):
    assert replace(lake, *(rows(symbol) for symbol in ODD)) == 0
    assert contents(lake) == [[symbol, 1.0] for symbol in sorted(ODD)]
    assert set(lake.sql("SELECT symbol, count(*) AS n FROM features GROUP BY symbol")["n"]) == {3}
    assert lake.verify().empty
    protocol = lake.delta("features").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_a_commit_replaces_the_symbols_it_names_and_tells_the_history(lake):
    replace(lake, rows("A"), rows("B"))
    assert replace(lake, rows("A", 2.0, count=2)) == 1
    assert contents(lake) == [["A", 2.0], ["B", 1.0]]
    first = lake.history("features").iloc[0]
    assert first[["rows_added", "files_added", "files_removed"]].tolist() == [2, 1, 1]


def test_rows_that_another_writer_stored_are_replaced_as_well(lake):
    lake.write("features", pd.concat([rows("A", 5.0), rows("B", 6.0)], ignore_index=True), symbols=["A", "B"])
    replace(lake, rows("A", 7.0))
    assert contents(lake) == [["A", 7.0], ["B", 6.0]]


def test_equal_rows_make_no_version_and_no_file(lake):
    for _ in range(2):
        assert replace(lake, rows("A", np.nan)) == 0
    assert len(list(lake.folder.rglob("*.parquet"))) == 1
    assert replace(lake, rows("A", 2.0)) == 1


def test_columns_are_added_and_never_lost(lake):
    replace(lake, rows("A"), rows("B"))
    other = rows("A").rename(columns={"value": "more"})
    replace(lake, other, columns=pa.schema([*list(COLUMNS)[:2], ("more", pa.float64())]))
    assert lake.read("features")[["value", "more"]].isna().values.tolist() == [[True, False]] * 3 + [[False, True]] * 3


def test_a_column_of_another_type_is_refused(lake):
    replace(lake, rows("A"))
    with pytest.raises(LakeError, match="the column 'value' as double, found int64"):
        replace(lake, rows("A", 2.0), columns=pa.schema([*list(COLUMNS)[:2], ("value", pa.int64())]))
    assert contents(lake) == [["A", 1.0]]


@pytest.mark.parametrize("symbol", ["../../etc", "A/B", "", "A'; --"])
def test_a_hostile_symbol_makes_no_file(lake, symbol):
    with pytest.raises(SymbolError):
        data_files.write(lake.location("features"), symbol, rows("A"))
    assert not list(lake.folder.parent.rglob("*.parquet"))


def test_the_log_tells_rows_extremes_and_nulls_but_no_infinity(lake):
    part = data_files.write(lake.location("features"), "A", rows("A").assign(value=[np.nan, -1.5, 2.0], flat=np.inf))
    assert json.loads(part.stats) == {
        "numRecords": 3,
        "minValues": {"date": "2023-09-18", "value": -1.5},
        "maxValues": {"date": "2023-09-20", "value": 2.0},
        "nullCount": {"date": 0, "value": 1, "flat": 0},
    }


def test_a_part_that_leans_on_what_the_table_held_is_made_anew_after_a_conflict(lake):
    replace(lake, rows("A"))
    asked = []

    def make(stored):
        asked.append(stored["A"])
        part = data_files.write(
            lake.location("features"), "A", rows("A", 2.0 if len(asked) > 1 else 1.0), stored=stored["A"]
        )
        other = data_files.write(lake.location("features"), "B", rows("B"))
        if len(asked) == 1:
            replace(Lake(lake.files, ROOT), rows("A", 9.0))
        return [part, other]

    lake.replace("features", COLUMNS, make)
    assert len(asked) == 2
    assert contents(lake) == [["A", 2.0], ["B", 1.0]]


def test_a_symbol_that_another_driver_adds_meanwhile_is_replaced_not_doubled(lake):
    replace(lake, rows("A"))
    calls = []

    def make(stored):
        calls.append(stored)
        if len(calls) == 1:
            replace(Lake(lake.files, ROOT), rows("B", 9.0))
        return [data_files.write(lake.location("features"), "B", rows("B", 2.0))]

    lake.replace("features", COLUMNS, make)
    assert contents(lake) == [["A", 1.0], ["B", 2.0]]
    assert lake.verify().empty


@pytest.mark.parametrize("exists", [False, True])
def test_drivers_at_once_double_nothing(lake, exists):
    if exists:
        replace(lake, rows("A", -1.0))
    values = [float(number) for number in range(6)]
    tasks = [lambda writer, v=v: replace(writer, rows("A", v), rows(f"S{int(v)}", v)) for v in values]
    assert writers(lake, *tasks) == []
    assert lake.verify().empty
    assert len(lake.read("features")) == 3 * 7
    assert lake.read("features", symbols=["A"])["value"].nunique() == 1


def test_files_that_no_commit_names_are_invisible_and_vacuum_takes_them(lake, monkeypatch):
    replace(lake, rows("A"))
    left = data_files.write(lake.location("features"), "A", rows("A", 2.0))
    assert contents(lake) == [["A", 1.0]]
    assert lake.verify().empty
    assert lake.vacuum("features") == []  # it may be of a run that is going on
    monkeypatch.setattr("stockkit.lake.upkeep.SHORTEST", 0.0)
    assert lake.vacuum("features", keep=0, dry_run=False) == [left.path]
    assert contents(lake) == [["A", 1.0]]


DRIVER = """
import os, sys
import pandas as pd
from pathlib import Path
from stockkit.files import Folder
from stockkit.lake.tables import Lake
from tests.lake.test_data_files import replace, rows
lake = Lake(Folder(Path(sys.argv[1])), Path())
n = 0
while True:
    n += 1
    replace(lake, *(rows(symbol, float(n), 500) for symbol in "ABCD"))
    print(n, flush=True)
"""


@pytest.mark.parametrize("moment", range(8))
def test_a_driver_killed_around_its_commit_leaves_wholly_the_old_or_wholly_the_new_rows(lake, moment):
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(lake.folder)], stdout=subprocess.PIPE, cwd=ROOT) as driver:
        driver.stdout.readline()
        threading.Event().wait(0.004 * moment)
        driver.kill()
    rows_read = Lake(lake.files, Path()).read("features")
    assert (len(rows_read), rows_read["value"].nunique()) == (2000, 1)
    assert lake.verify().empty
    replace(lake, *(rows(symbol, 0.5, 500) for symbol in "ABCD"))
    assert (len(lake.read("features")), contents(lake)[0]) == (2000, ["A", 0.5])
