"""The Glue catalogue and crawls: moto's server for the catalogue, botocore's Stubber for crawlers."""

from __future__ import annotations

import datetime
import json
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from stockkit import open_lake
from stockkit.aws import Session
from stockkit.errors import LakeError
from stockkit.lake.catalogue import crawl, glue
from tests import raw_answers
from tests.conftest import ROOT, stockkit
from tests.lake.test_tables import add, frame

MONDAY = pd.Timestamp("2023-09-18", tz="UTC")
SIX = ["AAPL", "BRK.B", "EURUSD=X", "^GSPC", "ON", "0005.HK"]
HEADER = b"timestamp,open,high,low,close,volume\n1,2,3,4,5,6\n"


def keep(lake, symbols, source="sample", body=HEADER):
    for symbol in symbols:
        raw_answers.keep(lake.files, source, symbol, body, MONDAY)


@pytest.fixture
def address(aws):
    """The address of an empty lake with a Glue database of its own, on moto."""
    name = uuid.uuid4().hex[:8]
    where = {"LocationConstraint": "eu-central-1"}
    Session().client("s3").create_bucket(Bucket=f"b-{name}", CreateBucketConfiguration=where)
    return f"s3://b-{name}/lake?database=d_{name}&workgroup=primary"


@pytest.fixture
def cloud(address):
    return open_lake(address, root=ROOT)


def described(lake, table):
    return lake.files.session.client("glue").get_table(DatabaseName=lake.engine.database, Name=table)["Table"]


def versions(lake, table):
    client = lake.files.session.client("glue")
    return len(client.get_table_versions(DatabaseName=lake.engine.database, TableName=table)["TableVersions"])


def test_a_commit_registers_the_delta_table_as_athena_wants_it(cloud):
    cloud.write("t", frame(["A"]), symbols=["A"])
    table = described(cloud, "t")
    assert table["TableType"] == "EXTERNAL_TABLE"
    assert table["Parameters"]["table_type"] == "DELTA"
    assert table["Parameters"]["spark.sql.sources.provider"] == "delta"
    assert table["StorageDescriptor"]["Location"] == cloud.files.uri("tables/t")
    assert table["StorageDescriptor"]["SerdeInfo"]["Parameters"]["path"] == cloud.files.uri("tables/t")
    assert [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]] == [
        ("symbol", "string"), ("date", "date"), ("value", "double"), ("seen", "timestamp"),
    ]  # fmt: skip


def test_only_a_new_description_makes_a_new_version_in_the_catalogue(cloud):
    for value in (1.0, 2.0, 2.0):
        cloud.write("t", frame(["A"], value), symbols=["A"])
    assert versions(cloud, "t") == 1
    cloud.write("t", frame(["A"]).assign(more=5.0), symbols=["A"])
    assert versions(cloud, "t") == 2
    assert described(cloud, "t")["StorageDescriptor"]["Columns"][-1] == {"Name": "more", "Type": "double"}


def test_a_write_that_changes_nothing_puts_a_lost_registration_back(cloud):
    cloud.write("t", frame(["A"]), symbols=["A"])
    cloud.files.session.client("glue").delete_table(DatabaseName=cloud.engine.database, Name="t")
    assert cloud.write("t", frame(["A"]), symbols=["A"]) == 0
    assert described(cloud, "t")["Name"] == "t"


def test_a_type_that_glue_does_not_have_is_refused():
    assert glue.glue_type(pa.decimal128(10, 2)) == "decimal(10,2)"
    with pytest.raises(LakeError, match="no type for duration"):
        glue.glue_type(pa.duration("s"))


def test_the_columns_of_a_csv_become_names_that_glue_takes():
    header = b'\xef\xbb\xbfDate,Adj Close,"Split-Coefficient",symbol,,date\r\n1,2'
    assert glue.csv_columns(header) == ["date", "adj_close", "split_coefficient", "symbol_4", "column_5", "date_6"]


