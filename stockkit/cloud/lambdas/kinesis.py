"""What Lambda hands over of a Kinesis shard, read into ticks, and what it is answered."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from stockkit.market.ticks import AHEAD, Reject, Tick, transform

DIGITS = 56  # of the longest sequence number


class Record(NamedTuple):
    """A record of a shard.

    Attributes:
        partition: stream and shard, named as the Kinesis bus of `stockkit.stream` does. sequence: decimal digits.
        body: the bytes as they were put. arrival: at Kinesis, microseconds since 1970 UTC.
    """

    partition: str
    sequence: str
    body: bytes
    arrival: int

    @property
    def order(self) -> str:
        """The sequence number with leading zeros, so that the order of texts is that of numbers."""
        return self.sequence.zfill(DIGITS)

    @property
    def place(self) -> str:
        """Where the record lies in the bus, as `stockkit.stream` says it; part of a signal's id."""
        return f"{self.partition}:{self.sequence.zfill(20)}"


def records_of(event: dict[str, Any]) -> list[Record]:
    """The records of an event, in the shard's order."""
    return [_record(given) for given in event["Records"]]


def _record(given: dict[str, Any]) -> Record:
    kinesis = given["kinesis"]
    stream = given["eventSourceARN"].rpartition("/")[2]
    shard = given["eventID"].partition(":")[0]
    arrival = round(kinesis["approximateArrivalTimestamp"] * 1_000_000)
    return Record(f"kinesis:{stream}/{shard}", kinesis["sequenceNumber"], base64.b64decode(kinesis["data"]), arrival)


def read(records: Sequence[Record], symbols: frozenset[str] | None) -> list[Tick | Reject]:
    """One tick or reject for each record, the same one whenever it is read: its own arrival says what is the future."""
    if not records:
        return []
    latest = max(record.arrival for record in records)
    results = transform([record.body for record in records], now=latest, symbols=symbols)
    return [
        transform([record.body], now=record.arrival, symbols=symbols)[0]
        if isinstance(result, Tick) and result.event_time > record.arrival + AHEAD
        else result
        for record, result in zip(records, results, strict=True)
    ]


def answer(failed: Iterable[Record]) -> dict[str, Any]:
    """What ReportBatchItemFailures takes: the first record to be retried with all behind it; nothing for a success."""
    first = min(failed, key=lambda record: record.order, default=None)
    return {"batchItemFailures": [] if first is None else [{"itemIdentifier": first.sequence}]}
