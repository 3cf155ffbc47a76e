"""Seeded schedules of the functions: a mapping that retries, splits and repeats, over storage that fails at calls."""

from __future__ import annotations

import base64
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import pandas as pd

from stockkit.cloud.lambdas import transform, trend
from stockkit.cloud.lambdas.outbox import LEASE, SWEPT
from stockkit.cloud.lambdas.proof import scenes
from stockkit.cloud.lambdas.proof.doubles import FAULTS, S3, SNS, DynamoDB, Faults, Item
from stockkit.cloud.lambdas.proof.scenes import Scene
from stockkit.cloud.lambdas.settings import Settings
from stockkit.market.signals import SymbolState
from stockkit.stream.proof.event_source import EventSource, Violation

RATES = (0.0, 0.02, 0.1, 0.25)
TOPIC = "arn:aws:sns:eu-central-1:123456789012:alerts"


@dataclass
class World:
    """The services, a clock that a call moves on, and a mapping."""

    scene: Scene
    faults: Faults
    dynamodb: DynamoDB
    sns: SNS
    s3: S3
    source: EventSource
    given_up: list[tuple[str, int]]
    clock: int = scenes.START + 4_000 * scenes.SECOND

    def now(self) -> int:
        """Later at each call."""
        self.clock += 1_000
        return self.clock

    def client(self, service: str) -> Any:
        """A double of a service."""
        return {"dynamodb": self.dynamodb, "sns": self.sns, "s3": self.s3}[service]

    @property
    def settings(self) -> Settings:
        """Those of both functions."""
        return Settings(self.scene.rule, None, "letters", "quotes", "states", "outbox", TOPIC)


def world(seed: int, *, conditions: bool = True, atomic: bool = True) -> World:
    """The world of a seed. Every fifth one gives a batch up after some retries, the others never do."""
    rng = Random(seed)
    gives_up = seed % 5 == 4
    scene = scenes.draw(rng, duplicates=not gives_up)
    rate = RATES[seed % len(RATES)]
    faults = Faults(rng, rate, busy=max(rate, 0.1 * (seed % 3)))
    dynamodb = DynamoDB(faults, conditions=conditions, atomic=atomic)
    given_up: list[tuple[str, int]] = []

    def on_failure(shard: str, records: Any) -> None:
        given_up.extend((shard, record.sequence) for record in records)

    source = EventSource(
        scene.shards, rng, rng.choice([1, 5, 20]), rng.randint(0, 3) if gives_up else None, rng.random() < 0.5,
        on_failure, duplicates=0.2 if faults.rate else 0.0, stream=scenes.STREAM,
    )  # fmt: skip
    return World(scene, faults, dynamodb, SNS(faults), S3(faults), source, given_up)


def run_trend(seed: int, **planted: bool) -> Counter[str]:
    """A schedule of `trend`.

    Raises:
        Violation: a tick is lost or counted twice, an alert is lost or twice in the outbox, a signal differs from
            pandas, a record that is no tick is not in the dead letters.
    """
    made = world(seed, **planted)
    function = trend.make(made.settings, made.client, made.now, lambda seconds: None)
    _run(made, function.handle)
    for _ in range(2):
        made.clock += 2 * LEASE
        while function.outbox.publish_waiting() == SWEPT:
            pass
    check = partial(_check, seed)
    evaluated = _evaluated(made, check)
    _check_signals(made, evaluated, check)
    _check_letters(made, check)
    made.faults.counts.update(ticks=len(evaluated), signals=len(made.dynamodb.tables["outbox"]))
    return made.faults.counts


def run_transform(seed: int, **planted: bool) -> Counter[str]:
    """A schedule of `transform`.

    Raises:
        Violation: a quote is not the newest, or a record that is no tick is not in the dead letters.
    """
    made = world(seed, **planted)
    _run(made, transform.make(made.settings, made.client).handle)
    items = made.dynamodb.tables["quotes"]
    stored = {symbol: (int(item["price"]["N"]), int(item["event_time"]["N"])) for symbol, item in items.items()}
    if not made.given_up:
        _check(seed, "quotes", stored, scenes.quotes(made.scene.ticks))
    _check_letters(made, partial(_check, seed))
    return made.faults.counts


