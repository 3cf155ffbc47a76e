"""Minute bars of one symbol, tick by tick: open, high, low, close, volume and count, closed by a watermark.

A bar opens with its first tick and is closed when the watermark (the newest event time of the partition, less what
ticks may be late by) reaches its end. A tick from before the end of the symbol's newest closed bar is late: it is
flagged, and its bar is worked out anew from the ticks in the lake (`stockkit.stream.archive.correct`). So each bar is
closed once. First and last are by event time, a tie by the
order of arrival, so that the order in which ticks arrive changes no bar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stockkit.market.signals import Crossing, Rule, Signal
from stockkit.market.ticks import Tick

MINUTE = 60_000_000  # microseconds
INTERVAL = "1m"


class Bar(NamedTuple):
    """A minute of a symbol: `minute` is its start in microseconds since 1970 UTC, prices in millionths."""

    symbol: str
    minute: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    trades: int


class Minutes:
    """The minutes of one symbol that are open, and the crossing of the closes of those that were closed.

    Args:
        symbol: whose they are.
        rule: of the crossing; None where signals do not come from bars.
    """

    __slots__ = ("_closed", "_open", "_rule", "crossing", "symbol")

    def __init__(self, symbol: str, rule: Rule | None) -> None:
        self.symbol, self._rule = symbol, rule
        self._closed = 0  # the end of the newest bar that was closed
        self.crossing = None if rule is None else Crossing(rule, symbol)
        self._open: dict[int, list[int]] = {}  # minute: open, high, low, close, volume, count, time of first, of last

    @property
    def is_open(self) -> bool:
        """Whether there is a bar that the watermark has yet to close."""
        return bool(self._open)

    def add(self, tick: Tick) -> bool:
        """Take a tick in order of arrival; tell whether it is in time (else it is late, and in no bar yet)."""
        time, price = tick.event_time, tick.price
        minute = time - time % MINUTE
        if time < self._closed:
            return False
        bar = self._open.get(minute)
        if bar is None:
            self._open[minute] = [price, price, price, price, tick.size, 1, time, time]
            return True
        if price > bar[1]:
            bar[1] = price
        elif price < bar[2]:
            bar[2] = price
        bar[4] += tick.size
        bar[5] += 1
        if time >= bar[7]:
            bar[3], bar[7] = price, time
        elif time < bar[6]:
            bar[0], bar[6] = price, time
        return True

    def close(self, watermark: int) -> list[Bar]:
        """The bars that end at the watermark or before it, in order; they are open no more."""
        ended = sorted(minute for minute in self._open if minute + MINUTE <= watermark)
        if ended:
            self._closed = ended[-1] + MINUTE
        return [Bar(self.symbol, minute, *self._open.pop(minute)[:6]) for minute in ended]

    def close_until(self, moment: int) -> None:
        """Take ticks from before this moment (the end of a minute) as late from now on."""
        self._closed = moment

    def step(self, bar: Bar) -> Signal | None:
        """Take the next closed bar into the averages of closes; a signal where they cross."""
        if self.crossing is None or self._rule is None:
            return None
        end = bar.minute + MINUTE
        side = self.crossing.step(bar.close, end)
        if side is None:
            return None
        name = f"{INTERVAL}:{self._rule.fast}/{self._rule.slow}:{bar.symbol}:{bar.minute}"
        return Signal(name, bar.symbol, side, INTERVAL, end, bar.close, *self.crossing.averages)

    def dump(self) -> dict[str, Any]:
        """What `load` makes the same again from; plain JSON."""
        crossing = None if self.crossing is None else self.crossing.dump()
        return {"open": list(self._open.items()), "closed": self._closed, "crossing": crossing}

    @classmethod
    def load(cls, symbol: str, dumped: Mapping[str, Any], rule: Rule | None) -> Minutes:
        """The minutes as they were; the averages start anew where they were kept for other windows, or not at all."""
        minutes = cls(symbol, rule)
        minutes._open = {minute: list(bar) for minute, bar in dumped["open"]}
        minutes._closed = dumped["closed"]
        crossing: Sequence[Any] | None = dumped["crossing"]
        if rule is not None and crossing is not None:
            minutes.crossing = Crossing.load(crossing, rule, symbol)
        return minutes
