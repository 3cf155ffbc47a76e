"""A Kinesis stream of made-up ticks, and what pandas says must come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pandas as pd

from stockkit.market.signals import BUY, SELL, Rule
from stockkit.market.ticks import SCALE, Tick, encode
from stockkit.stream.proof.event_source import Sent, Shard

STREAM = "ticks"
SYMBOLS = ("A", "BRK.B", "ON")
START = 1_700_000_000_000_000  # microseconds since 1970 UTC
SECOND = 1_000_000
CORRUPT = (b"", b"{", b'{"v":1}', b"\xff\xfe", b"[" * 2_000, b'{"v":1,"symbol":"A","price":NaN}', b"\x1f\x8bnothing")
COLUMNS = ("symbol", "price", "event_time", "source", "sequence", "size", "place", "shard")


@dataclass(frozen=True)
class Scene:
    """A stream.

    Attributes:
        rule: of the averages. shards: with their records.
        ticks: one row a good record in the order of the stream, `COLUMNS`; duplicates of a producer among them.
        corrupt: by shard and sequence number the bytes of the others.
    """

    rule: Rule
    shards: Sequence[Shard]
    ticks: pd.DataFrame
    corrupt: dict[tuple[str, int], bytes]


def draw(rng: Random, *, duplicates: bool) -> Scene:
    """A scene: few prices, so that averages cross and touch; pauses; late, double and corrupt records; a resharding."""
    fast = rng.randint(1, 3)
    rule = Rule(fast, fast + rng.randint(1, 4), gap=rng.choice([0, 50 * SECOND]))
    sent: list[tuple[str, bytes, Tick | None]] = []
    for symbol in SYMBOLS[: rng.randint(1, 3)]:
        sent += _of_symbol(rng, symbol, rng.randint(10, 30), duplicates=duplicates)
    order = _mixed(rng, [key for key, _, _ in sent])
    by_key = {key: iter([one for one in sent if one[0] == key]) for key in set(order)}
    return _put(rng, rule, [next(by_key[key]) for key in order])


def _of_symbol(rng: Random, symbol: str, count: int, *, duplicates: bool) -> list[tuple[str, bytes, Tick | None]]:
    time, numbers = START, {"x": 0, "y": 0}
    ticks: list[tuple[str, bytes, Tick | None]] = []
    for _ in range(count):
        time += rng.choice([0, 1, 10, 60]) * SECOND
        late = rng.choice([0, 0, 0, 30]) * SECOND
        source = rng.choice("xy")
        numbers[source] += rng.randint(1, 3)
        tick = Tick(symbol, rng.randint(1, 5) * SCALE // 4, rng.randint(0, 9), time - late, source, numbers[source])
        ticks.append((symbol, encode(tick), tick))
        if rng.random() < 0.1:
            ticks.append((symbol, rng.choice(CORRUPT), None))
    if duplicates:
        for again in rng.sample(ticks, len(ticks) // 8):
            ticks.insert(rng.randint(0, len(ticks)), again)
    return ticks


def _mixed(rng: Random, keys: Sequence[str]) -> list[str]:
    return rng.sample(list(keys), len(keys))


def _put(rng: Random, rule: Rule, sent: Sequence[tuple[str, bytes, Tick | None]]) -> Scene:
    """Put what was sent into shards; from some moment on one of them is split in two."""
    split_at = rng.randint(0, 2 * len(sent))
    records: dict[str, list[Sent]] = {name: [] for name in ("shardId-0", "shardId-1", "shardId-2", "shardId-3")}
    rows, corrupt = [], {}
    number = 10**9 - len(sent) // 2  # in the middle the numbers get a digit more, as texts they would turn back
    for place, (key, body, tick) in enumerate(sent):
        number += rng.randint(1, 3)
        name = f"shardId-{_shard(key, after_split=place >= split_at)}"
        records[name].append(Sent(number, key, body, START + 3_600 * SECOND))
        if tick is None:
            corrupt[name, number] = body
        else:
            rows.append((tick.symbol, tick.price, tick.event_time, tick.source, tick.sequence, tick.size, number, name))
    parents = {"shardId-2": ("shardId-0",), "shardId-3": ("shardId-0",)}
    shards = [Shard(name, given, parents.get(name, ())) for name, given in records.items()]
    return Scene(rule, shards, pd.DataFrame(rows, columns=list(COLUMNS)), corrupt)


def _shard(key: str, *, after_split: bool) -> int:
    if key == "ON":
        return 1
    return {"A": 2, "BRK.B": 3}[key] if after_split else 0


def distinct(ticks: pd.DataFrame) -> pd.DataFrame:
    """The ticks without those that a producer sent once more."""
    return ticks.drop_duplicates(["symbol", "source", "sequence"])


def signals(ticks: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """The crossings of distinct ticks by rolling sums of pandas: `symbol`, `side`, `place`, `shard`, `fast`, `slow`."""
    time = ticks.groupby("symbol")["event_time"]
    pause = ticks["event_time"] - time.cummax().groupby(ticks["symbol"]).shift()
    part = (pause > rule.gap).groupby(ticks["symbol"]).cumsum() if rule.gap else 0 * ticks["price"]
    keys = [ticks["symbol"], part]
    fast, slow = (
        ticks.groupby(keys)["price"].rolling(count).sum().droplevel([0, 1]).sort_index()
        for count in (rule.fast, rule.slow)
    )
    above = (fast * rule.slow - slow * rule.fast).apply(lambda value: (value > 0) - (value < 0))
    side = above.where(slow.notna() & (above != 0)).groupby(keys).ffill()
    crossed = (side != side.groupby(keys).shift()) & side.groupby(keys).shift().notna()
    raised = ticks.loc[crossed, ["symbol", "place", "shard", "price", "event_time"]]
    return raised.assign(
        side=side[crossed].map({1.0: BUY, -1.0: SELL}),
        fast=fast[crossed] / (rule.fast * SCALE),
        slow=slow[crossed] / (rule.slow * SCALE),
    )


def quotes(ticks: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """By symbol the price and the time of the newest event; of equal ones that which came later."""
    newest = ticks.sort_values(["event_time", "place"]).groupby("symbol").last()
    return {symbol: (row.price, row.event_time) for symbol, row in newest.iterrows()}