def test_a_crawl_registers_the_raw_zone_with_one_partition_a_symbol(cloud):
    keep(cloud, SIX)
    assert str(cloud.crawl()) == "1 table changed, 6 partitions added"
    table = described(cloud, "raw")
    assert [key["Name"] for key in table["PartitionKeys"]] == ["source", "symbol"]
    assert table["Parameters"]["skip.header.line.count"] == "1"
    assert [c["Name"] for c in table["StorageDescriptor"]["Columns"]] == [
        "timestamp",
        "open",
        "high",
        "low",
        "close",
        "volume",
    ]
    client = cloud.files.session.client("glue")
    crawled = client.get_partitions(DatabaseName=cloud.engine.database, TableName="raw")["Partitions"]
    places = {partition["Values"][1]: partition["StorageDescriptor"]["Location"] for partition in crawled}
    assert places == {symbol: cloud.files.uri(f"raw/source=sample/symbol={symbol}/") for symbol in SIX}


def test_a_second_crawl_finds_nothing_and_the_next_symbol_is_one_partition(cloud):
    assert str(cloud.crawl()) == "0 tables changed, 0 partitions added"
    keep(cloud, SIX)
    cloud.crawl()
    assert str(cloud.crawl()) == "0 tables changed, 0 partitions added"
    keep(cloud, ["NVDA"])
    crawled = cloud.crawl()
    assert (str(crawled), crawled.names) == ("1 table changed, 1 partition added", ("sample/NVDA",))


def test_a_crawl_adds_more_partitions_than_one_call_takes_and_takes_lost_ones_out(cloud):
    catalogue = cloud.catalogue
    catalogue.register(glue.raw_table(cloud.files.uri("raw/"), ["a"]))
    catalogue.add_partitions(cloud.files.uri("raw/"), {("s", f"X{number}"): ["a"] for number in range(230)})
    assert len(catalogue.partitions("raw")) == 230
    keep(cloud, ["X1", "Y"], source="s")
    assert str(cloud.crawl()) == "1 table changed, 1 partition added, 229 partitions removed"
    assert catalogue.partitions("raw") == {("s", "X1"), ("s", "Y")}


def test_a_local_lake_remembers_what_the_last_crawl_found(lake):
    keep(lake, SIX)
    assert str(lake.crawl()) == "1 table changed, 6 partitions added"
    assert str(lake.crawl()) == "0 tables changed, 0 partitions added"
    keep(lake, ["NVDA"])
    assert str(lake.crawl()) == "1 table changed, 1 partition added"


def test_a_local_crawl_sees_a_source_change_its_columns(lake):
    keep(lake, ["A"])
    lake.crawl()
    raw_answers.keep(lake.files, "sample", "A", b"date,close\n1,2\n", MONDAY + pd.Timedelta("1D"))
    assert str(lake.crawl()) == "1 table changed, 0 partitions added"


def stub(*answers):
    """A Glue client that expects exactly these calls, each checked against the service's own model."""
    client = Session().client("glue")
    stubber = Stubber(client)
    for call, given, answer in answers:
        if isinstance(answer, str):
            stubber.add_client_error(call, answer, expected_params=given)
        else:
            stubber.add_response(call, answer, given)
    stubber.activate()
    return client, stubber


NAMED = {"Name": "c"}
RUNNING = ("get_crawler", NAMED, {"Crawler": {"Name": "c", "State": "RUNNING"}})
SUMMARY = json.dumps({"TABLE": json.dumps({"UPDATE": {"Count": 1}}), "PARTITION": json.dumps({"ADD": {"Count": 6}})})


def ended(status, **more):
    last = {"Status": status, "StartTime": datetime.datetime(2023, 9, 21), **more}
    return ("get_crawler", NAMED, {"Crawler": {"Name": "c", "State": "READY", "LastCrawl": last}})


def metrics(**counts):
    return ("get_crawler_metrics", {"CrawlerNameList": ["c"]}, {"CrawlerMetricsList": [{"CrawlerName": "c", **counts}]})


