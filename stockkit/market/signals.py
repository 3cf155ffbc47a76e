"""Crossings of two simple moving averages, one tick or bar at a time, in integers. Standard library alone.

An average of the last `fast` prices is compared with one of the last `slow`. Where it comes to lie above after it lay
below, that is a crossing up (buy); the other way round one down (sell). So that every step has one meaning:

- the order is that of arrival: partition and offset, not the time of the event; a late tick takes its place there;
- before `slow` prices there is no average and no crossing (warm-up); the first strict inequality after it sets the
  side without a signal;
- equal averages keep the side, so that touching and turning back is no crossing;
- a pause of more than `gap` between two prices starts the warm-up anew: by default four hours, so that no average
  spans two sessions; with 0 the window runs on;
- a split restates the prices in the window, half to even to a millionth, and those of ticks from before it.

Example:
    >>> crossing = Crossing(Rule(fast=1, slow=2, gap=0))
    >>> [crossing.step(price, time) for time, price in enumerate([3, 2, 2, 4, 4, 5, 1])]
    [None, None, None, 'buy', None, None, 'sell']
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stockkit.errors import ParamError
from stockkit.market.ticks import SCALE, Sequences, Tick, as_datetime

BUY, SELL = "buy", "sell"
FOUR_HOURS = 4 * 3_600_000_000  # microseconds
LONGEST = 10_000  # prices of a window
WINDOWS = re.compile(r"\w+:(\d+)/(\d+):")  # at the start of a signal's id
COMPACT = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` would make an encoder for each text
SOURCES = 16  # whose sequences are kept for a symbol; the one that came first goes first


class Split(NamedTuple):
    """From `time` (microseconds since 1970 UTC) on a price is `numerator` / `denominator` of before (4:1: 1/4)."""

    time: int
    numerator: int
    denominator: int

    def restate(self, price: int) -> int:
        """A price from before the split in units of after it, rounded half to even."""
        quotient, rest = divmod(price * self.numerator, self.denominator)
        return quotient + (2 * rest > self.denominator or (2 * rest == self.denominator and quotient % 2))


@dataclass(frozen=True)
class Rule:
    """Which averages are compared, and when the window starts anew.

    Attributes:
        fast, slow: prices in each average, 1 <= fast < slow.
        gap: microseconds between two prices after which the warm-up starts anew; 0 for never.
        splits: by symbol, ascending by time.

    Raises:
        ParamError: windows that cannot be compared.
    """

    fast: int = 5
    slow: int = 20
    gap: int = FOUR_HOURS
    splits: Mapping[str, Sequence[Split]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.fast < self.slow <= LONGEST:
            raise ParamError(
                f"fast={self.fast}, slow={self.slow}: averages need 1 <= fast < slow <= {LONGEST:,}, as in 5 and 20."
            )
        if self.gap < 0:
            raise ParamError(f"gap={self.gap}: a pause is 0 (none) or more.")


class Crossing:
    """The two averages of one series and which one is above; a step costs the same however long the windows are."""

    __slots__ = (
        "_difference", "_fast", "_gap", "_next", "_ring", "_rule", "_side", "_slow", "_splits", "count", "last_time"
    )  # fmt: skip

    def __init__(self, rule: Rule, symbol: str = "") -> None:
        self._rule, self._splits = rule, rule.splits.get(symbol, ())
        self._fast, self._slow = rule.fast, rule.slow
        self._gap = rule.gap or float("inf")
        self.last_time = 0
        self.restart()

    def restart(self) -> None:
        """Forget the prices: warm-up from here."""
        self._ring = [0] * self._slow  # of the last prices; `_next` is the oldest one's place
        self._difference = 0  # of the averages, times both windows' lengths
        self._next = self._side = self.count = 0

    def step(self, price: int, time: int) -> str | None:
        """Take the next price; "buy" or "sell" where the averages cross with it.

        Args:
            price: millionths of the currency.
            time: of the event, microseconds since 1970 UTC.
        """
        if self._splits:
            price = self._in_units_of_window(price, time)
        if time > self.last_time:
            if time - self.last_time > self._gap and self.count:
                self.restart()
            self.last_time = time
        ring, place, fast, slow = self._ring, self._next, self._fast, self._slow
        difference = self._difference + (price - ring[place - fast]) * slow - (price - ring[place]) * fast
        self._difference = difference
        ring[place] = price
        place += 1
        self._next = place if place < slow else 0
        if self.count < slow:
            self.count += 1
            if self.count < slow:
                return None
        side = 1 if difference > 0 else -1
        if difference == 0 or side == self._side:
            return None
        before, self._side = self._side, side
        if before == 0:
            return None
        return BUY if side > 0 else SELL

    @property
    def averages(self) -> tuple[float, float]:
        """The fast and the slow average in the currency; of fewer prices than `slow` NaN."""
        if self.count < self._slow:
            return float("nan"), float("nan")
        prices = self.prices
        return sum(prices[-self._fast :]) / (self._fast * SCALE), sum(prices) / (self._slow * SCALE)

    def _in_units_of_window(self, price: int, time: int) -> int:
        """A price in the units of the window's newest one, or the window in the price's, where a split lies between."""
        for split in self._splits:
            if self.last_time < split.time <= time:
                self._refill([split.restate(before) for before in self.prices])
            elif time < split.time <= self.last_time:
                price = split.restate(price)
        return price

    def _refill(self, prices: Sequence[int]) -> None:
        """Put other prices in the places of those in the window; the side stays."""
        self._ring = [*prices, *[0] * (self._slow - len(prices))]
        self._next, self.count = len(prices) % self._slow, len(prices)
        self._difference = sum(prices[-self._fast :]) * self._slow - sum(prices) * self._fast

    @property
    def prices(self) -> list[int]:
        """The prices in the window, oldest first."""
        ordered = self._ring[self._next :] + self._ring[: self._next]
        return ordered[self._slow - self.count :]

    def dump(self) -> list[Any]:
        """What `load` makes the same again from; plain JSON."""
        return [self._fast, self._slow, self.prices, self._side, self.last_time]

    @classmethod
    def load(cls, dumped: Sequence[Any], rule: Rule, symbol: str = "") -> Crossing:
        """A crossing as it was; one that starts anew where it was kept for other windows."""
        crossing = cls(rule, symbol)
        fast, slow, prices, side, last_time = dumped
        if (fast, slow) == (rule.fast, rule.slow):
            crossing._refill(prices)
            crossing._side, crossing.last_time = side, last_time
        return crossing


class Signal(NamedTuple):
    """A crossing.

    Attributes:
        id: the same however often the crossing is worked out: interval, windows, and the place of the tick or the bar.
        side: "buy" or "sell". interval: of what the windows count: "tick", "1m" or "1d".
        event_time: of the tick, or the end of the bar, microseconds since 1970 UTC. price: its price, in millionths.
        fast, slow: the averages, in the currency.
    """

    id: str
    symbol: str
    side: str
    interval: str
    event_time: int
    price: int
    fast: float
    slow: float


def alert_body(signal: Signal) -> dict[str, object]:
    """A signal as the message of an alert: its fields, prices in the currency, the time as ISO text, and a sentence."""
    moment = as_datetime(signal.event_time)
    windows = WINDOWS.match(signal.id)
    fast, slow = (f"SMA-{windows[1]}", f"SMA-{windows[2]}") if windows else ("the fast average", "the slow one")
    low, high = _apart(signal.fast, signal.slow)
    text = (
        f"{signal.side.upper()} {signal.symbol} at {_apart(signal.price / SCALE)[0]}: {fast} {low} crossed "
        f"{'above' if signal.side == BUY else 'below'} {slow} {high} at {moment:%Y-%m-%d %H:%M:%S} UTC"
    )
    fields = signal._asdict() | {"price": signal.price / SCALE, "event_time": moment.isoformat()}
    return {**fields, "text": text}


def _apart(*numbers: float) -> list[str]:
    """Prices with as many decimals as tell them from each other and from 0: two as a rule, six at most."""
    for digits in range(2, 7):
        texts = [f"{number:,.{digits}f}" for number in numbers]
        if len({*texts, f"{0:.{digits}f}"}) == len({*numbers, 0}):
            break
    return texts


class SymbolState:
    """All that is known of one symbol between two ticks: what was read, the newest quote, and the averages.

    Attributes:
        number: of ticks accepted; the next one's place in the order that defines the averages.
        quote: the tick of the newest event; a tie goes to the one that came later. None before the first.
        crossing: of ticks.
    """

    __slots__ = ("_sequences", "crossing", "number", "quote", "rule", "symbol")

    def __init__(self, symbol: str, rule: Rule) -> None:
        self.symbol, self.rule = symbol, rule
        self.number = 0
        self.quote: Tick | None = None
        self.crossing = Crossing(rule, symbol)
        self._sequences: dict[str, Sequences] = {}

    def accept(self, tick: Tick) -> str:
        """Note a tick in order of arrival; "new", "duplicate" or "too late" (see `ticks.Sequences`)."""
        sequences = self._sequences.get(tick.source)
        if sequences is None:
            if len(self._sequences) >= SOURCES:
                del self._sequences[next(iter(self._sequences))]
            sequences = self._sequences[tick.source] = Sequences()
        verdict = sequences.add(tick.sequence)
        if verdict == "new":
            self.number += 1
            if self.quote is None or tick.event_time >= self.quote.event_time:
                self.quote = tick
        return verdict

    def step(self, tick: Tick, place: str) -> Signal | None:
        """Take an accepted tick into the averages.

        Args:
            tick: the next one in order of arrival.
            place: where it lies in the bus, ``partition:offset``: part of the signal's id.
        """
        side = self.crossing.step(tick.price, tick.event_time)
        if side is None:
            return None
        rule = self.rule
        fast, slow = self.crossing.averages
        name = f"tick:{rule.fast}/{rule.slow}:{place}"
        return Signal(name, self.symbol, side, "tick", tick.event_time, tick.price, fast, slow)

    def dump(self) -> str:
        """The state as JSON text, which `load` reads."""
        sequences = {source: sequences.dump() for source, sequences in self._sequences.items()}
        state = {
            "v": 1,
            "number": self.number,
            "quote": self.quote,
            "crossing": self.crossing.dump(),
            "seen": sequences,
        }
        return COMPACT(state)

    @classmethod
    def load(cls, symbol: str, text: str, rule: Rule) -> SymbolState:
        """The state that was dumped; the averages start anew where they were kept for other windows."""
        kept = json.loads(text)
        state = cls(symbol, rule)
        state.number = kept["number"]
        state.quote = Tick(*kept["quote"]) if kept["quote"] else None
        state.crossing = Crossing.load(kept["crossing"], rule, symbol)
        state._sequences = {source: Sequences(*dumped) for source, dumped in kept["seen"].items()}
        return state
