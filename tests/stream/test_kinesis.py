"""Kinesis: calls that are full, refusals in part, resharding, iterators that expire, records that are gone."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from stockkit.aws import Session
from stockkit.errors import StreamError
from stockkit.stream.bus import kinesis as module
from stockkit.stream.bus import open_bus
from stockkit.stream.bus.gaps import Gap
from stockkit.stream.bus.kinesis import KinesisConsumer, KinesisProducer
from stockkit.stream.bus.protocol import Message, Start
from tests.stream.shards import FIRST, Clock, Stream
from tests.stream.test_buses import messages, nothing, read


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Refusing:
    """A client whose PutRecords refuses records whose body is named, as a shard that is written to too fast does."""

    def __init__(self, *refused: bytes, error: Exception | None = None) -> None:
        self.refused, self.error = set(refused), error
        self.taken: list[bytes] = []
        self.calls: list[int] = []

    def describe_stream_summary(self, StreamName: str) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {}}

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls.append(len(Records))
        if self.error is not None:
            raise self.error
        refused = {"ErrorCode": "ProvisionedThroughputExceededException"}
        self.taken += [record["Data"] for record in Records if record["Data"] not in self.refused]
        return {"Records": [refused if record["Data"] in self.refused else {} for record in Records]}


def consumer_of(stream: Stream, start: Start = nothing) -> KinesisConsumer:
    return KinesisConsumer("ticks", stream, start)


def polled(consumer: KinesisConsumer, seconds: float = 2.0, limit: int = 10_000) -> list[tuple[str, int, bytes]]:
    """What comes within some seconds of the clock."""
    until = module.time.monotonic() + seconds
    records = []
    while module.time.monotonic() < until:
        records += consumer.poll(limit, 0.5)
    return [(record.partition.removeprefix("kinesis:ticks/"), record.offset, record.body) for record in records]


def test_a_call_has_no_more_records_and_bytes_than_it_may(aws, kinesis):
    calls = []
    bus = open_bus(kinesis)
    producer = bus.producer()
    producer._client.meta.events.register(
        "provide-client-params.kinesis.PutRecords", lambda params, **_: calls.append(params["Records"])
    )
    assert producer.send(messages(1_100)) == []
    assert [len(call) for call in calls] == [500, 500, 100]
    assert producer.send([Message("META", bytes(1_000_000))] * 12) == []
    assert [len(call) for call in calls[3:]] == [5, 5, 2]
    assert len(read(bus.consumer("", nothing), 1_112)) == 1_112


def test_only_the_places_that_were_refused_come_back_and_later_calls_leave_their_keys_out(clock):
    client = Refusing(b"AAPL 0", b"META 9")
    assert KinesisProducer("ticks", client).send(messages(600)) == [0, 9, *range(501, 600, 3)]
    assert client.calls == [500, 100 - 33]
    assert len(set(client.taken)) == len(client.taken) == 600 - 2 - 33


def test_after_refusals_it_waits_longer_each_time_and_no_longer_once_all_is_taken(clock):
    client = Refusing(b"AAPL 0")
    producer = KinesisProducer("ticks", client)
    waits = []
    for _ in range(8):
        before = clock.now
        assert producer.send(messages(3)) == [0]
        waits.append(clock.now - before)
    assert waits[0] > 0
    assert waits[7] >= 0.5 > waits[0] * 4
    client.refused.clear()
    before = clock.now
    assert producer.send(messages(3)) == []
    assert clock.now == before


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "InternalFailure"])
def test_a_call_that_is_refused_as_a_whole_gives_all_places_back(clock, code):
    client = Refusing(error=ClientError({"Error": {"Code": code}}, "PutRecords"))
    assert KinesisProducer("ticks", client).send(messages(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
        ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "PutRecords"),
    ],
)
def test_what_trying_again_at_once_does_not_change_is_an_error_unless_something_was_taken_before(clock, error):
    client = Refusing(error=error)
    producer = KinesisProducer("ticks", client)
    with pytest.raises(StreamError, match="kinesis:ticks cannot be used"):
        producer.send(messages(3))

    def fails_second(**asked: Any) -> dict[str, Any]:
        client.error = error if client.calls[1:] else None
        return Refusing.put_records(client, **asked)

    client.put_records = fails_second
    client.calls.clear()
    client.calls.append(0)
    assert producer.send(messages(600)) == list(range(500, 600))


def test_a_stream_that_is_not_there_is_named_with_what_to_do(aws):
    bus = open_bus("kinesis:none")
    for opening in (bus.producer, lambda: bus.consumer("", nothing)):
        with pytest.raises(StreamError, match=r"no Kinesis stream none .* aws kinesis create-stream"):
            opening()


def test_a_child_is_read_only_after_its_parents_were_read_to_their_ends(clock):
    stream = Stream(clock, "shardId-0", "shardId-1")
    stream.put("shardId-0", b"a1", b"a2")
    stream.put("shardId-1", b"b1")
    consumer = consumer_of(stream)
    before = polled(consumer)
    stream.put("shardId-0", b"a3")
    stream.reshard(["shardId-0", "shardId-1"], "shardId-2")
    stream.put("shardId-2", b"c1")
    stream.reshard(["shardId-2"], "shardId-3", "shardId-4")
    stream.put("shardId-3", b"d1")
    stream.put("shardId-4", b"e1")
    bodies = [body for _, _, body in before + polled(consumer, 40)]  # 30 s to the next look for new shards
    assert sorted(bodies) == [b"a1", b"a2", b"a3", b"b1", b"c1", b"d1", b"e1"]
    assert bodies.index(b"c1") > max(bodies.index(b"a3"), bodies.index(b"b1"))
    assert min(bodies.index(b"d1"), bodies.index(b"e1")) > bodies.index(b"c1")


def test_what_was_read_of_a_parent_is_polled_before_its_child_which_is_looked_for_at_once(clock):
    stream = Stream(clock, "shardId-0")
    stream.put("shardId-0", *[b"a"] * 100)
    consumer = consumer_of(stream)
    bodies = [record.body for record in consumer.poll(1, 0.0)]
    stream.reshard(["shardId-0"], "shardId-1")
    stream.put("shardId-1", b"b")
    bodies += [record.body for _ in range(10) for record in consumer.poll(30, 0.5)]
    assert bodies == [b"a"] * 100 + [b"b"]
    reads = Counter(shard for shard, _ in stream.reads)
    polled(consumer)
    assert Counter(shard for shard, _ in stream.reads)["shardId-0"] == reads["shardId-0"]  # an end is read once


def test_a_new_consumer_passes_through_shards_that_are_done_with_to_their_children(clock):
    stream = Stream(clock, "shardId-0")
    numbers = stream.put("shardId-0", b"a1", b"a2")
    stream.reshard(["shardId-0"], "shardId-1")
    stream.put("shardId-1", b"b1")
    done = {"kinesis:ticks/shardId-0": numbers[1]}
    assert [body for _, _, body in polled(consumer_of(stream, done.get))] == [b"b1"]


def test_a_child_whose_parent_is_listed_no_more_is_read(clock):
    stream = Stream(clock, "shardId-1")
    stream.parents["shardId-1"] = ["shardId-0"]
    stream.put("shardId-1", b"b1")
    assert [body for _, _, body in polled(consumer_of(stream))] == [b"b1"]


def test_an_iterator_that_expired_is_renewed_after_the_last_record_read(clock):
    stream = Stream(clock, "shardId-0")
    stream.put("shardId-0", b"a1", b"a2")
    consumer = consumer_of(stream)
    polled(consumer)
    clock.sleep(1_000)
    stream.put("shardId-0", b"a3")
    assert [body for _, _, body in polled(consumer)] == [b"a3"]


def test_offsets_are_sequence_numbers_of_56_digits_as_integers(clock):
    stream = Stream(clock, "shardId-0")
    numbers = stream.put("shardId-0", b"a1", b"a2")
    assert [offset for _, offset, _ in polled(consumer_of(stream))] == numbers
    assert len(str(numbers[0])) == len(str(FIRST)) == 56


def test_a_shard_is_read_five_times_a_second_at_most_and_that_often(clock):
    stream = Stream(clock, "shardId-0", "shardId-1")
    consumer = consumer_of(stream)
    for _ in range(100):
        stream.put("shardId-0", b"a")
        consumer.poll(1_000, 0.1)
    reads = Counter((shard, int(at)) for shard, at in stream.reads)
    assert set(reads.values()) <= {4, 5}
    assert stream.refused == 0


def test_a_shard_that_others_read_too_is_left_alone_for_a_while(clock):
    stream = Stream(clock, "shardId-0")
    stream.put("shardId-0", b"a1")
    stream.reads += [("shardId-0", clock.now)] * 5
    assert [body for _, _, body in polled(consumer_of(stream))] == [b"a1"]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_records_that_are_trimmed_before_they_were_read_are_a_gap_and_passed_over_only_when_accepted(
    clock, count, monkeypatch
):
    stream = Stream(clock, "shardId-0", "shardId-1")
    numbers = stream.put("shardId-0", b"a1", b"a2", b"a3", b"a4", b"a5")
    stream.put("shardId-1", b"b1")
    done = {"kinesis:ticks/shardId-0": numbers[1]}
    stream.trim("shardId-0", count)
    if count == 5:
        stream.reshard(["shardId-0"], "shardId-2")
    consumer = consumer_of(stream, done.get)
    for _ in range(3):
        with pytest.raises(Gap, match=f"kinesis:ticks/shardId-0: .* after offset {numbers[1]} .*=accept") as raised:
            polled(consumer)
        assert raised.value.oldest == (None if count == 5 else numbers[count])
    monkeypatch.setenv("STOCKKIT_STREAM_GAPS", "accept")
    bodies = [body for shard, _, body in polled(consumer) if shard == "shardId-0"]
    assert bodies == [b"a1", b"a2", b"a3", b"a4", b"a5"][count:]


def test_a_start_at_a_trimmed_record_that_finds_nothing_is_a_gap_too(clock, monkeypatch):
    stream = Stream(clock, "shardId-0")
    numbers = stream.put("shardId-0", b"a1", b"a2", b"a3")
    stream.trim("shardId-0", 2)
    stream.mute = True
    consumer = consumer_of(stream, lambda _: numbers[0])
    with pytest.raises(Gap, match="before the oldest that is left"):
        polled(consumer)
    monkeypatch.setenv("STOCKKIT_STREAM_GAPS", "accept")
    assert [body for _, _, body in polled(consumer)] == [b"a3"]


def test_the_oldest_record_left_being_the_last_one_done_with_is_no_gap(clock):
    stream = Stream(clock, "shardId-0")
    numbers = stream.put("shardId-0", b"a1", b"a2", b"a3")
    stream.trim("shardId-0", 1)
    done = {"kinesis:ticks/shardId-0": numbers[1]}
    assert [body for _, _, body in polled(consumer_of(stream, done.get))] == [b"a3"]


def test_a_sequence_number_that_the_stream_does_not_know_is_a_gap(clock):
    stream = Stream(clock, "shardId-0")
    stream.put("shardId-0", b"a1")
    with pytest.raises(Gap, match="made anew"):
        polled(consumer_of(stream, lambda _: FIRST * 2))


def test_a_stream_that_is_split_and_merged_over_the_wire_is_read_on(aws, kinesis):
    client, stream = Session().client("kinesis"), kinesis.partition(":")[2]
    bus = open_bus(kinesis)
    producer, consumer = bus.producer(), bus.consumer(uuid.uuid4().hex, nothing)
    producer.send(messages(60))
    bodies = {record.body for record in read(consumer, 60)}
    client.update_shard_count(StreamName=stream, TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    producer.send(messages(120, first=60))
    client.update_shard_count(StreamName=stream, TargetShardCount=1, ScalingType="UNIFORM_SCALING")
    producer.send(messages(180, first=120))
    consumer._list_at = 0.0  # as half a minute later
    while len(bodies) < 180:  # moto moves what is in a shard to its children, where it comes again
        bodies |= {record.body for record in consumer.poll(1_000, 0.2)}
    assert bodies == {body for _, body in messages(180)}
