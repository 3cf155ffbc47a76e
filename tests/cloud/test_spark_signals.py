"""Ticks and signals on Spark Structured Streaming: drivers that die anywhere leave what one process stores."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from stockkit.cloud.spark import jobs, session, signals
from stockkit.errors import SparkError
from stockkit.files import Folder
from stockkit.lake.tables import Lake
from stockkit.market import ticks
from stockkit.market.signals import Rule
from stockkit.stream import archive
from stockkit.stream.bus.protocol import Record
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.store import Store
from tests.cloud.test_spark import SPARK35, children, environment, until
from tests.conftest import ROOT, SYMBOLS, lacking

JOB = ROOT / "deploy" / "jobs" / "signals.py"
RULE = Rule(2, 5)
TABLES = ("ticks", "signals", "dead_letters")
START = 1_695_303_000_000_000


def put(folder: Path, files: int, lines: int = 120) -> list[Path]:
    """Files of ticks of four symbols: some twice, some cut off, one an hour ahead of its file's time."""
    folder.mkdir()
    rng, prices, sequences, paths = random.Random(5), {}, {}, []
    for number in range(files):
        bodies = []
        for place in range(lines):
            symbol = rng.choice(["META", "NFLX", "BRK.B", "TRUE"])
            prices[symbol] = prices.get(symbol, 100_000_000) + rng.randrange(-20, 21) * 10_000
            sequences[symbol] = sequences.get(symbol, 0) + 1
            time = START + (number * lines + place) * 50_000
            body = ticks.encode(ticks.Tick(symbol, prices[symbol], 10, time, "sim", sequences[symbol]))
            bodies += rng.choices([[body], [body, body], [body[:-9]]], [18, 1, 1])[0]
        late = ticks.Tick("META", 1_000_000, 1, START + 3_600_000_000, "ahead", number)
        bodies.append(ticks.encode(late))
        path, changed = folder / f"{number:03}.jsonl", START // 1_000_000 + 600 + number
        path.write_bytes(b"\n".join(bodies) + b"\n")
        os.utime(path, (changed, changed))
        paths.append(path)
    return paths


def in_one_process(folder: Path, paths: list[Path]) -> Lake:
    """The lake that the pipeline of one process makes of the files, each read at the time of its last change."""
    lake, store = Lake(Folder(folder / "lake"), ROOT), Store(folder / "stream.sqlite")
    pipeline = Pipeline(store, Step(RULE))
    for path in paths:
        arrival = path.stat().st_mtime_ns // 1_000
        lines = enumerate(path.read_bytes().splitlines(), start=1)
        pipeline.take([Record(f"files:{path.name}", number, body, arrival) for number, body in lines], now=arrival)
    archive.flush(lake, store)
    store.close()
    return lake


def assert_same(lake: Lake, expected: Lake) -> None:
    """Every row of each table once, in the same order; when a signal was made differs, and no minute is closed."""
    for table in TABLES:
        unlike = [name for name in ("made_at", "late") if name in expected.read(table)]
        rows, wanted = lake.read(table).drop(columns=unlike), expected.read(table).drop(columns=unlike)
        assert len(wanted) > 10
        pd.testing.assert_frame_equal(rows, wanted, check_exact=True)


class PlantedError(Exception):
    """The end of a driver, planted in its process."""


def crashing(lake: Lake, table: str, *, after: bool) -> Lake:
    """A lake whose process ends at its second commit to a table."""
    commits = []

    class Crashing(Lake):
        def commit(self, name, work_out):
            commits.append(name)
            if commits.count(table) == 2 and name == table and not after:
                raise PlantedError
            version = super().commit(name, work_out)
            if commits.count(table) == 2 and name == table:
                raise PlantedError
            return version

    return Crashing(lake.files, lake.root)


def words(lake: Lake, source: Path, checkpoint: Path) -> list[str]:
    return ["--lake", str(lake.folder), "--source", f"files:{source}", "--checkpoint", str(checkpoint), "--fast", "2",
            "--slow", "5", "--limit", "1", "--cores", "1", "--once"]  # fmt: skip


def ended(java: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}/fd").is_dir() for pid in java)


