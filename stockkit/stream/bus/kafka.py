"""A Kafka topic as a bus, through confluent-kafka (the extra ``kafka``).

Brokers come from ``KAFKA_BOOTSTRAP_SERVERS``; any other option of librdkafka from a variable with the prefix
``STOCKKIT_KAFKA_``: ``STOCKKIT_KAFKA_SECURITY_PROTOCOL=SASL_SSL`` is ``security.protocol``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from stockkit.errors import ParamError, StreamError
from stockkit.stream.bus.kafka_connection import BROKERS, PREFIX, REFUSALS, SLICE, Link, Topic
from stockkit.stream.bus.kafka_consumer import CONSUMER, KafkaConsumer
from stockkit.stream.bus.protocol import Message, Start

TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
LARGEST = 1_048_000  # bytes of key and body: a broker takes batches of 1,048,588 unless it is told otherwise
PRODUCER = {
    "enable.idempotence": "true",
    "acks": "all",
    "delivery.report.only.error": True,  # to call Python for each that was taken costs more than to send it
    "partitioner": "murmur2_random",  # Java's: a symbol is in one partition, whoever sends it
    "message.max.bytes": str(LARGEST + 512),
}
GUARANTEES = {"bootstrap.servers", "group.id", "enable.idempotence", "acks", "partitioner", "message.max.bytes",
              "enable.auto.offset.store", "transactional.id", "delivery.report.only.error", *CONSUMER}  # fmt: skip
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kafka(Topic):
    """A topic of a Kafka cluster as a bus; its arguments are those of `kafka_connection.Topic`."""

    def producer(self) -> KafkaProducer:
        """An idempotent producer.

        Raises:
            StreamError: no broker answers, or there is no such topic. ParamError: an option that librdkafka refuses.
        """
        return KafkaProducer(self)

    def consumer(self, group: str, start: Start) -> KafkaConsumer:
        """A consumer of its group's share of the partitions.

        Raises:
            StreamError: no broker answers, or there is no such topic. ParamError: an option that librdkafka refuses.
        """
        return KafkaConsumer(self, group, start)


class KafkaProducer:
    """Sends in batches and waits for the brokers' answers."""

    def __init__(self, bus: Kafka) -> None:
        self._bus, self._link = bus, Link(bus)
        self._client: Any = self._connect()

    def send(self, messages: Sequence[Message]) -> list[int]:
        """See `protocol.Producer`. Waits up to half a minute where brokers are away; then none was taken."""
        self._refuse_oversized(messages)
        if self._client is None:
            self._client = self._connect()
        refused: dict[int, KafkaError] = {}
        queued = 0
        for place, (key, body) in enumerate(messages):
            if not self._queue(key.encode(), body, partial(_refused, refused, place)):
                break
            queued += 1
        if self._client.flush(self._bus.patience + 10):  # what has no answer yet may have been taken or not
            return list(range(len(messages)))
        missing = [*sorted(refused), *range(queued, len(messages))]
        if missing:
            self._explain(list(refused.values()), taken=len(messages) - len(missing))
        return missing

    def close(self) -> None:
        """See `protocol.Producer`."""
        if self._client is not None:
            self._client.flush(self._bus.patience)
            self._client = None

    def _connect(self) -> Any:
        timeout = {"message.timeout.ms": str(round(self._bus.patience * 1000))}
        return self._bus.client(Producer, {**PRODUCER, **timeout}, self._link)

    def _queue(self, key: bytes, body: bytes, refused: Callable[..., None]) -> bool:
        """Put one into librdkafka's queue, waiting for room; False where none comes."""
        for _ in range(round((self._bus.patience + 10) / SLICE)):
            try:
                self._client.produce(self._bus.topic, key=key, value=body, on_delivery=refused)
                return True
            except BufferError:
                self._client.poll(SLICE)  # answers make room
            except KafkaException as error:
                refused(error.args[0], None)
                return True
        return False

    def _refuse_oversized(self, messages: Sequence[Message]) -> None:
        for place, (key, body) in enumerate(messages):
            if len(key.encode()) + len(body) > LARGEST:
                raise StreamError(
                    f"message {place} ({key[:20]}) has {len(body):,} bytes, and kafka:{self._bus.topic} takes "
                    f"{LARGEST:,} with its key: none of the {len(messages)} was sent. Leave it out, or make it smaller."
                )

    def _explain(self, errors: list[KafkaError], *, taken: int) -> None:
        """Raise where trying again does not help, or nothing was taken as no broker answers."""
        if any(error.fatal() for error in errors):
            self._client = None  # an idempotent producer that has lost its place; a new one is made
            log.warning("producer anew topic=%s detail=%s", self._bus.topic, errors[0].str())
            return
        for error in errors:
            if error.code() in REFUSALS:
                raise StreamError(
                    f"kafka:{self._bus.topic} refuses messages: {self._bus.without_secrets(error.str())}."
                )
        if not taken:
            self._link.reach(self._client, timeout=SLICE)


def _refused(refused: dict[int, KafkaError], place: int, error: KafkaError, _: Any) -> None:
    refused[place] = error


def open_kafka(topic: str) -> Kafka:
    """The bus of ``kafka:TOPIC``; nothing is connected yet.

    Raises:
        ParamError: no name of a topic, no brokers, or an option that would break what the bus promises.
    """
    if not TOPIC.fullmatch(topic):
        raise ParamError(
            f"bus kafka:{topic[:60]}: write kafka:TOPIC, where the topic has 1 to 249 letters, digits, dots, hyphens "
            "and underscores."
        )
    brokers = os.environ.get(BROKERS, "")
    if not brokers:
        raise ParamError(f"bus kafka:{topic} needs the brokers' addresses: set {BROKERS}=HOST:PORT,….")
    options = {
        name.removeprefix(PREFIX).lower().replace("_", "."): value
        for name, value in os.environ.items()
        if name.startswith(PREFIX)
    }
    if taken := sorted(GUARANTEES & set(options)):
        variable = PREFIX + taken[0].upper().replace(".", "_")
        raise ParamError(f"{variable} cannot be set: {taken[0]} is part of what the bus promises. Unset it.")
    return Kafka(topic, brokers, options)
