"""The zip itself behind a Kinesis mapping: MiniStack runs it as Lambda does, and has the tables, topic and bucket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from stockkit.cloud.lambdas import package
from stockkit.cloud.lambdas.proof import scenes
from stockkit.market.signals import Rule
from stockkit.market.ticks import SCALE, Tick, encode
from tests import aws
from tests.cloud.lambdas.services import BUCKET, SECOND, Amazon, body_of

START = time.time_ns() // 1_000 - 3_600 * SECOND
SYMBOLS = ("AAPL", "META", "ON")
ROLE = "arn:aws:iam::000000000000:role/function"
POISON = b"\x00no tick"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    """The tables, a stream of two shards, and both functions behind it."""
    with aws.ministack(tmp_path_factory.mktemp("ministack")) as address, pytest.MonkeyPatch.context() as patch:
        aws.environment(address, patch)
        made = Amazon()
        kinesis = made.client("kinesis")
        kinesis.create_stream(StreamName="ticks", ShardCount=2)
        arn = kinesis.describe_stream(StreamName="ticks")["StreamDescription"]["StreamARN"]
        shared = {"DEAD_LETTERS": BUCKET, "QUOTES_TABLE": "quotes", "STATES_TABLE": "states", "OUTBOX_TABLE": "outbox"}
        shared |= {"TOPIC_ARN": made.topic, "FAST": "2", "SLOW": "3", "SYMBOLS": ",".join(SYMBOLS)}
        for name in ("transform", "trend"):
            deploy(made.client("lambda"), name, arn, shared)
        yield made


def deploy(client: Any, name: str, stream: str, variables: dict[str, str]) -> None:
    """A function, and its mapping as docs/aws.md has it."""
    client.create_function(
        FunctionName=name, Runtime="python3.13", Role=ROLE, Handler=f"stockkit.cloud.lambdas.{name}.handler",
        Code={"ZipFile": package.zipped()}, Environment={"Variables": variables}, Timeout=60, MemorySize=256,
    )  # fmt: skip
    client.create_event_source_mapping(
        EventSourceArn=stream, FunctionName=name, StartingPosition="TRIM_HORIZON", BatchSize=40,
        FunctionResponseTypes=["ReportBatchItemFailures"], BisectBatchOnFunctionError=True, ParallelizationFactor=1,
    )  # fmt: skip


def ticks() -> list[Tick]:
    """Two hundred ticks of three symbols, in order."""
    made = []
    for number in range(200):
        symbol = SYMBOLS[number % 7 % 3]
        price = (100 + (number * number) % 13) * SCALE
        made.append(Tick(symbol, price, 1, START + number * SECOND, "test", number))
    return made


def put(kinesis: Any, sent: list[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """Put records with their keys on the stream; the shard and sequence number of each."""
    records = [{"PartitionKey": key, "Data": body} for key, body in sent]
    answer = kinesis.put_records(StreamName="ticks", Records=records)
    assert answer["FailedRecordCount"] == 0
    return [(one["ShardId"], one["SequenceNumber"]) for one in answer["Records"]]


def until(true: Any) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("not so within a minute")


def last_sequences(stack: Amazon) -> dict[str, str]:
    items = stack.client("dynamodb").scan(TableName="states", ConsistentRead=True)["Items"]
    return {item["symbol"]["S"]: item["last_sequence"]["S"] for item in items}


def quotes(stack: Amazon) -> dict[str, tuple[int, int]]:
    items = stack.client("dynamodb").scan(TableName="quotes", ConsistentRead=True)["Items"]
    return {item["symbol"]["S"]: (int(item["price"]["N"]), int(item["event_time"]["N"])) for item in items}


def test_ticks_become_quotes_and_exactly_one_alert_each_and_a_poison_record_a_dead_letter(stack):
    made = ticks()
    sent = [(tick.symbol, encode(tick)) for tick in made]
    sent = [*sent[:100], ("AAPL", POISON), *sent[100:], *sent[50:60]]  # ten come twice
    places = put(stack.client("kinesis"), sent)
    last = {symbol: number.zfill(56) for (symbol, body), (_, number) in zip(sent, places, strict=True)
            if body != POISON}  # fmt: skip
    until(lambda: last_sequences(stack) == last)

    rows = [(*tick, number, shard) for tick, (shard, number) in zip(made, places[:100] + places[101:201], strict=True)]
    columns = ["symbol", "price", "size", "event_time", "source", "sequence", "place", "shard"]
    expected = scenes.signals(pd.DataFrame(rows, columns=columns), Rule(2, 3))
    ids = [f"tick:2/3:kinesis:ticks/{row.shard}:{row.place.zfill(20)}" for row in expected.itertuples()]
    sides = dict(zip(ids, expected["side"], strict=True))
    messages: list[tuple[str, dict[str, Any]]] = []
    until(lambda: messages.extend(stack.messages()) or len(messages) >= len(ids))
    assert len(ids) > 30
    assert sorted(name for name, _ in messages) == sorted(ids)
    assert {body["id"]: body["side"] for _, body in messages} == sides

    shard, number = places[100]
    key = f"dead_letters/ticks/{shard}/{number.zfill(56)}.json"
    until(lambda: key in stack.letters())
    assert list(stack.letters()) == [key]
    assert body_of(stack.letters()[key]) == POISON
    newest = {tick.symbol: (tick.price, tick.event_time) for tick in made}
    until(lambda: quotes(stack) == newest)
    outbox = stack.client("dynamodb").scan(TableName="outbox", ConsistentRead=True)["Items"]
    assert {item["id"]["S"] for item in outbox if "sent_at" in item} == set(ids)
    assert stack.messages() == []


def test_an_older_tick_changes_no_quote_and_the_schedule_finds_nothing_to_send(stack):
    before, moment = quotes(stack), START + 1_000 * SECOND
    late, marker = Tick("ON", SCALE, 1, START, "late", 1), Tick("AAPL", SCALE, 1, moment, "marker", 1)
    (_, (_, number)) = put(stack.client("kinesis"), [("ON", encode(late)), ("ON", encode(marker))])  # of one shard
    until(lambda: quotes(stack)["AAPL"] == (SCALE, moment))
    assert quotes(stack)["ON"] == before["ON"]
    until(lambda: last_sequences(stack)["AAPL"] == number.zfill(56))
    client = stack.client("lambda")
    client.update_function_configuration(FunctionName="trend", Handler="stockkit.cloud.lambdas.trend.publish")
    answer = client.invoke(FunctionName="trend", Payload=b"{}")
    assert answer["Payload"].read() == b'{"sent": 0}'
