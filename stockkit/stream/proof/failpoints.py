"""The proof that `stockkit stream prove` runs: an end of the process before and after every storage call.

A seed makes records: two symbols in two partitions, some late, some twice, some out of order, some that are no ticks.
The pipeline reads them from a bus that outlives it; the process ends at one moment (and, in other runs, at two at
random), starts anew from what is stored, and goes on. Then the lake has each tick once, the bars equal those of all
ticks at once, the signals those of `batch_crossings`, and the outbox and the receiver have one alert each.

Ends at random moments prove little: they hardly ever hit the moment between two calls.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from stockkit.forecast.trading import batch_crossings
from stockkit.lake import frames
from stockkit.lake.tables import open_lake
from stockkit.market.signals import Rule
from stockkit.market.ticks import SCALE, Reject, Tick, encode, transform
from stockkit.stream import alerts, archive
from stockkit.stream.alerts.outbox import Alert
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.proof.event_source import Crash, Violation
from stockkit.stream.proof.lake_double import MemoryLake
from stockkit.stream.proof.points import Points, Watched
from stockkit.stream.store import Store

START = 1_695_303_000_000_000  # 2023-09-21 13:30 UTC
NOW = START + 86_400_000_000
SYMBOLS = ("AAPL", "META")
COUNT = 50  # ticks of a schedule
POLLED = 17  # records of a micro-batch
STORE = ("commit", "spooled", "drop_spooled", "drop_late_minutes", "sent")
RULE = Rule(2, 5)


@dataclass
class Receiver:
    """Takes alerts over a network: once it has one, it has it, whatever becomes of the sender."""

    ids: list[str] = field(default_factory=list)

    def send(self, waiting: Sequence[Alert]) -> None:
        """See `alerts.Notifier`."""
        self.ids += [alert.id for alert in waiting]


@dataclass
class World:
    """What outlasts a process, and the moments at which it may end.

    Attributes:
        path: of the store. bus, lake, receiver: as they are. points: count over all lives.
        pipeline, flush: what a life works with; the naive versions have others.
        resume: the last offset of a partition that a new life goes on from; the store's when None.
    """

    path: Path
    bus: Memory
    lake: Any
    receiver: Receiver
    points: Points
    pipeline: Callable[[Any, Step], Any] = Pipeline
    flush: Callable[[Any, Any], dict[str, int]] = archive.flush
    resume: Callable[[str], int | None] | None = None
    committed_first: bool = False

    def live(self) -> None:
        """One life of the process, from what is stored to the end of the records, or to a moment that ends it."""
        store = Store(self.path, durable=False)
        try:
            self._work(Watched(store, self.points, STORE))
        finally:
            store.close()

    def _work(self, store: Any) -> None:
        lake: Any = Watched(self.lake, self.points, ("commit",))
        notifiers = {"receiver": Watched(self.receiver, self.points, ("send",))}
        pipeline = self.pipeline(store, Step(RULE, channels=("receiver",), lateness=1_000_000))
        consumer = Watched(
            self.bus.consumer("prove", self.resume or store.last_offset), self.points, ("poll", "commit")
        )
        turn = 0
        while not consumer.finished():
            records = consumer.poll(POLLED, 0.0)
            if self.committed_first:
                consumer.commit({record.partition: record.offset for record in records})
            pipeline.take(records, NOW)
            alerts.deliver(store, notifiers, NOW)
            turn += 1
            if turn % 2 == 0:
                consumer.commit(self.flush(lake, store))
        pipeline.pass_time(NOW, consumer.lag(), at_end=True)
        consumer.commit(self.flush(lake, store))
        archive.correct(lake, store)
        alerts.deliver(store, notifiers, NOW)


def bodies(seed: int) -> list[Message]:
    """The records of a schedule."""
    rng, time = Random(seed), START
    prices, messages = dict.fromkeys(SYMBOLS, 100), list[Message]()
    sequences = Counter[str]()
    for _ in range(COUNT):
        symbol = rng.choice(SYMBOLS)
        time += rng.choice([100_000, 2_000_000, 20_000_000, 70_000_000])
        prices[symbol] += rng.randrange(-3, 4)
        sequences[symbol] += 1
        tick = Tick(symbol, prices[symbol] * SCALE // 10, rng.randrange(9), time, "proof", sequences[symbol])
        messages.append(Message(symbol, encode(tick)))
    for _ in range(8):
        start, end = sorted(rng.sample(range(len(messages)), 2))
        disturbance = rng.choice(["late", "twice", "poison"])
        if disturbance == "late":
            messages.insert(end, messages.pop(start))
        elif disturbance == "twice":
            messages.insert(end, messages[start])
        else:
            messages.insert(end, Message(messages[start].key, rng.choice([b"", b"{bad", b"[1]", b'{"v":1}'])))
    return messages


def make(folder: Path, seed: int, points: Points, lake: Any = None) -> World:
    """A world with the records of a seed on its bus."""
    bus = Memory(2, name=f"seed{seed}")
    producer = bus.producer()
    producer.send(bodies(seed))
    producer.close()
    return World(folder / "stream.sqlite", bus, lake or MemoryLake(), Receiver(), points)


def run(world: World, lives: int = 10) -> World:
    """Live until a life comes to its end by itself."""
    for _ in range(lives):
        try:
            world.live()
            return world
        except Crash:
            continue
    raise Violation(f"the process did not come to an end in {lives} lives")


def check(world: World, seed: int) -> None:
    """Compare what is stored with what has to be.

    Raises:
        Violation: names what differs, the seed and the moments.
    """
    ticks, rejects = _expected(world)
    where = f"seed {seed}, ends at {sorted(world.points.ends)}"
    rows = _table(world.lake, "ticks")
    keys = ["symbol", "sequence", "number"]
    _same(where, "ticks", rows[keys], ticks[keys])
    signals, expected = _table(world.lake, "signals"), batch_crossings.of_ticks(ticks, RULE)
    columns = ["symbol", "number", "side", "price", "fast", "slow"]
    _same(where, "signals", signals[columns], expected[columns])
    bars = _table(world.lake, "bars_1m").sort_values(["symbol", "minute"])
    _same(where, "bars", bars[["symbol", "minute", "open", "high", "low", "close", "volume", "count"]], _bars(ticks))
    letters = _table(world.lake, "dead_letters")
    _same(where, "dead letters", letters[["reason"]], rejects)
    store = Store(world.path)
    ids = sorted(signals["id"])
    try:
        sent = store.alert_counts().get("sent", 0)
        outbox = sorted(alert for alert in store.alert_ids())
        if outbox != ids or sent != len(ids) or store.spooled(1) or store.late_minutes():
            raise Violation(f"{where}: the outbox has {len(outbox)} alerts, {sent} sent, of {len(ids)} signals")
    finally:
        store.close()
    received = Counter(world.receiver.ids)
    if sorted(received) != ids or sum(received.values()) > len(ids) * (1 + len(world.points.ends)):
        raise Violation(f"{where}: the receiver has {sum(received.values())} alerts of {len(ids)} signals")


def _expected(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ticks in their symbols' order of arrival, first ones of duplicates, and the reasons of the rejects."""
    number = int(world.path.parent.name.rpartition("-")[2])
    seen: set[tuple[str, int]] = set()
    ticks, reasons, numbers = list[tuple[Any, ...]](), list[str](), Counter[str]()
    for result in transform([message.body for message in bodies(number)], now=NOW):
        if isinstance(result, Reject):
            reasons.append(result.reason)
        elif (result.symbol, result.sequence) not in seen:
            seen.add((result.symbol, result.sequence))
            numbers[result.symbol] += 1
            ticks.append((*result, numbers[result.symbol]))
    frame = pd.DataFrame(ticks, columns=[*Tick._fields, "number"])
    frame["price"] /= SCALE
    frame["event_time"] = pd.to_datetime(frame["event_time"], unit="us", utc=True)
    return frame, pd.DataFrame({"reason": reasons})


