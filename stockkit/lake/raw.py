"""The raw zone: what a source answered, byte for byte, with the time it was fetched; never overwritten.

``raw/source=S/symbol=Y/<fetched_at>-<sha256/12>.csv``, and ``actions/source=S/…`` for corporate actions. The
lake is a local folder or a `storage.Bucket`; both are read and written in the same way.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from stockkit.errors import LakeError
from stockkit.lake import storage
from stockkit.lake.storage import WAY_OUT, Files, write_atomically
from stockkit.market import schema
from stockkit.market.answers import Answer

__all__ = ["STAMP", "WAY_OUT", "history", "holdings", "keep", "latest", "write_atomically"]

STAMP = "%Y%m%dT%H%M%SZ"


def keep(root: Path | storage.Bucket, source: str, symbol: str | None, body: bytes, fetched_at: pd.Timestamp) -> Answer:
    """Store an answer and return it with its place; bytes equal to the last answer are not stored again.

    Args:
        root: the lake's `path`.
        source: the name of the source.
        symbol: whose bars these are; None for corporate actions.
        body: the answer, verbatim.
        fetched_at: when it was given, UTC.

    Raises:
        LakeError: the lake cannot be written; nothing half-written is left.
    """
    last = latest(root, source, symbol)
    if last and last.body == body:
        return last
    name = f"{fetched_at.strftime(STAMP)}-{hashlib.sha256(body).hexdigest()[:12]}.csv"
    key = f"{_folder(source, symbol)}/{name}"
    storage.of(root).put(key, body)
    return Answer(symbol or "", body, key, _fetched_at(key))


def latest(root: Path | storage.Bucket, source: str, symbol: str | None) -> Answer | None:
    """The last answer that the raw zone holds, or None."""
    kept = _keys(storage.of(root), source, symbol)
    return _answer(storage.of(root), kept[-1], symbol) if kept else None


def history(
    root: Path | storage.Bucket, source: str, symbol: str | None, *, until: pd.Timestamp | None = None
) -> list[Answer]:
    """All answers that the raw zone holds, oldest first; only those fetched before `until` (UTC) if given."""
    files = storage.of(root)
    kept = [key for key in _keys(files, source, symbol) if until is None or _fetched_at(key) < until]
    return [_answer(files, key, symbol) for key in kept]


def holdings(root: Path | storage.Bucket) -> dict[str, list[str]]:
    """The sources that the raw zone holds answers of, each with its symbols, ascending."""
    files = storage.of(root)
    found: dict[str, list[str]] = {}
    for source in files.folders("raw"):
        symbols = [name.partition("=")[2] for name in files.folders(f"raw/{source}") if name.startswith("symbol=")]
        if source.startswith("source=") and symbols:
            found[source.partition("=")[2]] = symbols
    return found


def _folder(source: str, symbol: str | None) -> str:
    if symbol is None:
        return f"actions/source={source}"
    return f"raw/source={source}/symbol={schema.check_symbol(symbol)}"


def _keys(files: Files, source: str, symbol: str | None) -> list[str]:
    folder = _folder(source, symbol)
    return [f"{folder}/{name}" for name in files.names(folder) if name.endswith(".csv")]


def _fetched_at(key: str) -> pd.Timestamp:
    return pd.to_datetime(key.rpartition("/")[2].split("-")[0], format=STAMP, utc=True)


def _answer(files: Files, key: str, symbol: str | None) -> Answer:
    body = files.read(key)
    if body is None:
        raise LakeError(f"{key} has vanished from {files} while it was read: the raw zone is kept for ever.")
    return Answer(symbol or "", body, key, _fetched_at(key))
