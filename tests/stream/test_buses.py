"""One contract for memory, Kafka (tansu) and Kinesis (moto), over sockets where there are some."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import pytest

from stockkit.errors import ParamError, StreamError
from stockkit.stream.bus import BUSES, open_bus
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Bus, Consumer, Message, Record, Start

SYMBOLS = ["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]
Open = Callable[[Start], Consumer]


@pytest.fixture(params=BUSES)
def bus(request: pytest.FixtureRequest) -> Bus:
    return open_bus("memory:2" if request.param == "memory" else request.getfixturevalue(request.param))


@pytest.fixture
def consume(bus: Bus) -> Iterator[Open]:
    """Opens consumers of one group, and closes them at the end."""
    group, opened = uuid.uuid4().hex, []

    def opening(start: Start) -> Consumer:
        opened.append(bus.consumer(group, start))
        return opened[-1]

    yield opening
    for consumer in opened:
        consumer.close()


def messages(count: int, first: int = 0) -> list[Message]:
    keys = [(SYMBOLS[number % len(SYMBOLS)], number) for number in range(first, count)]
    return [Message(key, f"{key} {number}".encode()) for key, number in keys]


def read(consumer: Consumer, count: int, limit: int = 1_000) -> list[Record]:
    """Poll until `count` records are there."""
    records: list[Record] = []
    until = time.monotonic() + 60
    while len(records) < count:
        assert time.monotonic() < until, f"{len(records)} of {count} records came"
        polled = consumer.poll(limit, 0.2)
        assert len(polled) <= limit
        records += polled
    return records


def last_offsets(records: Sequence[Record]) -> dict[str, int]:
    return {record.partition: record.offset for record in records}


def nothing(_: str) -> int | None:
    return None


def test_what_is_sent_is_read_in_the_order_of_its_key_and_under_ascending_offsets(bus, consume):
    began = time.time_ns() // 1_000
    assert bus.producer().send(messages(3_000)) == []
    records = read(consume(nothing), 3_000)
    assert sorted(record.body for record in records) == sorted(body for _, body in messages(3_000))
    for symbol in SYMBOLS:
        bodies = [record.body for record in records if record.body.startswith(symbol.encode())]
        assert bodies == [body for key, body in messages(3_000) if key == symbol]
    for partition in {record.partition for record in records}:
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == sorted(set(offsets))
    assert len(last_offsets(records)) == 2
    assert all(abs(record.arrival - began) < 3_600_000_000 for record in records)  # microseconds, and of today


def test_a_second_consumer_goes_on_after_the_offsets_of_its_start(bus, consume):
    producer = bus.producer()
    producer.send(messages(100))
    first = consume(nothing)
    done = last_offsets(read(first, 100, limit=7))
    first.close()
    producer.send(messages(120, first=100))
    again = read(consume(done.get), 20)
    assert sorted(record.body for record in again) == sorted(body for _, body in messages(120, first=100))


def test_a_bus_without_records_gives_none_and_one_that_is_read_to_its_end_has_no_lag(bus, consume):
    consumer = consume(nothing)
    assert consumer.poll(10, 0.01) == []
    assert consumer.poll(10, 0.0) == []
    producer = bus.producer()
    producer.send([])
    producer.send(messages(10))
    done = last_offsets(read(consumer, 10))
    assert consumer.poll(10, 0.3) == []
    assert set(consumer.lag().values()) <= {0}
    consumer.commit(done)
    consumer.commit({"kafka:another/0": 7, "memory:another/0": 7})
    assert not consumer.finished()
    producer.close()


def test_a_record_of_a_megabyte_arrives_and_a_larger_one_is_refused_before_anything_is_sent(bus, consume):
    producer = bus.producer()
    if not isinstance(bus, Memory):  # which has no limit
        with pytest.raises(StreamError, match=r"message 1 \(META\) has 1,100,000 bytes.*none of the 3 was sent"):
            producer.send([*messages(1), Message("META", bytes(1_100_000)), *messages(1)])
    sent = [Message("META", os.urandom(1_000_000)), Message("META", b""), Message("NFLX", b"after it")]
    assert producer.send(sent) == []
    assert sorted(record.body for record in read(consume(nothing), 3)) == sorted(body for _, body in sent)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("kafak:ticks", "Did you mean 'kafka'"),
        ("rabbit", r"memory\[:PARTITIONS\], kafka:TOPIC, kinesis:STREAM"),
        ("memory:0", "memory:PARTITIONS"),
        ("memory:x", "memory:PARTITIONS"),
        ("kafka:", "kafka:TOPIC"),
        ("kafka:..", "kafka:TOPIC"),
        ("kafka:a/../b", "kafka:TOPIC"),
        ("kinesis:", "kinesis:STREAM"),
        ("kinesis:arn:aws:kinesis:eu-central-1:1:stream/x", "kinesis:STREAM"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_what_to_write(name, what, monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    with pytest.raises(ParamError, match=what):
        open_bus(name)


def test_a_bus_whose_package_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setattr("stockkit.stream.bus.find_spec", lambda package: None)
    with pytest.raises(ParamError, match=r"confluent-kafka: pip install 'stockkit\[kafka\]'"):
        open_bus("kafka:ticks")


def test_offsets_of_other_buses_in_the_same_store_let_go_of_no_record_of_a_memory_bus():
    bus = Memory(1)
    producer, consumer = bus.producer(), bus.consumer("group", lambda partition: None)
    producer.send([Message("META", b"1"), Message("META", b"2")])
    consumer.commit({"memory:of an earlier run/0": 99, "kafka:ticks/0": 99, "odd": 99})
    assert [record.body for record in consumer.poll(10, 0)] == [b"1", b"2"]
