"""Kafka over sockets. tansu: groups, kills, a broker that is away; librdkafka's mock: watermarks, deleted records."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest

from stockkit.errors import ParamError, StreamError
from stockkit.stream.bus import open_bus
from stockkit.stream.bus.gaps import Gap
from stockkit.stream.bus.protocol import Consumer, Record, Start
from tests import aws as cloud
from tests.aws import free_ports
from tests.stream.conftest import broker, point_to_kafka, wait_for_topic
from tests.stream.test_buses import last_offsets, messages, nothing, read

confluent_kafka = pytest.importorskip("confluent_kafka")
from stockkit.stream.bus.kafka import Kafka, KafkaConsumer  # noqa: E402


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """HOST:PORT of the broker inside librdkafka: tells watermarks, makes topics by itself, keeps 5 MB a partition."""
    settings = {"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0}
    keeper = confluent_kafka.Producer(settings)
    (one,) = keeper.list_topics(timeout=10).brokers.values()
    yield f"{one.host}:{one.port}"
    del keeper


@pytest.fixture
def topic(mock: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic of four partitions on the mock; `open_bus` goes there."""
    point_to_kafka(mock, monkeypatch)
    return f"ticks-{uuid.uuid4().hex[:8]}"


def fill(mock: str, topic: str, partition: int, *bodies: bytes) -> None:
    """Put records into a partition, each in a batch of its own: the mock deletes batches."""
    producer = confluent_kafka.Producer({"bootstrap.servers": mock, "log_level": 0})
    for body in bodies:
        producer.produce(topic, value=body, partition=partition)
        assert producer.flush(10) == 0


def committed(address: str, group: str, topic: str) -> dict[int, int]:
    """The offsets that a group has committed, the next to read."""
    reader = confluent_kafka.Consumer({"bootstrap.servers": address, "group.id": group, "log_level": 0})
    offsets = reader.committed([confluent_kafka.TopicPartition(topic, number) for number in range(2)], timeout=10)
    reader.close()
    return {one.partition: one.offset for one in offsets if one.offset >= 0}


