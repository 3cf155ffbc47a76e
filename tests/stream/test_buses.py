"""One contract for memory, Kafka (tansu) and Kinesis (moto), over sockets where there are some."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from stockkit.stream.bus import BUSES, open_bus
from stockkit.stream.bus.protocol import Bus, Consumer, Message, Record

SYMBOLS = ["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]


@pytest.fixture(params=BUSES)
def bus(request: pytest.FixtureRequest) -> Bus:
    return open_bus("memory:2" if request.param == "memory" else request.getfixturevalue(request.param))


def messages(count: int, first: int = 0) -> list[Message]:
    return [
        Message(SYMBOLS[n % len(SYMBOLS)], f"{SYMBOLS[n % len(SYMBOLS)]} {n}".encode()) for n in range(first, count)
    ]


def read(consumer: Consumer, count: int, limit: int = 1_000) -> list[Record]:
    """Poll until `count` records are there."""
    records: list[Record] = []
    until = time.monotonic() + 60
    while len(records) < count:
        assert time.monotonic() < until, f"{len(records)} of {count} records came"
        records += consumer.poll(limit, 0.2)
    return records


def last_offsets(records: Sequence[Record]) -> dict[str, int]:
    return {record.partition: record.offset for record in records}


def nothing(_: str) -> int | None:
    return None


def test_what_is_sent_is_read_in_the_order_of_its_key_and_under_ascending_offsets(bus):
    assert bus.producer().send(messages(3_000)) == []
    records = read(bus.consumer("group", nothing), 3_000)
    assert sorted(record.body for record in records) == sorted(body for _, body in messages(3_000))
    for symbol in SYMBOLS:
        bodies = [record.body for record in records if record.body.startswith(symbol.encode())]
        assert bodies == [body for key, body in messages(3_000) if key == symbol]
    for partition in {record.partition for record in records}:
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == sorted(set(offsets))
    assert len(last_offsets(records)) == 2


def test_a_second_consumer_goes_on_after_the_offsets_of_its_start(bus):
    producer = bus.producer()
    producer.send(messages(100))
    first = bus.consumer("group", nothing)
    done = last_offsets(read(first, 100))
    first.close()
    producer.send(messages(120, first=100))
    again = read(bus.consumer("group", done.get), 20)
    assert sorted(record.body for record in again) == sorted(body for _, body in messages(120, first=100))
