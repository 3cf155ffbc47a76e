"""What the page shows of a store, and what of it changed since a version.

A client that is slow gets fewer messages, each of all that it lacks, and nothing waits for it in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stockkit.errors import StreamError
from stockkit.market.signals import Signal
from stockkit.stream.store import Quote, Store

POINTS = 90  # of a sparkline: prices that were seen one after the other
SIGNALS = 20  # shown in a list
SIGNALS_READ = 500
ROWS = 200  # symbols on the page
RATE = 5_000_000  # microseconds over which ticks a second are counted


@dataclass(frozen=True)
class Reading:
    """A store at one moment.

    Attributes:
        quotes: the newest price of each symbol. signals: newest first. counts: since the store was made.
        alerts: how many are waiting, sent and given up.
        trouble: why nothing can be read; empty when all is well. store: tells one store from another.
    """

    quotes: Sequence[Quote] = ()
    signals: Sequence[Signal] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    alerts: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""
    store: str = ""


class Reader:
    """Reads a store again and again, by one thread; one that is not there yet, or was made anew, is no error.

    Args:
        path: of the store's file, which is never made here.
        symbols: whose quotes and signals; all when empty.
    """

    def __init__(self, path: Path, symbols: Sequence[str] = ()) -> None:
        self._path, self._symbols = path, symbols
        self._store: Store | None = None
        self._file = 0
        self._last = Reading()

    def read(self) -> Reading:
        """The store as it is now."""
        try:
            store = self._opened()
            if store is None:
                return Reading(trouble=f"There is no stream in {self._path} yet: `stockkit stream run` makes it.")
            counts, alerts = store.counts(), store.alert_counts()
            last = self._last
            if (counts, last.store) == (last.counts, store.id):
                self._last = Reading(last.quotes, last.signals, counts, alerts, store=store.id)
            else:
                quotes = store.quotes(self._symbols or None)
                signals = [s for s in store.signals(SIGNALS_READ) if not self._symbols or s.symbol in self._symbols]
                self._last = Reading(quotes, signals, counts, alerts, store=store.id)
            return self._last
        except StreamError as error:
            self.close()
            return Reading(trouble=str(error))

    def _opened(self) -> Store | None:
        """The store; None where there is no file. Opened anew where the file is another one."""
        try:
            file = self._path.stat().st_ino
        except OSError:
            self.close()
            return None
        if self._store is None or file != self._file:
            self.close()
            self._store, self._file = Store(self._path), file
        return self._store

    def close(self) -> None:
        """Let go of the file."""
        if self._store is not None:
            self._store.close()
        self._store, self._last = None, Reading()


@dataclass
class Row:
    """One symbol on the page: its quote, the first price seen, its prices with the version in which each came."""

    quote: Quote
    first: int
    points: deque[tuple[int, int]]
    version: int
    signal: Signal | None = None


class Feed:
    """All that the page shows; each change has a version, from 1."""

    def __init__(self) -> None:
        self.version = 0
        self._start_anew()

    def _start_anew(self) -> None:
        self._since = self.version  # a client that knows only what was before gets everything
        self._reading = Reading()
        self._rows: dict[str, Row] = {}
        self._signals: deque[tuple[int, Signal]] = deque(maxlen=SIGNALS)
        self._ticks: deque[tuple[int, int]] = deque()
        self._rate = 0.0
        self._hidden = 0

    def take(self, reading: Reading, now: int) -> bool:
        """Take what was read; tell whether the page changes.

        Args:
            reading: of the store. now: microseconds since 1970 UTC.
        """
        before, rate = self._reading, self._rate
        if reading.store and reading.store != before.store and before.store:
            self.version += 1
            self._start_anew()  # another store: nothing of the one before is shown
        self._count(reading, now)
        if reading == before and self._rate == rate:
            return False
        self.version += 1
        if reading.trouble and before.store:
            reading = Reading(
                before.quotes, before.signals, before.counts, before.alerts, reading.trouble, before.store
            )
        self._reading = reading
        for quote in reading.quotes:
            self._quote(quote)
        self._take_signals(reading.signals)
        return True

    def _count(self, reading: Reading, now: int) -> None:
        """Ticks a second, over the last seconds."""
        if reading.trouble:
            self._ticks.clear()
            self._rate = 0.0
            return
        self._ticks.append((now, reading.counts.get("ticks", 0)))
        while self._ticks[0][0] < now - RATE:
            self._ticks.popleft()
        (then, first), (_, last) = self._ticks[0], self._ticks[-1]
        self._rate = round((last - first) * 1e6 / (now - then), 1) if now > then else 0.0

    def _quote(self, quote: Quote) -> None:
        row = self._rows.get(quote.symbol)
        if row is None:
            if len(self._rows) >= ROWS:
                self._hidden = len(self._reading.quotes) - ROWS
                return
            row = self._rows[quote.symbol] = Row(quote, quote.price, deque(maxlen=POINTS), 0)
        elif quote == row.quote:
            return
        row.quote, row.version = quote, self.version
        row.points.append((self.version, quote.price))

    def _take_signals(self, signals: Sequence[Signal]) -> None:
        """Take the signals that are new; of each symbol the newest stands in its row."""
        newest = self._signals[-1][1].id if self._signals else ""
        new = signals[: next((k for k, signal in enumerate(signals) if signal.id == newest), len(signals))]
        for signal in reversed(new):
            self._signals.append((self.version, signal))
            if row := self._rows.get(signal.symbol):
                row.signal, row.version = signal, self.version

    def since(self, version: int, now: int) -> dict[str, Any]:
        """What changed after a version, as plain JSON; all of it where the version is of no use."""
        everything = version < self._since or version == 0
        version = 0 if everything else version
        reading = self._reading
        return {
            "version": self.version, "all": everything, "now": now, "trouble": reading.trouble, "rate": self._rate,
            "counts": dict(reading.counts), "alerts": dict(reading.alerts), "hidden": self._hidden,
            "rows": [_row(row, version) for row in self._rows.values() if row.version > version],
            "signals": [_signal(signal) for number, signal in self._signals if number > version],
        }  # fmt: skip


def _row(row: Row, version: int) -> dict[str, Any]:
    """A row as JSON: prices in millionths, times in microseconds since 1970 UTC."""
    symbol, price, _, event_time, arrival, _ = row.quote
    return {
        "symbol": symbol, "price": price, "first": row.first, "event_time": event_time, "arrival": arrival,
        "points": [price for number, price in row.points if number > version],
        "signal": row.signal and _signal(row.signal),
    }  # fmt: skip


def _signal(signal: Signal) -> dict[str, Any]:
    fields = ("symbol", "side", "interval", "event_time", "price", "fast", "slow")
    return {name: getattr(signal, name) for name in fields}
