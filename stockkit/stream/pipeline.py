"""From a bus to the store, a micro-batch at a time: check, drop duplicates, close minutes, raise signals.

What a batch comes to follows from its records and from what the store has; nothing else. So a batch that was not
stored (a crash, a full disk, a partition that went to another consumer) is read and worked out again, to the same end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from stockkit.market import ticks
from stockkit.market.signals import COMPACT, Rule, Signal, SymbolState, alert_body
from stockkit.market.ticks import Reject, Tick
from stockkit.stream import minutes
from stockkit.stream.archive import Rows, text_of
from stockkit.stream.bus.protocol import Record
from stockkit.stream.minutes import Minutes
from stockkit.stream.store import Batch, Kept, Quote, Reach, Store

INTERVALS = ("tick", minutes.INTERVAL)
LIVE = 3_600_000_000  # microseconds: a partition whose newest event is older than that is a replay
QUIET = 5_000_000  # microseconds without a tick after which a live partition's minutes are closed by the clock


@dataclass(frozen=True)
class Step:
    """How a pipeline works.

    Attributes:
        rule: of the crossing. interval: what its windows count, one of `INTERVALS`.
        symbols: those that are listened to; None for all.
        channels: notifiers that get each signal.
        lateness: microseconds that a tick may come behind the newest of its partition before its minute is closed.
    """

    rule: Rule = field(default_factory=Rule)
    interval: str = "tick"
    symbols: Container[str] | None = None
    channels: Sequence[str] = ()
    lateness: int = 2_000_000


class Live:
    """What is known of one symbol while the pipeline runs, and the version of it that the store has."""

    __slots__ = ("minutes", "partition", "state", "version")

    def __init__(self, symbol: str, step: Step, kept: Kept | None) -> None:
        tick_rule = step.rule if step.interval == "tick" else None
        bar_rule = step.rule if tick_rule is None else None
        if kept is None:
            self.version, self.partition = 0, ""
            self.state, self.minutes = SymbolState(symbol, step.rule), Minutes(symbol, bar_rule)
        else:
            state, open_minutes = kept.body.split("\n")
            self.version, self.partition = kept.version, kept.open_in
            self.state = SymbolState.load(symbol, state, step.rule)
            self.minutes = Minutes.load(symbol, json.loads(open_minutes), bar_rule)

    def kept(self) -> Kept:
        """As the store keeps it: a line of JSON for the state, one for the minutes."""
        body = f"{self.state.dump()}\n{COMPACT(self.minutes.dump())}"
        return Kept(self.version, body, self.partition if self.minutes.is_open else "")


@dataclass
class _Work:
    """What one micro-batch comes to, while it is worked out."""

    now: int
    rows: Rows = field(default_factory=Rows)
    reaches: dict[str, Reach] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    quotes: dict[str, Quote] = field(default_factory=dict)
    signals: list[Signal] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Pipeline:
    """The work between a consumer and a store. After an error, make a new consumer: the store says where it starts."""

    def __init__(self, store: Store, step: Step) -> None:
        self._store, self._step = store, step
        self.forget()

    def forget(self) -> None:
        """Let go of what was worked out; the store is asked anew."""
        self._live: dict[str, Live] = {}
        self._partitions: dict[str, Reach] = {}
        self._open: dict[str, set[str]] = {}

    def take(self, records: Sequence[Record], now: int) -> Batch:
        """Work out records and store what they come to.

        Args:
            records: as they were polled; those that the store has already are passed over.
            now: microseconds since 1970 UTC.

        Raises:
            StreamError: nothing of the batch is stored, and the records are to be read again; `store.Fenced` where
                another consumer goes on with a partition.
        """
        work = _Work(now)
        by_partition: dict[str, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        try:
            for partition, polled in by_partition.items():
                self._read(work, partition, polled)
            return self._commit(work)
        except BaseException:
            self.forget()  # what is in memory is ahead of the store
            raise

    def pass_time(self, now: int, partitions: Iterable[str], *, at_end: bool = False) -> Batch:
        """Close by the clock the minutes of live partitions where nothing came; of all, with `at_end`.

        Args:
            now: microseconds since 1970 UTC. partitions: those that the consumer has.
        """
        work = _Work(now)
        try:
            for partition in partitions:
                reach = self._partitions.get(partition) or self._known(partition)
                live = now - reach.watermark < LIVE
                watermark = 2**62 if at_end else now - self._step.lateness - QUIET if live else reach.watermark
                if self._open.get(partition) and watermark > reach.watermark:
                    closed = reach.watermark if at_end else watermark
                    work.reaches[partition] = Reach(reach.offset, reach.offset, closed)
                    self._close(work, partition, watermark, text_of(reach.offset))
            return self._commit(work)
        except BaseException:
            self.forget()
            raise

    def _read(self, work: _Work, partition: str, records: Sequence[Record]) -> None:
        """Take the records of one partition, in order."""
        reach = self._partitions.get(partition) or self._known(partition)
        new = [record for record in records if record.offset > reach.offset]
        if not new:
            return
        read = ticks.transform([record.body for record in new], now=work.now, symbols=self._step.symbols)
        self._load({result.symbol for result in read if isinstance(result, Tick)})
        watermark = reach.watermark
        for record, result in zip(new, read, strict=True):
            place = text_of(record.offset)
            if isinstance(result, Reject):
                work.rows.dead_letter(result, partition, place, record.arrival)
            else:
                watermark = self._take_tick(work, record, result, place, watermark)
        work.counts["records"] += len(new)
        work.reaches[partition] = Reach(reach.before, new[-1].offset, watermark)

    def _take_tick(self, work: _Work, record: Record, tick: Tick, place: str, watermark: int) -> int:
        """Take one tick; return the partition's watermark after it."""
        live = self._live[tick.symbol]
        verdict = live.state.accept(tick)
        work.touched.add(tick.symbol)
        if verdict != "new":
            if verdict == "duplicate":
                work.counts["duplicates"] += 1
            else:
                detail = f"sequence {tick.sequence} of {tick.source}"
                work.rows.dead_letter(Reject(verdict, detail, record.body), record.partition, place, record.arrival)
            return watermark
        number = live.state.number
        if live.state.quote is tick:
            work.quotes[tick.symbol] = Quote(
                tick.symbol, tick.price, tick.size, tick.event_time, record.arrival, number
            )
        in_time = live.minutes.add(tick)
        if in_time and tick.symbol not in self._open[record.partition]:
            live.partition = record.partition
            self._open[record.partition].add(tick.symbol)
        work.rows.tick(tick, number, record.partition, place, record.arrival, late=not in_time)
        if self._step.interval == "tick" and (signal := live.state.step(tick, f"{record.partition}:{place}")):
            self._raise(work, signal, number, record.partition, place)
        newest = tick.event_time - self._step.lateness
        if newest > watermark:
            if newest // minutes.MINUTE > watermark // minutes.MINUTE:
                self._close(work, record.partition, newest, place)
            return newest
        return watermark

    def _close(self, work: _Work, partition: str, watermark: int, place: str) -> None:
        """Close the minutes of a partition that end by the watermark."""
        symbols = self._open.get(partition, set())
        self._load(symbols)
        for symbol in sorted(symbols):
            live = self._live[symbol]
            for bar in live.minutes.close(watermark):
                work.rows.bar(bar)
                work.touched.add(symbol)
                if signal := live.minutes.step(bar):
                    self._raise(work, signal, 0, partition, place)
            if not live.minutes.is_open:
                symbols.discard(symbol)

    def _raise(self, work: _Work, signal: Signal, number: int, partition: str, place: str) -> None:
        work.signals.append(signal)
        work.rows.signal(signal, number, partition, place, work.now)

    def _known(self, partition: str) -> Reach:
        """How far the store has a partition; of a new one an offset of -1."""
        offset = self._store.last_offset(partition)
        self._open[partition] = self._store.symbols_open(partition)
        if offset is None:
            return Reach(None, -1, 0)
        return Reach(offset, offset, self._store.watermark(partition))

    def _load(self, symbols: Iterable[str]) -> None:
        """Have the states of these symbols at hand."""
        absent = [symbol for symbol in symbols if symbol not in self._live]
        if absent:
            kept = self._store.states(absent)
            self._live |= {symbol: Live(symbol, self._step, kept.get(symbol)) for symbol in absent}

    def _commit(self, work: _Work) -> Batch:
        """Store what was worked out."""
        if not work.reaches:
            return Batch(now=work.now)
        rows, counts = work.rows, work.counts
        late = len(rows.late)
        counts += Counter(
            ticks=len(rows.ticks), late=late, bars=len(rows.bars_1m), signals=len(rows.signals),
            rejects=len(rows.dead_letters),
        )  # fmt: skip
        batch = Batch(
            reaches=work.reaches,
            states={symbol: self._live[symbol].kept() for symbol in work.touched},
            quotes=list(work.quotes.values()),
            signals=work.signals,
            alerts=[alert for signal in work.signals for alert in self._alerts(signal)],
            rows=rows.pack(),
            counts=counts,
            now=work.now,
        )
        self._store.commit(batch)
        for symbol in work.touched:
            self._live[symbol].version += 1
        self._partitions |= {
            name: Reach(reach.offset, reach.offset, reach.watermark) for name, reach in work.reaches.items()
        }
        return batch

    def _alerts(self, signal: Signal) -> list[tuple[str, str, str, str]]:
        """A message of a signal for each channel."""
        if not self._step.channels:
            return []
        body = json.dumps(alert_body(signal))
        return [(signal.id, channel, signal.symbol, body) for channel in self._step.channels]
