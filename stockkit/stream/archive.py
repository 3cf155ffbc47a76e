"""From the store to the lake: the rows that wait go into Delta tables, each chunk exactly once.

A commit carries the number of the last chunk that it has as the version of an application of Delta (the store's id).
Delta itself does not skip what it has: the version is read first, and the commit is made against just that state of
the table. So a crash between a commit and the store's note of it adds nothing twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stockkit.errors import StreamError
from stockkit.lake import commits, upkeep
from stockkit.lake.contracts import TABLES
from stockkit.lake.tables import Lake
from stockkit.local_files import locked
from stockkit.market.signals import Signal
from stockkit.market.ticks import SCALE, Reject, Tick
from stockkit.stream.minutes import MINUTE, Bar
from stockkit.stream.store import Chunk, Store

log = logging.getLogger(__name__)

DAY = 86_400_000_000  # microseconds
DIGITS = 20  # of an offset as text, so that texts are in order; Kinesis' have 56 by themselves
FLUSHED = 64 * 2**20  # bytes of rows in one commit
FILES = 40  # of a date, from which on they are put into one
OWNER = "stockkit-stream"  # the application of Delta whose version tells which store fills a table
TABLE_ORDER = ("ticks", "bars_1m", "signals", "dead_letters")
NAMES: Mapping[str, tuple[str, ...]] = {
    "ticks": ("symbol", "price", "size", "event_time", "source", "sequence", "number", "partition", "offset", "arrival",
              "late"),
    "bars_1m": ("symbol", "minute", "open", "high", "low", "close", "volume", "count"),
    "signals": ("id", "symbol", "side", "interval", "event_time", "price", "fast", "slow", "number", "partition",
                "offset", "made_at"),
    "dead_letters": ("reason", "detail", "body", "partition", "offset", "arrival"),
}  # fmt: skip
PRICES = {"ticks": ("price",), "bars_1m": ("open", "high", "low", "close"), "signals": ("price",)}  # in millionths
DATED = {"ticks": "event_time", "bars_1m": "minute", "signals": "event_time", "dead_letters": "arrival"}
MOMENTS = {"event_time", "minute", "arrival", "made_at"}


@dataclass
class Rows:
    """Rows of one micro-batch for the lake, and the late minutes of its ticks."""

    ticks: list[tuple[Any, ...]] = field(default_factory=list)
    bars_1m: list[tuple[Any, ...]] = field(default_factory=list)
    signals: list[tuple[Any, ...]] = field(default_factory=list)
    dead_letters: list[tuple[Any, ...]] = field(default_factory=list)
    late: list[tuple[str, int]] = field(default_factory=list)

    def tick(self, tick: Tick, number: int, partition: str, offset: str, arrival: int, *, late: bool) -> None:
        """Add a tick, with its number and its place."""
        self.ticks.append((*tick, number, partition, offset, arrival, late))
        if late:
            self.late.append((tick.symbol, tick.event_time - tick.event_time % MINUTE))

    def bar(self, bar: Bar) -> None:
        """Add a minute that was closed."""
        self.bars_1m.append(tuple(bar))

    def signal(self, signal: Signal, number: int, partition: str, offset: str, now: int) -> None:
        """Add a signal, with the number of its tick (0: of a bar), the place that raised it, and when."""
        self.signals.append((*signal, number, partition, offset, now))

    def dead_letter(self, reject: Reject, partition: str, offset: str, arrival: int) -> None:
        """Add a record that is no tick."""
        self.dead_letters.append((*reject, partition, offset, arrival))

    def pack(self) -> bytes:
        """The rows as bytes: a line of JSON with the lengths of what follows, then an Arrow stream a table."""
        streams = {name: _stream(name, rows) for name in TABLE_ORDER if (rows := getattr(self, name))}
        if not streams:
            return b""
        head = {"late": self.late, "tables": {name: len(stream) for name, stream in streams.items()}}
        return b"\n".join([json.dumps(head).encode(), b"".join(streams.values())])


def text_of(offset: int) -> str:
    """An offset as text that sorts as the numbers do."""
    return f"{offset:0{DIGITS}}"


def _stream(table: str, rows: Sequence[tuple[Any, ...]]) -> bytes:
    import pyarrow as pa

    kinds = _kinds()
    names = NAMES[table]
    columns = [pa.array(column, kinds[name]) for name, column in zip(names, zip(*rows, strict=True), strict=True)]
    batch = pa.record_batch(columns, names=list(names))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _kinds() -> dict[str, Any]:
    """The Arrow type of each column as it is packed."""
    import pyarrow as pa

    texts = ("symbol", "source", "partition", "offset", "id", "side", "interval", "reason", "detail")
    return {
        **dict.fromkeys([name for names in NAMES.values() for name in names], pa.int64()),
        **dict.fromkeys(texts, pa.string()),
        "late": pa.bool_(),
        "body": pa.binary(),
        "fast": pa.float64(),
        "slow": pa.float64(),
    }


def unpack(packed: bytes) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """The rows of each table of a chunk, as they were packed, and its late minutes."""
    import pyarrow as pa

    line, _, streams = packed.partition(b"\n")
    head, at, tables = json.loads(line), 0, {}
    for name, length in head["tables"].items():
        with pa.ipc.open_stream(streams[at : at + length]) as reader:
            tables[name] = reader.read_all()
        at += length
    return tables, [(symbol, minute) for symbol, minute in head["late"]]


def for_table(table: str, rows: Any) -> Any:
    """Rows as they were packed in the columns and the order of their table of the lake."""
    import pyarrow as pa
    import pyarrow.compute as pc

    days = pc.divide(rows[DATED[table]], DAY).cast(pa.int32()).cast(pa.date32())
    for name in PRICES.get(table, ()):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, pc.divide(rows[name].cast(pa.float64()), float(SCALE)))
    for name in MOMENTS.intersection(rows.column_names):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, rows[name].cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")))
    rows = rows.append_column("date", days)
    if table == "bars_1m":
        rows = rows.append_column("late", pa.array([0] * len(rows), pa.int64()))
    described = TABLES[table]
    return rows.select(list(described.contract)).sort_by([(name, "ascending") for name in described.key])


class Displaced(StreamError):
    """Another store fills this lake since: what this one has goes nowhere, and its records are read again there."""

    def __init__(self, lake: Lake, store: Store) -> None:
        super().__init__(
            f"{lake.files} is filled from another store since, and no longer from {store.path}: two would double its "
            "rows. Nothing is lost: the other one reads from where the lake ended. Run one service with its `state`; "
            f"if this one is to go on instead, stop the other and delete {store.path.name}, which is then made anew."
        )


def take_over(lake: Lake, store: Store) -> None:
    """Make this new store the one that fills the lake; a service with the store before it ends at its next commit.

    Raises:
        Displaced: the store is not new, and another one has taken over from it. LakeError: the lake cannot be written.
    """
    if lake.version("ticks") is None or lake.delta("ticks").transaction_version(OWNER) in (None, _number(store)):
        return
    if not store.is_empty():
        raise Displaced(lake, store)

    def work_out(now: Any) -> commits.Rows:
        none = now.to_pyarrow_dataset().schema.empty_table()
        return commits.Rows(none, None, partition=TABLES["ticks"].partition, transactions={OWNER: _number(store)})

    lake.commit("ticks", work_out)
    log.warning("event=taken-over lake=%s store=%s: it was filled from another store until now", lake.files, store.path)


def _number(store: Store) -> int:
    """What tells a store from others, as a version of an application."""
    return int(store.id[:15], 16)


def flush(lake: Lake, store: Store) -> dict[str, int]:
    """Commit what waits in the store to the lake; return the offsets that the lake then has, by partition.

    Of several processes that share a store one flushes at a time.

    Raises:
        LakeError, StreamError: it cannot be written; what waits goes on waiting.
    """
    with _alone(store):
        while chunks := store.spooled(FLUSHED):
            _commit(lake, store, chunks)
    return store.archived()


def _commit(lake: Lake, store: Store, chunks: Sequence[Chunk]) -> None:
    unpacked = [(chunk.number, *unpack(chunk.rows)) for chunk in chunks]
    offsets: dict[str, int] = {}
    for chunk in chunks:
        offsets.update(chunk.offsets)
    for table in TABLE_ORDER:
        parts = [(number, tables[table]) for number, tables, _ in unpacked if table in tables]
        if parts:
            _append(lake, store, table, parts, offsets)
        elif table == "ticks" and lake.version(table) is not None:
            _refuse_displaced(lake, store, lake.delta(table))
    late = {key for *_, keys in unpacked for key in keys}
    store.drop_spooled(chunks[-1].number, offsets, sorted(late))


def _append(lake: Lake, store: Store, table: str, parts: Sequence[tuple[int, Any]], offsets: Mapping[str, int]) -> None:
    """Add the chunks to a table that it does not have, in one commit."""
    import pyarrow as pa

    application, last = f"stockkit-stream/{store.id}", parts[-1][0]
    owner = {OWNER: _number(store)} if table == "ticks" else {}
    notes = {"stockkit.offsets": json.dumps({name: str(offset) for name, offset in offsets.items()})}

    def work_out(now: Any | None) -> commits.Rows | None:
        if now is not None and table == "ticks":
            _refuse_displaced(lake, store, now)
        done = -1 if now is None else now.transaction_version(application)
        new = [rows for number, rows in parts if done is None or number > done]
        if not new:
            return None
        rows = for_table(table, pa.concat_tables(new))
        partition = TABLES[table].partition
        return commits.Rows(rows, None, notes, partition=partition, transactions={application: last, **owner})

    lake.commit(table, work_out)


def _refuse_displaced(lake: Lake, store: Store, ticks: Any) -> None:
    if ticks.transaction_version(OWNER) not in (None, _number(store)):
        raise Displaced(lake, store)


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Wait until no other process flushes this store; a process that ends lets go by itself."""
    try:
        with locked(store.path.with_suffix(".flushing")):
            yield
    except OSError as error:
        raise StreamError(f"cannot flush {store.path}: {error}; its rows wait there.") from error


