"""From the parameters of a stream to a service that runs.

Example:
    >>> from stockkit.stream import setup
    >>> report = setup.run(setup.Parameters(symbols=["META"], day="2023-09-21", ticks=500, alerts=[]))
    >>> report.counts["ticks"]
    500
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from stockkit.errors import ParamError, StreamError, did_you_mean
from stockkit.imports import pandas as pd
from stockkit.lake.tables import Lake, open_lake
from stockkit.market import sessions
from stockkit.market.signals import Rule, Split
from stockkit.market.symbols import check_symbols
from stockkit.stream import alerts, producers, quotes, recovery
from stockkit.stream.bus import open_bus
from stockkit.stream.bus.protocol import Bus
from stockkit.stream.pipeline import INTERVALS, Step
from stockkit.stream.producers import sending
from stockkit.stream.reports import Report
from stockkit.stream.service import Pace, Service
from stockkit.stream.store import Fenced, Store

LARGEST = 1_000  # numerator or denominator of a split


@dataclass(frozen=True)
class Parameters:
    """The parameters of a stream, as in params/stream.yaml; those of a producer are as in `producers.Settings`.

    Attributes:
        lake: where the tables are. bus: see `bus.open_bus`. producer: see `producers.names`; "" where others send.
        symbols: those that are listened to; all when empty. calendar: of their exchange.
        day, ticks, seed: of the simulator. speed: 1 is real time, 60 an hour a minute, 0 as fast as possible.
        fast, slow: ticks or bars in the two averages. interval: what they count, "tick" or "1m".
        gap: seconds without a price after which the averages start anew; 0 for never.
        lateness: seconds that a tick may come late before its minute is closed.
        alerts: channels that get each signal; see `alerts.names`.
        flush: seconds between two commits to the lake. seconds: to run; 0 for until everything is read.
        state: the store's file; "" for stream.sqlite in the lake's folder.
        quotes: where the newest prices are: "sqlite", the store alone, or "dynamodb:TABLE", a table, too.

    Raises:
        ParamError, SymbolError: a value that cannot be.
    """

    lake: str = "data/lake"
    bus: str = "memory"
    producer: str = "simulator"
    symbols: Sequence[str] = ()
    calendar: str = sessions.DEFAULT
    day: str = "newest"
    ticks: int = 2_000
    seed: int = 7
    speed: float = 0.0
    fast: int = 5
    slow: int = 20
    interval: str = "tick"
    gap: float = 14_400.0
    lateness: float = 2.0
    alerts: Sequence[str] = ("console",)
    flush: float = 5.0
    seconds: float = 0.0
    state: str = ""
    quotes: str = quotes.DEFAULT

    def __post_init__(self) -> None:
        if self.symbols:
            check_symbols(self.symbols)
        if self.interval not in INTERVALS:
            raise ParamError(
                f"interval {self.interval!r}: averages count one of {', '.join(INTERVALS)}."
                f"{did_you_mean(self.interval, INTERVALS)}"
            )
        Rule(self.fast, self.slow)  # refuses windows that cannot be compared
        quotes.check(self.quotes)
        for name in ("gap", "lateness", "speed", "seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ParamError(f"{name} is {getattr(self, name)}: give a number from 0 on.")
        if not 0.1 <= self.flush <= 3_600:
            raise ParamError(f"flush is {self.flush}: give seconds from 0.1 to 3600 between two commits to the lake.")
        if not self.producer and self.bus.partition(":")[0] == "memory":
            raise ParamError("producer is empty and the bus is memory, which no other process can send to.")

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> Parameters:
        """Those of a stream among the parameters of a chain.

        Raises:
            ParamError, SymbolError: as the class.
        """
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def store_path(lake: Lake, state: str = "") -> Path:
    """Where the store of a stream is: in the lake's folder, or below data/ for a lake on S3."""
    if state:
        return lake.root / Path(state).expanduser()
    if lake.folder is not None:
        return lake.folder / "stream.sqlite"
    return lake.root / "data" / "stream" / f"{str(lake.files).removeprefix('s3://').replace('/', '_')}.sqlite"


