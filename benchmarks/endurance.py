"""Memory over a long stream: `python -m benchmarks.endurance SYMBOLS TICKS`, as in 5000 2000000.

The whole path in one process, producer to lake, as fast as it goes; a line at each tenth: resident memory, microseconds
of CPU a tick (the producer's share told at the end), the store's file with its log, the records that wait in the bus.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from stockkit.lake.tables import open_lake
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.pipeline import Step
from stockkit.stream.producers.batch import encode_all
from stockkit.stream.reports import Report
from stockkit.stream.service import Service
from stockkit.stream.store import Store

START = 1_695_303_000_000_000  # 2023-09-21 13:30 UTC, in microseconds
PAUSE = 2_340  # microseconds between two ticks: ten millions in a session of 6.5 hours
AT_ONCE = 1_000
WAITING = 20_000  # records in the bus before the producer has to wait
TWICE = MISSING = 0.002  # shares of ticks that come twice, and that never come


def messages(symbols: int, count: int) -> Iterator[list[Message]]:
    """Seeded ticks of symbols in turn at random, some twice, some missing, so that sequences have gaps."""
    rng = random.Random(1)
    names = [f"S{number}" for number in range(symbols)]
    cents, sequences = [15_000] * symbols, [0] * symbols
    for start in range(0, count, AT_ONCE):
        who = [rng.randrange(symbols) for _ in range(min(AT_ONCE, count - start))]
        prices, numbers = [], []
        for symbol in who:
            cents[symbol] = max(cents[symbol] + rng.randrange(-5, 6), 100)
            sequences[symbol] += 1 + (rng.random() < MISSING)
            prices.append(cents[symbol] / 100)
            numbers.append(sequences[symbol])
        times = range(START + start * PAUSE, START + (start + len(who)) * PAUSE, PAUSE)
        made = encode_all(
            [names[symbol] for symbol in who], prices, [100] * len(who), times, ["endurance"] * len(who), numbers
        )  # fmt: skip
        yield [again for message in made for again in [message] * (1 + (rng.random() < TWICE))]


def resident() -> float:
    """MB of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def run(folder: Path, symbols: int, count: int) -> None:
    """Stream `count` ticks of `symbols` through a service below `folder`, and print a line at each tenth."""
    bus, spent, shown = Memory(4, capacity=WAITING), [0.0], [0, 0.0]

    def produce(stop: threading.Event) -> None:
        producer = bus.producer()
        for block in messages(symbols, count):
            while block and not stop.is_set():
                block = [block[place] for place in producer.send(block)]
            spent[0] = time.thread_time()
        producer.close()

    def show(report: Report) -> None:
        ticks, cpu = report.counts["ticks"], time.process_time() - spent[0]
        if ticks // (count // 10) > shown[0] // (count // 10):
            cost = (cpu - shown[1]) / (ticks - shown[0]) * 1e6
            files = sum(path.stat().st_size for path in folder.glob("stream.sqlite*")) / 2**20
            print(
                f"{ticks:>12,} ticks  {resident():7.0f} MB resident  {cost:6.1f} µs of CPU a tick  "
                f"{files:6.1f} MB store  {sum(map(len, bus.records)):,} in the bus", flush=True,
            )  # fmt: skip
            shown[:] = [ticks, cpu]

    shown[1] = time.process_time()
    lake = open_lake(str(folder / "lake"), root=folder)
    service = Service(lake, lambda: Store(folder / "stream.sqlite"), bus, Step(), produce)
    began = time.monotonic()
    report = service.run(show)
    seconds = time.monotonic() - began
    print(f"{report.counts} in {seconds:.0f} s, {spent[0] / count * 1e6:.1f} µs of CPU a tick to make them")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        run(Path(place), int(sys.argv[1]), int(sys.argv[2]))