def test_options_come_from_the_environment_and_those_that_carry_the_promises_do_not(monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setenv("STOCKKIT_KAFKA_SASL_MECHANISMS", "SCRAM-SHA-512")
    assert open_bus("kafka:ticks").options == {"sasl.mechanisms": "SCRAM-SHA-512"}
    monkeypatch.setenv("STOCKKIT_KAFKA_ENABLE_AUTO_COMMIT", "true")
    with pytest.raises(ParamError, match="STOCKKIT_KAFKA_ENABLE_AUTO_COMMIT cannot be set"):
        open_bus("kafka:ticks")


def test_without_brokers_in_the_environment_it_says_which_variable_to_set(monkeypatch):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(ParamError, match="set KAFKA_BOOTSTRAP_SERVERS=HOST:PORT"):
        open_bus("kafka:ticks")


def test_an_option_that_librdkafka_does_not_know_is_named_and_no_secret_is(monkeypatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    monkeypatch.setenv("STOCKKIT_KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("STOCKKIT_KAFKA_SECURITY_PROTOCOL", "hunter2")
    bus = open_bus("kafka:ticks")
    with pytest.raises(ParamError, match=r"security\.protocol") as raised:
        bus.producer()
    assert "hunter2" not in str(raised.value) + repr(bus)


def test_brokers_that_do_not_answer_are_named(monkeypatch):
    address = f"127.0.0.1:{free_ports(1)[0]}"
    bus = Kafka("ticks", address, patience=0.5)
    for opening in (bus.producer, lambda: bus.consumer("group", nothing)):
        with pytest.raises(
            StreamError, match=f"no broker of {address} answers for kafka:ticks .*KAFKA_BOOTSTRAP_SERVERS"
        ):
            opening()


def test_a_topic_that_is_not_there_is_named_with_what_to_do(topic):
    with pytest.raises(StreamError, match=f"topic {topic} cannot be used .*--create --topic {topic}"):
        open_bus(f"kafka:{topic}").consumer("group", nothing)


def test_a_full_queue_holds_the_producer_up_and_everything_is_taken(topic, monkeypatch):
    monkeypatch.setenv("STOCKKIT_KAFKA_QUEUE_BUFFERING_MAX_MESSAGES", "10")
    bus = open_bus(f"kafka:{topic}")
    assert bus.producer().send(messages(500)) == []
    reader = confluent_kafka.Consumer({"bootstrap.servers": bus.brokers, "group.id": "x", "log_level": 0})
    marks = [reader.get_watermark_offsets(confluent_kafka.TopicPartition(topic, n), timeout=5) for n in range(4)]
    assert sum(high for _, high in marks) == 500


def alone(topic: str, start: Start, *partitions: int) -> KafkaConsumer:
    """A consumer that was given these partitions without the three seconds in which a group meets."""
    consumer = open_bus(f"kafka:{topic}").consumer("group", start)
    consumer._joined, consumer._given = True, list(partitions)
    return consumer


def test_the_lag_is_what_waits_behind_the_last_record_polled(mock, topic):
    fill(mock, topic, 0, *[b"a"] * 10)
    consumer = alone(topic, nothing, 0)
    assert consumer.lag() == {}
    count = len(read(consumer, 3, limit=1))
    assert consumer.lag() == {f"kafka:{topic}/0": 10 - count}
    read(consumer, 10 - count)
    assert consumer.lag() == {f"kafka:{topic}/0": 0}
    consumer.close()


def test_deleted_records_are_a_gap_that_says_how_many_and_is_passed_over_only_when_accepted(mock, topic, monkeypatch):
    fill(mock, topic, 0, *[bytes(900_000)] * 12)
    fill(mock, topic, 1, *[b"b"] * 4)
    name = f"kafka:{topic}/0"
    consumer = alone(topic, {name: 1, f"kafka:{topic}/1": 0}.get, 0, 1)
    others: list[Record] = []

    def poll_until_it_raises() -> None:
        for _ in range(300):
            others.extend(consumer.poll(1, 0.2))

    for _ in range(3):
        with pytest.raises(Gap, match=f"{name}: 5 records after offset 1 and before 7 are gone .*=accept") as raised:
            poll_until_it_raises()
        assert (raised.value.last, raised.value.oldest, raised.value.count) == (1, 7, 5)
    monkeypatch.setenv("STOCKKIT_STREAM_GAPS", "accept")
    records = others + read(consumer, 8 - len(others))
    assert [record.offset for record in records if record.partition == name] == [7, 8, 9, 10, 11]
    assert [record.offset for record in records if record.partition != name] == [1, 2, 3]
    assert consumer.poll(10, 0.5) == []
    consumer.close()


def test_records_that_are_deleted_while_a_slow_consumer_reads_are_a_gap_too(mock, topic):
    fill(mock, topic, 0, b"a", b"a")
    consumer = alone(topic, nothing, 0)
    read(consumer, 2)
    consumer._client.pause([confluent_kafka.TopicPartition(topic, 0)])
    fill(mock, topic, 0, *[bytes(900_000)] * 12)
    consumer._client.resume([confluent_kafka.TopicPartition(topic, 0)])
    with pytest.raises(Gap, match=r"after offset . and before"):
        read(consumer, 12)
    consumer.close()


def test_a_topic_that_was_made_anew_below_what_is_done_with_is_refused(mock, topic):
    fill(mock, topic, 0, b"a", b"a")
    consumer = alone(topic, lambda _: 99, 0)
    with pytest.raises(StreamError, match=r"/0 ends at offset 2, and offset 99 is done with already"):
        read(consumer, 1)
    consumer.close()


def test_a_start_that_fails_raises_and_is_asked_again(topic, mock):
    fill(mock, topic, 0, b"a", b"b")
    asked = []

    def start(partition: str) -> int:
        asked.append(partition)
        if len(asked) == 1:
            raise StreamError("the store is locked")
        return 0

    consumer = alone(topic, start, 0)
    with pytest.raises(StreamError, match="locked"):
        consumer.poll(1, 0.1)
    assert [record.body for record in read(consumer, 1)] == [b"b"]
    consumer.close()


def test_what_was_collected_of_a_partition_before_it_was_taken_away_is_not_handed_over(mock, topic):
    fill(mock, topic, 0, b"a", b"b", b"c")
    consumer = alone(topic, nothing, 0)
    read(consumer, 1, limit=1)
    stale = consumer._client.consume(2, 10)
    assert [message.offset() for message in stale] == [1, 2]
    consumer._revoked(None, [])
    assert consumer._records(stale) == []
    consumer._given, consumer._start = [0], lambda _: 1  # given back, after another one has read on
    consumer._take_up()
    assert [record.offset for record in consumer._records(stale)] == [2]
    consumer.close()


def test_of_a_partition_that_is_not_a_consumers_own_no_offset_is_committed(mock, topic):
    fill(mock, topic, 0, b"a")
    fill(mock, topic, 1, b"a")
    consumer = alone(topic, nothing, 0)
    read(consumer, 1)
    consumer.commit({f"kafka:{topic}/0": 0, f"kafka:{topic}/1": 0})
    consumer.close()
    assert committed(mock, "group", topic) == {0: 1}


def test_offsets_are_committed_for_the_display_also_by_a_consumer_that_has_joined_no_group(tansu, kafka):
    bus, topic, group = open_bus(kafka), kafka.partition(":")[2], uuid.uuid4().hex
    bus.producer().send(messages(100))
    early = bus.consumer(group, nothing)
    early.commit({f"{kafka}/0": 4})
    early.close()
    assert committed(tansu, group, topic) == {0: 5}
    consumer = bus.consumer(group, nothing)
    done = last_offsets(read(consumer, 100))
    consumer.commit(done)
    consumer.close()
    assert committed(tansu, group, topic) == {int(name[-1]): offset + 1 for name, offset in done.items()}


def test_two_consumers_of_a_group_share_the_partitions_and_pass_them_on_without_a_loss(kafka):
    bus, group = open_bus(kafka), uuid.uuid4().hex
    done: dict[str, int] = {}  # what a store would have
    bodies: list[bytes] = []
    taken: dict[str, set[str]] = {"first": set(), "second": set()}

    def work(name: str, consumer, until) -> None:
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, f"{name}: {taken}, {len(bodies)} records"
            for record in consumer.poll(10, 0.1):
                if record.offset > done.get(record.partition, -1):  # else its partition was taken away meanwhile
                    done[record.partition] = record.offset
                    bodies.append(record.body)
                    taken[name].add(record.partition)

    producer = bus.producer()
    producer.send(messages(100))
    first = bus.consumer(group, done.get)
    work("first", first, lambda: len(bodies) == 100)
    second = bus.consumer(group, done.get)
    ended = threading.Event()
    beside = threading.Thread(target=work, args=("first", first, ended.is_set))
    beside.start()
    sent = 100
    while not taken["second"]:  # each of the two has one, once the group has met
        producer.send(messages(sent + 10, first=sent))
        sent += 10
        before = time.monotonic()
        work("second", second, lambda before=before: time.monotonic() > before + 0.3)
    ended.set()
    beside.join()
    assert taken["first"] == {f"{kafka}/0", f"{kafka}/1"}
    assert len(taken["second"]) == 1
    first.close()
    producer.send(messages(sent + 10, first=sent))
    work("second", second, lambda: len(bodies) >= sent + 10)
    assert sorted(bodies) == sorted(body for _, body in messages(sent + 10))
    second.close()


def read_after(consumer: Consumer, done: dict[str, int], count: int) -> list[bytes]:
    """Poll until `count` bodies are there, past errors while no broker answers, each offset once, as a store does."""
    bodies: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(bodies) < count:
        assert time.monotonic() < deadline, f"{len(bodies)} of {count} records came"
        with suppress(StreamError):
            for record in consumer.poll(1_000, 0.2):
                if record.offset > done.get(record.partition, -1):
                    done[record.partition] = record.offset
                    bodies.append(record.body)
    return bodies


READER = """
import json, os, sys
from stockkit.stream.bus import open_bus
bus, group, path = sys.argv[1:]
consumer = open_bus(bus).consumer(group, lambda partition: None)
print("ready", flush=True)
with open(path, "w") as kept:
    while True:
        for record in consumer.poll(5, 0.1):
            kept.write(json.dumps([record.partition, record.offset, record.body.decode()]) + "\\n")
            kept.flush()
"""


def test_what_a_consumer_that_is_killed_had_not_stored_goes_to_the_next_one(kafka, tmp_path, monkeypatch):
    monkeypatch.setenv("STOCKKIT_KAFKA_SESSION_TIMEOUT_MS", "3000")
    monkeypatch.setenv("STOCKKIT_KAFKA_HEARTBEAT_INTERVAL_MS", "300")
    bus, group, path = open_bus(kafka), uuid.uuid4().hex, tmp_path / "stored"
    producer = bus.producer()
    producer.send(messages(50))
    with subprocess.Popen([sys.executable, "-c", READER, kafka, group, str(path)]) as run:
        deadline = time.monotonic() + 60
        while not path.exists() or path.read_text().count("\n") < 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        run.kill()
    lines = path.read_text()
    stored = [json.loads(line) for line in lines[: lines.rfind("\n")].splitlines()]
    producer.send(messages(100, first=50))
    done = {partition: offset for partition, offset, _ in stored}
    second = bus.consumer(group, done.get)
    rest = read_after(second, done, 100 - len(stored))  # once the group's session of the killed one is over
    assert sorted([body.encode() for *_, body in stored] + rest) == sorted(body for _, body in messages(100))
    second.close()


def test_a_broker_that_is_away_for_a_while_costs_no_record_and_reading_goes_on(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, logger="stockkit")
    with cloud.seaweed(tmp_path) as storage:  # so that the broker has its records when it is back
        keys = {**cloud.FAKE, "AWS_ENDPOINT": storage, "AWS_ALLOW_HTTP": "true", "AWS_DEFAULT_REGION": "eu-central-1"}
        (port,) = free_ports(1)
        with broker("s3://lake/", port, **keys) as address:
            point_to_kafka(address, monkeypatch)
            wait_for_topic(address, "ticks", partitions=2)
            bus = open_bus("kafka:ticks")
            producer, done = bus.producer(), {}
            assert producer.send(messages(50)) == []
            consumer = bus.consumer("group", done.get)
            done |= last_offsets(read(consumer, 50))
        assert consumer.poll(10, 0.5) == []
        left: list[int] = []
        sender = threading.Thread(target=lambda: left.extend(producer.send(messages(100, first=50))))
        sender.start()
        assert consumer.poll(10, 0.5) == []
        assert len([line for line in caplog.messages if "brokers away" in line]) >= 1
        object.__setattr__(bus, "patience", 0.1)
        with pytest.raises(StreamError, match=r"no broker of .* answers"):
            consumer.poll(10, 0.5)
        with broker("s3://lake/", port, **keys):
            rest = read_after(consumer, done, 50)
            sender.join()
            assert left == []
            assert sorted(rest) == sorted(body for _, body in messages(100, first=50))
            consumer.close()
