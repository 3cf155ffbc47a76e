"""NaN in tables that another hand wrote: SQL answers as Athena does, whatever the files' statistics leave out."""

from __future__ import annotations

import math
from functools import partial

import deltalake
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stockkit.files import Folder
from stockkit.lake.sql import scan
from stockkit.lake.tables import Lake
from tests.conftest import ROOT
from tests.lake.test_tables import add

NAN = math.nan
CELLS = [1.0, 2.0, NAN, 5.0, None, NAN, 200.0, -3.0, NAN, 2.0]


def rows():
    """CELLS as double and real, and whole groups of rows that hold one number beside NaN."""
    flat = [2.0, NAN, 2.0, None] * 2 + [NAN, NAN]
    return pa.table({
        "symbol": ["A"] * len(CELLS), "k": list(range(len(CELLS))),
        "x": pa.array(CELLS, pa.float64()), "f": pa.array(CELLS, pa.float32()), "y": pa.array(flat, pa.float64()),
        "l": pa.array([None if cell is None else [cell] for cell in CELLS], pa.list_(pa.float64())),
    })  # fmt: skip


def by_pyarrow(folder):
    """A plain Parquet file of many row groups, taken into a Delta table as it is."""
    (folder / "symbol=A").mkdir(parents=True)
    pq.write_table(rows().drop(["symbol"]), folder / "symbol=A" / "a.parquet", row_group_size=4)
    by = deltalake.Schema.from_arrow(pa.schema([("symbol", pa.string())]))
    deltalake.convert_to_deltalake(str(folder), partition_by=by, partition_strategy="hive")


def by_polars(folder):
    folder.mkdir(parents=True)
    pl.from_arrow(rows()).write_parquet(folder / "a.parquet", row_group_size=4)
    deltalake.convert_to_deltalake(str(folder))


def by_deltalake(folder):
    deltalake.write_deltalake(str(folder), rows(), partition_by=["symbol"])


def by_delta_of_polars(folder):
    pl.from_arrow(rows()).write_delta(str(folder))


WRITERS = [by_pyarrow, by_polars, by_deltalake, by_delta_of_polars]