def existing_store(lake: Lake, state: str = "") -> Store:
    """The store that a stream has made.

    Raises:
        StreamError: there is none yet.
    """
    path = store_path(lake, state)
    if not path.exists():
        raise StreamError(f"{path} is not there: `stockkit stream run params/stream.yaml` makes it.")
    return Store(path)


def open_service(
    parameters: Parameters,
    *,
    lake: Lake | None = None,
    root: Path | None = None,
    stop: threading.Event | None = None,
) -> Service:
    """The service that the parameters describe; nothing has been started yet. `stop` ends it when it is set.

    Args:
        lake: the one that the parameters name, where it is open already; then `root` is not looked at.

    Raises:
        ParamError, LakeError, StreamError: a parameter that names what is not there.
    """
    lake = lake or open_lake(parameters.lake, root=root)
    path = store_path(lake, parameters.state)
    bus = open_bus(parameters.bus)
    step = Step(
        rule(parameters, lake), parameters.interval, frozenset(parameters.symbols) or None, tuple(parameters.alerts),
        _microseconds(parameters.lateness),
    )  # fmt: skip
    store = Store(path)
    with suppress(Fenced):  # another process has done so at the same moment
        recovery.recover(lake, store, step, time.time_ns() // 1_000)
    store.close()
    place = quotes.open_quotes(parameters.quotes, path)
    copies = None if isinstance(place, quotes.Sqlite) else quotes.Copies(place)
    return Service(
        lake, lambda: Store(path), bus, step, _produce(parameters, lake, bus),
        alerts.open_notifiers(parameters.alerts, lake.root), Pace(parameters.seconds, parameters.flush),
        stop or threading.Event(), copies,
    )  # fmt: skip


def run(
    parameters: Parameters,
    *,
    lake: Lake | None = None,
    root: Path | None = None,
    show: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Run a stream to its end; the last report counts what came in.

    Args:
        parameters: see there. lake: the one that they name, where it is open already.
        root: the workbook's folder; found from the current one when None.
        show: gets a report twice a second.
    """
    sys.audit("stockkit.always", "it listens to a stream")  # see stockkit.workbook.cache.trace
    return open_service(parameters, lake=lake, root=root).run(show)


def rule(parameters: Parameters, lake: Lake) -> Rule:
    """The crossing that signals come from: windows and pause of the parameters, splits of the lake's prices."""
    return Rule(parameters.fast, parameters.slow, _microseconds(parameters.gap), splits(lake))


def _produce(parameters: Parameters, lake: Lake, bus: Bus) -> Callable[[threading.Event], Any] | None:
    """What sends the producer's messages to the bus; None without a producer."""
    if not parameters.producer:
        return None
    settings = producers.Settings(
        symbols=tuple(parameters.symbols), day=parameters.day, ticks=parameters.ticks, seed=parameters.seed, lake=lake,
        root=lake.root, calendar=parameters.calendar,
    )  # fmt: skip
    producers.open_producer(parameters.producer, settings)  # so that what is wrong is told before anything starts

    def produce(stop: threading.Event) -> None:
        batches = producers.open_producer(parameters.producer, replace(settings, stop=stop))
        sender = bus.producer()
        try:
            sending.send(batches, sender, speed=parameters.speed, clock=sending.Clock(stop))
        finally:
            sender.close()

    return produce


def splits(lake: Lake) -> Mapping[str, Sequence[Split]]:
    """The splits that the lake's prices know of, by symbol; none without prices.

    A split holds from the start of its day in UTC on.
    """
    if lake.version("prices") is None:
        return {}
    prices = lake.delta("prices").to_pyarrow_table(columns=["symbol", "date", "split_factor"]).to_pandas()
    prices = prices.sort_values(["symbol", "date"])
    prices["before"] = prices.groupby("symbol")["split_factor"].shift()
    changed = prices[prices["before"].notna() & (prices["before"] != prices["split_factor"])]
    by_symbol: dict[str, list[Split]] = {}
    for symbol, date, factor, factor_before in changed.itertuples(index=False):
        ratio = Fraction(factor / factor_before).limit_denominator(LARGEST)
        time = pd.Timestamp(date).value // 1_000
        by_symbol.setdefault(str(symbol), []).append(Split(time, ratio.numerator, ratio.denominator))
    return by_symbol


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)
