"""Seeded ticks for the tests of the stream, and what a pipeline makes of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from stockkit.market.ticks import Tick, encode
from stockkit.stream.bus.protocol import Record

OPENING = 1_695_303_000_000_000  # 2023-09-21 13:30 UTC, in microseconds
NOW = OPENING + 86_400_000_000


def walk(count: int, *, symbols: Sequence[str] = ("AAPL", "META"), seed: int = 1, pause: int = 500_000) -> list[Tick]:
    """Random walks on the cent grid, in order of time, sequences from 1 a symbol; `pause` microseconds on average."""
    rng, time = random.Random(seed), OPENING
    prices, sequences = dict.fromkeys(symbols, 150_000_000), dict.fromkeys(symbols, 0)
    ticks = []
    for _ in range(count):
        symbol = rng.choice(symbols)
        time += rng.randrange(1, 2 * pause)
        prices[symbol] += rng.randrange(-5, 6) * 10_000
        sequences[symbol] += 1
        ticks.append(Tick(symbol, prices[symbol], rng.randrange(1, 100), time, "walk", sequences[symbol]))
    return ticks


def disturbed(ticks: Sequence[Tick], seed: int = 1) -> list[bytes]:
    """The ticks as records: some late, some twice, some out of order, and some that are none."""
    rng = random.Random(seed)
    bodies = [encode(tick) for tick in ticks]
    for _ in range(len(bodies) // 20):
        at, to = rng.randrange(len(bodies)), rng.randrange(len(bodies))
        kind = rng.choice(["late", "twice", "swapped", "poison"])
        if kind == "late":
            bodies.insert(max(at, to), bodies.pop(min(at, to)))
        elif kind == "twice":
            bodies.insert(max(at, to), bodies[min(at, to)])
        elif kind == "swapped" and at:
            bodies[at - 1], bodies[at] = bodies[at], bodies[at - 1]
        else:
            bodies.insert(at, rng.choice([b"{bad", b"", b"[1]", encode(ticks[0]).replace(b"AAPL", b"a b")]))
    return bodies


def records(bodies: Sequence[bytes], partition: str = "test:ticks/0") -> list[Record]:
    """Records in one partition, under offsets from 0."""
    return [Record(partition, offset, body, NOW) for offset, body in enumerate(bodies)]
