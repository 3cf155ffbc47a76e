"""`stockkit stream produce`: records on a real broker, counts on the last line, and an end that says what was sent."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from stockkit.cli import stream
from stockkit.market import ticks
from stockkit.stream.bus import open_bus
from tests.conftest import make_workbook, stockkit
from tests.stream.test_producers_replay import lines

LAST = re.compile(r"(?:simulator|replay:\S+) to kafka:\S+: ([\d,]+) messages sent, (\d+) sent again(.*) in [\d.]+ s\n")


@pytest.fixture(scope="module")
def workbook(tmp_path_factory):
    return make_workbook(tmp_path_factory.mktemp("produce") / "book")


def produce(workbook, *words):
    return stockkit(workbook, "stream", "produce", *words)


def read(bus, count):
    """The bodies of so many records of a bus."""
    consumer, bodies = open_bus(bus).consumer("test", lambda partition: None), []
    for _ in range(600):
        bodies += [record.body for record in consumer.poll(1_000, 0.1)]
        if len(bodies) >= count:
            break
    consumer.close()
    return bodies


def test_the_simulator_s_records_arrive_on_a_broker_and_are_counted(workbook, kafka):
    words = ["--symbols", "AAPL,META", "--ticks", "300", "--speed", "0", "--rate", "corrupt=0.1", "--rate", "late=0"]
    done = produce(workbook, "simulator", "--bus", kafka, *words)
    assert (done.returncode, done.stderr) == (0, "")
    count = int(LAST.fullmatch(done.stdout)[1].replace(",", ""))
    bodies = read(kafka, count)
    outcome = ticks.transform(bodies, now=1_800_000_000_000_000, symbols=["AAPL", "META"])
    assert len(bodies) == count
    assert len({tick for tick in outcome if isinstance(tick, ticks.Tick)}) == 600
    assert 30 <= sum(isinstance(reject, ticks.Reject) for reject in outcome) <= 100


def test_a_replay_arrives_in_order_and_what_is_cut_off_is_an_error_with_its_counts(workbook, kafka):
    (workbook / "ticks.jsonl").write_bytes(b"\n".join(lines(1_500)))
    done = produce(workbook, "replay:ticks.jsonl", "--bus", kafka, "--speed", "0")
    assert done.returncode == 0
    assert read(kafka, 1_500) == lines(1_500)
    (workbook / "broken.gz").write_bytes(b"\x1f\x8b")
    done = produce(workbook, "replay:broken.gz", "--bus", kafka, "--speed", "0")
    assert done.returncode == 1
    assert "broken.gz cannot be read behind line 0" in done.stderr
    assert "Until then: 0 messages sent" in done.stderr


def test_sigterm_ends_it_between_batches_with_what_was_sent_and_exit_code_130(workbook, kafka):
    command = [sys.executable, "-m", "stockkit.cli", "stream", "produce", "simulator", "--bus", kafka, "--speed", "1"]
    with subprocess.Popen(command, cwd=workbook, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        (first, *_) = read(kafka, 1)
        run.send_signal(signal.SIGTERM)
        out, errors = run.communicate(timeout=60)
    assert json.loads(first)["source"] == "simulator-7"
    assert run.returncode == 130
    assert LAST.fullmatch(out)[3].endswith("not sent")
    assert errors == "error: interrupted. Run it again for the rest: what arrived already counts once.\n"


def test_it_ends_when_its_time_is_up(workbook, kafka):
    done = produce(workbook, "simulator", "--bus", kafka, "--for", "0.3s", "--ticks", "50")
    assert done.returncode == 0
    assert LAST.fullmatch(done.stdout)[3].endswith("not sent")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_and_the_second_does_what_it_did_before(number):
    before = signal.getsignal(number)
    with stream.stopping() as (stop, came):
        signal.raise_signal(number)
        assert stop.is_set()
        assert came == [number]
        assert signal.getsignal(number) is before
    with stream.stopping() as (stop, came):
        assert not stop.is_set()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["simulator", "--bus", "memory"], "the memory bus ends with its process"),
        (["simulater", "--bus", "kafka:x"], "Did you mean 'simulator'"),
        (["simulator", "--bus", "kafka:x", "--for", "soon"], "--for 'soon' is no span of time"),
        (["simulator", "--bus", "kafka:x", "--rate", "corupt=1"], "--rate corupt=1: write a share of one of late"),
        (["simulator", "--bus", "kafka:x", "--day", "2023-09-23"], "XNYS had no session then"),
        (["yfinance", "--bus", "kafka:x"], "yfinance needs symbols"),
        (["replay:none.jsonl", "--bus", "kafka:x"], "No such file"),
    ],
)
def test_what_cannot_be_is_refused_before_a_bus_is_asked(workbook, words, says, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    done = produce(workbook, *words)
    assert done.returncode == 2
    assert says in done.stderr
