"""What the bus did not take is sent again, and nothing else; a symbol's records stay in order; time is the clock's."""

from __future__ import annotations

import threading
from collections import Counter

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import ParamError, StreamError
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.producers import sending
from stockkit.stream.producers.batch import Batch


class Time:
    """A clock that waiting moves on; `at` is what happens when it waits: the bus may be read meanwhile."""

    def __init__(self, at=None, stop_at=float("inf")):
        self.seconds, self.waits, self._at, self._stop_at = 0.0, [], at or (lambda: None), stop_at

    def now(self):
        return self.seconds

    def wait(self, seconds):
        self.seconds = min(self.seconds + max(0.0, seconds), max(self.seconds, self._stop_at))
        if seconds > 0:
            self.waits.append(seconds)
            self._at()
        return self.seconds >= self._stop_at


class Bus:
    """Takes of every key a first part, as a seeded draw says; notes what it took, and every sending."""

    def __init__(self, rng, share):
        self.rng, self.share = rng, share
        self.taken, self.sendings = [], []

    def send(self, messages):
        self.note(messages)
        full, left = set(), []
        for place, message in enumerate(messages):
            if message.key in full or self.rng.random() > self.share:
                full.add(message.key)
                left.append(place)
            else:
                self.taken.append(message)
        return left

    def note(self, messages):
        self.sendings.append(list(messages))
        assert len(messages) <= sending.WAITING + sending.SIZE, "what waits grows"
        assert len(self.sendings) < 3_000, "it goes on for ever"

    def close(self):
        pass


def batches(count, keys="ABC", size=700):
    every = [Message(keys[k % len(keys)], str(k).encode()) for k in range(count)]
    return [Batch([None] * len(part), part) for part in (every[at : at + size] for at in range(0, count, size))]


def by_key(messages):
    keys = dict.fromkeys(message.key for message in messages)
    return {key: [message.body for message in messages if message.key == key] for key in keys}


@hypothesis.settings(max_examples=25)
@given(st.integers(0, 2**32), st.floats(0.5, 1.0), st.integers(0, 2_000))
def test_all_arrives_once_and_in_order_of_its_key_however_little_the_bus_takes(seed, share, count):
    bus = Bus(np.random.default_rng(seed), share)
    sent = sending.send(batches(count), bus, clock=Time(), patience=sending.Patience(most=1e9))
    assert by_key(bus.taken) == by_key([message for batch in batches(count) for message in batch.messages])
    assert sent.taken == count
    assert sum(map(len, bus.sendings)) == count + sent.again


class Holes(Bus):
    """Takes and refuses in no order, as PutRecords may."""

    def send(self, messages):
        self.note(messages)
        drawn = self.rng.random(len(messages)) > self.share
        self.taken += [message for message, refused in zip(messages, drawn, strict=True) if not refused]
        return np.flatnonzero(drawn).tolist()


@hypothesis.settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_while_an_earlier_record_was_refused_no_later_one_of_its_key_goes_out_for_the_first_time(seed):
    bus = Holes(np.random.default_rng(seed), 0.9)
    sending.send(batches(3_000), bus, clock=Time())
    assert Counter(bus.taken) == Counter(message for batch in batches(3_000) for message in batch.messages)
    known = set()
    for before, now in zip(bus.sendings, bus.sendings[1:], strict=False):
        known |= set(before)
        waiting = {message.key for message in now if message in known}
        assert not [message for message in now if message not in known and message.key in waiting]


def test_a_full_bus_holds_the_producer_back():
    bus, most, read = Memory(2, capacity=100), 0, []
    consumer = bus.consumer("g", lambda partition: None)

    def consume():
        while not consumer.finished():
            records = consumer.poll(100, 1.0)
            read.extend(records)
            consumer.commit({record.partition: record.offset for record in records})

    def counted():
        nonlocal most
        for number, batch in enumerate(batches(10_000, size=100)):
            yield batch
            most = max(most, 100 * (number + 1) - len(read))

    reader, producer = threading.Thread(target=consume), bus.producer()
    reader.start()
    sent = sending.send(counted(), producer, patience=sending.Patience(first=0.001))
    producer.close()
    reader.join()
    assert sent.taken == len({record.body for record in read}) == len(read) == 10_000
    assert most <= 2 * 100 + sending.WAITING + 100 + sending.SIZE


