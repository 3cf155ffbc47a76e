"""The Lambda function that compares averages: ticks of a Kinesis shard to states, signals and alerts.

`handler` is for a Kinesis event source mapping with ReportBatchItemFailures, `publish` for a schedule of a minute: it
sends the alerts that an invocation left behind.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from stockkit.cloud.lambdas import kinesis, settings
from stockkit.cloud.lambdas.clients import clients
from stockkit.cloud.lambdas.dead_letters import DeadLetters
from stockkit.cloud.lambdas.failures import AWS_ERRORS, check_infrastructure, code_of
from stockkit.cloud.lambdas.kinesis import Record
from stockkit.cloud.lambdas.outbox import Alert, Outbox, alert_of
from stockkit.cloud.lambdas.states import MOST_ALERTS, States, Stored
from stockkit.errors import StreamError
from stockkit.market.ticks import Reject, Tick

Ticks = list[tuple[Record, Tick]]
TRIES = 6  # of a state that others store meanwhile
log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Take a batch of a shard; the answer names the first record to be retried, or none."""
    return _trend().handle(event)


def publish(event: object, context: object) -> dict[str, int]:
    """Send the alerts that wait; how many went out."""
    return {"sent": _trend().outbox.publish_waiting()}


@cache
def _trend() -> Trend:
    """The function with its settings and clients, made at the cold start."""
    return make(settings.for_trend(os.environ), clients(), lambda: time.time_ns() // 1_000)


def make(
    chosen: settings.Settings,
    client: Callable[[str], Any],
    now: Callable[[], int],
    sleep: Callable[[float], None] = time.sleep,
) -> Trend:
    """The function over these clients of boto3, by service, and this clock (microseconds since 1970 UTC)."""
    outbox = Outbox(client("dynamodb"), client("sns"), chosen.outbox, chosen.topic, now)
    states = States(client("dynamodb"), chosen.states, chosen.rule, outbox, sleep)
    return Trend(states, outbox, DeadLetters(client("s3"), chosen.dead_letters), chosen.symbols, now)


class _Step(NamedTuple):
    """What ticks come to: the last record among them, alerts, and records that are too late."""

    last_sequence: str
    alerts: list[Alert]
    refused: list[tuple[Record, Reject]]


@dataclass(frozen=True)
class Trend:
    """The function.

    Attributes:
        states, outbox, dead_letters: where it stores. symbols: those that are listened to; None for any.
        now: microseconds since 1970 UTC.
    """

    states: States
    outbox: Outbox
    dead_letters: DeadLetters
    symbols: frozenset[str] | None
    now: Callable[[], int]

    def handle(self, event: dict[str, Any]) -> dict[str, Any]:
        """Take a batch: dead letters first, then one transaction a symbol, then the alerts.

        An error that no retry changes goes up; of all others the answer tells.
        """
        records = kinesis.records_of(event)
        by_symbol: dict[str, Ticks] = {}
        refused: list[tuple[Record, Reject]] = []
        for record, result in zip(records, kinesis.read(records, self.symbols), strict=True):
            if isinstance(result, Tick):
                by_symbol.setdefault(result.symbol, []).append((record, result))
            else:
                refused.append((record, result))
        failed = self.dead_letters.keep_all(refused)
        alerts = self._advance_all(by_symbol, failed)
        sent = self.outbox.publish(alerts) + (0 if failed else self.outbox.publish_waiting())
        counts = Counter(records=len(records), rejects=len(refused), signals=len(alerts), sent=sent, failed=len(failed))
        log.info(" ".join(f"{name}={count}" for name, count in counts.items()))
        return kinesis.answer(failed)

    def _advance_all(self, by_symbol: dict[str, Ticks], failed: list[Record]) -> list[Alert]:
        """Advance each symbol; the alerts. Where DynamoDB fails, the records that are left are added to `failed`."""
        alerts: list[Alert] = []
        left = dict(by_symbol)
        try:
            stored = self.states.read(by_symbol)
            for symbol, ticks in by_symbol.items():
                self._advance(stored[symbol], ticks, alerts)
                del left[symbol]
        except AWS_ERRORS as error:  # of a service that is away the others would only learn the same, after long waits
            check_infrastructure(error)
            log.warning("%d symbols, %s first, were not stored: %s", len(left), next(iter(left)), code_of(error))
            failed += [ticks[0][0] for ticks in left.values()]
        return alerts

    def _advance(self, stored: Stored, ticks: Ticks, alerts: list[Alert]) -> None:
        """Take the ticks of a symbol that its state does not know yet; another invocation may do the same meanwhile."""
        symbol = stored.state.symbol
        for attempt in range(TRIES):
            while left := [(record, tick) for record, tick in ticks if record.order > stored.last_sequence]:
                state = stored.state
                step = self._step(stored, left)
                for record, reject in step.refused:
                    self.dead_letters.keep(record, reject)
                new = self.states.commit(stored, state, step.last_sequence, step.alerts)
                if new is None:
                    break
                alerts += new
                stored = Stored(state, step.last_sequence, stored.version + 1)
            else:
                return
            self.states.sleep(0.02 * 2**attempt)
            stored = self.states.read([symbol])[symbol]
        raise StreamError(f"{symbol} was stored by others {TRIES} times meanwhile: one mapping a stream is enough.")

    def _step(self, stored: Stored, ticks: Ticks) -> _Step:
        """Take ticks into the state, up to as many alerts as one transaction stores."""
        state, last = stored.state, stored.last_sequence
        alerts: list[Alert] = []
        refused: list[tuple[Record, Reject]] = []
        for record, tick in ticks:
            last = record.order
            verdict = state.accept(tick)
            if verdict == "too late":
                refused.append((record, Reject(verdict, f"sequence {tick.sequence} of {tick.source}", record.body)))
            elif verdict == "new" and (signal := state.step(tick, record.place)):
                alerts.append(alert_of(signal, self.now()))
                if len(alerts) == MOST_ALERTS:
                    break
        return _Step(last, alerts, refused)
