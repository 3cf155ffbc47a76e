"""A Kafka topic as a bus, through confluent-kafka (the extra ``kafka``).

Brokers come from ``KAFKA_BOOTSTRAP_SERVERS``; any other option of librdkafka from a variable with the prefix
``STOCKKIT_KAFKA_``: ``STOCKKIT_KAFKA_SECURITY_PROTOCOL=SASL_SSL`` is ``security.protocol``.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stockkit.errors import ParamError, StreamError
from stockkit.stream.bus.gaps import Gap, pass_over
from stockkit.stream.bus.protocol import Message, Record, Start

BROKERS = "KAFKA_BOOTSTRAP_SERVERS"
PREFIX = "STOCKKIT_KAFKA_"
TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
LARGEST = 1_048_000  # bytes of key and body: a broker takes batches of 1,048,588 unless it is told otherwise
FAREWELL = 5.0  # seconds that a consumer takes to leave its group
PATIENCE = 30.0  # seconds that no broker may answer before it is an error
NEVER = 2**63  # no offset is as high
SLICE = 0.25  # seconds of waiting between looks at what was assigned
PRODUCER = {
    "enable.idempotence": "true",
    "acks": "all",
    "delivery.report.only.error": True,  # to call Python for each that was taken costs more than to send it
    "partitioner": "murmur2_random",  # Java's: a symbol is in one partition, whoever sends it
    "message.max.bytes": str(LARGEST + 512),
    "message.timeout.ms": str(round(PATIENCE * 1000)),
}
CONSUMER = {
    "enable.auto.commit": "false",
    # each partition's start is given in numbers; what is not there is told, and not skipped as "earliest" would
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "range,roundrobin",
}
GUARANTEES = {"bootstrap.servers", "group.id", "enable.idempotence", "acks", "partitioner", "message.max.bytes",
              "enable.auto.offset.store", "transactional.id", "delivery.report.only.error", *CONSUMER}  # fmt: skip
REFUSALS = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.INVALID_MSG,
            KafkaError.POLICY_VIOLATION, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}  # fmt: skip
# librdkafka warns of an option that is the other side's
OF_CONSUMERS = ("session.", "heartbeat.", "max.poll.", "fetch.", "queued.", "group.", "isolation.", "check.crcs")
OF_PRODUCERS = ("linger.", "batch.", "compression.", "queue.buffering.", "retries", "message.", "delivery.", "request.")
SECRET = re.compile(r"password|secret|key|token|credential|jaas|config|pem", re.I)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kafka:
    """A topic on a Kafka cluster.

    Args:
        topic: its name.
        brokers: HOST:PORT, several with commas.
        options: further options of librdkafka, by name.
        patience: seconds that no broker may answer before polling raises.
    """

    topic: str
    brokers: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # may have passwords in it
    patience: float = PATIENCE

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

    def client(self, kind: Callable[..., Any], options: Mapping[str, Any], link: Link) -> Any:
        """A producer or consumer of librdkafka that reaches the topic.

        Raises:
            StreamError, ParamError: as `producer` and `consumer`.
        """
        others = OF_CONSUMERS if kind is Producer else OF_PRODUCERS
        theirs = {name: value for name, value in self.options.items() if not name.startswith(others)}
        settings = {**theirs, **options, "bootstrap.servers": self.brokers, "error_cb": link.error}
        try:
            made = kind(settings, logger=_Quiet())
        except (KafkaException, ValueError) as error:
            text = self.without_secrets(_text(error))
            raise ParamError(f"bus kafka:{self.topic}: {text}. Look at the variables {PREFIX}….") from error
        link.reach(made, timeout=min(10.0, self.patience))
        return made

    def without_secrets(self, text: str) -> str:
        """A text of librdkafka without the values of options that may be secret."""
        for name, value in self.options.items():
            if SECRET.search(name) and value:
                text = text.replace(value, "…")
        return text


class _Quiet:
    """Where librdkafka writes its log: it says each lost connection as an error, and `Link` says it once."""

    def log(self, level: int, *words: Any) -> None:
        log.log(min(level, logging.INFO), *words)


class Link:
    """Whether brokers answer: librdkafka reconnects by itself, says when all are away, and never when one is back."""

    def __init__(self, bus: Kafka) -> None:
        self._bus = bus
        self._away_since: float | None = None
        self._detail = ""

    def error(self, error: KafkaError) -> None:
        """What librdkafka calls with an error of no single message."""
        self._detail = self._bus.without_secrets(error.str())
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("brokers away topic=%s detail=%s", self._bus.topic, self._detail)

    def reach(self, client: Any, *, timeout: float) -> None:
        """Ask a broker for the topic.

        Raises:
            StreamError: none answers within `timeout` seconds, or there is no such topic.
        """
        topic = self._bus.topic
        try:
            error = client.list_topics(topic, timeout=timeout).topics[topic].error
        except KafkaException as refused:
            raise StreamError(self._away(_text(refused))) from refused
        if error is not None and error.code() in REFUSALS:
            raise StreamError(
                f"topic {topic} cannot be used on {self._bus.brokers}: {error.str()}. Make it, as in kafka-topics.sh "
                f"--bootstrap-server {self._bus.brokers} --create --topic {topic} --partitions 4."
            )

    def look(self, client: Any) -> None:
        """Where brokers were away: are they back?

        Raises:
            StreamError: none has answered for longer than the bus has patience.
        """
        if self._away_since is None:
            return
        try:
            self.reach(client, timeout=SLICE)
        except StreamError:
            if time.monotonic() - self._away_since > self._bus.patience:
                raise
            return
        log.warning("brokers back topic=%s after_s=%.1f", self._bus.topic, time.monotonic() - self._away_since)
        self._away_since = None

    def _away(self, text: str) -> str:
        detail = f"{text}; {self._detail}" if self._detail else text
        return (
            f"no broker of {self._bus.brokers} answers for kafka:{self._bus.topic} ({detail}). Nothing is lost; it is "
            f"tried again. Is it running, and are {BROKERS} and {PREFIX}SECURITY_PROTOCOL as it listens?"
        )


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


class KafkaConsumer:
    """Reads its share of the partitions, each from where `Start` says."""

    def __init__(self, bus: Kafka, group: str, start: Start) -> None:
        self._bus, self._link, self._start = bus, Link(bus), start
        self._given: list[int] | None = None  # assigned, and not started yet
        self._next: dict[int, int] = {}  # partition -> the offset that comes next, 0 for the oldest there is
        self._failures: dict[int | None, StreamError] = {}  # by partition; raised by a poll that has nothing else
        self._group = group
        options = {**CONSUMER, "group.id": group, "on_commit": _committed}
        self._client: Any = bus.client(Consumer, options, self._link)
        self._joined = False

    def poll(self, limit: int, timeout: float) -> list[Record]:
        """See `protocol.Consumer`. Where brokers are away it gives nothing, and raises after half a minute."""
        until = time.monotonic() + timeout
        self._join()
        while True:
            self._take_up()
            records = self._records(self._consume(limit, min(SLICE, max(0.0, until - time.monotonic()))))
            if records:
                return records
            self._raise_failures()
            self._link.look(self._client)
            if time.monotonic() >= until:
                return []

    def commit(self, offsets: Mapping[str, int]) -> None:
        """See `protocol.Consumer`. It does not wait for the answer; a refusal is a line in the log.

        Before the first poll, this consumer is no member of its group: brokers take any offset, if nobody else is one.
        """
        prefix = self._name("")
        numbers = {int(name.removeprefix(prefix)): done for name, done in offsets.items() if name.startswith(prefix)}
        mine = [self._at(n, done + 1) for n, done in numbers.items() if n in self._next or not self._joined]
        if mine:
            try:
                self._client.commit(offsets=mine, asynchronous=True)
            except KafkaException as error:
                _committed(error.args[0], mine)

    def lag(self) -> dict[str, int]:
        """See `protocol.Consumer`; by the high watermark of the latest answer, deleted offsets included."""
        behind = {}
        for number, following in self._next.items():
            low, high = self._client.get_watermark_offsets(self._at(number), cached=True) or (-1, -1)
            following = max(low, following)
            if high >= following >= 0:
                behind[self._name(number)] = high - following
        return behind

    def finished(self) -> bool:
        """Never: a topic has no end."""
        return False

    def close(self) -> None:
        """See `protocol.Consumer`. Where no broker hears of it, the group finds out when the session is over."""
        leaving = threading.Thread(target=self._client.close, daemon=True)  # waits for answers as long as a session
        leaving.start()
        leaving.join(FAREWELL)

    def _name(self, number: int | str) -> str:
        return f"kafka:{self._bus.topic}/{number}"

    def _at(self, number: int, offset: int = OFFSET_BEGINNING) -> TopicPartition:
        return TopicPartition(self._bus.topic, number, offset)

    def _join(self) -> None:
        if not self._joined:
            given, taken = self._assigned, self._revoked
            self._client.subscribe([self._bus.topic], on_assign=given, on_revoke=taken, on_lost=taken)
            self._joined = True

    def _assigned(self, _: Any, partitions: list[TopicPartition]) -> None:
        """Note what this consumer was given. `Start` is asked outside of the callback, where it may fail."""
        self._given = [one.partition for one in partitions]
        self._client.assign([])

    def _revoked(self, _: Any, partitions: list[TopicPartition]) -> None:
        log.info("partitions taken away topic=%s numbers=%s", self._bus.topic, [one.partition for one in partitions])
        self._given = None
        self._next, self._failures = {}, {}

    def _take_up(self) -> None:
        """Start the partitions that were given."""
        if self._given is None:
            return
        done = {number: self._start(self._name(number)) for number in self._given}
        log.info("partitions given topic=%s starts=%s", self._bus.topic, done)
        self._next = {number: 0 if last is None else last + 1 for number, last in done.items()}
        self._read_on()
        self._given = None

    def _read_on(self) -> None:
        starts = [self._at(number, following or OFFSET_BEGINNING) for number, following in self._next.items()]
        try:
            self._client.assign(starts)
        except KafkaException as error:
            raise StreamError(f"kafka:{self._bus.topic} cannot be read: {_text(error)}. It is tried again.") from error

    def _consume(self, limit: int, timeout: float) -> list[Any]:
        """What has come: asking for several at once would wait until there are as many."""
        try:
            messages = self._client.consume(1, timeout)
            return messages + self._client.consume(limit - 1, 0) if messages and limit > 1 else messages
        except KafkaException as error:
            text = self._bus.without_secrets(_text(error))
            raise StreamError(f"kafka:{self._bus.topic} cannot be read: {text}. It is tried again.") from error

    def _records(self, messages: list[Any]) -> list[Record]:
        """The records among messages, without those of partitions that were taken away while they were collected."""
        following, records, new = self._next, [], tuple.__new__  # past Record's own, which takes half as long again
        names = {number: self._name(number) for number in following}
        for message in messages:
            if message.error() is not None:
                self._note(message.error(), message.partition())
                continue
            number, offset = message.partition(), message.offset()
            if offset >= following.get(number, NEVER):
                following[number] = offset + 1
                arrival = message.timestamp()[1] * 1_000
                records.append(new(Record, (names[number], offset, message.value() or b"", arrival)))
        return records

    def _note(self, error: KafkaError, number: int | None) -> None:
        """Keep what an event means: records polled together with it are handed over first."""
        log.warning("event topic=%s partition=%s error=%s", self._bus.topic, number, error.str())
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            if number in self._next:
                self._failures[number] = self._out_of_range(number)
        elif error.fatal() or error.code() in REFUSALS:
            text = self._bus.without_secrets(error.str())
            self._failures[None] = StreamError(f"kafka:{self._bus.topic} cannot be read: {text}.")

    def _out_of_range(self, number: int) -> StreamError:
        name, following = self._name(number), self._next[number]
        try:
            low, high = self._client.get_watermark_offsets(self._at(number), timeout=5.0)
        except KafkaException:
            low, high = None, following
        if high < following:
            return StreamError(
                f"{name} ends at offset {high}, and offset {following - 1} is done with already: the topic was deleted "
                "and made anew. Use a topic of another name, or another lake folder for this one."
            )
        count = None if low is None else low - following
        return Gap(name, following - 1, low, count, "the topic's retention has deleted them")

    def _raise_failures(self) -> None:
        """Raise what stands against reading on; a gap that the user accepts does not."""
        if None in self._failures:
            raise self._failures.pop(None)  # librdkafka says so again where it is still so
        for number, failure in list(self._failures.items()):
            if number is None or not isinstance(failure, Gap):
                raise failure
            pass_over(failure)
            del self._failures[number]
            self._next[number] = failure.oldest or 0
            self._read_on()


def _refused(refused: dict[int, KafkaError], place: int, error: KafkaError, _: Any) -> None:
    refused[place] = error


def _committed(error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
    if error is not None:
        log.info("offsets not committed partitions=%s error=%s", [one.partition for one in partitions], error.str())


def _text(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return inner.str() if isinstance(inner, KafkaError) else str(inner)


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
