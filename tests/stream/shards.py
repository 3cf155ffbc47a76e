"""A Kinesis stream as AWS documents it where moto does otherwise: closed shards keep their records and end, iterators
expire, old records are trimmed, reads are limited. Has the methods of a boto3 client that the bus calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

FIRST = 49_600_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000  # 56 digits


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Stream:
    """Shards by name, each with records in order of their sequence numbers."""

    def __init__(self, clock: Clock, *shards: str) -> None:
        self.clock = clock
        self.parents: dict[str, list[str]] = {shard: [] for shard in shards}
        self.records: dict[str, list[tuple[int, bytes]]] = {shard: [] for shard in shards}
        self.closed: set[str] = set()
        self.iterators: list[tuple[str, int, float]] = []  # shard, first sequence number, made at
        self.reads: list[tuple[str, float]] = []
        self.number = FIRST
        self.page = 2  # shards that one ListShards gives
        self.refused = 0  # reads that came too soon
        self.mute = False  # whether an iterator at a record that was trimmed finds nothing for ever, as was reported

    def put(self, shard: str, *bodies: bytes) -> list[int]:
        assert shard not in self.closed
        numbers = []
        for body in bodies:
            self.number += 7
            self.records[shard].append((self.number, body))
            numbers.append(self.number)
        return numbers

    def reshard(self, parents: list[str], *children: str) -> None:
        self.closed |= set(parents)
        for child in children:
            self.parents[child], self.records[child] = parents, []

    def trim(self, shard: str, count: int) -> None:
        del self.records[shard][:count]

    def describe_stream_summary(self, StreamName: str) -> dict[str, Any]:
        return {"StreamDescriptionSummary": {"RetentionPeriodHours": 24}}

    def list_shards(self, StreamName: str | None = None, NextToken: str = "0") -> dict[str, Any]:
        names = sorted(self.parents, reverse=True)  # no order is promised
        here = names[int(NextToken) : int(NextToken) + self.page]
        following = int(NextToken) + self.page
        keys = ("ParentShardId", "AdjacentParentShardId")
        listed = [
            {
                "ShardId": name,
                "SequenceNumberRange": {"StartingSequenceNumber": "0"}
                | ({"EndingSequenceNumber": str(self.number)} if name in self.closed else {}),
                **dict(zip(keys, self.parents[name], strict=False)),
            }
            for name in here
        ]
        return {"Shards": listed} | ({"NextToken": str(following)} if following < len(names) else {})

    def get_shard_iterator(
        self, StreamName: str, ShardId: str, ShardIteratorType: str, StartingSequenceNumber: str = "0"
    ) -> dict[str, str]:
        first = int(StartingSequenceNumber)
        if first > self.number:
            raise _refused("InvalidArgumentException", "StartingSequenceNumber is invalid")
        self.iterators.append((ShardId, first, self.clock.now))
        return {"ShardIterator": str(len(self.iterators) - 1)}

    def get_records(self, ShardIterator: str, Limit: int) -> dict[str, Any]:
        shard, first, made = self.iterators[int(ShardIterator)]
        if self.clock.now - made > 300:
            raise _refused("ExpiredIteratorException", "Iterator expired")
        if sum(shard == other and at > self.clock.now - 1 for other, at in self.reads) >= 5:
            self.refused += 1
            raise _refused("ProvisionedThroughputExceededException", f"Rate exceeded for shard {shard}")
        self.reads.append((shard, self.clock.now))
        if self.mute and 0 < first < min(self.records[shard], default=(0, b""))[0]:
            return {"Records": [], "MillisBehindLatest": 86_400_000, "NextShardIterator": ShardIterator}
        there = [(number, body) for number, body in self.records[shard] if number >= first]
        given = there[:Limit]
        answer = {"Records": [_fields(*record) for record in given], "MillisBehindLatest": 1_000 * (there != given)}
        if shard in self.closed and given == there:
            return answer
        self.iterators.append((shard, given[-1][0] + 1 if given else first, self.clock.now))
        return {**answer, "NextShardIterator": str(len(self.iterators) - 1)}


def _fields(number: int, body: bytes) -> dict[str, Any]:
    arrival = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(microseconds=(number - FIRST))
    return {"SequenceNumber": str(number), "Data": body, "ApproximateArrivalTimestamp": arrival}


def _refused(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetRecords")
