"""Versions and fingerprints of Delta tables from the names and bytes of their logs, without the library.

A commit is one file of the log, named by its version; it names data files at random, so that its hash stands for the
table and everything that led to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stockkit.files import Files
from stockkit.workbook.cache.keys import sha

COMMIT = re.compile(r"(\d{20})\.json")


@dataclass(frozen=True)
class TableState:
    """A table in a version: `commit` is the hash of the file that the version was committed by."""

    version: int
    commit: str


def log(table: str, version: int) -> str:
    """The key of the file that a version was committed by."""
    return f"tables/{table}/_delta_log/{version:020}.json"


def at(files: Files, table: str, version: int) -> TableState | None:
    """A table in a version; None where its log has none such."""
    body = files.read(log(table, version))
    return TableState(version, sha(body)) if body else None


def newest(files: Files, table: str) -> int | None:
    """The newest version of a table, None where there is none."""
    names = files.names(f"tables/{table}/_delta_log")
    return max((int(match[1]) for name in names if (match := COMMIT.fullmatch(name))), default=None)


def difference(files: Files, table: str, kept: TableState | None, *, pinned: int | None = None) -> str:
    """In a sentence what is different from a kept state of a table, None for absent; "" where nothing is.

    Args:
        files: of the lake. table: its name. kept: what it was.
        pinned: the version that the run reads, whatever others have committed since.
    """
    if kept is None:
        now = newest(files, table)
        return "" if now is None else f"table {table} is at version {now}, was not there"
    if pinned is not None and pinned != kept.version:
        return f"table {table} is at version {pinned}, was {kept.version}"
    if at(files, table, kept.version) != kept:
        now = newest(files, table)
        if now is None:
            return f"table {table} is gone, was at version {kept.version}"
        lower = f"is at version {now}, was {kept.version}"
        return f"table {table} {lower if now != kept.version else f'is another one, also at version {now}'}"
    if pinned is None and files.size(log(table, kept.version + 1)) is not None:
        return f"table {table} is at version {newest(files, table)}, was {kept.version}"
    return ""