def _bars(ticks: pd.DataFrame) -> pd.DataFrame:
    ordered = ticks.sort_values(["symbol", "event_time", "number"])
    ordered = ordered.assign(minute=ordered["event_time"].dt.floor("min"))
    return ordered.groupby(["symbol", "minute"], as_index=False).agg(
        open=("price", "first"), high=("price", "max"), low=("price", "min"), close=("price", "last"),
        volume=("size", "sum"), count=("size", "size"),
    )  # fmt: skip


def _table(lake: Any, name: str) -> pd.DataFrame:
    """The rows of a table; of none an empty frame."""
    from stockkit.lake.contracts import TABLES

    if lake.version(name) is None:
        return pd.DataFrame(columns=list(TABLES[name].contract))
    return frames.to_pandas(lake.delta(name).to_pyarrow_dataset().to_table())


def _same(where: str, what: str, rows: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Raise where two frames do not have the same rows, in any order."""
    one, other = (sorted(map(tuple, frame.to_numpy(dtype=object).tolist())) for frame in (rows, expected))
    if one != other:
        raise Violation(f"{where}: {len(one)} rows of {what} where {len(other)} have to be, or others")


def schedules(seed: int) -> Iterator[tuple[int, ...]]:
    """The moments at which the process ends: none, each that there is, and pairs at random."""
    yield ()
    count = _moments(seed)
    yield from ((moment,) for moment in range(count))
    rng = Random(seed)
    yield from (tuple(rng.sample(range(count), 2)) for _ in range(10))


def _moments(seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return run(make(_folder(folder, seed), seed, Points())).points.passed


def _folder(parent: str, seed: int) -> Path:
    folder = Path(parent) / f"seed-{seed}"
    folder.mkdir()
    return folder


def prove(
    seed: int,
    change: Callable[[World], World] = lambda world: world,
    lake: Callable[[Path], Any] | None = None,
    *,
    one_in: int = 1,
) -> int:
    """Run the schedules of a seed; return how many there were.

    Args:
        seed: of the records. change: plants a fault in a world; none by default.
        lake: makes a lake below a folder; in memory by default.
        one_in: how many of the schedules are run.

    Raises:
        Violation: at the first one.
    """
    count = 0
    for ends in itertools.islice(schedules(seed), 0, None, one_in):
        with tempfile.TemporaryDirectory() as parent:
            folder = _folder(parent, seed)
            world = change(make(folder, seed, Points(ends), lake and lake(folder)))
            check(run(world), seed)
        count += 1
    return count


def prove_on_disk(seed: int, *, one_in: int = 1) -> int:
    """As `prove`, with Delta tables on the disk."""
    return prove(seed, lake=lambda folder: open_lake(str(folder / "lake"), root=folder), one_in=one_in)
