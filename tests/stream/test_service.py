"""The path from producer to lake and alerts in one process."""

from __future__ import annotations

import threading

import pytest

import stockkit
from stockkit.errors import StreamError
from stockkit.market.signals import Rule
from stockkit.market.ticks import encode
from stockkit.stream import alerts
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.pipeline import Step
from stockkit.stream.service import Pace, Service
from stockkit.stream.store import Store
from tests.stream.ticking import walk

TICKS = walk(900, symbols=("AAPL", "META", "NFLX"))
MESSAGES = [Message(tick.symbol, encode(tick)) for tick in TICKS]


def service(folder, bus, produce=None, **options):
    lake = stockkit.open_lake(str(folder / "lake"))
    step = Step(Rule(3, 8), channels=("console",))
    return Service(
        lake, lambda: Store(folder / "state" / "stream.sqlite"), bus, step, produce,
        alerts.open_notifiers(["console"], folder), **options,
    )  # fmt: skip


def sending(bus, messages=MESSAGES):
    def produce(stop):
        producer = bus.producer()
        assert producer.send(messages) == []
        producer.close()

    return produce


def test_everything_that_was_produced_is_in_the_lake_and_each_signal_was_sent(tmp_path, capsys):
    bus, reports = Memory(2), []
    report = service(tmp_path, bus, sending(bus)).run(reports.append)
    lake = stockkit.open_lake(str(tmp_path / "lake"))
    assert report.counts["ticks"] == len(TICKS) == len(lake.read("ticks"))
    assert report.counts["signals"] == report.sent == len(lake.read("signals")) > 20
    assert len(capsys.readouterr().err.splitlines()) == report.sent
    assert (report.trouble, report.lag) == ({}, 0)
    assert [len(waiting) for waiting in bus.records] == [0, 0]


def test_a_service_that_is_stopped_stores_what_it_read_and_another_goes_on(tmp_path):
    bus = Memory(1, name="shared")
    first = service(tmp_path, bus)
    producer = bus.producer()
    producer.send(MESSAGES[:500])

    def stop_when_read(report):
        if report.counts["ticks"] == 500:
            first.stop.set()

    assert first.run(stop_when_read).counts["ticks"] == 500
    producer.send(MESSAGES[450:])
    producer.close()
    report = service(tmp_path, bus).run()
    assert (report.counts["ticks"], report.counts["duplicates"]) == (400, 50)
    assert len(stockkit.open_lake(str(tmp_path / "lake")).read("ticks")) == len(TICKS)


def test_a_bus_that_is_gone_for_a_while_is_named_and_nothing_is_lost(tmp_path):
    bus = Memory(1)
    down, reports = threading.Event(), []
    down.set()
    consumer = bus.consumer

    def unreliable(group, start):
        made = consumer(group, start)
        poll = made.poll

        def failing(limit, timeout):
            if down.is_set():
                raise StreamError("the bus is gone")
            return poll(limit, timeout)

        made.poll = failing
        return made

    bus.consumer = unreliable
    runner = service(tmp_path, bus, sending(bus))
    threading.Timer(0.5, down.clear).start()
    report = runner.run(reports.append)
    assert report.counts["ticks"] == len(TICKS)
    assert report.trouble == {}


def test_a_lake_that_cannot_be_written_keeps_its_rows_in_the_store_and_says_so(tmp_path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "tables").write_text("in the way")
    bus = Memory(1, name="b")
    with pytest.raises(StreamError, match="goes on with it"):
        service(tmp_path, bus, sending(bus), pace=Pace(flush=0.2)).run()
    (tmp_path / "lake" / "tables").unlink()
    over = Memory(1)
    over.producer().close()
    service(tmp_path, over).run()
    assert len(stockkit.open_lake(str(tmp_path / "lake")).read("ticks")) == len(TICKS)


def test_a_producer_that_fails_ends_the_service_with_its_error_after_what_was_sent_is_stored(tmp_path):
    bus = Memory(1)

    def produce(stop):
        bus.producer().send(MESSAGES[:300])
        raise StreamError("the source is gone")

    with pytest.raises(StreamError, match="the source is gone"):
        service(tmp_path, bus, produce).run()
    assert len(stockkit.open_lake(str(tmp_path / "lake")).read("ticks")) == 300