def test_a_driver_killed_and_crashed_between_commits_leaves_what_one_process_stores(spark, tmp_path, monkeypatch):
    paths, lake, checkpoint = put(tmp_path / "in", 8), Lake(Folder(tmp_path / "lake"), ROOT), tmp_path / "checkpoint"
    expected = in_one_process(tmp_path / "one", paths)
    command = [sys.executable, str(JOB), *words(lake, tmp_path / "in", checkpoint)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as driver:
        until(lambda: driver.poll() is not None or (lake.version("ticks") or 0) >= 1, "two commits")
        java = children(driver.pid)
        driver.send_signal(signal.SIGKILL)
    assert driver.returncode == -signal.SIGKILL
    until(lambda: ended(java), "the end of the driver's Java", 60)
    settings = signals.Settings(f"files:{tmp_path / 'in'}", str(checkpoint), RULE, limit=1)
    for table, after in (("signals", False), ("dead_letters", True)):
        before = {name: lake.version(name) for name in TABLES}
        with pytest.raises(SparkError, match=r"the query stopped: .*PlantedError"):
            signals.run(spark, crashing(lake, table, after=after), settings)
        now = {name: lake.version(name) for name in TABLES}
        assert now["ticks"] > before["ticks"]
        assert (now["signals"] == now["ticks"]) is after  # else the one commit is made and the other is not
    shutil.copytree(checkpoint, tmp_path / "checkpoint of the naive")
    shutil.copytree(tmp_path / "lake", tmp_path / "lake of the naive")
    signals.run(spark, lake, settings)
    assert_same(lake, expected)
    versions = {name: lake.version(name) for name in TABLES}
    signals.run(spark, lake, settings)
    batches = [path for path in (checkpoint / "commits").iterdir() if path.name.isdigit()]
    assert {name: lake.version(name) for name in TABLES} == versions == dict.fromkeys(TABLES, len(batches) - 1)
    # one batch has two files where the driver was killed once Spark had noted a file and not yet the batch
    assert len(paths) - 1 <= len(batches) <= len(paths)

    naive = Lake(Folder(tmp_path / "lake of the naive"), ROOT)
    monkeypatch.setattr(signals, "sink", skipping)
    with pytest.raises((SparkError, AssertionError)):
        same_after_a_run(spark, naive, f"{checkpoint} of the naive", settings.source, expected)


def same_after_a_run(spark, lake: Lake, checkpoint: str, source: str, expected: Lake) -> None:
    signals.run(spark, lake, signals.Settings(source, checkpoint, RULE, limit=1))
    assert_same(lake, expected)


def skipping(lake: Lake):
    """A naive sink, which does not look at a batch that the tables have."""
    add = SINK(lake)

    def naive(frame, number):
        name = f"spark/{frame.sparkSession.sparkContext.getLocalProperty(signals.QUERY)}"
        if any((lake.delta(table).transaction_version(name) or -1) < number for table in TABLES):
            add(frame, number)

    return naive


SINK = signals.sink

EXITING = """
import os, sys
from stockkit.cloud.spark import jobs
from stockkit.lake.tables import Lake
commit = Lake.commit
def exiting(lake, table, work_out):
    if table == "signals" and lake.version("ticks") == int(sys.argv[1]):
        os._exit(9)
    return commit(lake, table, work_out)
Lake.commit = exiting
sys.exit(jobs.stream_signals(sys.argv[2:]))
"""


def test_spark_three_keeps_the_state_as_text_and_loses_nothing_either(tmp_path):
    if not (SPARK35 / "pyspark").is_dir():
        lacking("spark", "Spark 3.5 is missing: make spark")
    paths, lake = put(tmp_path / "in", 3), Lake(Folder(tmp_path / "lake"), ROOT)
    command = [sys.executable, "-c", EXITING]
    for exit_at, code in (("1", 9), ("-1", 0)):
        done = subprocess.run(
            [*command, exit_at, *words(lake, tmp_path / "in", tmp_path / "checkpoint")],
            env=environment(SPARK35), capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stderr[-3000:]
        if code:
            assert (lake.version("ticks"), lake.version("signals")) == (1, 0)
    assert "ticks: " in done.stdout
    assert_same(lake, in_one_process(tmp_path / "one", paths))


def test_records_of_kafka_have_their_topic_partition_offset_time_and_bytes(spark):
    sent = [("ticks", 3, 17, datetime(2023, 9, 21, 13, 30, 0, 123_000, UTC), bytearray(b"\x1f\x8b\x00"))]
    schema = "topic string, partition int, offset long, timestamp timestamp, value binary"
    [row] = signals.records_of_kafka(spark.createDataFrame(sent, schema)).collect()
    assert tuple(row) == ("kafka:ticks/3", 17, 1_695_303_000_123_000, b"\x1f\x8b\x00")


def frame(bodies: list[bytes], arrival: int = START) -> pd.DataFrame:
    rows = [("files:a", number, arrival, body) for number, body in enumerate(bodies, start=1)]
    return pd.DataFrame(rows, columns=signals.COLUMNS[signals.RECORD])


def test_a_record_is_read_as_of_its_arrival_whatever_the_clock_says_now():
    ahead = ticks.encode(ticks.Tick("META", 1_000_000, 1, START + 61_000_000, "sim", 1))
    both = pd.concat([frame([ahead], START), frame([ahead], START + 2_000_000)])
    [rows] = signals._read([both], frozenset())
    assert rows["reason"].tolist() == ["from the future", ""]
    [rows] = signals._read([both], frozenset({"NFLX"}))
    assert rows["reason"].tolist() == ["unknown symbol", "unknown symbol"]


def test_the_order_in_which_spark_hands_rows_to_a_group_changes_nothing():
    bodies = [ticks.encode(ticks.Tick("META", 1_000_000 * (9 + k % 4), 1, START + k, "sim", k % 50)) for k in range(60)]
    [rows] = signals._read([frame(bodies)], frozenset())
    expected, state = signals.advance("META", rows, RULE, None)
    assert len(expected) == 50
    assert set(expected["side"]) == {"", "buy", "sell"}
    shuffled = rows.sample(frac=1, random_state=3)
    assert signals.advance("META", shuffled, RULE, None)[1] == state
    pd.testing.assert_frame_equal(signals.advance("META", shuffled, RULE, None)[0], expected)
    first, half = signals.advance("META", rows[:25], RULE, None)
    second, end = signals.advance("META", rows[25:], RULE, half)
    assert end == state
    pd.testing.assert_frame_equal(pd.concat([first, second], ignore_index=True), expected)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "--lake"),
        (["--source", "kinesis:ticks"], 2, "source 'kinesis:ticks': name files:FOLDER, or kafka:TOPIC and the brokers"),
        (["--source", "kafka:ticks"], 2, "and the brokers"),
        (["--source", "files:in", "--fast", "9", "--slow", "5"], 2, "averages need"),
        (["--source", "files:in", "--limit", "0"], 2, "at least 1"),
        (["--source", "files:in", "--slw", "5"], 2, "Did you mean '--slow'"),
        (["--source", "files:in", "--symbols", "A';DROP"], 1, "is not a symbol"),
    ],
)
def test_a_wrong_command_is_one_line_before_spark_starts(tmp_path, capsys, monkeypatch, words, code, says):
    monkeypatch.setattr(session, "session", None)
    given = ["--lake", str(tmp_path), "--checkpoint", str(tmp_path / "c"), *words] if words else []
    assert jobs.stream_signals(given) == code
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert says in output


def test_without_protobuf_spark_four_says_what_to_install(spark, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SparkError, match="pip install protobuf"):
        signals.steps(spark.createDataFrame([], signals.READ), RULE)


def test_splits_that_the_lakes_prices_know_are_in_the_rule(tmp_path, lake, prices, monkeypatch):
    lake.write("prices", prices, symbols=SYMBOLS)
    started = []
    monkeypatch.setattr(session, "session", lambda *_, **__: None)
    monkeypatch.setattr(signals, "run", lambda spark, lake, settings: started.append(settings))
    assert jobs.stream_signals(words(lake, tmp_path / "in", tmp_path / "c")) == 0
    split = started[0].rule.splits["AAPL"][-1]
    assert (split.numerator, split.denominator) == (1, 4)
