"""The bus in this process: fair shares, a full partition, what is gone."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.stream.bus.gaps import Gap
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.bus.shares import shares
from tests.stream.test_buses import messages, nothing, read


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 100), st.data())
def test_shares_take_all_they_may_and_none_takes_what_another_wants(waiting, limit, data):
    given_ = shares(waiting, limit, data.draw(st.integers(0, len(waiting) - 1)))
    assert all(0 <= taken <= there for taken, there in zip(given_, waiting, strict=True))
    assert sum(given_) == min(limit, sum(waiting))
    wanting = [taken for taken, there in zip(given_, waiting, strict=True) if taken < there]
    assert not wanting or max(given_) <= min(wanting) + 1


def test_each_partition_has_its_turn_where_a_poll_takes_fewer_records_than_there_are_partitions():
    bus = Memory(4, name="m")
    consumer = bus.consumer("group", nothing)
    keys = {bus.partition(key): key for key in map(str, range(100))}
    bus.producer().send(
        [Message(keys[number], b"") for number, count in enumerate((1_000, 10, 10, 1)) for _ in range(count)]
    )
    polled = [record.partition for _ in range(4) for record in consumer.poll(1, 0)]
    assert sorted(polled) == [f"memory:m/{number}" for number in range(4)]
    assert len(consumer.poll(12, 0)) == 12


def test_only_what_a_full_partition_did_not_take_is_sent_again_and_everything_arrives_once_and_in_order():
    bus = Memory(2, capacity=10)
    consumer, bodies = bus.consumer("group", nothing), []

    def send() -> None:
        producer, left = bus.producer(), messages(500)
        while left:
            left = [left[place] for place in producer.send(left)]
        producer.close()

    sender = threading.Thread(target=send)
    sender.start()
    while not consumer.finished():
        records = consumer.poll(7, 0.2)
        bodies += [record.body for record in records]
        consumer.commit({record.partition: record.offset for record in records})
    sender.join()
    assert sorted(bodies) == sorted(body for _, body in messages(500))
    for key in {key for key, _ in messages(6)}:
        mine = [body for body in bodies if body.startswith(key.encode())]
        assert mine == [body for other, body in messages(500) if other == key]


def test_what_another_consumer_committed_is_a_gap_to_one_that_has_not_read_it(monkeypatch):
    bus = Memory(1, name="ticks")
    bus.producer().send(messages(10))
    first = bus.consumer("group", nothing)
    read(first, 10)
    first.commit({"memory:ticks/0": 6})
    late = bus.consumer("group", {"memory:ticks/0": 2}.get)
    with pytest.raises(Gap, match="memory:ticks/0: 4 records after offset 2 and before 7 are gone"):
        late.poll(10, 0)
    assert [record.offset for record in bus.consumer("group", nothing).poll(10, 0)] == [7, 8, 9]  # from the oldest
    monkeypatch.setenv("STOCKKIT_STREAM_GAPS", "accept")
    assert [record.offset for record in late.poll(10, 0)] == [7, 8, 9]


def test_offsets_of_another_bus_let_go_of_nothing():
    bus = Memory(1)
    bus.producer().send([Message("A", b"1")] * 3)
    consumer = bus.consumer("group", nothing)
    consumer.commit({"memory:before/0": 99, "kafka:ticks/7": 5})
    assert len(consumer.poll(10, 0.0)) == 3
