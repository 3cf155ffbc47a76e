"""DynamoDB, SNS and S3 in memory, as far as the functions use them, with a fault at any call by a seeded plan.

The tests hold the same calls against a server of AWS's interface, so that the doubles refuse what it refuses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from stockkit.stream.proof.event_source import Crash

Item = dict[str, dict[str, str]]
KEYS = {"states": "symbol", "quotes": "symbol", "outbox": "id"}
FAULTS = ("crash before", "crash after", "refused", "lost", "late")


class Faults:
    """What goes wrong at a call.

    A process ends before or after the service acted; the service refuses; it acts and the answer is lost; the caller
    gets an error, or ends, and the service acts later, between two calls of others.

    Args:
        rng: draws the faults. rate: the share of calls with one.
        busy: the share of calls before which another invocation runs, by `beside`.
    """

    def __init__(self, rng: Random, rate: float = 0.0, busy: float = 0.0) -> None:
        self.rng, self.rate, self.busy = rng, rate, busy
        self.beside: Callable[[], None] | None = None
        self.counts: Counter[str] = Counter()
        self._late: list[Callable[[], Any]] = []
        self._depth = 0

    def call(self, act: Callable[[], Any]) -> Any:
        """Act, or what the plan says."""
        self.counts["calls"] += 1
        self._others()
        if self.rng.random() >= self.rate:
            return act()
        fault = self.rng.choice(FAULTS)
        self.counts[fault] += 1
        if fault == "refused":
            raise refusal("ThrottlingException")
        if fault == "late":
            self._late.append(act)
        elif fault in ("crash after", "lost"):
            act()
        if fault.startswith("crash") or (fault == "late" and self.rng.random() < 0.5):
            raise Crash(fault)
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1")

    def _others(self) -> None:
        """Requests on their way arrive, and another invocation runs, both by chance."""
        while self._late and self.rng.random() < 0.5:
            self._arrive()
        if self.beside and self._depth == 0 and self.rng.random() < self.busy:
            self.counts["beside"] += 1
            self._depth += 1
            try:
                self.beside()
            finally:
                self._depth -= 1

    def settle(self) -> None:
        """All requests that are on their way arrive; nothing goes wrong from here on."""
        self.rate = self.busy = 0.0
        while self._late:
            self._arrive()

    def _arrive(self) -> None:
        act = self._late.pop(self.rng.randrange(len(self._late)))
        try:
            act()
        except ClientError:  # refused, and nobody waits for the answer
            self.counts["late and refused"] += 1


class DynamoDB:
    """Tables with conditional writes and transactions.

    Args:
        faults: at each call. conditions, atomic: false plants a database that ignores conditions, or that can stop
            in the middle of a transaction: the proof has to fail with it.
    """

    def __init__(self, faults: Faults, *, conditions: bool = True, atomic: bool = True) -> None:
        self.tables: dict[str, dict[str, Item]] = {name: {} for name in KEYS}
        self.inserted: Counter[str] = Counter()
        self._faults, self._conditions, self._atomic = faults, conditions, atomic

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        """Items by key; now and then some keys are left unprocessed."""

        def act() -> dict[str, Any]:
            ((table, asked),) = RequestItems.items()
            keys = asked["Keys"]
            rng = self._faults.rng
            count = rng.randint(1, len(keys)) if keys and rng.random() < self._faults.rate else len(keys)
            matches = [self.tables[table].get(key["symbol"]["S"]) for key in keys[:count]]
            left = {table: {**asked, "Keys": keys[count:]}} if count < len(keys) else {}
            return {"Responses": {table: [dict(item) for item in matches if item]}, "UnprocessedKeys": left}

        return self._faults.call(act)

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> dict[str, Any]:
        """All puts or none."""

        def act() -> dict[str, Any]:
            puts = [part["Put"] for part in TransactItems]
            refused = [not self._allows(put["TableName"], put["Item"], put) for put in puts]
            if any(refused):
                codes = ["ConditionalCheckFailed" if one else "None" for one in refused]
                raise refusal("TransactionCanceledException", codes)
            for put in puts:
                if not self._atomic and self._faults.rng.random() < self._faults.rate:
                    raise Crash("in the middle of a transaction")
                self._write(put["TableName"], put["Item"])
            return {}

        return self._faults.call(act)

    def put_item(self, *, TableName: str, Item: Item, **asked: Any) -> dict[str, Any]:
        """Write an item where the condition holds."""

        def act() -> dict[str, Any]:
            if not self._allows(TableName, Item, asked):
                raise refusal("ConditionalCheckFailedException")
            self._write(TableName, Item)
            return {}

        return self._faults.call(act)

    def update_item(self, *, TableName: str, Key: Item, UpdateExpression: str, **asked: Any) -> dict[str, Any]:
        """Set and remove attributes where the condition holds."""

        def act() -> dict[str, Any]:
            if not self._allows(TableName, Key, asked):
                raise refusal("ConditionalCheckFailedException")
            item = self.tables[TableName].setdefault(Key[KEYS[TableName]]["S"], dict(Key))
            setting, _, removing = UpdateExpression.removeprefix("SET ").partition(" REMOVE ")
            for part in setting.split(", "):
                name, value = part.split(" = ")
                item[name] = asked["ExpressionAttributeValues"][value]
            for name in removing.split(", ") if removing else ():
                item.pop(name, None)
            return {}

        return self._faults.call(act)

    def query(self, *, TableName: str, Limit: int, **asked: Any) -> dict[str, Any]:
        """The items of an index that the condition of its keys names, ascending by `due`."""

        def act() -> dict[str, Any]:
            condition, values = asked["KeyConditionExpression"], asked["ExpressionAttributeValues"]
            matches = [dict(item) for item in self.tables[TableName].values() if holds(condition, item, values)]
            return {"Items": sorted(matches, key=lambda item: int(item["due"]["N"]))[:Limit]}

        return self._faults.call(act)

    def _allows(self, table: str, item: Item, asked: Mapping[str, Any]) -> bool:
        condition = asked.get("ConditionExpression", "")
        for alias, name in asked.get("ExpressionAttributeNames", {}).items():
            condition = condition.replace(alias, name)
        there = self.tables[table].get(item[KEYS[table]]["S"], {})
        return not self._conditions or holds(condition, there, asked.get("ExpressionAttributeValues", {}))

    def _write(self, table: str, item: Item) -> None:
        key = item[KEYS[table]]["S"]
        self.tables[table][key] = dict(item)
        if table == "outbox":
            self.inserted[key] += 1


def holds(condition: str, item: Item, values: Mapping[str, dict[str, str]]) -> bool:
    """Whether a condition holds for an item: comparisons and attribute_(not_)exists, joined by AND and OR."""
    if not condition:
        return True

    def there(match: re.Match[str]) -> str:
        return str((match[2] in item) is (match[1] == "attribute_exists"))

    def compared(match: re.Match[str]) -> str:
        if match[1] not in item:
            return "False"
        left, right = _value(item[match[1]]), _value(values[match[3]])
        return str(left < right if match[2] == "<" else left == right)

    condition = re.sub(r"(attribute_\w+)\((\w+)\)", there, condition)
    condition = re.sub(r"(\w+) ([<=]) (:\w+)", compared, condition)
    groups = condition.replace("(", "").replace(")", "").split(" OR ")  # AND binds closer, with and without brackets
    return any(set(group.split(" AND ")) == {"True"} for group in groups)


def _value(typed: Mapping[str, str]) -> Any:
    ((kind, value),) = typed.items()
    return int(value) if kind == "N" else value


class SNS:
    """A topic that keeps the messages it took, and refuses some of a batch."""

    def __init__(self, faults: Faults) -> None:
        self.messages: list[dict[str, Any]] = []
        self._faults = faults

    def publish_batch(self, *, TopicArn: str, PublishBatchRequestEntries: list[dict[str, Any]]) -> dict[str, Any]:
        """Take messages, or some of them."""

        def act() -> dict[str, Any]:
            answer: dict[str, Any] = {"Successful": [], "Failed": []}
            for entry in PublishBatchRequestEntries:
                taken = self._faults.rng.random() >= self._faults.rate
                answer["Successful" if taken else "Failed"].append({"Id": entry["Id"]})
                if taken:
                    self.messages.append(entry)
            return answer

        return self._faults.call(act)


class S3:
    """A bucket that stores an object only where none of its name is."""

    def __init__(self, faults: Faults) -> None:
        self.objects: dict[str, bytes] = {}
        self._faults = faults

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str, **_: Any) -> dict[str, Any]:
        """Store an object."""

        def act() -> dict[str, Any]:
            if Key in self.objects:
                raise refusal("PreconditionFailed")
            self.objects[Key] = Body
            return {}

        return self._faults.call(act)


def refusal(code: str, reasons: list[str] | None = None) -> ClientError:
    """What boto3 raises where a service answers with this code."""
    answer: dict[str, Any] = {"Error": {"Code": code, "Message": "planted"}}
    if reasons is not None:
        answer["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(answer, "planted")  # type: ignore[arg-type]
