"""The lake on S3: SeaweedFS (a real store: concurrency, kill -9) and moto's server, both over real sockets."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid

import numpy as np
import pandas as pd
import pytest

from stockkit import open_lake
from stockkit.aws import Session
from stockkit.errors import LakeError
from stockkit.intake import ingest
from stockkit.lake import address, raw
from tests import raw_answers
from tests.aws import environment
from tests.conftest import ROOT, SYMBOLS
from tests.lake.test_tables import add, frame
from tests.market.test_schema import ODD

MONDAY, TUESDAY = pd.Timestamp("2023-09-18", tz="UTC"), pd.Timestamp("2023-09-19", tz="UTC")


@pytest.fixture
def place(seaweed_address, monkeypatch):
    """The address of an empty lake on SeaweedFS."""
    environment(seaweed_address, monkeypatch)
    return f"s3://lake/{uuid.uuid4().hex[:8]}/lake"


@pytest.fixture
def lake(place):
    return open_lake(place, root=ROOT)


def test_what_is_written_to_s3_is_read_back_with_the_same_values_and_dtypes(lake, prices):
    assert lake.tables() == []
    assert lake.write("prices", prices, symbols=sorted(set(prices["symbol"]))) == 0
    assert lake.write("prices", prices, symbols=sorted(set(prices["symbol"]))) == 0
    pd.testing.assert_frame_equal(open_lake(str(lake.files)).read("prices"), prices, check_exact=True)
    assert (lake.tables(), lake.version("prices"), lake.version("none")) == (["prices"], 0, None)


def test_odd_symbols_survive_s3_keys_raw_answers_sql_and_verify(lake):
    lake.write("odd", frame(ODD), symbols=list(ODD))
    for symbol in ODD:
        raw_answers.keep(lake.files, "s", symbol, b"one", MONDAY)
        assert list(lake.sql("SELECT symbol FROM odd WHERE symbol = :s", s=symbol)["symbol"]) == [symbol]
    assert raw.holdings(lake.files) == {"s": sorted(ODD)}
    assert lake.verify().empty


def test_sql_on_a_plain_s3_lake_runs_here(lake):
    lake.write("t", frame(["A", "B"], 2.0), symbols=["A", "B"])
    assert lake.sql("SELECT sum(value) AS total FROM t WHERE symbol IN (:s)", s=["A", "B"])["total"].tolist() == [4.0]
    assert lake.reads == {"t": 0}


def test_the_kept_questions_have_the_same_answers_on_s3_as_in_a_folder(lake, prices, tmp_path):
    folder = open_lake(str(tmp_path / "lake"), root=ROOT)
    for place in (lake, folder):
        place.write("prices", prices, symbols=SYMBOLS)
    for name in sorted(path.stem for path in (ROOT / "sql").glob("*.sql")):
        asked = [place.ask(name, symbols=SYMBOLS) for place in (lake, folder)]
        pd.testing.assert_frame_equal(*asked)


def test_raw_answers_on_s3_are_kept_byte_for_byte_once_and_never_overwritten(lake):
    kept = raw_answers.keep(lake.files, "s", "BRK.B", b"a,b\r\n\xff", MONDAY)
    assert raw_answers.keep(lake.files, "s", "BRK.B", b"a,b\r\n\xff", TUESDAY) == kept
    raw_answers.keep(lake.files, "s", "BRK.B", b"two", TUESDAY)
    assert [answer.body for answer in raw.read(lake.files, "s", "BRK.B").answers] == [b"a,b\r\n\xff", b"two"]
    assert [a.body for a in raw.read(lake.files, "s", "BRK.B", until=TUESDAY).answers] == [b"a,b\r\n\xff"]
    lake.files.put(kept.file, b"overwritten")
    assert lake.files.read(kept.file) == b"a,b\r\n\xff"
    assert raw.read(lake.files, "s", "AAPL").answers == []


def test_the_sample_is_fetched_into_an_s3_lake_and_cleaned_from_there_as_from_a_folder(lake, prices):
    fetched = ingest.fetch(lake, "sample", SYMBOLS)
    assert raw.holdings(lake.files) == {"sample": SYMBOLS}
    pd.testing.assert_frame_equal(ingest.clean_all(fetched).prices, prices)


def test_schema_evolution_history_optimize_and_the_protocol_are_the_same_on_s3(lake):
    for value in (1.0, 2.0):
        add(lake, "t", frame(["A"], value))
    assert lake.optimize("t") == {"files_added": 1, "files_removed": 2}
    lake.write("t", frame(["B"]).assign(more=np.nan), symbols=["B"])
    assert list(lake.history("t")["operation"]) == ["WRITE", "OPTIMIZE", "WRITE", "WRITE"]
    assert "more" in lake.read("t")
    assert lake.vacuum("t") == []
    protocol = lake.delta("t").protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_verify_finds_a_lost_and_a_changed_object(lake):
    lake.write("t", frame(["A", "B"]), symbols=["A", "B"])
    s3 = lake.files.session.client("s3")
    first, second = (
        o["Key"] for o in s3.list_objects_v2(Bucket="lake", Prefix=f"{lake.files.prefix}/tables/t/symbol=")["Contents"]
    )
    s3.delete_object(Bucket="lake", Key=first)
    s3.put_object(Bucket="lake", Key=second, Body=b"PAR1")
    assert list(lake.verify()["problem"]) == ["file missing", "wrong size"]


WRITER = """
import sys
import pandas as pd
from stockkit import open_lake
lake = open_lake(sys.argv[1])
symbols = sys.argv[2].split(",")
for n in range(1, int(sys.argv[3]) + 1):
    rows = pd.DataFrame({"symbol": pd.Series(sorted(symbols * 2000), dtype="string"), "value": float(n)})
    lake.write("t", rows, symbols=symbols)
    print(n, flush=True)
