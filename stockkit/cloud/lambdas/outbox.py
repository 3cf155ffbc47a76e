"""Alerts in DynamoDB until SNS has taken them: at least once, under an id that stays the same.

An alert is written in the transaction that stores its state, leased to the invocation that wrote it. Where that one
ends before the alert is marked as sent, the lease runs out and a later invocation, or the schedule, sends it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from stockkit.cloud.lambdas.failures import AWS_ERRORS, check_infrastructure, code_of, is_taken
from stockkit.market.signals import Signal, alert_body

LEASE = 60_000_000  # microseconds; longer than an invocation takes to send what it has
INDEX = "waiting"  # the table's sparse index: partition key `waiting`, sort key `due`
KEPT = 30 * 86_400  # seconds after which the table's time to live may delete what was sent
PART = 10  # messages of one PublishBatch
SWEPT = 100  # alerts that wait, sent by one invocation
log = logging.getLogger(__name__)


class Alert(NamedTuple):
    """A message: the signal's id and symbol, its body (JSON), and when it was made (µs since 1970 UTC)."""

    id: str
    symbol: str
    body: str
    made_at: int


def alert_of(signal: Signal, made_at: int) -> Alert:
    """The message of a signal."""
    return Alert(signal.id, signal.symbol, json.dumps(alert_body(signal)), made_at)


@dataclass(frozen=True)
class Outbox:
    """The table of alerts, and the topic that they go to.

    Attributes:
        dynamodb, sns: boto3's clients. table, topic: names. now: microseconds since 1970 UTC.
    """

    dynamodb: Any
    sns: Any
    table: str
    topic: str
    now: Callable[[], int]

    def put(self, alert: Alert) -> dict[str, Any]:
        """The part of a transaction that writes an alert, unless it is there."""
        item = {
            "id": {"S": alert.id},
            "symbol": {"S": alert.symbol},
            "body": {"S": alert.body},
            "made_at": {"N": str(alert.made_at)},
            "waiting": {"S": "yes"},
            "due": {"N": str(alert.made_at + LEASE)},
        }
        return {"Put": {"TableName": self.table, "Item": item, "ConditionExpression": "attribute_not_exists(id)"}}

    def publish(self, alerts: Sequence[Alert]) -> int:
        """Send alerts that are leased to this invocation; how many went out. What fails waits in the table."""
        count = 0
        try:
            for start in range(0, len(alerts), PART):
                sent = self._send(alerts[start : start + PART])
                count += len(sent)
                for alert in sent:
                    self._mark(alert)
        except AWS_ERRORS as error:
            check_infrastructure(error)
            log.warning("alerts wait in %s: %s", self.table, code_of(error))
        return count

    def publish_waiting(self) -> int:
        """Send alerts whose lease has run out; how many went out."""
        try:
            alerts = [alert for item in self._waiting() if (alert := self._lease(item))]
        except AWS_ERRORS as error:
            check_infrastructure(error)
            log.warning("what waits in %s was not read: %s", self.table, code_of(error))
            return 0
        return self.publish(alerts)

    def _waiting(self) -> list[dict[str, Any]]:
        answer = self.dynamodb.query(
            TableName=self.table,
            IndexName=INDEX,
            KeyConditionExpression="waiting = :yes AND due < :now",
            ExpressionAttributeValues={":yes": {"S": "yes"}, ":now": {"N": str(self.now())}},
            Limit=SWEPT,
        )
        return list(answer["Items"])

    def _lease(self, item: dict[str, Any]) -> Alert | None:
        """The alert where this invocation is the one that takes it."""
        try:
            self.dynamodb.update_item(
                TableName=self.table,
                Key={"id": item["id"]},
                UpdateExpression="SET due = :later",
                ConditionExpression="waiting = :yes AND due = :due",
                ExpressionAttributeValues={
                    ":later": {"N": str(self.now() + LEASE)}, ":yes": {"S": "yes"}, ":due": item["due"],
                },
            )  # fmt: skip
        except ClientError as error:
            if is_taken(error):
                return None
            raise
        return Alert(item["id"]["S"], item["symbol"]["S"], item["body"]["S"], int(item["made_at"]["N"]))

    def _send(self, alerts: Sequence[Alert]) -> list[Alert]:
        """The alerts that SNS has taken."""
        entries = [_entry(place, alert) for place, alert in enumerate(alerts)]
        answer = self.sns.publish_batch(TopicArn=self.topic, PublishBatchRequestEntries=entries)
        for failure in answer.get("Failed", ()):
            log.warning("alert %s waits: %s", alerts[int(failure["Id"])].id, failure.get("Code"))
        return [alerts[int(taken["Id"])] for taken in answer.get("Successful", ())]

    def _mark(self, alert: Alert) -> None:
        now = self.now()
        try:
            self.dynamodb.update_item(
                TableName=self.table,
                Key={"id": {"S": alert.id}},
                UpdateExpression="SET sent_at = :now, expires = :expires REMOVE waiting, due",
                ConditionExpression="attribute_exists(waiting)",
                ExpressionAttributeValues={
                    ":now": {"N": str(now)}, ":expires": {"N": str(now // 1_000_000 + KEPT)},
                },
            )  # fmt: skip
        except ClientError as error:
            if not is_taken(error):  # sent by two, and marked by the other one
                raise


def _entry(place: int, alert: Alert) -> dict[str, Any]:
    attributes = {
        "id": {"DataType": "String", "StringValue": alert.id},
        "symbol": {"DataType": "String", "StringValue": alert.symbol},
    }
    return {"Id": str(place), "Message": alert.body, "MessageAttributes": attributes}
