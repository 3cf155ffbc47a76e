"""What is sent to Athena and how its answers are read, over a real socket to moto's server.

The engine itself is not there: moto answers each query with a result that the test put in its queue.
"""

from __future__ import annotations

import datetime
import io
import json
import math
import time
import urllib.request
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlglot

from stockkit import open_lake
from stockkit.aws import Session
from stockkit.errors import LakeError, QueryError
from stockkit.lake.sql import athena_engine, scan
from tests.conftest import ROOT
from tests.lake.test_tables import frame


@pytest.fixture
def cloud(aws):
    name = uuid.uuid4().hex[:8]
    where = {"LocationConstraint": "eu-central-1"}
    Session().client("s3").create_bucket(Bucket=f"b-{name}", CreateBucketConfiguration=where)
    lake = open_lake(f"s3://b-{name}/lake?database=d_{name}", root=ROOT)
    lake.write("t", frame(["A"]), symbols=["A"])
    return lake


def will_answer(address, columns, rows):
    """Queue a result at moto for the next query."""
    cells = [[{"VarCharValue": value} if value is not None else {} for value in row] for row in rows]
    data = {
        "rows": [{"Data": [{"VarCharValue": name} for name, _ in columns]}, *({"Data": row} for row in cells)],
        "column_info": [{"CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": name, "Label": name,
                         "Type": kind, "Precision": 0, "Scale": 0, "Nullable": "UNKNOWN", "CaseSensitive": False}
                        for name, kind in columns],
    }  # fmt: skip
    body = json.dumps({"account_id": "123456789012", "region": "eu-central-1", "results": [data]}).encode()
    request = urllib.request.Request(f"{address}/moto-api/static/athena/query-results", body, method="POST")
    request.add_header("Content-Type", "application/json")
    assert urllib.request.urlopen(request).status == 201


def test_a_question_is_sent_with_its_parameters_apart_and_answered_with_plain_dtypes_and_its_cost(aws, cloud):
    columns = [("day", "date"), ("rows", "bigint"), ("high", "double"), ("name", "varchar")]
    will_answer(aws, columns, [["2023-09-21", "7", "1.5", "A"], ["2023-09-22", "8", "2.5", "B"]])
    text = "SELECT day, rows, high, name FROM t WHERE symbol = :symbol AND value > :least"
    answer = cloud.sql(text, symbol="A'; DROP TABLE t; --", least=1)
    assert answer.dtypes.astype(str).to_dict() == {
        "day": "datetime64[ns]",
        "rows": "int64",
        "high": "float64",
        "name": "string",
    }
    assert answer["rows"].tolist() == [7, 8]
    bill = answer.attrs["athena"]
    client = cloud.files.session.client("athena")
    sent = client.get_query_execution(QueryExecutionId=bill["query_id"])["QueryExecution"]
    assert sent["Query"] == "SELECT day, rows, high, name FROM t WHERE symbol = ? AND value > ?"
    assert sent["QueryExecutionContext"]["Database"] == cloud.engine.database
    assert sent["WorkGroup"] == "primary"
    assert sent["ResultConfiguration"]["OutputLocation"].startswith(cloud.files.uri("athena/"))
    assert bill["cost_usd"] == athena_engine.cost(bill["bytes_scanned"])
    assert cloud.reads == {"t": 0}


def test_what_is_not_translated_here_is_sent_to_athena_as_it_is(aws, cloud):
    will_answer(aws, [("k", "double")], [["1.5"]])
    text = "SELECT kurtosis(value) AS k FROM t WHERE seen < now()"
    assert cloud.sql(text)["k"].tolist() == [1.5]


def test_the_catalogue_is_asked_of_athena_anew_each_time(monkeypatch, cloud):
    sent = {}
    monkeypatch.setattr(
        athena_engine, "ask", lambda statement, *_, **given: sent.update(given, text=statement.text) or pd.DataFrame()
    )
    text = "SELECT c.* FROM information_schema.columns c JOIN t ON t.symbol = c.column_name"
    cloud.sql(text)
    assert sent["text"] == text
    assert not athena_engine.reuse(sent["last_commit"], time.time())["ResultReuseByAgeConfiguration"]["Enabled"]
    assert sent["shape"].names[-1] == "data_type"


def test_what_is_sent_besides_the_text(monkeypatch, cloud):
    import awswrangler as wr

    sent = {}

    def fake(statement, **given):
        sent.update(given, statement=statement)
        answer = pd.DataFrame({"n": pd.array([1], "Int64")})
        object.__setattr__(answer, "query_metadata", {"QueryExecutionId": "q", "Statistics": {
            "DataScannedInBytes": 5, "ResultReuseInformation": {"ReusedPreviousResult": True}}})  # fmt: skip
        return answer

    monkeypatch.setattr(wr.athena, "read_sql_query", fake)
    answer = cloud.sql("SELECT count(*) AS n FROM t WHERE symbol IN (:symbols)", symbols=["A", "B"])
    assert sent["statement"].endswith("symbol IN (?, ?)")
    assert (sent["params"], sent["paramstyle"], sent["ctas_approach"]) == (["'A'", "'B'"], "qmark", False)
    assert sent["result_reuse_configuration"] == {"ResultReuseByAgeConfiguration": {"Enabled": False}}
    assert (answer.attrs["athena"]["reused"], answer.attrs["athena"]["cost_usd"]) == (True, 0.0)


