"""The tables, topic, queue and bucket that the functions use, over any endpoint of AWS, and in memory."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from stockkit.aws import Session
from stockkit.cloud.lambdas.proof.doubles import S3, SNS, DynamoDB, Faults
from stockkit.market.ticks import SCALE, Tick, encode
from stockkit.stream.proof.event_source import Sent, kinesis_event

BUCKET = "letters"
NOW = 1_700_000_000_000_000
SECOND = 1_000_000
SHARD = "shardId-000000000000"
FIRST = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_000  # as Kinesis numbers records
WAITING = {
    "IndexName": "waiting",
    "KeySchema": [{"AttributeName": "waiting", "KeyType": "HASH"}, {"AttributeName": "due", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "ALL"},
}


def make_tables(dynamodb: Any) -> None:
    """The three tables, as docs/aws.md describes them."""
    for name, key in [("states", "symbol"), ("quotes", "symbol"), ("outbox", "id")]:
        kinds = {key: "S"} | ({"waiting": "S", "due": "N"} if name == "outbox" else {})
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": one, "AttributeType": kind} for one, kind in kinds.items()],
            **({"GlobalSecondaryIndexes": [WAITING]} if name == "outbox" else {}),
        )


def make_topic(sns: Any, sqs: Any) -> tuple[str, str]:
    """A topic's ARN and the address of a queue that gets its messages."""
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return topic, queue


def received(sqs: Any, queue: str) -> list[dict[str, Any]]:
    """The messages that wait in a queue, as SNS wrote them; they are taken out."""
    messages: list[dict[str, Any]] = []
    while part := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        messages += [json.loads(message["Body"]) for message in part]
        for message in part:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return messages


@dataclass
class Amazon:
    """AWS over a socket."""

    session: Session = field(default_factory=Session)

    def __post_init__(self) -> None:
        make_tables(self.client("dynamodb"))
        self.topic, self.queue = make_topic(self.client("sns"), self.client("sqs"))
        self.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    def client(self, service: str) -> Any:
        return self.session.client(service)

    def item(self, table: str, key: str) -> dict[str, Any]:
        name = "id" if table == "outbox" else "symbol"
        return self.client("dynamodb").get_item(TableName=table, Key={name: {"S": key}}, ConsistentRead=True)["Item"]

    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """Since the last time: the id of each message's attributes, and its body."""
        inbox = received(self.client("sqs"), self.queue)
        return [(one["MessageAttributes"]["id"]["Value"], json.loads(one["Message"])) for one in inbox]

    def letters(self) -> dict[str, dict[str, Any]]:
        s3 = self.client("s3")
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]
        return {key: json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys}

    def close(self) -> None:
        for name in ("states", "quotes", "outbox"):
            self.client("dynamodb").delete_table(TableName=name)
        self.client("sns").delete_topic(TopicArn=self.topic)
        self.client("sqs").delete_queue(QueueUrl=self.queue)
        for key in self.letters():
            self.client("s3").delete_object(Bucket=BUCKET, Key=key)
        self.client("s3").delete_bucket(Bucket=BUCKET)


class Memory:
    """The doubles of the proof."""

    topic = "arn:aws:sns:eu-central-1:123456789012:alerts"

    def __init__(self) -> None:
        faults = Faults(Random(0))
        self.clients: dict[str, Any] = {"dynamodb": DynamoDB(faults), "sns": SNS(faults), "s3": S3(faults)}

    def client(self, service: str) -> Any:
        return self.clients[service]

    def item(self, table: str, key: str) -> dict[str, Any]:
        return self.clients["dynamodb"].tables[table][key]

    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        inbox, self.clients["sns"].messages = self.clients["sns"].messages, []
        return [(one["MessageAttributes"]["id"]["StringValue"], json.loads(one["Message"])) for one in inbox]

    def letters(self) -> dict[str, dict[str, Any]]:
        return {key: json.loads(body) for key, body in self.clients["s3"].objects.items()}

    def close(self) -> None:
        pass


class Planted:
    """A client of boto3 that at the first call of a method does something else.

    Args:
        client: the real one. method: of it.
        instead: gets a function that makes the real call, and answers or raises what the caller gets.
    """

    def __init__(self, client: Any, method: str, instead: Any) -> None:
        self._client, self._method, self._instead = client, method, instead

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name != self._method or self._instead is None:
            return call

        def planted(**asked: Any) -> Any:
            instead, self._instead = self._instead, None
            return instead(lambda **changed: call(**(asked | changed))) if instead else call(**asked)

        return planted


def tick(symbol: str, price: float, number: int, **changed: Any) -> bytes:
    """A record: the tick of this number, a second after the one before it."""
    made = Tick(symbol, round(price * SCALE), 100, NOW + number * SECOND, "sim", number)
    return encode(made._replace(**changed))


def event(bodies: list[bytes], first: int = 0, arrival: int = NOW + 3_600 * SECOND) -> dict[str, Any]:
    """What Lambda hands over: records with these bodies, the first one's number being FIRST + first."""
    sent = [Sent(FIRST + first + place, "key", body, arrival) for place, body in enumerate(bodies)]
    return kinesis_event("ticks", SHARD, sent)


def key(place: int) -> str:
    """The name of the dead letter of a record."""
    return f"dead_letters/ticks/{SHARD}/{FIRST + place}.json"


def signal_id(place: int) -> str:
    """The id of the signal of a record, with averages of 1 and 2."""
    return f"tick:1/2:kinesis:ticks/{SHARD}:{FIRST + place}"


def body_of(letter: dict[str, Any]) -> bytes:
    return base64.b64decode(letter["body"])
