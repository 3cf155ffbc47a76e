"""A day's ticks that agree with its bar: price path, times, sizes, and the ways in which they arrive. Pure.

The prices are Brownian bridges through the day's open, its high and its low at random places (in random order), and its
close, one step a tick, folded back into the range from low to high. Beyond these four prices and the volume the path is
random: it says nothing of what the day's real ticks were, nor of how signals on them did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import NamedTuple

from stockkit.errors import ParamError
from stockkit.imports import numpy as np
from stockkit.market.ticks import SCALE

BLOCK = 256  # ticks that are made at once
MINUTE = 60_000_000  # microseconds
CENT = SCALE // 100
LATE = (90_000_000, 300_000_000)  # microseconds by which a late tick is late
REPEATED = 5_000_000  # microseconds within which a duplicate follows
OVERTAKEN = 3  # by at most so many
RUN = 10  # ticks of a burst
IN_BURSTS = 0.02  # the gaps there are so much shorter
HALT = (5, 16)  # minutes, the last one excluded
GOOD, DUPLICATE, CORRUPT = 0, 1, 2  # kinds of records; from CORRUPT on the number of the corruption


class Day(NamedTuple):
    """What is known of a symbol's day: prices in millionths, as traded.

    Attributes:
        shares: that the sizes sum to.
        stretches: when it was traded, microseconds since 1970 UTC, each from its start up to before its end.
    """

    open: int
    high: int
    low: int
    close: int
    shares: int
    stretches: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Rates:
    """The shares of ticks, or of days (`halt`), that are not as they should be.

    Attributes:
        late, duplicate, disordered, corrupt: ticks that come minutes late, come twice, are overtaken by the next ones,
            or are followed by a record that is no tick.
        halt: days with a halt of 5 to 15 minutes. burst: ticks that come in bursts.

    Raises:
        ParamError: a share that is none.
    """

    late: float = 0.002
    duplicate: float = 0.002
    disordered: float = 0.005
    corrupt: float = 0.001
    halt: float = 0.02
    burst: float = 0.1

    def __post_init__(self) -> None:
        for rate in fields(Rates):
            if not 0 <= getattr(self, rate.name) <= 1:
                raise ParamError(f"{rate.name} is {getattr(self, rate.name)}: a share is from 0 to 1, as in 0.01.")
        if self.late + self.disordered > 1:
            raise ParamError(f"late {self.late} and disordered {self.disordered} are more than 1 together.")


class Piece(NamedTuple):
    """Consecutive ticks, each array int64 of the same length.

    Attributes:
        number: from 0 within the day. time: microseconds since 1970 UTC, ascending. price: millionths. size: shares.
    """

    number: np.ndarray
    time: np.ndarray
    price: np.ndarray
    size: np.ndarray


class Arrivals(NamedTuple):
    """Records as they reach the bus, each array int64 of the same length, in no order.

    Attributes:
        due: when, microseconds since 1970 UTC. number, time, price, size: of the tick.
        kind: `GOOD`, `DUPLICATE`, or `CORRUPT` and above.
    """

    due: np.ndarray
    number: np.ndarray
    kind: np.ndarray
    time: np.ndarray
    price: np.ndarray
    size: np.ndarray


def path(day: Day, count: int, rates: Rates, rng: np.random.Generator) -> Iterator[Piece]:
    """The ticks of a day in order, at most `BLOCK` at once.

    The first one's price is the open, the last one's the close; the high and the low are touched, never crossed. The
    others lie on the grid of cents, below 1.00 of hundredths of one. The sizes sum to `day.shares`.

    Args:
        day: what the ticks agree with.
        count: how many, from 4 on.
        rates: of which `halt` and `burst` count here.
        rng: the only source of randomness.
    """
    clock = _activity(day, rates.halt, rng)
    start = 0
    for prices in _prices(day, count, rng):
        end = start + len(prices)
        gaps = rng.exponential(size=len(prices) + 1)
        in_burst = np.repeat(rng.random(len(gaps) // RUN + 1) < rates.burst, RUN)[: len(gaps)]
        gaps[in_burst] *= IN_BURSTS
        places = (start + np.cumsum(gaps)[:-1] / gaps.sum() * len(prices)) / count
        shares = round(day.shares * end / count) - round(day.shares * start / count)
        yield Piece(np.arange(start, end), _times(places, clock, day), prices, _sizes(shares, len(prices), rng))
        start = end


def _prices(day: Day, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The prices of the path, in pieces."""
    grid = CENT if day.low >= SCALE else CENT // 100
    lowest, highest = -(-day.low // grid) * grid, day.high // grid * grid
    if lowest > highest:  # no price of the grid lies in the range
        lowest, highest = day.low, day.high
    deviation = (day.high - day.low) / np.sqrt(8 / np.pi * count)  # of a free walk with this mean range: Feller 1951
    yield np.array([day.open])
    for (start, first), (end, last) in pairwise(_anchors(day, count, rng)):
        for at, walk in _bridge(first, last, end - start, deviation, rng):
            prices = np.clip(np.rint(_folded(walk, day.low, day.high) / grid) * grid, lowest, highest).astype("int64")
            if start + at == end:
                prices[-1] = last
            yield prices


def _anchors(day: Day, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """The places in the path whose price is given, ascending: open, high and low where neither end is it, close."""
    extremes = [price for price in (day.high, day.low) if price not in (day.open, day.close)]
    places = np.sort(rng.choice(count - 2, len(extremes), replace=False)) + 1
    order = rng.permutation(len(extremes))
    between = [(int(place), extremes[k]) for place, k in zip(places, order, strict=True)]
    return [(0, day.open), *between, (count - 1, day.close)]


def _bridge(
    first: float, last: float, steps: int, deviation: float, rng: np.random.Generator
) -> Iterator[tuple[int, np.ndarray]]:
    """A Brownian bridge without its first point, in pieces: how many steps are done, and the values."""
    done = 0
    while done < steps:
        left, size = steps - done, min(BLOCK, steps - done)
        spread = deviation * np.sqrt(size * (left - size) / left)
        target = first + (last - first) * size / left + spread * rng.standard_normal()
        walk = np.cumsum(rng.standard_normal(size)) * deviation
        done += size
        yield done, first + walk + np.arange(1, size + 1) / size * (target - first - walk[-1])
        first = target


def _folded(walk: np.ndarray, low: int, high: int) -> np.ndarray:
    """A walk reflected where it leaves the range."""
    span = high - low
    if span == 0:
        return np.full(len(walk), float(low))
    inside = (walk - low) % (2 * span)
    return low + np.minimum(inside, 2 * span - inside)


def _activity(day: Day, halt: float, rng: np.random.Generator) -> np.ndarray:
    """The share of a day's ticks up to the end of each minute of trading, from 0 to 1: a U, flat in a halt."""
    minutes = max(1, sum(end - start for start, end in day.stretches) // MINUTE)
    middle = 2 * (np.arange(minutes) + 0.5) / minutes - 1
    intensity = 1 + 3 * np.abs(middle) ** 3
    halted, place, length = rng.random() < halt, rng.uniform(0.05, 0.9), rng.integers(*HALT)
    if halted:
        start = int(place * minutes)
        intensity[start : min(start + length, minutes - 1)] = 0
    return np.concatenate([[0.0], np.cumsum(intensity) / intensity.sum()])


def _times(places: np.ndarray, clock: np.ndarray, day: Day) -> np.ndarray:
    """When ticks at these shares of the day's activity happen, microseconds since 1970 UTC."""
    lengths = [end - start for start, end in day.stretches]
    elapsed = np.interp(places, clock, np.linspace(0, sum(lengths), len(clock))).astype("int64")
    elapsed = np.clip(elapsed, 0, sum(lengths) - 1)
    times, before = elapsed + day.stretches[0][0], 0
    for (start, _), length in zip(day.stretches, lengths, strict=True):
        times = np.where(elapsed >= before, start + elapsed - before, times)
        before += length
    return times


def _sizes(shares: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sizes of any spread that sum to `shares`, each at least 1 where there are as many shares as ticks."""
    least = int(shares >= count)
    weights = np.cumsum(rng.lognormal(size=count))
    ends = np.rint(weights / weights[-1] * (shares - least * count)).astype("int64")
    return least + np.diff(ends, prepend=0)


def arrive(piece: Piece, rates: Rates, corruptions: int, rng: np.random.Generator) -> Arrivals:
    """How ticks arrive: on time, late, overtaken, twice, and with records among them that are none.

    Args:
        piece: consecutive ticks.
        rates: of which `late`, `disordered`, `duplicate` and `corrupt` count here.
        corruptions: how many kinds of records that are no ticks there are.
        rng: the only source of randomness.
    """
    number, time, price, size = piece
    count = len(time)
    kind, again, broken = rng.random((3, count))
    overtakes = np.minimum(np.arange(count) + rng.integers(1, OVERTAKEN + 1, count), count - 1)
    due = np.where(kind < rates.late + rates.disordered, np.maximum(time, time[overtakes] + 1), time)
    due = np.where(kind < rates.late, time + rng.integers(*LATE, count), due)
    twice, bad = np.flatnonzero(again < rates.duplicate), np.flatnonzero(broken < rates.corrupt)
    places = np.concatenate([np.arange(count), twice, bad])
    kinds = np.zeros(len(places), "int64")
    kinds[count : count + len(twice)] = DUPLICATE
    kinds[count + len(twice) :] = CORRUPT + rng.integers(0, corruptions, len(bad))
    moments = due[places]
    moments[count : count + len(twice)] += rng.integers(1, REPEATED, len(twice))
    return Arrivals(moments, number[places], kinds, time[places], price[places], size[places])