def _run(made: World, handler: Callable[[dict[str, Any]], Any]) -> None:
    made.faults.beside = lambda: made.source.beside(handler)
    made.source.run(handler)
    made.faults.settle()
    made.faults.counts["invocations"] += made.source.invocations
    made.faults.counts["given up"] += len(made.given_up)


def _check(seed: int, what: str, result: Any, expected: Any) -> None:
    if result != expected:
        raise Violation(f"seed {seed}: {what}: found {result}, expected {expected}")


def _evaluated(made: World, check: Callable[[str, Any, Any], None]) -> pd.DataFrame:
    """The distinct ticks that went into the states, which must be all but those that the mapping gave up."""
    ticks, items = scenes.distinct(made.scene.ticks), made.dynamodb.tables["states"]
    states = {symbol: SymbolState.load(symbol, item["state"]["S"], made.scene.rule) for symbol, item in items.items()}
    places = zip(ticks["symbol"], ticks["source"], ticks["sequence"], strict=True)
    known = [symbol in items and _has(items[symbol], source, number) for symbol, source, number in places]
    lost = {(row.shard, row.place) for row in ticks[[not one for one in known]].itertuples()}
    check("ticks lost", lost - set(made.given_up), set())
    evaluated = ticks[known]
    counts = evaluated.groupby("symbol").size().to_dict()
    check("ticks counted", {symbol: state.number for symbol, state in states.items()}, counts)
    return evaluated


def _has(item: Item, source: str, sequence: int) -> bool:
    """Whether the stored state knows a sequence of a source."""
    firsts, lasts, _ = json.loads(item["state"]["S"])["seen"].get(source, ((), (), -1))
    return any(first <= sequence <= last for first, last in zip(firsts, lasts, strict=True))


def _check_signals(made: World, evaluated: pd.DataFrame, check: Callable[[str, Any, Any], None]) -> None:
    rule, outbox = made.scene.rule, made.dynamodb.tables["outbox"]
    expected = {
        f"tick:{rule.fast}/{rule.slow}:kinesis:{scenes.STREAM}/{row.shard}:{row.place:020}":
        (row.symbol, row.side, _iso(row.event_time), row.price / 1e6, row.fast, row.slow)
        for row in scenes.signals(evaluated, rule).itertuples()
    }  # fmt: skip
    bodies = {key: json.loads(item["body"]["S"]) for key, item in outbox.items()}
    names = ("symbol", "side", "event_time", "price", "fast", "slow")
    check("signals", {key: tuple(body[name] for name in names) for key, body in bodies.items()}, expected)
    check("alerts stored twice", {key: count for key, count in made.dynamodb.inserted.items() if count > 1}, {})
    sent = Counter(message["MessageAttributes"]["id"]["StringValue"] for message in made.sns.messages)
    check("alerts that were sent", set(sent), set(expected))
    check("alerts that wait", [key for key, item in outbox.items() if "waiting" in item], [])
    if not any(made.faults.counts[fault] for fault in FAULTS):
        check("alerts sent twice without a fault", {key: count for key, count in sent.items() if count > 1}, {})


def _iso(time: int) -> str:
    return pd.Timestamp(time, unit="us", tz="UTC").to_pydatetime().isoformat()


def _check_letters(made: World, check: Callable[[str, Any, Any], None]) -> None:
    letters = {key: json.loads(body)["body"] for key, body in made.s3.objects.items()}
    corrupt = {
        f"dead_letters/{scenes.STREAM}/{shard}/{number:056}.json": base64.b64encode(body).decode()
        for (shard, number), body in made.scene.corrupt.items()
    }
    optional = {f"dead_letters/{scenes.STREAM}/{shard}/{number:056}.json" for shard, number in made.given_up}
    missing = {key: body for key, body in corrupt.items() if letters.get(key) != body and key not in optional}
    check("dead letters missing", missing, {})
    check("dead letters of good records", set(letters) - set(corrupt), set())


def run(count: int, on_done: Callable[[int], None] = lambda done: None) -> Counter[str]:
    """Run schedules of both functions, `count` each; what they came to.

    Args:
        count: how many; their seeds count from 0.
        on_done: gets how many are done, after each.

    Raises:
        Violation: of the first schedule that goes wrong.
    """
    total: Counter[str] = Counter()
    with _quiet():
        for seed in range(count):
            total += run_trend(seed) + run_transform(seed)
            on_done(seed + 1)
    return total


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the functions say of each fault."""
    log = logging.getLogger("stockkit.cloud.lambdas")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