def test_athena_is_asked_only_for_a_select_over_tables_that_are_there(cloud):
    client = cloud.files.session.client("athena")
    before = client.list_query_executions()["QueryExecutionIds"]
    with pytest.raises(QueryError):
        cloud.sql("DROP TABLE t")
    with pytest.raises(LakeError, match="no table 'prices'"):
        cloud.sql("SELECT * FROM prices")
    assert client.list_query_executions()["QueryExecutionIds"] == before


def test_a_query_that_athena_fails_is_an_error_with_its_reason(monkeypatch, cloud):
    import awswrangler as wr

    def fails(*_, **__):
        raise wr.exceptions.QueryFailed("DIVISION_BY_ZERO")

    monkeypatch.setattr(wr.athena, "read_sql_query", fails)
    with pytest.raises(QueryError, match="Athena failed the query: DIVISION_BY_ZERO"):
        cloud.sql("SELECT 1/0 AS x FROM t")


def test_an_answer_older_than_the_last_commit_is_never_reused():
    now = 1_700_000_000.0

    def age(seconds):
        age = athena_engine.reuse(int((now - seconds) * 1000), now)["ResultReuseByAgeConfiguration"]
        return age.get("MaxAgeInMinutes") if age["Enabled"] else 0

    assert [age(0), age(119), age(120), age(3600), age(10**9)] == [0, 0, 1, 59, 10_080]
    assert age(-60) == 0
    assert athena_engine.reuse(0, time.time())["ResultReuseByAgeConfiguration"]["MaxAgeInMinutes"] == 10_080


@pytest.mark.parametrize(
    ("scanned", "usd"), [(0, 10 / 2**20 * 5), (1, 10 / 2**20 * 5), (10 * 2**20 + 1, 11 / 2**20 * 5), (2**40, 5.0)]
)
def test_the_cost_is_five_dollars_a_terabyte_and_ten_megabytes_at_least(scanned, usd):
    assert athena_engine.cost(scanned) == pytest.approx(usd)


def test_placeholders_are_found_where_they_are_ones_and_nowhere_else():
    text = "SELECT ':a' AS x, \":a\" AS y -- :a\nFROM t /* :a */ WHERE a = :a AND b = :b AND a <> :a"
    statement, values = athena_engine.placeholders(text, {"a": 1, "b": None})
    assert statement == "SELECT ':a' AS x, \":a\" AS y -- :a\nFROM t /* :a */ WHERE a = ? AND b = ? AND a <> ?"
    assert values == ["1", "NULL", "1"]


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        ("SELECT :a", {}, "needs a value for :a"),
        ("SELECT 1", {"a": 1}, "no place for the parameter 'a'"),
        ("SELECT 1 WHERE x IN (:a)", {"a": []}, "must not be empty"),
        ("SELECT :a", {"a": object()}, "a parameter cannot be"),
        ("SELECT :a", {"a": [1, 2]}, "stands only in IN"),
        ("SELECT :a", {"a": 2**63}, "does not fit into a bigint"),
        ("SELECT :a", {"a": Decimal("NaN")}, "a parameter cannot be Decimal"),
        ("SELECT :a", {"a": datetime.time(1)}, "a parameter cannot be"),
        ("SELECT :a", {"a": pd.Timestamp("2023-01-01 00:00:00.000000001")}, "microseconds at most"),
    ],
)
def test_a_parameter_that_cannot_be_bound_is_refused(text, given, says):
    with pytest.raises(QueryError, match=says):
        athena_engine.placeholders(text, given)


VALUES = {
    "'A''; DROP TABLE t; --'": "A'; DROP TABLE t; --",
    "true": np.bool_(True),
    "false": False,
    "7": np.int64(7),
    "-2147483647": -2147483647,
    "-2147483648": -2147483648,
    "9223372036854775807": 2**63 - 1,
    "0.1e0": 0.1,
    "1e-30": 1e-30,
    "0.5e0": np.float32(0.5),
    "nan()": math.nan,
    "-infinity()": -np.inf,
    "DECIMAL '1.50'": Decimal("1.50"),
    "DECIMAL '0.05'": Decimal("0.05"),
    "DECIMAL '0'": Decimal(0),
    "DECIMAL '0.00'": Decimal("0.00"),
    "DECIMAL '-1000'": Decimal("-1E+3"),
    "DATE '2023-09-21'": datetime.date(2023, 9, 21),
    "TIMESTAMP '2023-09-21 00:00:00.000000'": pd.Timestamp("2023-09-21"),
    "TIMESTAMP '2023-09-21 12:30:00.000000'": np.datetime64("2023-09-21T12:30"),
    "TIMESTAMP '2023-09-21 16:30:00.000000 UTC'": pd.Timestamp("2023-09-21 12:30", tz="US/Eastern"),
    "NULL": pd.NaT,
}


