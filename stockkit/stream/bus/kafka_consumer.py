"""A consumer of its group's share of a topic of Kafka, each partition from where the store says."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from stockkit.errors import StreamError
from stockkit.stream.bus.gaps import Gap, pass_over
from stockkit.stream.bus.kafka_connection import REFUSALS, SLICE, Link, Topic, text_of
from stockkit.stream.bus.protocol import Record, Start

NEVER = 2**63  # no offset is as high
CONSUMER = {
    "enable.auto.commit": "false",
    # each partition's start is given in numbers; what is not there is told, and not skipped as "earliest" would
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "range,roundrobin",
}
FAREWELL = 5.0  # seconds that it takes to leave its group
log = logging.getLogger(__name__)


class KafkaConsumer:
    """Reads its share of the partitions, each from where `Start` says."""

    def __init__(self, bus: Topic, group: str, start: Start) -> None:
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
            raise StreamError(
                f"kafka:{self._bus.topic} cannot be read: {text_of(error)}. It is tried again."
            ) from error

    def _consume(self, limit: int, timeout: float) -> list[Any]:
        """What has come: asking for several at once would wait until there are as many."""
        try:
            messages = self._client.consume(1, timeout)
            return messages + self._client.consume(limit - 1, 0) if messages and limit > 1 else messages
        except KafkaException as error:
            text = self._bus.without_secrets(text_of(error))
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


def _committed(error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
    if error is not None:
        log.info("offsets not committed partitions=%s error=%s", [one.partition for one in partitions], error.str())
