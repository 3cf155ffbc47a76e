"""What every bus does: records in partitions, each in order and under an offset, read at least once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """What a producer sends: records of one key stay in order."""

    key: str
    body: bytes


class Record(NamedTuple):
    """What a consumer reads.

    Attributes:
        partition: in which `offset` counts, unique over all buses, as in ``kafka:ticks/3``.
        offset: ascending within the partition, not always by one; a Kinesis one has up to 56 digits.
        body: the bytes as they were sent.
        arrival: at the bus, microseconds since 1970 UTC.
    """

    partition: str
    offset: int
    body: bytes
    arrival: int


Start = Callable[[str], int | None]  # partition -> the last offset that is done with; None for none: from the oldest


class Producer(Protocol):
    """Sends messages. It may be used by one thread at a time."""

    def send(self, messages: Sequence[Message]) -> list[int]:
        """Send messages; return the places in `messages` of those that the bus did not take, to be sent again.

        Waits where the bus asks to (back-pressure). A message may have arrived although it is named as not taken: the
        answer was lost. The consumer's deduplication is made for that.

        Raises:
            StreamError: the bus cannot be reached, or refuses for a reason that trying again does not change.
        """

    def close(self) -> None:
        """Send what is on its way and let go of the connection."""


class Consumer(Protocol):
    """Reads the partitions that it is given, each from where `Start` says. It may be used by one thread at a time."""

    def poll(self, limit: int, timeout: float) -> list[Record]:
        """At most `limit` records, those of a partition in order; none where none comes within `timeout` seconds.

        Where a partition is given to this consumer, at first or later, `Start` is asked for it. Where one was taken
        away, its records no longer come.

        Raises:
            StreamError: the bus cannot be reached; to be tried again. `Gap`: records that were not read are gone.
        """

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Tell the bus the last offset that is done with, by partition; for its own display of lag, and for a consumer
        that has no store. Of a partition that is no longer this consumer's nothing is told.
        """

    def lag(self) -> dict[str, int]:
        """Records that wait behind the last one polled, by partition; partitions for which the bus cannot tell lack."""

    def finished(self) -> bool:
        """Whether no record will ever come any more: a finite bus (memory) that was closed and is read to its end."""

    def close(self) -> None:
        """Leave; the partitions go to other consumers."""


class Bus(Protocol):
    """A topic or stream."""

    def producer(self) -> Producer:
        """A producer of its own connection."""

    def consumer(self, group: str, start: Start) -> Consumer:
        """A consumer: those of one group share the partitions."""