def correct(lake: Lake, store: Store) -> int:
    """Work out anew from the lake's ticks the minute bars that late ticks belong to; return how many bars changed.

    A bar corrected already comes out the same, so that a crash in between changes nothing.
    """
    late = store.late_minutes()
    with _alone(store):
        for day in sorted({minute // DAY for _, minute in late}):
            keys = [key for key in late if key[1] // DAY == day]
            lake.commit("bars_1m", partial(_corrected, lake, day, keys))
            store.drop_late_minutes(keys)
    return len(late)


def _corrected(lake: Lake, day: int, late: Sequence[tuple[str, int]], now: Any | None) -> commits.Rows:
    """All bars of a day of the symbols with late ticks: those that are there, and those of late ticks alone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    symbols = sorted({symbol for symbol, _ in late})
    bars = _from_ticks(_of_day(lake.delta("ticks"), day, symbols))
    wanted = {*late}
    if now is not None:
        there = _of_day(now, day, symbols)
        minutes = there["minute"].cast(pa.int64()).to_pylist()
        wanted |= {*zip(there["symbol"].to_pylist(), minutes, strict=True)}
    keys = zip(bars["symbol"].to_pylist(), bars["minute"].cast(pa.int64()).to_pylist(), strict=True)
    bars = bars.filter(pa.array([key in wanted for key in keys], pa.bool_()))
    if now is None:
        return commits.Rows(bars, None, partition="date")
    named = ", ".join(f"'{symbol}'" for symbol in symbols)
    date = pc.strftime(pa.scalar(day, pa.int32()).cast(pa.date32()), format="%Y-%m-%d").as_py()
    return commits.Rows(bars, None, where=f"date = '{date}' AND symbol IN ({named})", partition="date")


def _of_day(delta: Any, day: int, symbols: Sequence[str]) -> Any:
    """The rows of some symbols on one day of a table that is partitioned by date."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    date = pa.scalar(day, pa.int32()).cast(pa.date32())
    rows = delta.to_pyarrow_dataset().to_table(
        filter=(ds.field("date") == date) & ds.field("symbol").isin(pa.array(symbols, pa.string()))
    )
    return rows


def _from_ticks(ticks: Any) -> Any:
    """Every minute bar of a frame of ticks, late ones counted, as the columns of bars_1m."""
    import pyarrow as pa
    import pyarrow.compute as pc

    minute = pc.multiply(pc.divide(ticks["event_time"].cast(pa.int64()), MINUTE), MINUTE)
    rows = ticks.append_column("minute", minute).append_column("late_ticks", ticks["late"].cast(pa.int64()))
    rows = rows.sort_by([(name, "ascending") for name in ("symbol", "minute", "event_time", "number")])
    names = {"price_first": "open", "price_max": "high", "price_min": "low", "price_last": "close",
             "size_sum": "volume", "price_count": "count", "late_ticks_sum": "late"}  # fmt: skip
    grouped = rows.group_by(["symbol", "date", "minute"], use_threads=False).aggregate(
        [tuple(name.rsplit("_", 1)) for name in names]
    )
    bars = grouped.rename_columns([names.get(name, name) for name in grouped.column_names])
    place = bars.column_names.index("minute")
    bars = bars.set_column(place, "minute", bars["minute"].cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC")))
    return bars.select(list(TABLES["bars_1m"].contract)).sort_by([("symbol", "ascending"), ("minute", "ascending")])


def complete(lake: Lake) -> None:
    """Make those tables of the stream that have had no rows yet, so that each can be read; others stay as they are."""
    import pyarrow as pa

    kinds = _kinds()
    for table in TABLE_ORDER:
        names = NAMES[table]
        nothing = pa.table({name: pa.array([], kinds[name]) for name in names})
        rows = commits.Rows(for_table(table, nothing), None, partition=TABLES[table].partition)
        lake.commit(table, partial(_first, rows))


def _first(rows: commits.Rows, now: Any | None) -> commits.Rows | None:
    return rows if now is None else None


def compact(lake: Lake) -> None:
    """Put the files of a date into one, sorted by symbol, where there are too many of them."""
    for table in TABLE_ORDER:
        if lake.version(table) is not None:
            done = upkeep.optimize(lake.location(table), fewest=FILES + 1)
            if done["files_removed"]:
                log.info("event=compacted table=%s files=%d", table, done["files_removed"])