"""


def writer(place, symbols, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, place, symbols, str(count)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def test_three_processes_that_write_different_symbols_at_once_lose_nothing(place, lake):
    running = [writer(place, symbol, 5) for symbol in "ABC"]
    outputs = [writer.communicate() for writer in running]
    assert [writer.returncode for writer in running] == [0, 0, 0], outputs
    rows = lake.read("t").groupby("symbol")["value"].agg(["size", "min", "max"])
    assert rows.to_numpy().tolist() == [[2000, 5, 5]] * 3
    assert lake.version("t") == 14


def test_two_processes_that_write_the_same_symbol_leave_the_rows_of_one(place, lake):
    running = [writer(place, "A", 4) for _ in range(2)]
    outputs = [writer.communicate() for writer in running]
    assert [writer.returncode for writer in running] == [0, 0], outputs
    assert lake.read("t")["value"].tolist() == [4.0] * 2000


@pytest.mark.parametrize("wait", [1, 3])
def test_a_writer_killed_at_any_moment_leaves_wholly_the_old_or_wholly_the_new_rows_on_s3(place, lake, wait):
    with writer(place, "A,B", 1000) as process:
        for _ in range(wait):
            process.stdout.readline()
        threading.Event().wait(0.02 * wait)
        process.kill()
    rows = lake.read("t")
    assert (len(rows), rows["value"].nunique()) == (4000, 1)
    assert rows["value"][0] >= wait
    assert lake.verify().empty


def test_a_bucket_that_is_not_there_and_a_key_that_is_wrong_are_explained(place, monkeypatch):
    with pytest.raises(LakeError, match=r"NoSuchBucket.*aws s3 mb"):
        open_lake("s3://no-such-bucket/lake").tables()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-secret")
    with pytest.raises(LakeError, match="cannot list s3://lake") as caught:
        open_lake(place).tables()
    with pytest.raises(LakeError) as also:
        open_lake(place).write("t", frame(["A"]), symbols=["A"])
    assert "canary" not in f"{caught.value} {also.value} {open_lake(place)!r}"


def test_a_server_that_is_not_there_is_explained(place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(LakeError, match="Is the address right"):
        open_lake(place, session=Session()).tables()


def test_a_lake_on_moto_is_the_same_lake(aws):
    Session().client("s3").create_bucket(
        Bucket="moto-lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    lake = open_lake("s3://moto-lake")
    lake.write("t", frame(["A"]), symbols=["A"])
    raw_answers.keep(lake.files, "s", "A", b"one", MONDAY)
    assert (str(lake.files), lake.tables(), raw.holdings(lake.files)) == ("s3://moto-lake", ["t"], {"s": ["A"]})


def test_an_address_is_read_with_its_options():
    assert address.parse("data/lake") is None
    assert address.parse("s3://b-1.x/a/b/?database=stock_data&workgroup=w&crawler=c") == address.Address(
        "b-1.x", "a/b", "stock_data", "w", "c"
    )
    assert address.parse("s3://bucket") == address.Address("bucket")


@pytest.mark.parametrize(
    ("lake", "says"),
    [
        ("s4://bucket", "s4:// is not known"),
        ("s3://B/x", "'B' is no bucket name"),
        ("s3://", "'' is no bucket name"),
        ("s3://ab", "no bucket name"),
        ("s3://bucket/a//b", "no prefix"),
        ("s3://bucket/../x", "no prefix"),
        ("s3://bucket/x?databse=d", "Did you mean 'database'"),
        ("s3://bucket/x?database=d&database=e", "given twice"),
        ("s3://bucket/x?database=D-1", "database cannot be 'D-1'"),
        ("s3://bucket/x?database=", "database cannot be ''"),
        ("s3://bucket/x?workgroup=w", "workgroup needs a database"),
    ],
)
def test_a_wrong_address_is_refused_with_the_part_that_is_wrong(lake, says):
    with pytest.raises(LakeError, match=says):
        open_lake(lake)


def test_raw_answers_on_s3_count_in_the_order_of_their_arrival_and_are_checked(lake):
    sent = [b"three", b"one", b"two", b"one"]
    for body in sent:
        kept = raw_answers.keep(lake.files, "s", "A", body, MONDAY)
    assert [answer.body for answer in raw.read(lake.files, "s", "A").answers] == sent
    lake.files.note(kept.file, b"on")
    lake.files.note("raw/source=s/symbol=A/.hidden", b"")
    assert [answer.body for answer in raw.read(lake.files, "s", "A").answers] == sent[:3]
    assert set(lake.verify()["problem"]) == {raw.DAMAGED, raw.FOREIGN}