@pytest.mark.parametrize("expected", VALUES)
def test_a_value_becomes_one_literal(expected):
    assert athena_engine.literal(VALUES[expected]) == expected
    assert len(sqlglot.parse(f"SELECT {expected}", read="athena")) == 1


@pytest.mark.parametrize("sent", VALUES)
def test_a_parameter_has_the_same_type_and_value_here_as_what_is_sent_to_athena(sent):
    from stockkit.athena import translate

    value = VALUES[sent]
    bound = translate("SELECT :v AS v", {}, {"v": value}, {})
    written = translate(f"SELECT {sent} AS v", {}, {}, {})
    assert bound.types == written.types
    here, there = scan.run("SELECT :v AS v", {}, {"v": value}), scan.run(f"SELECT {sent} AS v", {}, {})
    pd.testing.assert_frame_equal(here, there)
    if sent not in ("true", "false", "NULL") and "e0" not in sent and "e-" not in sent and "()" not in sent:
        text = "SELECT CAST(:v AS varchar) AS v", f"SELECT CAST({sent} AS varchar) AS v"
        assert scan.run(text[0], {}, {"v": value})["v"][0] == scan.run(text[1], {}, {})["v"][0]


@pytest.mark.parametrize("given", [[1, 2], (1, 2), np.array([1, 2]), pd.Series([1, 2]), pd.array([1, 2], "Int64")])
def test_any_list_stands_in_in(given):
    text = "SELECT count_if(x IN (:v)) AS n FROM (VALUES 1, 2, 3) AS t (x)"
    assert scan.run(text, {}, {"v": given})["n"][0] == 2
    assert athena_engine.placeholders(text, {"v": given})[1] == ["1", "2"]


def test_a_nan_is_written_as_the_call_that_makes_it():
    statement, values = athena_engine.placeholders(
        "SELECT x FROM t WHERE x IN (:v) OR x < :w", {"v": [1, math.nan], "w": 2}
    )
    assert (statement, values) == ("SELECT x FROM t WHERE x IN (?, nan()) OR x < ?", ["1", "2"])


def unloaded(monkeypatch, cloud, table):
    """Let Athena answer an UNLOAD with a Parquet file, which awswrangler reads from S3 as it does there."""
    import awswrangler as wr

    sent = {}

    def fake(statement, **given):
        sent.update(given, statement=statement)
        path = f"{given['s3_output']}part-0"
        sink = io.BytesIO()
        pq.write_table(table, sink)
        bucket, _, key = path.removeprefix("s3://").partition("/")
        cloud.files.session.client("s3").put_object(Bucket=bucket, Key=key, Body=sink.getvalue())
        answer = wr.s3.read_parquet(path=[path], boto3_session=given["boto3_session"])
        object.__setattr__(answer, "query_metadata", {"QueryExecutionId": "q"})
        return answer

    monkeypatch.setattr(wr.athena, "read_sql_query", fake)
    return sent


def test_arrays_maps_and_rows_come_back_from_athena_as_lists_and_dicts_and_in_order(monkeypatch, cloud):
    text = (
        "SELECT symbol, array_agg(value) AS l, map_agg(symbol, value) AS m, ARRAY[ARRAY[1, 2]] AS ll, "
        "array_agg(date) AS d, ARRAY[CAST(ROW(1, 'a') AS ROW(x integer, y varchar))] AS r "
        "FROM t GROUP BY symbol ORDER BY symbol"
    )
    cloud.write("t", frame(["A", "B"]), symbols=["A", "B"])
    files = {"t": scan.Relation(pa.schema(cloud.delta("t").schema().to_arrow()), "", (),
                              rows=cloud.delta("t").to_pyarrow_table())}  # fmt: skip
    table, _ = scan.rows(text, files, {})
    sent = unloaded(monkeypatch, cloud, table.rename_columns(["symbol", "l", "m", "ll", "d", "r"])[::-1])
    there, here = cloud.sql(text), scan.run(text, files, {})
    assert there.to_dict("list") == here.to_dict("list")
    assert isinstance(there["l"][0], list)
    assert isinstance(there["m"][0], dict)
    assert (sent["unload_approach"], sent["ctas_approach"], "result_reuse_configuration" in sent) == (
        True,
        False,
        False,
    )
    assert sent["s3_output"].startswith(cloud.files.uri("athena/unload/"))


def test_an_order_that_cannot_be_kept_is_refused(monkeypatch, cloud):
    unloaded(monkeypatch, cloud, pa.table({"l": [[1.0]]}))
    with pytest.raises(QueryError, match="comes from Athena in any order"):
        cloud.sql("SELECT array_agg(value) AS l FROM t GROUP BY symbol ORDER BY symbol")


def test_nested_values_that_are_text_are_refused(aws, cloud):
    will_answer(aws, [("l", "array")], [["[1, 2]"]])
    with pytest.raises(QueryError, match=r"'l' of the answer is of type array.*json_format\(CAST\(l AS JSON\)\)"):
        cloud.sql("SELECT checksum(value) AS l FROM t")
