"""A bus in this process: for examples, tests and the offline run. Its records end with the process."""

from __future__ import annotations

import threading
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence

from stockkit.errors import ParamError
from stockkit.stream.bus.gaps import Gap, pass_over
from stockkit.stream.bus.protocol import Message, Record, Start
from stockkit.stream.bus.shares import shares

CAPACITY = 100_000  # records that wait in a partition before a producer has to


class Memory:
    """Partitions in lists; a key's partition is its checksum. What every group of consumers has committed is dropped.

    Args:
        partitions: how many.
        name: part of the partitions' names; one of its own for each bus when None, as its offsets start at 0.
        capacity: records that wait in a partition before `send` does not take more.
    """

    def __init__(self, partitions: int = 1, *, name: str | None = None, capacity: int = CAPACITY) -> None:
        self.name = name or uuid.uuid4().hex[:12]
        self.capacity = capacity
        self.changed = threading.Condition()
        self.records: list[list[Record]] = [[] for _ in range(partitions)]
        self.dropped = [0] * partitions  # records before the first one kept
        self.closed = False

    def producer(self) -> MemoryProducer:
        """A producer; closing it closes the bus: consumers then end when they have read everything."""
        return MemoryProducer(self)

    def partition(self, key: str) -> int:
        """The number of the partition of a key."""
        return zlib.crc32(key.encode()) % len(self.records)

    def consumer(self, group: str, start: Start) -> MemoryConsumer:
        """A consumer of all partitions."""
        return MemoryConsumer(self, start)


class MemoryProducer:
    """Appends to the partitions; waits up to a second where one is full."""

    def __init__(self, bus: Memory) -> None:
        self._bus = bus

    def send(self, messages: Sequence[Message]) -> list[int]:
        """See `protocol.Producer`."""
        bus, left = self._bus, []
        with bus.changed:
            bus.changed.wait_for(lambda: bus.closed or max(map(len, bus.records)) < bus.capacity, timeout=1.0)
            for place, (key, body) in enumerate(messages):
                partition = bus.partition(key)
                waiting = bus.records[partition]
                if bus.closed or len(waiting) >= bus.capacity:
                    left.append(place)
                    continue
                offset = bus.dropped[partition] + len(waiting)
                name = f"memory:{bus.name}/{partition}"
                waiting.append(Record(name, offset, body, time.time_ns() // 1_000))
            bus.changed.notify_all()
        return left

    def close(self) -> None:
        """See `protocol.Producer`."""
        with self._bus.changed:
            self._bus.closed = True
            self._bus.changed.notify_all()


class MemoryConsumer:
    """Reads all partitions of a memory bus."""

    def __init__(self, bus: Memory, start: Start) -> None:
        self._bus = bus
        names = [f"memory:{bus.name}/{number}" for number in range(len(bus.records))]
        done = [start(name) for name in names]
        self._next = [
            dropped if offset is None else offset + 1 for dropped, offset in zip(bus.dropped, done, strict=True)
        ]
        self._turn = 0

    def poll(self, limit: int, timeout: float) -> list[Record]:
        """See `protocol.Consumer`; as many of each partition as of another one, where they are there."""
        bus = self._bus
        with bus.changed:
            bus.changed.wait_for(lambda: bus.closed or any(self.lag().values()), timeout=timeout)
            self._refuse_gaps()
            polled: list[Record] = []
            self._turn = (self._turn + 1) % len(bus.records)
            for number, count in enumerate(shares([*self.lag().values()], limit, self._turn)):
                at = self._next[number] - bus.dropped[number]
                polled += bus.records[number][at : at + count]
                self._next[number] += count
            return polled

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Let go of the records up to these offsets: there is one group, and none reads them again.

        Partitions of other buses, which a store knows of as well, are passed over.
        """
        bus = self._bus
        with bus.changed:
            for number, records in enumerate(bus.records):
                offset = offsets.get(f"memory:{bus.name}/{number}", -1)
                done = offset + 1 - bus.dropped[number]
                if done > 0:
                    del records[:done]
                    bus.dropped[number] += done
            bus.changed.notify_all()

    def lag(self) -> dict[str, int]:
        """See `protocol.Consumer`."""
        bus = self._bus
        ends = [dropped + len(records) for dropped, records in zip(bus.dropped, bus.records, strict=True)]
        return {f"memory:{bus.name}/{number}": end - self._next[number] for number, end in enumerate(ends)}

    def _refuse_gaps(self) -> None:
        for number, dropped in enumerate(self._bus.dropped):
            if (following := self._next[number]) < dropped:
                name = f"memory:{self._bus.name}/{number}"
                pass_over(Gap(name, following - 1, dropped, dropped - following, "another consumer has committed them"))
                self._next[number] = dropped

    def finished(self) -> bool:
        """See `protocol.Consumer`."""
        with self._bus.changed:
            return self._bus.closed and not any(self.lag().values())

    def close(self) -> None:
        """See `protocol.Consumer`."""


def open_memory(argument: str) -> Memory:
    """The bus of ``memory`` or ``memory:PARTITIONS``."""
    if argument and not (argument.isdecimal() and 1 <= int(argument) <= 1_000):
        raise ParamError(f"bus memory:{argument}: write memory:PARTITIONS with 1 to 1000 of them, as in memory:4.")
    return Memory(int(argument or 1))
