"""A connection to SQLite whose writes are whole transactions, and whose errors say which file and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stockkit.errors import StreamError

NAMED = 500  # symbols of one question


class Database:
    """What a store does with its file; `path` and `_connection` are set by the store."""

    path: Path
    _connection: sqlite3.Connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StreamError(
                f"cannot {action} {self.path}: {error}. Nothing of the last batch was stored; free some space, make "
                "the folder writable, or end another process that has the file."
            ) from error

    def _value(self, question: str, *parameters: Any) -> Any:
        row = next(self._rows(question, *parameters), None)
        return None if row is None else row[0]

    def _rows(self, question: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        with self._explained("read"):
            yield from self._connection.execute(question, parameters).fetchall()

    def _of(self, question: str, symbols: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """The rows of some symbols, asked for some hundreds at a time."""
        named = sorted(set(symbols))
        for start in range(0, len(named), NAMED):
            part = named[start : start + NAMED]
            yield from self._rows(f"{question} WHERE symbol IN ({', '.join('?' * len(part))})", *part)