@pytest.fixture(scope="module", params=WRITERS, ids=lambda writer: writer.__name__)
def lake(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    request.param(folder / "tables" / "t")
    return Lake(Folder(folder), ROOT)


def handed(lake, text, **parameters):
    """Asked of rows that are fetched for the engine, as those on S3 are."""
    delta = lake.delta("t")
    files = scan.Relation(pa.schema(delta.schema().to_arrow()), delta.table_uri, (), rows=delta.to_pyarrow_dataset())
    return scan.run(text, {"t": files}, parameters)


@pytest.fixture(params=[Lake.sql, handed], ids=["files", "rows handed over"])
def ask(request, lake):
    return partial(request.param, lake)


def below(value, bound):
    return None if value is None else value < bound


def negated(value):
    return None if value is None else not value


TESTS = {  # what Trino says of one cell; NaN is above, below and equal to nothing
    "{c} < 100": lambda v: below(v, 100),
    "{c} <= 5": lambda v: None if v is None else v <= 5,
    "{c} > 100": lambda v: None if v is None else v > 100,
    "{c} >= 2": lambda v: None if v is None else v >= 2,
    "{c} = 2": lambda v: None if v is None else v == 2,
    "{c} <> 2": lambda v: None if v is None else v != 2,
    "100 > {c}": lambda v: below(v, 100),
    "NOT ({c} < 100)": lambda v: negated(below(v, 100)),
    "NOT ({c} > 100)": lambda v: None if v is None else not v > 100,
    "NOT ({c} = 2)": lambda v: None if v is None else v != 2,
    "is_nan({c})": lambda v: None if v is None else math.isnan(v),
    "NOT is_nan({c})": lambda v: None if v is None else not math.isnan(v),
    "is_finite({c})": lambda v: None if v is None else math.isfinite(v),
    "{c} BETWEEN 0 AND 100": lambda v: None if v is None else 0 <= v <= 100,
    "{c} NOT BETWEEN 0 AND 100": lambda v: None if v is None else not 0 <= v <= 100,
    "{c} IN (2, 5)": lambda v: None if v is None else v in (2.0, 5.0),
    "{c} NOT IN (2, 5)": lambda v: None if v is None else v not in (2.0, 5.0),
    "{c} IS NULL": lambda v: v is None,
    "{c} IS NOT NULL": lambda v: v is not None,
    "{c} + 1 > 100": lambda v: None if v is None else v + 1 > 100,
    "abs({c}) < 100": lambda v: None if v is None else abs(v) < 100,
    "{c} < 100 OR {c} > 150": lambda v: None if v is None else v < 100 or v > 150,
    "{c} < 100 AND {c} > -100": lambda v: None if v is None else -100 < v < 100,
    "CASE WHEN {c} < 100 THEN true ELSE false END": lambda v: v is not None and v < 100,
    "coalesce({c} < 100, true)": lambda v: v is None or v < 100,
    "{c} IS DISTINCT FROM 2": lambda v: v is None or v != 2,
    "{c} IS NOT DISTINCT FROM 2": lambda v: v is not None and v == 2,
    "{c} < :bound": lambda v: below(v, 100),
}


@pytest.mark.parametrize("column", ["x", "f", "y", "l[1]"])
def test_a_predicate_over_nan_is_what_athena_says(ask, column):
    cells = rows()["x" if column == "l[1]" else column].to_pylist()
    predicates = [test.format(c=column) for test in TESTS]
    expected = [[verdict(cell) for cell in cells] for verdict in TESTS.values()]
    kept = " UNION ALL ".join(f"SELECT {n} AS n, k FROM t WHERE {one}" for n, one in enumerate(predicates))
    answer = ask(f"{kept} ORDER BY n, k", bound=100.0)
    got = {predicates[n]: part["k"].tolist() for n, part in answer.groupby("n")}
    assert got == {
        one: [k for k, verdict in enumerate(verdicts) if verdict]
        for one, verdicts in zip(predicates, expected, strict=True)
        if True in verdicts
    }
    shown = ask(f"SELECT {', '.join(predicates)} FROM t ORDER BY k", bound=100.0).astype("object")
    assert [[None if v is pd.NA else v for v in shown.iloc[:, n]] for n in range(len(predicates))] == expected


def test_sums_and_orders_see_what_the_condition_lets_through(ask):
    assert ask("SELECT sum(x) AS s FROM t WHERE x < 100")["s"][0] == 7.0
    assert ask("SELECT sum(x) AS s FROM t WHERE NOT is_nan(x)")["s"][0] == 207.0
    assert ask("SELECT max(x) AS s FROM t WHERE x > 0")["s"][0] == 200.0
    assert ask("SELECT count(*) AS n FROM t WHERE is_nan(x) AND is_nan(f)")["n"][0] == 3
    largest = ask("SELECT k FROM t WHERE x IS NOT NULL ORDER BY x DESC, k LIMIT 4")["k"].tolist()
    assert largest == [2, 5, 8, 6]  # Trino's order has NaN above all numbers
    assert ask("SELECT k FROM t ORDER BY x, k LIMIT 2")["k"].tolist() == [7, 0]
    assert ask("SELECT count(*) AS n FROM t AS a JOIN t AS b ON a.x = b.x")["n"][0] == 8
    assert ask("SELECT count(*) AS n FROM t AS a JOIN t AS b ON a.x < b.y")["n"][0] == 8


def test_what_the_lake_writes_holds_no_nan_but_null(tmp_path):
    lake = Lake(Folder(tmp_path), ROOT)
    cells = pd.DataFrame({"symbol": ["A", "A"], "x": [1.0, NAN]}).astype({"symbol": "string"})
    lake.write("t", cells, symbols=["A"])
    add(lake, "u", cells)
    for table in ("t", "u"):
        counts = lake.sql(f"SELECT count(x) AS known, count_if(is_nan(x)) AS nan, sum(x) AS total FROM {table}")
        assert counts.iloc[0].tolist() == [1, 0, 1.0]
        assert np.isnan(lake.read(table)["x"]).tolist() == [False, True]


def test_outside_of_sql_nan_and_null_are_one_thing_a_missing_number(lake):
    missing = [cell is None or math.isnan(cell) for cell in CELLS]
    assert lake.read("t").sort_values("k")["x"].isna().tolist() == missing
    answer = lake.sql("SELECT k, x FROM t ORDER BY k")
    assert answer["x"].isna().tolist() == missing
    assert [line.endswith(",") for line in answer.to_csv(index=False).splitlines()[1:]] == missing
