"""Writes into tables that another hand has changed."""

from __future__ import annotations

import deltalake
import pandas as pd
import pyarrow as pa
import pytest

from stockkit.errors import LakeError
from stockkit.files import Folder
from stockkit.lake.contracts import TABLES, Table
from stockkit.lake.tables import Lake
from tests.conftest import ROOT

CONTRACT = {"symbol": "string", "date": "datetime64[ns]", "close": "float64", "volume": "int64"}
DAYS = pd.to_datetime(["2023-01-03", "2023-01-04"])


@pytest.fixture
def lake(tmp_path):
    return Lake(Folder(tmp_path), ROOT)


def rows(symbols=("A", "B"), close=1.5):
    kinds = {"symbol": "string", "close": "float64", "volume": "int64"}
    return pd.concat([
        pd.DataFrame({"symbol": symbol, "date": DAYS, "close": [close, None], "volume": [7, 8]}) for symbol in symbols
    ], ignore_index=True).astype(kinds)  # fmt: skip


def by_another_hand(lake, change):
    """Write the table anew under the columns that `change` makes of it."""
    delta = lake.delta("t")
    table = change(delta.to_pyarrow_table())
    deltalake.write_deltalake(
        delta.table_uri, table, mode="overwrite", schema_mode="overwrite", partition_by=["symbol"]
    )


def kind_of(lake, column):
    return str(pa.schema(lake.delta("t").schema().to_arrow()).field(column).type)


def recast(name, kind):
    def change(table):
        return table.set_column(table.column_names.index(name), name, table[name].cast(kind))

    return change


ADDED = {
    "text": pa.array(["x", "y", None, "z"]),
    "list": pa.array([[1, 2], None, [3], []], pa.list_(pa.int64())),
    "decimal": pa.array([1, 2, None, 4], pa.decimal128(5, 2)),
}


@pytest.mark.parametrize("kind", ADDED)
def test_a_column_of_another_hand_survives_a_write(lake, kind):
    lake.write("t", rows(), symbols=["A", "B"])
    by_another_hand(lake, lambda table: table.sort_by([("symbol", "ascending"), ("date", "ascending")])
                    .append_column("note", ADDED[kind]))  # fmt: skip
    version = lake.version("t")
    assert lake.write("t", rows(), symbols=["A", "B"]) == version, "the same rows made a new version"
    assert lake.write("t", rows(["A"], 2.5), symbols=["A"]) == version + 1
    stored = lake.delta("t").to_pyarrow_table().sort_by([("symbol", "ascending"), ("date", "ascending")])
    assert stored["note"].to_pylist() == ADDED[kind].to_pylist()
    assert stored["close"].to_pylist() == [2.5, None, 1.5, None]


def test_a_new_row_has_null_there_and_a_row_that_goes_takes_its_value_with_it(lake):
    lake.write("t", rows(["A"]), symbols=["A"])
    by_another_hand(lake, lambda table: table.append_column("note", pa.array(["x", "y"])))
    new = rows(["A"]).assign(date=pd.to_datetime(["2023-01-04", "2023-01-05"]))
    lake.write("t", new, symbols=["A"])
    assert dict(zip(lake.read("t")["date"].dt.day, lake.read("t")["note"].fillna(""), strict=True)) in (
        {4: "y", 5: ""}, {4: "x", 5: ""})  # fmt: skip


def test_where_rows_cannot_be_told_apart_the_write_is_refused(lake):
    twice = rows(["A"]).assign(date=DAYS[0])
    lake.write("t", twice, symbols=["A"])
    by_another_hand(lake, lambda table: table.append_column("note", pa.array(["x", "y"])))
    with pytest.raises(LakeError, match="'note' of another hand, and rows that symbol, date do not tell apart"):
        lake.write("t", twice, symbols=["A"])
    assert lake.version("t") == 1


@pytest.mark.parametrize(
    ("column", "kind"),
    [("close", pa.float32()), ("close", pa.string()), ("volume", pa.float64()), ("volume", pa.int32()),
     ("volume", pa.string()), ("date", pa.string()), ("date", pa.timestamp("us")), ("date", pa.timestamp("us", "UTC"))],
)  # fmt: skip
def test_a_retyped_column_is_put_right_and_then_left_alone(lake, column, kind, monkeypatch):
    monkeypatch.setitem(TABLES, "t", Table("a test", ("symbol", "date"), CONTRACT))
    lake.write("t", rows(), symbols=["A", "B"])
    right = kind_of(lake, column)
    by_another_hand(lake, recast(column, kind))
    version = lake.write("t", rows(["A"]), symbols=["A"])
    assert kind_of(lake, column) == right
    pd.testing.assert_frame_equal(lake.read("t")[list(rows())], rows(), check_dtype=False)
    assert lake.write("t", rows(), symbols=["A", "B"]) == version, "the same rows made a new version"


def test_a_retyped_column_whose_values_would_be_lost_is_refused(lake, monkeypatch):
    monkeypatch.setitem(TABLES, "t", Table("a test", ("symbol", "date"), CONTRACT))
    lake.write("t", rows(), symbols=["A", "B"])
    words = pa.array(["none", "many", "none", "many"])
    by_another_hand(lake, lambda table: table.drop(["volume"]).append_column("volume", words))
    with pytest.raises(LakeError, match=r"'volume' as string, found int64, and values of it would be lost"):
        lake.write("t", rows(["A"]), symbols=["A"])
    assert lake.version("t") == 1


def test_without_a_contract_the_tables_type_stays_where_it_holds_the_values(lake):
    lake.write("t", rows(), symbols=["A", "B"])
    new = rows().assign(volume=[7.0, 8.0, 7.0, 8.0])
    assert lake.write("t", new, symbols=["A", "B"]) == 0
    lake.write("t", new.assign(volume=0.5), symbols=["A", "B"])
    assert kind_of(lake, "volume") == "double"
