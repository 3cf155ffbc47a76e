"""Lambda's event source mapping of a Kinesis stream as AWS documents it: seeded, without threads, clock or network.

What is modelled: batches of a shard in order, one invocation a shard at a time (ParallelizationFactor 1); the
checkpoint and the retry from the lowest sequence number that a function reports (ReportBatchItemFailures); the split
in two where it fails altogether (BisectBatchOnFunctionError), which costs no retry; retries up to a limit, then the
failure destination; shards side by side, and the children of a split or merged shard after their parents; a batch
once more although it had succeeded, as each record comes at least once; and an invocation beside another one.

Where the documents say nothing (how many records a batch has, whether a partial success gives the retries back) the
seed decides. Sources: "Configuring partial batch response with Kinesis Data Streams and Lambda" and "Retain discarded
batch records for a Kinesis Data Streams event source in Lambda" of the AWS Lambda Developer Guide.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from stockkit.errors import StockkitError

Event = dict[str, Any]
Handler = Callable[[Event], Any]


class Crash(BaseException):
    """The process of a function ended here; `except Exception` does not see it."""


class Violation(StockkitError):
    """What a schedule came to is not what it has to be; names the seed and what went wrong in it."""


class Sent(NamedTuple):
    """A record of a shard: its number (ascending over all shards for one key), key, bytes, and arrival (µs)."""

    sequence: int
    key: str
    body: bytes
    arrival: int = 0


@dataclass(frozen=True)
class Shard:
    """A shard and its records in order; it is read when those of its parents are done with."""

    name: str
    records: Sequence[Sent]
    parents: Sequence[str] = ()


class _Batch(NamedTuple):
    """Places of records in a shard, and how often they failed."""

    start: int
    end: int
    failures: int = 0


@dataclass
class EventSource:
    """Runs a handler over the records of shards.

    Args:
        shards: in any order.
        rng: decides what the documents leave open, and what goes wrong.
        batch_size: records of a batch at most.
        retries: of a batch before it is given up; None for no limit.
        bisect: whether a batch is split in two where the function fails altogether.
        on_failure: takes the name of a shard and the records that are given up.
        duplicates: the share of batches that come once more although they had succeeded.
        stream: the stream's name in the events.
    """

    shards: Sequence[Shard]
    rng: Random
    batch_size: int = 10
    retries: int | None = None
    bisect: bool = False
    on_failure: Callable[[str, Sequence[Sent]], None] = lambda shard, records: None
    duplicates: float = 0.0
    stream: str = "ticks"
    invocations: int = 0
    _checkpoints: dict[str, int] = field(default_factory=dict)
    _waiting: dict[str, list[_Batch]] = field(default_factory=dict)
    _under_way: dict[str, Event] = field(default_factory=dict)

    def run(self, handler: Handler) -> None:
        """Invoke the handler until every record was processed or given up."""
        while self.step(handler):
            pass

    def step(self, handler: Handler) -> bool:
        """Invoke the handler once, for any shard that has no invocation under way; false where nothing is left."""
        ready = [shard for shard in self.shards if self._is_ready(shard)]
        if ready:
            self._deliver(self.rng.choice(ready), handler)
        return bool(ready)

    def beside(self, handler: Handler) -> None:
        """An invocation while another one is under way: of another shard, or of the same records once more.

        A storage double calls this between two calls of a handler, so that invocations interleave.
        """
        if self._under_way and self.rng.random() < 0.5:
            event = self.rng.choice(list(self._under_way.values()))
            self._answer(event, handler)
        else:
            self.step(handler)

    def _is_ready(self, shard: Shard) -> bool:
        done = {one.name for one in self.shards if self._is_done(one)}
        return shard.name not in self._under_way and not self._is_done(shard) and done.issuperset(shard.parents)

    def _is_done(self, shard: Shard) -> bool:
        return not self._waiting.get(shard.name) and self._checkpoints.get(shard.name, 0) >= len(shard.records)

    def _deliver(self, shard: Shard, handler: Handler) -> None:
        waiting = self._waiting.setdefault(shard.name, [])
        if not waiting:
            start = self._checkpoints.get(shard.name, 0)
            waiting.append(_Batch(start, min(start + self.rng.randint(1, self.batch_size), len(shard.records))))
        batch = waiting.pop()
        records = shard.records[batch.start : batch.end]
        event = self._under_way[shard.name] = kinesis_event(self.stream, shard.name, records)
        try:
            answer = self._answer(event, handler)
        finally:
            del self._under_way[shard.name]
        failed = 0 if isinstance(answer, BaseException) else first_failed(answer, records)
        if failed is None:
            self._succeed(shard.name, batch)
        else:
            self._fail(shard, batch, failed, answer)

    def _answer(self, event: Event, handler: Handler) -> Any:
        self.invocations += 1
        try:
            return handler(event)
        except (Exception, Crash) as error:  # which of them, Lambda does not tell apart
            return error

    def _succeed(self, name: str, batch: _Batch) -> None:
        self._checkpoints[name] = batch.end
        if self.rng.random() < self.duplicates:  # a checkpoint that was lost, of this batch or of one before it
            start = batch.start if self._waiting[name] else self.rng.randint(0, batch.start)
            self._waiting[name].append(_Batch(start, batch.end))

    def _fail(self, shard: Shard, batch: _Batch, failed: int, answer: Any) -> None:
        waiting, start = self._waiting[shard.name], batch.start + failed
        failures = batch.failures + 1 if failed == 0 or self.rng.random() < 0.5 else 1
        if isinstance(answer, BaseException) and self.bisect and batch.end - start > 1:
            middle = (start + batch.end) // 2
            waiting += [_Batch(middle, batch.end, batch.failures), _Batch(start, middle, batch.failures)]
        elif self.retries is not None and failures > self.retries:
            self.on_failure(shard.name, shard.records[start : batch.end])
            self._checkpoints[shard.name] = batch.end
        else:
            waiting.append(_Batch(start, batch.end, failures))


def kinesis_event(stream: str, shard: str, records: Sequence[Sent]) -> Event:
    """What Lambda hands to a function for records of a shard."""
    arn = f"arn:aws:kinesis:eu-central-1:123456789012:stream/{stream}"
    return {"Records": [_event_record(arn, shard, record) for record in records]}


def _event_record(arn: str, shard: str, record: Sent) -> Event:
    kinesis = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": record.key,
        "sequenceNumber": str(record.sequence),
        "data": base64.b64encode(record.body).decode(),
        "approximateArrivalTimestamp": record.arrival / 1e6,
    }
    return {
        "kinesis": kinesis,
        "eventSource": "aws:kinesis",
        "eventID": f"{shard}:{record.sequence}",
        "eventName": "aws:kinesis:record",
        "eventSourceARN": arn,
    }


def first_failed(answer: Any, records: Sequence[Sent]) -> int | None:
    """The place of the first record to be retried, by what a function answered; None for a success.

    An item without a sequence number of the batch makes the whole batch a failure.
    """
    failures = answer.get("batchItemFailures") if isinstance(answer, Mapping) else None
    if not failures:
        return None
    places = {str(record.sequence): place for place, record in enumerate(records)}
    named = [places.get(item.get("itemIdentifier") or "", 0) for item in failures]
    return min(named)
