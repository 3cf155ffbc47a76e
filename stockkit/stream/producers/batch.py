"""What a producer hands out, and what it is set up with."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from stockkit.errors import ParamError
from stockkit.imports import pandas as pd
from stockkit.lake.tables import Lake
from stockkit.market import sessions
from stockkit.market.symbols import check_symbols
from stockkit.market.ticks import VERSION
from stockkit.stream.bus.protocol import Message
from stockkit.stream.producers.intraday import Rates

NEWEST, TO = "newest", ".."
RECORD = f'{{"v":{VERSION},"symbol":"%s","price":%r,"size":%d,"event_time":%d,"source":%s,"sequence":%d}}'
FEWEST, MOST = 10, 10_000_000  # ticks a symbol and day


class Batch(NamedTuple):
    """Messages in order, and when each is due.

    Attributes:
        due: microseconds since 1970 UTC by the clock of the data, ascending; None for at once.
        messages: as many.
    """

    due: Sequence[int | None]
    messages: Sequence[Message]


@dataclass(frozen=True)
class Settings(Rates):
    """What a producer may need to know; each reads what concerns it, the simulator the rates.

    Attributes:
        symbols: whose ticks; all that there are when empty.
        day: of the simulator and the lake's ticks: ``newest``, a day, or a range as in ``2023-09-18..2023-09-21``.
        ticks: of the simulator: a symbol and day.
        seed: of the simulator: the same seed and day give the same bytes.
        one_in: of the simulator: the sizes of a day sum to its volume divided by this.
        interval: of live polling: seconds from one round to the next.
        lake: where `prices` and `ticks` are; without `prices` the simulator takes the bundled sample.
        root: the workbook's folder; found from the current one when None.
        calendar: the exchange.
        stop: set to end a producer that waits.

    Raises:
        ParamError, SymbolError: a value that cannot be.
    """

    symbols: Sequence[str] = ()
    day: str = "newest"
    ticks: int = 2_000
    seed: int = 7
    one_in: int = 100
    interval: float = 60.0
    lake: Lake | None = None
    root: Path | None = None
    calendar: str = sessions.DEFAULT
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.symbols:
            check_symbols(self.symbols)
        self.span()
        if not FEWEST <= self.ticks <= MOST:
            raise ParamError(f"ticks is {self.ticks}: a symbol and day has {FEWEST} to {MOST:,} of them.")
        if self.seed < 0 or self.one_in < 1:
            raise ParamError(f"seed is {self.seed}, one_in {self.one_in}: give whole numbers from 0 and from 1 on.")
        if not self.interval > 0:
            raise ParamError(f"interval is {self.interval}: give the seconds from one round to the next, above 0.")

    def span(self) -> tuple[pd.Timestamp, pd.Timestamp] | None:
        """The first and the last day that are asked for; None for the newest one.

        Raises:
            ParamError: `day` names none.
        """
        if self.day == NEWEST:
            return None
        start, _, end = self.day.partition(TO)
        first, last = (pd.to_datetime(text, format="%Y-%m-%d", errors="coerce") for text in (start, end or start))
        if pd.isna(first) or pd.isna(last) or first > last:
            raise ParamError(f"day {self.day!r}: write {NEWEST}, a day as 2023-09-21, or 2023-09-18..2023-09-21.")
        return first, last


def encode_all(
    symbols: Sequence[str],
    prices: Iterable[float],
    sizes: Iterable[int],
    times: Iterable[int],
    sources: Iterable[str],
    sequences: Iterable[int],
) -> list[Message]:
    """Messages of ticks, each the record that `market.ticks.encode` makes, and several times as fast.

    Args:
        symbols, prices, sizes, times, sources, sequences: a tick each; prices in the currency.
    """
    quote = lru_cache(json.dumps)
    rows = zip(symbols, prices, sizes, times, map(quote, sources), sequences, strict=True)
    bodies = [(RECORD % row).encode() for row in rows]
    return list(map(Message, symbols, bodies))
