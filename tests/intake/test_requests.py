"""How often an ingest asks S3: the raw zone is listed and read once a run."""

from __future__ import annotations

import uuid
from collections import Counter

import numpy as np
import pytest

from stockkit import open_lake
from stockkit.aws import Session
from stockkit.intake import ingest
from stockkit.market import simulate

SYMBOLS = [f"S{number}" for number in range(12)]


def write(folder, count):
    """A file a symbol, with so many sessions up to one day, and a list of actions."""
    folder.mkdir(exist_ok=True)
    (folder / "actions.csv").write_text("symbol,ex_date,kind,value\n")
    for number, symbol in enumerate(SYMBOLS):
        bars = simulate.bars([symbol], count=count, last="2023-09-21", rng=np.random.default_rng(number))
        (folder / f"{symbol}.csv").write_bytes(simulate.csv_bytes(bars))


@pytest.fixture
def requests(aws):
    """A lake on S3, and a count of what its client was asked by operation."""
    session = Session()
    bucket, place = f"lake-{uuid.uuid4().hex[:8]}", {"LocationConstraint": "eu-central-1"}
    session.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    lake, asked = open_lake(f"s3://{bucket}/lake", session=session), Counter()
    session.client("s3").meta.events.register("before-call.s3", lambda model, **_: asked.update([model.name]))
    return lake, asked


def test_an_ingest_asks_for_each_symbol_twice_a_run(requests, tmp_path):
    lake, asked = requests
    runs = []
    for sessions in (30, 30, 40):  # new, unchanged, changed
        write(tmp_path / "csv", sessions)
        made = ingest.clean_all(ingest.fetch(lake, f"folder:{tmp_path / 'csv'}", SYMBOLS))
        assert set(made.prices["symbol"]) == set(SYMBOLS)
        runs.append(dict(asked))
        asked.clear()
    n, lists = len(SYMBOLS), 2  # the list of the source, and the one added by hand
    assert runs[0] == {"ListObjectsV2": n + lists, "PutObject": n + 1}
    assert runs[1] == {"ListObjectsV2": n + lists, "GetObject": n + 1}
    assert runs[2] == {"ListObjectsV2": n + lists, "GetObject": n + 1, "PutObject": n}


def test_a_rebuild_asks_for_each_symbol_twice(requests, tmp_path):
    lake, asked = requests
    write(tmp_path / "csv", 30)
    ingest.fetch(lake, f"folder:{tmp_path / 'csv'}", SYMBOLS)
    asked.clear()
    ingest.suggest(lake)
    assert asked["GetObject"] == len(SYMBOLS) + 1
    assert asked["ListObjectsV2"] <= len(SYMBOLS) + 4
    assert set(asked) == {"GetObject", "ListObjectsV2"}
