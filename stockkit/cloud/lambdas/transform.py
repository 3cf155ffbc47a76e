"""The Lambda function that checks records: ticks of a Kinesis shard to the latest quotes, the rest to dead letters."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from stockkit.cloud.lambdas import kinesis, settings
from stockkit.cloud.lambdas.clients import clients
from stockkit.cloud.lambdas.dead_letters import DeadLetters
from stockkit.cloud.lambdas.failures import AWS_ERRORS, check_infrastructure, code_of, is_taken
from stockkit.cloud.lambdas.kinesis import Record
from stockkit.market.ticks import Reject, Tick, quote_write

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Take a batch of a shard; the answer names the first record to be retried, or none."""
    return _transform().handle(event)


@cache
def _transform() -> Transform:
    """The function with its settings and clients, made at the cold start."""
    return make(settings.for_transform(os.environ), clients())


def make(chosen: settings.Settings, client: Callable[[str], Any]) -> Transform:
    """The function over these clients of boto3, by service."""
    letters = DeadLetters(client("s3"), chosen.dead_letters)
    return Transform(client("dynamodb"), chosen.quotes, letters, chosen.symbols)


@dataclass(frozen=True)
class Transform:
    """The function.

    Attributes:
        dynamodb: boto3's client. quotes: the table. dead_letters: where records go that are no ticks.
        symbols: those that are listened to; None for any.
    """

    dynamodb: Any
    quotes: str
    dead_letters: DeadLetters
    symbols: frozenset[str] | None

    def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        """Take a batch: dead letters, then the newest quote of each symbol.

        An error that no retry changes goes up; of all others the answer tells.
        """
        records = kinesis.records_of(event)
        newest: dict[str, tuple[Record, Tick]] = {}
        refused: list[tuple[Record, Reject]] = []
        for record, result in zip(records, kinesis.read(records, self.symbols), strict=True):
            if isinstance(result, Reject):
                refused.append((record, result))
            elif result.symbol not in newest or result.event_time >= newest[result.symbol][1].event_time:
                newest[result.symbol] = record, result
        failed = self.dead_letters.keep_all(refused)
        written = self._write(list(newest.values()), failed)
        counts = Counter(records=len(records), rejects=len(refused), quotes=written, failed=len(failed))
        log.info(" ".join(f"{name}={count}" for name, count in counts.items()))
        return kinesis.answer(failed)

    def _write(self, newest: Sequence[tuple[Record, Tick]], failed: list[Record]) -> int:
        """Write quotes over older ones; how many. Where DynamoDB fails, the records left are added to `failed`."""
        written = 0
        for place, (record, tick) in enumerate(newest):
            try:
                written += self._put(record, tick)
            except AWS_ERRORS as error:
                check_infrastructure(error)
                log.warning("quotes from %s on were not written: %s", tick.symbol, code_of(error))
                failed += [record for record, _ in newest[place:]]
                break
        return written

    def _put(self, record: Record, tick: Tick) -> bool:
        """Write a quote; false where a newer one is there."""
        write = quote_write(tick, record.arrival, sequence=record.order)  # `trend` alone knows its number
        try:
            self.dynamodb.put_item(TableName=self.quotes, **write)
            return True
        except ClientError as error:
            if is_taken(error):
                return False
            raise
