"""The clock of a statement, and what SHOW and DESCRIBE say."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from stockkit.aws import Session
from stockkit.errors import LakeError, QueryError
from stockkit.files import Folder
from stockkit.lake.sql import athena_engine, clock
from stockkit.lake.tables import Lake
from tests.conftest import ROOT

DAY = "2023-09-21"


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    lake = Lake(Folder(tmp_path_factory.mktemp("lake")), ROOT)
    rows = pd.DataFrame({"symbol": ["A"], "date": pd.to_datetime([DAY]), "x": [1.5], "n": [2]})
    for table in ("bars", "bonds"):
        lake.write(table, rows.astype({"symbol": "string"}), symbols=["A"])
    return lake


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("SELECT current_date", "SELECT DATE '2023-09-21'"),
        ("SELECT NOW()", "SELECT TIMESTAMP '2023-09-21 10:11:12.345 UTC'"),
        ("SELECT now( ) - INTERVAL '1' DAY", "SELECT TIMESTAMP '2023-09-21 10:11:12.345 UTC' - INTERVAL '1' DAY"),
        ("SELECT Current_Timestamp", "SELECT TIMESTAMP '2023-09-21 10:11:12.345 UTC'"),
        ("SELECT current_timestamp(6), localtimestamp(0)",
         "SELECT TIMESTAMP '2023-09-21 10:11:12.345678 UTC', TIMESTAMP '2023-09-21 10:11:12'"),
        ("SELECT localtimestamp", "SELECT TIMESTAMP '2023-09-21 10:11:12.345'"),
        ("SELECT date_diff('day', date, current_date) FROM t -- now()",
         "SELECT date_diff('day', date, DATE '2023-09-21') FROM t -- now()"),
    ],
)  # fmt: skip
def test_the_moment_stands_where_the_clock_was_read(text, sent):
    assert clock.dated(text, "2023-09-21 10:11:12.345678").text == sent


@pytest.mark.parametrize(
    "text", ["SELECT 'now()'", 'SELECT "current_date" FROM t', "SELECT t.current_date FROM t", "SELECT now FROM t",
             "SELECT 1 AS now", "SELECT /* current_date */ 1"],
)  # fmt: skip
def test_what_only_looks_like_the_clock_stays(text):
    assert clock.dated(text, DAY) == clock.Dated(text, None)


def test_a_statement_gets_the_clock_of_the_run_and_the_answer_says_so(lake):
    answer = lake.sql(
        "SELECT current_date AS d, now() AS n, count(*) AS k FROM bars WHERE date >= current_date", as_of=DAY
    )
    assert answer["d"][0] == pd.Timestamp(DAY)
    assert answer["n"][0] == pd.Timestamp(DAY, tz="UTC")
    assert (answer["k"][0], answer.attrs["as_of"]) == (1, "2023-09-21T00:00:00+00:00")
    assert "as_of" not in lake.sql("SELECT 1 AS x").attrs


def test_without_one_it_is_the_moment_of_asking_the_same_all_through_the_statement(lake):
    before = dt.datetime.now(dt.UTC)
    answer = lake.sql("SELECT now() AS a, current_timestamp AS b FROM bars")
    assert answer["a"][0] == answer["b"][0]
    moment = dt.datetime.fromisoformat(answer.attrs["as_of"])
    assert before <= moment <= dt.datetime.now(dt.UTC)
    assert abs(answer["a"][0] - moment) < pd.Timedelta("1ms")


def test_athena_is_sent_the_same_moment(lake, monkeypatch):
    sent = {}
    monkeypatch.setattr(
        athena_engine, "ask", lambda statement, *_, **__: sent.update(text=statement.text) or pd.DataFrame()
    )
    engine = athena_engine.Athena(Session(), "d", "primary", "s3://b/athena/")
    Lake(lake.files, ROOT, engine).sql("SELECT current_date AS d", as_of=DAY)
    assert sent == {"text": "SELECT DATE '2023-09-21' AS d"}


@pytest.mark.parametrize("bad", ["yesterday", "2023-13-01", object(), pd.NaT])
def test_what_is_no_moment_is_refused(lake, bad):
    with pytest.raises(QueryError, match="as_of cannot be"):
        lake.sql("SELECT now() AS n", as_of=bad)


def test_tables_and_columns_are_shown(lake):
    assert lake.sql("SHOW TABLES")["tab_name"].tolist() == ["bars", "bonds"]
    assert lake.sql("show tables in stock_data like 'bo*';")["tab_name"].tolist() == ["bonds"]
    assert lake.sql("SHOW COLUMNS FROM bars")["field"].tolist() == ["symbol", "date", "x", "n"]
    described = lake.sql("DESCRIBE stock_data.Bars")
    assert list(described) == ["col_name", "data_type", "comment"]
    assert described["data_type"].tolist() == ["string", "date", "double", "bigint"]


def test_a_table_that_is_not_there_is_not_described(lake):
    with pytest.raises(LakeError, match="Did you mean 'bars'"):
        lake.sql("DESCRIBE bar")
    with pytest.raises(QueryError):
        lake.sql("SHOW CREATE TABLE bars")


def test_the_catalogue_is_answered_like_any_table(lake):
    listed = lake.sql("SELECT * FROM information_schema.columns WHERE table_schema = 'stock_data' AND table_name = :t"
                      " ORDER BY ordinal_position", t="bars")  # fmt: skip
    assert list(listed) == ["table_catalog", "table_schema", "table_name", "column_name", "ordinal_position",
                            "column_default", "is_nullable", "data_type"]  # fmt: skip
    assert listed["column_name"].tolist() == ["symbol", "date", "x", "n"]
    assert listed["data_type"].tolist() == ["varchar", "date", "double", "bigint"]
    assert listed["ordinal_position"].tolist() == [1, 2, 3, 4]
    assert set(listed["table_catalog"] + listed["is_nullable"]) == {"awsdatacatalogYES"}
    tables = lake.sql("SELECT * FROM AwsDataCatalog.information_schema.tables ORDER BY table_name DESC")
    assert tables.to_numpy().tolist() == [["awsdatacatalog", "stock_data", t, "BASE TABLE"] for t in ("bonds", "bars")]
    schemata = lake.sql("SELECT schema_name FROM information_schema.schemata WHERE schema_name <> 'information_schema'")
    assert schemata["schema_name"].tolist() == ["stock_data"]


def test_the_catalogue_joins_the_lakes_tables_and_a_with_does_not_hide_it(lake):
    answer = lake.sql(
        'WITH tables AS (SELECT count(*) AS k FROM bars) SELECT t.table_name, count(*) AS n, max(k) AS k, max(x) AS x'
        ' FROM tables CROSS JOIN bars JOIN "information_schema"."tables" t ON t.table_name LIKE \'b%s\''
        " JOIN information_schema.columns c ON t.table_name = c.table_name GROUP BY 1 ORDER BY 1"
    )  # fmt: skip
    assert answer.to_numpy().tolist() == [["bars", 4, 1, 1.5], ["bonds", 4, 1, 1.5]]


def test_the_catalogue_names_types_as_typeof_does(tmp_path):
    lake, cells = Lake(Folder(tmp_path), ROOT), {}
    cells["Seen"], cells["i"] = pd.to_datetime(["2023-09-21"], utc=True), pd.Series([1], dtype="int32")
    lake.write("kinds", pd.DataFrame({"symbol": ["A"], **cells}).astype({"symbol": "string"}), symbols=["A"])
    listed = lake.sql("SELECT column_name, data_type FROM information_schema.columns")
    kinds = lake.sql("SELECT typeof(seen) AS seen, typeof(i) AS i FROM kinds").iloc[0]
    assert dict(zip(listed["column_name"], listed["data_type"], strict=True)) == {"symbol": "varchar", **kinds}


@pytest.mark.parametrize(
    ("text", "says"),
    [("SELECT * FROM information_schema.views", "only information_schema.columns"),
     ("SELECT * FROM columns", "no table 'columns'"),
     ("SELECT nope FROM information_schema.tables", "nope"),
     ("SELECT * FROM other.information_schema.tables", "no table of the lake")],
)  # fmt: skip
def test_what_the_catalogue_does_not_have_is_refused(lake, text, says):
    with pytest.raises((LakeError, QueryError), match=says):
        lake.sql(text)