def crawls(*summaries):
    return ("list_crawls", {"CrawlerName": "c", "MaxResults": 1}, {"Crawls": list(summaries)})


def test_a_crawler_is_started_waited_for_and_its_changes_are_told(aws):
    client, stubber = stub(
        ("start_crawler", NAMED, {}), RUNNING, RUNNING, ended("SUCCEEDED"), metrics(TablesUpdated=1),
        crawls({"CrawlId": "1", "Summary": SUMMARY}),
    )  # fmt: skip
    lines, waits = [], []
    crawled = crawl.with_crawler(client, "c", show=lines.append, wait=waits.append)
    assert str(crawled) == "1 table changed, 6 partitions added"
    assert lines == ["crawler c: running, 0 s", "crawler c: running, 5 s"]
    assert waits == [5.0, 5.0]
    stubber.assert_no_pending_responses()


def test_a_crawler_that_runs_already_is_joined_and_an_unreadable_summary_is_not_guessed(aws):
    client, _ = stub(
        ("start_crawler", NAMED, "CrawlerRunningException"), ended("SUCCEEDED"), metrics(TablesCreated=1),
        crawls({"CrawlId": "1", "Summary": "?"}),
    )  # fmt: skip
    crawled = crawl.with_crawler(client, "c", show=lambda line: None)
    assert str(crawled) == "1 table changed, partitions not told"


def test_a_crawler_that_failed_is_never_reported_as_success(aws):
    client, _ = stub(("start_crawler", NAMED, {}), ended("FAILED", ErrorMessage="no access", LogGroup="/aws-glue"))
    with pytest.raises(LakeError, match=r"failed: no access \(log group /aws-glue\)"):
        crawl.with_crawler(client, "c")


def test_waiting_for_a_crawler_ends_at_the_limit(aws):
    client, _ = stub(("start_crawler", NAMED, {}), RUNNING, RUNNING, RUNNING)
    with pytest.raises(LakeError, match="did not end in 10 s"):
        crawl.with_crawler(client, "c", show=lambda line: None, wait=lambda s: None, limit=10)


def test_a_crawler_that_is_not_there_is_an_error(address):
    with pytest.raises(LakeError, match="cannot start the crawler 'nobody': EntityNotFoundException"):
        open_lake(address + "&crawler=nobody").crawl()


def test_the_command_looks_after_a_lake(tmp_path, lake):
    for value in (1.0, 2.0):
        add(lake, "t", frame(["A"], value).assign(n=np.nan))
    keep(lake, SIX)
    expected_of = {
        "crawl": "1 table changed, 6 partitions added",
        "history t": "interactive",
        "vacuum t": "0 files would be deleted",
        "verify": "1 tables are whole: t",
        "optimize t": "t: 2 files became 1",
    }
    for words, expected in expected_of.items():
        done = stockkit(ROOT, "lake", *words.split(), "--lake", str(lake.folder))
        assert (done.returncode, expected in done.stdout) == (0, True), (words, done)
    for path in (lake.folder / "tables/t").rglob("*.parquet"):
        path.write_bytes(b"")
    done = stockkit(ROOT, "lake", "verify", "--lake", str(lake.folder))
    assert (done.returncode, "wrong size" in done.stdout) == (1, True)


def test_what_glue_refuses_is_written_and_says_so_and_is_registered_by_the_next_run(cloud, monkeypatch):
    def refuses(*_):
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "GetTable")

    with monkeypatch.context() as patch:
        patch.setattr(glue.Catalogue, "_table", refuses)
        says = r"'t' is written, as version 0, but not registered.*Run the same again"
        with pytest.raises(LakeError, match=says) as raised:
            cloud.write("t", frame(["A"]), symbols=["A"])
    assert "Nothing was changed" not in str(raised.value)
    assert (cloud.version("t"), cloud.writes) == (0, {"t": 0})
    assert cloud.write("t", frame(["A"]), symbols=["A"]) == 0
    assert described(cloud, "t")["Parameters"]["table_type"] == "DELTA"
