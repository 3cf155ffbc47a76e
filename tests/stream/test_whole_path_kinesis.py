"""From the simulator over a Kinesis stream to the lake, while puts are refused in part and a shard is split."""

from __future__ import annotations

import threading
import time
import zlib
from typing import Any

import stockkit
from stockkit.aws import Session
from stockkit.stream import setup
from stockkit.stream.bus.kinesis import KinesisConsumer, KinesisProducer
from stockkit.stream.bus.protocol import Message, Start
from stockkit.stream.pipeline import Step
from stockkit.stream.producers import Batch, sending
from stockkit.stream.reports import Report
from stockkit.stream.service import Pace, Service
from stockkit.stream.store import Store
from tests.conftest import ROOT
from tests.stream.running import assert_signals_of_ticks, assert_ticks_once, simulated, wait_for
from tests.stream.shards import Stream


class Throttled:
    """A client of a stream whose shards are written to too fast: every second call takes some of its records alone."""

    def __init__(self, client: Any) -> None:
        self.describe_stream_summary = client.describe_stream_summary
        self._client, self.calls, self.refused = client, 0, 0

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls += 1
        taken = [self.calls % 2 == 0 or number % 3 == 0 for number in range(len(Records))]
        self.refused += taken.count(False)
        sent = [record for record, goes in zip(Records, taken, strict=True) if goes]
        answers = iter(self._client.put_records(StreamName=StreamName, Records=sent)["Records"])
        refusal = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"}
        return {"Records": [next(answers) if goes else refusal for goes in taken]}


class Resharded:
    """A stream that splits and merges as AWS documents it, by a clock that goes on: moto's parents do not end."""

    now = property(lambda self: time.monotonic())

    def __init__(self) -> None:
        self.stream = Stream(self, "shardId-0", "shardId-1")

    def put(self, messages: list[Message], shards: list[str]) -> None:
        for key, body in messages:
            self.stream.put(shards[zlib.crc32(key.encode()) % len(shards)], body)

    def consumer(self, group: str, start: Start) -> KinesisConsumer:
        return KinesisConsumer("ticks", self.stream, start)


def test_shards_that_split_and_merge_while_a_service_ends_and_another_goes_on_give_each_tick_once(tmp_path):
    bus, messages, lake = Resharded(), simulated(100), stockkit.open_lake(str(tmp_path / "lake"))
    file = Store(tmp_path / "stream.sqlite")
    third = len(messages) // 3
    parts = [messages[:third], messages[third : 2 * third], messages[2 * third :]]
    bus.put(parts[0], ["shardId-0", "shardId-1"])
    for part, parents, children, shards in [
        (parts[1], ["shardId-0"], ["shardId-2", "shardId-3"], ["shardId-2", "shardId-1", "shardId-3", "shardId-1"]),
        (parts[2], ["shardId-2", "shardId-3"], ["shardId-4"], ["shardId-4", "shardId-1"]),
    ]:
        service = Service(lake, lambda: Store(file.path), bus, Step(channels=["none"]), pace=Pace(flush=0.2))
        thread = threading.Thread(target=service.run)
        thread.start()
        before = file.counts()["records"]
        wait_for(lambda before=before: file.counts()["records"] > before or before > 0, lambda: str(file.counts()))
        bus.stream.reshard(parents, *children)
        bus.put(part, shards)
        sent = sum(map(len, bus.stream.records.values()))
        wait_for(lambda sent=sent: file.counts()["records"] == sent, lambda: str(file.counts()))
        service.stop.set()
        thread.join()
    assert lake.read("ticks")["partition"].nunique() == 5
    assert_ticks_once(lake, messages)
    assert_signals_of_ticks(lake)
    file.close()


def test_puts_refused_in_part_and_a_shard_that_is_split_lose_nothing(kinesis, tmp_path, caplog):
    messages = simulated(100)
    parameters = setup.Parameters(lake=str(tmp_path / "lake"), bus=kinesis, producer="", flush=0.5)
    service = setup.open_service(parameters, root=ROOT)
    reports: list[Report] = []
    thread = threading.Thread(target=service.run, args=(reports.append,))
    thread.start()
    stream, client = kinesis.partition(":")[2], Session().client("kinesis")
    throttled = Throttled(client)
    producer = KinesisProducer(stream, throttled)

    def send_and_wait(part: list[Message], ticks: int) -> None:
        assert sending.send([Batch([None] * len(part), part)], producer).taken == len(part)
        wait_for(lambda: bool(reports) and reports[-1].counts["ticks"] >= ticks, lambda: str(reports[-1:]))

    half = len(messages) // 2
    send_and_wait(messages[:half], 1)
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        bounds = [int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey")]
        middle = str(sum(bounds) // 2)
        client.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=middle)
    send_and_wait(messages[half:], 600)
    service.stop.set()
    thread.join()
    assert throttled.refused > 20
    file, lake = Store(tmp_path / "lake" / "stream.sqlite"), stockkit.open_lake(str(tmp_path / "lake"))
    assert_ticks_once(lake, messages)
    assert_signals_of_ticks(lake)
    assert sorted(file.alert_ids()) == sorted(lake.read("signals")["id"])
    assert [line for line in caplog.messages if "trouble" in line] == []
    file.close()
