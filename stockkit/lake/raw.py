"""The raw zone: what a source answered, byte for byte, with the time it was fetched; never overwritten.

``raw/source=S/symbol=Y/<fetched_at>-<sha256/12>.csv``, and ``actions/source=S/…`` for corporate actions.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd

from stockkit.errors import LakeError
from stockkit.market import schema
from stockkit.market.answers import Answer

STAMP = "%Y%m%dT%H%M%SZ"
WAY_OUT = "Free some space, make the folder writable, or name another lake with -p lake=FOLDER."


def keep(root: Path, source: str, symbol: str | None, body: bytes, fetched_at: pd.Timestamp) -> Answer:
    """Store an answer and return it with its place; bytes equal to the last answer are not stored again.

    Args:
        root: the lake's folder.
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
    path = _folder(root, source, symbol) / name
    if not path.exists():
        write_atomically(path, body)
    return _answer(root, path, symbol)


def latest(root: Path, source: str, symbol: str | None) -> Answer | None:
    """The last answer that the raw zone holds, or None."""
    kept = sorted(_folder(root, source, symbol).glob("*.csv"))
    return _answer(root, kept[-1], symbol) if kept else None


def history(root: Path, source: str, symbol: str | None, *, until: pd.Timestamp | None = None) -> list[Answer]:
    """All answers that the raw zone holds, oldest first; only those fetched before `until` (UTC) if given."""
    told = [_answer(root, path, symbol) for path in sorted(_folder(root, source, symbol).glob("*.csv"))]
    return [answer for answer in told if until is None or answer.fetched_at < until]


def holdings(root: Path) -> dict[str, list[str]]:
    """The sources that the raw zone holds answers of, each with its symbols, ascending."""
    found: dict[str, list[str]] = {}
    for folder in sorted((root / "raw").glob("source=*/symbol=*")):
        source, symbol = (part.partition("=")[2] for part in folder.parts[-2:])
        found.setdefault(source, []).append(symbol)
    return found


def write_atomically(path: Path, body: bytes, *, way_out: str = WAY_OUT) -> None:
    """Write a file so that a reader, or a crash, sees all of it or nothing of it.

    Raises:
        LakeError: the folder is read-only, the disk is full, …
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise LakeError(f"cannot write {path}: {error.strerror}. {way_out}") from error


def _folder(root: Path, source: str, symbol: str | None) -> Path:
    if symbol is None:
        return root / "actions" / f"source={source}"
    return root / "raw" / f"source={source}" / f"symbol={schema.check_symbol(symbol)}"


def _answer(root: Path, path: Path, symbol: str | None) -> Answer:
    fetched_at = pd.to_datetime(path.name.split("-")[0], format=STAMP, utc=True)
    return Answer(symbol or "", path.read_bytes(), path.relative_to(root).as_posix(), fetched_at)