def test_while_nothing_is_taken_what_waits_does_not_grow():
    class Late(Bus):
        def send(self, messages):
            self.note(messages)
            return range(len(messages)) if len(self.sendings) <= 20 else []

    bus = Late(None, 1)
    sent = sending.send(batches(10_000, size=10_000), bus, clock=Time(), patience=sending.Patience(most=1e9))
    assert sent.taken == 10_000
    assert max(map(len, bus.sendings)) > sending.WAITING - sending.SIZE


def test_sending_keeps_the_pace_of_the_data_and_leaves_nights_out():
    second, night = 1_000_000, 17 * 3_600_000_000
    due = [0, 0, second, 60 * second, 60 * second + night, 61 * second + night]
    time, arrived = Time(), []

    class Noting(Bus):
        def send(self, messages):
            arrived.extend((round(time.seconds, 6), message.body) for message in messages)
            return []

    sending.send([Batch(due, [Message("A", b"%d" % k) for k in range(6)])], Noting(None, 1), speed=2.0, clock=time)
    assert arrived == [(0, b"0"), (0, b"1"), (0.5, b"2"), (30, b"3"), (30, b"4"), (30.5, b"5")]


def test_what_was_refused_does_not_wait_for_the_next_record():
    class Once(Bus):
        def send(self, messages):
            self.sendings.append((time.seconds, [message.body for message in messages]))
            return [0] if len(self.sendings) == 1 else []

    time, bus = Time(), Once(None, 1)
    messages = [Message("A", b"first"), Message("A", b"second")]
    sending.send([Batch([0, 600_000_000], messages)], bus, speed=1.0, clock=time)
    assert bus.sendings == [(0, [b"first"]), (0.05, [b"first"]), (600, [b"second"])]


def test_a_bus_that_stays_away_is_an_error_that_says_what_was_sent():
    class Away(Bus):
        def send(self, messages):
            self.sendings.append(len(messages))
            if len(self.sendings) > 2:
                raise StreamError("broker 127.0.0.1:9 is away.")
            return []

    time = Time()
    says = r"nothing for 6\d s \(broker .*\)\. 1,000 messages were sent; 500 .* were not"
    with pytest.raises(StreamError, match=says):
        sending.send(batches(5_000, size=500), Away(None, 1), clock=time)
    assert max(time.waits) == 5.0, "the pauses are bounded"
    assert time.waits[:3] == [0.05, 0.1, 0.2]


def test_a_bus_that_cannot_be_reached_at_the_start_is_an_error_at_once():
    class Never(Bus):
        def send(self, messages):
            raise StreamError("no broker.")

    time = Time()
    with pytest.raises(StreamError, match=r"^no broker"):
        sending.send(batches(10), Never(None, 1), clock=time)
    assert time.waits == []


def test_when_it_is_to_stop_it_says_how_much_is_left():
    time = Time(stop_at=10)
    due = [second * 1_000_000 for second in range(100)]
    batch = Batch(due, [Message("A", b"%d" % k) for k in range(100)])
    sent = sending.send([batch, batch], Bus(np.random.default_rng(0), 1), speed=1.0, clock=time)
    assert (sent.taken, sent.left, sent.newest) == (10, 90, 9_000_000)
    assert str(sent) == "10 messages sent, 0 sent again, 90 not sent"


def test_a_speed_below_zero_is_refused():
    with pytest.raises(ParamError, match="speed is -1"):
        sending.send([], Bus(None, 1), speed=-1)
