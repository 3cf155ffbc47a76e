"""What the pipeline knows, in one SQLite file: offsets, states, quotes, alerts to send, rows that wait for the lake.

One micro-batch is one transaction, synced to the disk. So after a crash at any moment the offsets, the averages, the
quotes, the alerts and the rows for the lake are all of before a batch or all of after it.

Several processes may share the file. A batch is stored only if each partition's offset and each symbol's state are
still those that it was worked out from; of two consumers that believe to have one partition the slower one is refused.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from stockkit.errors import StreamError
from stockkit.market.signals import Signal
from stockkit.stream.alerts.outbox import Outbox

LAYOUT = 2  # of the file; kept as its user_version
PATIENCE = 5.0  # seconds to wait for another process that writes
SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS partitions (
    name TEXT PRIMARY KEY, offset TEXT NOT NULL, watermark INTEGER NOT NULL, archived TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (symbol TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL,
    open_in TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS open_minutes ON states (open_in) WHERE open_in != '';
CREATE TABLE IF NOT EXISTS quotes (symbol TEXT PRIMARY KEY, price INTEGER NOT NULL, size INTEGER NOT NULL,
    event_time INTEGER NOT NULL, arrival INTEGER NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS signals (
    place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS alerts (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, channel TEXT NOT NULL,
    symbol TEXT NOT NULL, body TEXT NOT NULL, made_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting', due INTEGER NOT NULL, detail TEXT, UNIQUE (id, channel));
CREATE INDEX IF NOT EXISTS waiting ON alerts (channel, number) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS sent ON alerts (channel, due) WHERE state = 'sent';
CREATE TABLE IF NOT EXISTS spool (number INTEGER PRIMARY KEY AUTOINCREMENT, rows BLOB NOT NULL, offsets TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS late_minutes (symbol TEXT, minute INTEGER, PRIMARY KEY (symbol, minute)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
COUNTED = ("records", "ticks", "duplicates", "rejects", "late", "bars", "signals")
KEPT_SIGNALS = 10_000  # for the page and the command; all of them are in the lake


class Fenced(StreamError):
    """Another consumer went on from where this one was: what it worked out is void, and nothing of it is stored."""


class Quote(NamedTuple):
    """The newest price of a symbol: price in millionths; event_time and arrival in microseconds since 1970 UTC."""

    symbol: str
    price: int
    size: int
    event_time: int
    arrival: int
    number: int


class Kept(NamedTuple):
    """A symbol's state as it is stored, how often it was stored, and the partition whose watermark closes its minutes.

    `open_in` is empty where no minute is open.
    """

    version: int
    body: str
    open_in: str = ""


class Chunk(NamedTuple):
    """Rows of one micro-batch that wait for the lake, with the offsets that they reach."""

    number: int
    rows: bytes
    offsets: dict[str, int]


@dataclass(frozen=True)
class Reach:
    """How far a partition was read: from the offset that was stored (None: nothing), to this one; its watermark."""

    before: int | None
    offset: int
    watermark: int


@dataclass(frozen=True)
class Batch:
    """What one micro-batch came to.

    Attributes:
        reaches: by partition. states: by symbol the version that it was worked out from, and the new body.
        quotes: the newest of each symbol. signals: in order. alerts: (id, channel, symbol, body) each.
        rows: for the lake, as `stockkit.stream.archive` packs them; empty for none.
        counts: to add. now: microseconds since 1970 UTC.
    """

    reaches: Mapping[str, Reach] = field(default_factory=dict)
    states: Mapping[str, Kept] = field(default_factory=dict)
    quotes: Sequence[Quote] = ()
    signals: Sequence[Signal] = ()
    alerts: Sequence[tuple[str, str, str, str]] = ()
    rows: bytes = b""
    counts: Mapping[str, int] = field(default_factory=dict)
    now: int = 0


class Store(Outbox):
    """The file; an object is for one thread.

    Args:
        path: of the file; made with its folder where there is none.
        durable: whether each batch is synced to the disk; without, a power cut may take the newest ones.

    Raises:
        StreamError: it cannot be opened, is no store, or one of a newer stockkit.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        with self._explained("open"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
            layout = self._value("PRAGMA user_version")
            if layout > LAYOUT:
                raise StreamError(f"{path} was made by a newer stockkit (layout {layout}): update stockkit.")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            if layout < LAYOUT:
                self._create()
            self.id = str(self._value("SELECT value FROM about WHERE name = 'id'"))

    def _create(self) -> None:
        with self._transaction() as connection:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute("INSERT OR IGNORE INTO about VALUES ('id', ?)", (uuid.uuid4().hex,))
            connection.execute(f"PRAGMA user_version = {LAYOUT}")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def last_offset(self, partition: str) -> int | None:
        """The last offset of a partition that is stored; None for none."""
        offset = self._value("SELECT offset FROM partitions WHERE name = ?", partition)
        return None if offset is None else int(offset)

    def watermark(self, partition: str) -> int:
        """Up to which moment the minutes of a partition are closed; microseconds since 1970 UTC, 0 at first."""
        return int(self._value("SELECT watermark FROM partitions WHERE name = ?", partition) or 0)

    def is_empty(self) -> bool:
        """Whether nothing was ever stored."""
        return self._value("SELECT 1 FROM partitions LIMIT 1") is None

    def archived(self) -> dict[str, int]:
        """The last offset of each partition whose rows are in the lake."""
        rows = self._rows("SELECT name, archived FROM partitions WHERE archived IS NOT NULL")
        return {name: int(offset) for name, offset in rows}

    def states(self, symbols: Iterable[str]) -> dict[str, Kept]:
        """What is kept of these symbols; one that is new lacks."""
        return {
            symbol: Kept(version, body, open_in)
            for symbol, version, body, open_in in self._of("SELECT symbol, version, body, open_in FROM states", symbols)
        }

    def symbols_open(self, partition: str) -> set[str]:
        """The symbols with minutes that this partition's watermark has yet to close."""
        return {symbol for (symbol,) in self._rows("SELECT symbol FROM states WHERE open_in = ?", partition)}

    def commit(self, batch: Batch) -> None:
        """Store a micro-batch, all of it or nothing.

        Raises:
            Fenced: another consumer stored what this batch did not know of. StreamError: the disk is full or the like.
        """
        with self._explained("write"), self._transaction() as connection:
            self._reach(connection, batch.reaches)
            self._keep(connection, batch.states)
            connection.executemany(
                "INSERT INTO quotes VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (symbol) DO UPDATE SET "
                "price = excluded.price, size = excluded.size, event_time = excluded.event_time, "
                "arrival = excluded.arrival, number = excluded.number "
                "WHERE (excluded.event_time, excluded.number) > (event_time, number)",
                batch.quotes,
            )
            signals = [(signal.id, json.dumps(signal)) for signal in batch.signals]
            connection.executemany("INSERT OR IGNORE INTO signals (id, body) VALUES (?, ?)", signals)
            if signals:
                connection.execute(
                    f"DELETE FROM signals WHERE place <= (SELECT max(place) FROM signals) - {KEPT_SIGNALS}"
                )
            connection.executemany(
                "INSERT OR IGNORE INTO alerts (id, channel, symbol, body, made_at, due) VALUES (?, ?, ?, ?, ?, ?)",
                [(*alert, batch.now, batch.now) for alert in batch.alerts],
            )
            if batch.rows:
                offsets = json.dumps({name: str(reach.offset) for name, reach in batch.reaches.items()})
                connection.execute("INSERT INTO spool (rows, offsets) VALUES (?, ?)", (batch.rows, offsets))
            connection.executemany(
                "INSERT INTO counts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                batch.counts.items(),
            )

    def _reach(self, connection: sqlite3.Connection, reaches: Mapping[str, Reach]) -> None:
        for name, reach in reaches.items():
            if reach.before is None:
                done = connection.execute(
                    "INSERT OR IGNORE INTO partitions (name, offset, watermark) VALUES (?, ?, ?)",
                    (name, str(reach.offset), reach.watermark),
                )
            else:
                done = connection.execute(
                    "UPDATE partitions SET offset = ?, watermark = ? WHERE name = ? AND offset = ?",
                    (str(reach.offset), reach.watermark, name, str(reach.before)),
                )
            if done.rowcount != 1:
                raise Fenced(f"another consumer of {name} was faster: it goes on there, and this one starts anew.")

    def _keep(self, connection: sqlite3.Connection, states: Mapping[str, Kept]) -> None:
        for symbol, state in states.items():
            if state.version == 0:
                done = connection.execute(
                    "INSERT OR IGNORE INTO states VALUES (?, 1, ?, ?)", (symbol, state.body, state.open_in)
                )
            else:
                done = connection.execute(
                    "UPDATE states SET version = version + 1, body = ?, open_in = ? WHERE symbol = ? AND version = ?",
                    (state.body, state.open_in, symbol, state.version),
                )
            if done.rowcount != 1:
                raise Fenced(f"another consumer has ticks of {symbol} as well: this one starts anew from its state.")

    def quotes(self, symbols: Sequence[str] | None = None) -> list[Quote]:
        """The newest price of each symbol, or of these; ascending by symbol; one without a price lacks."""
        question = "SELECT symbol, price, size, event_time, arrival, number FROM quotes"
        rows = self._rows(question) if symbols is None else self._of(question, symbols)
        return sorted(Quote(*row) for row in rows)

    def signals(self, limit: int = 50) -> list[Signal]:
        """The newest signals, newest first."""
        rows = self._rows("SELECT body FROM signals ORDER BY place DESC LIMIT ?", limit)
        return [Signal(*json.loads(body)) for (body,) in rows]

    def counts(self) -> dict[str, int]:
        """How many of each of `COUNTED` there were since the store was made."""
        return {**dict.fromkeys(COUNTED, 0), **dict(self._rows("SELECT name, value FROM counts"))}

    def spooled(self, limit: int) -> list[Chunk]:
        """The oldest rows that wait for the lake, of at most `limit` bytes together, but one chunk at least."""
        chunks: list[Chunk] = []
        left = limit
        with self._explained("read"):
            for number, rows, offsets in self._connection.execute(
                "SELECT number, rows, offsets FROM spool ORDER BY number"
            ):
                left -= len(rows)
                if chunks and left < 0:
                    break
                chunks.append(Chunk(number, rows, {name: int(last) for name, last in json.loads(offsets).items()}))
        return chunks

    def drop_spooled(self, number: int, offsets: Mapping[str, int], late: Iterable[tuple[str, int]]) -> None:
        """Forget the rows up to this chunk: they are in the lake, up to these offsets.

        Args:
            number: the chunk's. offsets: by partition.
            late: the symbols and minutes (their start) whose bars the ticks among them correct.
        """
        with self._explained("write"), self._transaction() as connection:
            connection.execute("DELETE FROM spool WHERE number <= ?", (number,))
            connection.executemany("INSERT OR IGNORE INTO late_minutes VALUES (?, ?)", late)
            connection.executemany(
                "UPDATE partitions SET archived = ? WHERE name = ?",
                [(str(offset), name) for name, offset in offsets.items()],
            )

    def late_minutes(self) -> list[tuple[str, int]]:
        """The symbols and minutes whose bars wait to be corrected by late ticks, ascending."""
        return [(symbol, minute) for symbol, minute in self._rows("SELECT * FROM late_minutes ORDER BY symbol, minute")]

    def drop_late_minutes(self, late: Iterable[tuple[str, int]]) -> None:
        """Forget these: their bars are corrected."""
        with self._explained("write"), self._transaction() as connection:
            connection.executemany("DELETE FROM late_minutes WHERE symbol = ? AND minute = ?", late)
