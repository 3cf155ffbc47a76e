"""The symbols' states in DynamoDB: one transaction stores a state, its quote, and the alerts that came of it.

An item is written only over the version that it was worked out from, and only by a later record. So a batch that comes
again, or an invocation that runs beside another one, changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from stockkit.aws import batch_get
from stockkit.cloud.lambdas.failures import code_of
from stockkit.cloud.lambdas.outbox import Alert, Outbox
from stockkit.market.signals import Rule, SymbolState

MOST_ALERTS = 99  # of a transaction, which has 100 items with the state


class Stored(NamedTuple):
    """A symbol as it is stored: its state, the last record that went into it ("" for none), and how often it was."""

    state: SymbolState
    last_sequence: str
    version: int


@dataclass(frozen=True)
class States:
    """The table of states.

    Attributes:
        client: boto3's, of DynamoDB. table: its name. rule: of the averages.
        outbox: the table beside it. sleep: waits some seconds.
    """

    client: Any
    table: str
    rule: Rule
    outbox: Outbox
    sleep: Callable[[float], None] = time.sleep

    def read(self, symbols: Iterable[str]) -> dict[str, Stored]:
        """What is stored of each symbol at this moment; a fresh state for one that is new.

        Raises:
            ClientError, BotoCoreError: DynamoDB cannot be reached. StreamError: it answers in part, again and again.
        """
        stored = {symbol: Stored(SymbolState(symbol, self.rule), "", 0) for symbol in symbols}
        for item in batch_get(self.client, self.table, list(stored), sleep=self.sleep):
            symbol = item["symbol"]["S"]
            state = SymbolState.load(symbol, item["state"]["S"], self.rule)
            stored[symbol] = Stored(state, item["last_sequence"]["S"], int(item["version"]["N"]))
        return stored

    def commit(
        self, before: Stored, after: SymbolState, last_sequence: str, alerts: Sequence[Alert]
    ) -> list[Alert] | None:
        """Store a state and at most `MOST_ALERTS` alerts, all or nothing.

        Returns:
            The alerts that are new in the outbox; one that lies there already stays as it is. None where another
            invocation was faster, and nothing was stored.

        Raises:
            ClientError, BotoCoreError: it was not stored, or the answer was lost: reading anew tells.
        """
        state, new = self._put(before, after, last_sequence), list(alerts)
        while True:
            puts = [state, *map(self.outbox.put, new)]
            try:
                self.client.transact_write_items(TransactItems=puts)  # boto3 adds a token to its retries
                return new
            except ClientError as error:
                refused = _refused(error)
            if refused is None or 0 in refused:
                return None
            new = [alert for place, alert in enumerate(new, start=1) if place not in refused]

    def _put(self, before: Stored, after: SymbolState, last_sequence: str) -> dict[str, Any]:
        item = {
            "symbol": {"S": after.symbol},
            "state": {"S": after.dump()},
            "last_sequence": {"S": last_sequence},
            "version": {"N": str(before.version + 1)},
            "number": {"N": str(after.number)},
        }
        if after.quote is not None:
            quote = after.quote
            item |= {name: {"N": str(getattr(quote, name))} for name in ("price", "size", "event_time")}
        put: dict[str, Any] = {"TableName": self.table, "Item": item}
        if before.version == 0:
            return {"Put": put | {"ConditionExpression": "attribute_not_exists(last_sequence)"}}
        condition = "last_sequence < :sequence AND version = :version"
        values = {":sequence": {"S": last_sequence}, ":version": {"N": str(before.version)}}
        return {"Put": put | {"ConditionExpression": condition, "ExpressionAttributeValues": values}}


def _refused(error: ClientError) -> set[int] | None:
    """The places of a transaction's items whose condition does not hold; None where two of them met.

    Raises:
        ClientError: it failed for another reason.
    """
    if code_of(error) != "TransactionCanceledException":
        raise error
    codes = [reason.get("Code") for reason in error.response.get("CancellationReasons", ())]
    refused = {place for place, code in enumerate(codes) if code == "ConditionalCheckFailed"}
    if refused:
        return refused
    if "TransactionConflict" in codes:
        return None
    raise error
