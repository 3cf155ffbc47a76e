"""What a result rests on that is known before a step runs: code, parameters, Python and what is installed."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockkit import provenance
from stockkit.errors import RunError

ACTING = {"parameters", "raises-exception", "skip-execution"}  # tags that change what a cell does
LOCK = "requirements.lock"
INJECTED = "injected-parameters"  # papermill's cell of values, which is not the notebook's own
FORMAT = 1  # of what is kept: results of another one are not taken


@dataclass(frozen=True)
class Basis:
    """What is known before a step runs.

    Attributes:
        code: a hash of each code cell, in order. declared: what the notebook says of itself, as JSON.
        parameters: for each a hash of its value. shown: the values, short.
        python: its version and the machine. packages: a hash of what is installed. lock: of the lock file, "" for none.
    """

    code: list[str]
    declared: str
    parameters: dict[str, str]
    shown: dict[str, str]
    python: str
    packages: str
    lock: str

    @property
    def key(self) -> str:
        """A short name of all of it."""
        parts = [FORMAT, self.code, self.declared, self.parameters, self.python, self.packages, self.lock]
        return sha(json.dumps(parts, sort_keys=True))[:16]


@dataclass(frozen=True)
class Wishes:
    """What the metadata of a notebook asks of the cache.

    Attributes:
        files: that it reads and that are not seen, from the workbook's folder.
        always: True to run it each time, False to keep its result whatever it asks or starts, None for neither.
    """

    files: tuple[str, ...] = ()
    always: bool | None = None


def sha(body: bytes | str) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body).hexdigest()


def basis(document: Mapping[str, Any], values: Mapping[str, Any], root: Path) -> Basis:
    """What a run of a notebook would rest on.

    Args:
        document: the notebook, as its JSON is read. values: of its parameters. root: the workbook's folder.
    """
    lock = root / LOCK
    texts = {name: json.dumps(value, ensure_ascii=False, sort_keys=True) for name, value in sorted(values.items())}
    declared = document.get("metadata", {}).get("stockkit") or {}
    return Basis(
        code=code(document),
        declared=json.dumps(declared, sort_keys=True),
        parameters={name: sha(text) for name, text in texts.items()},
        shown={name: text if len(text) <= 40 else f"{text[:40]}…" for name, text in texts.items()},
        python=f"{platform.python_implementation()} {platform.python_version()} {sys.platform} {platform.machine()}",
        packages=sha("\n".join(provenance.packages())),
        lock=sha(lock.read_bytes()) if lock.is_file() else "",
    )


def code(document: Mapping[str, Any]) -> list[str]:
    """A hash of each code cell of a notebook with what is to run in it, in order; papermill's own cell left out."""
    return [
        sha(json.dumps([source(cell), sorted(ACTING & set(tags(cell)))]))
        for cell in document["cells"]
        if cell["cell_type"] == "code" and INJECTED not in tags(cell)
    ]


def tags(cell: Mapping[str, Any]) -> Sequence[str]:
    """The tags of a cell."""
    return cell.get("metadata", {}).get("tags") or ()


def source(cell: Mapping[str, Any]) -> str:
    """The text of a cell, which a notebook on disk may keep as a list of lines."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def wishes(declared: Mapping[str, Any], notebook: str) -> Wishes:
    """What the metadata `stockkit` of a notebook asks of the cache.

    Raises:
        RunError: `files` is no list of texts, or `always` neither true nor false.
    """
    files, always = declared.get("files", []), declared.get("always")
    if not isinstance(files, list) or not all(isinstance(file, str) and file for file in files):
        raise RunError(
            f"notebook {notebook}: `files` in its metadata must be a list of files or folders, found "
            f'{str(files)[:60]!r}. Write "files": ["data/mine.parquet"].'
        )
    if always is not None and not isinstance(always, bool):
        raise RunError(f"notebook {notebook}: `always` in its metadata must be true or false, found {always!r:.60}.")
    return Wishes(tuple(files), always)


def change(before: Basis, now: Basis) -> str:
    """In a sentence what differs first; "" where nothing does."""
    if words := _code_change(before.code, now.code):
        return words
    if before.declared != now.declared:
        return "what its metadata declares changed"
    for name in sorted(before.parameters.keys() | now.parameters.keys()):
        if before.parameters.get(name) != now.parameters.get(name):
            was, value = before.shown.get(name, "absent"), now.shown.get(name, "absent")
            return f"parameter {name} was {was}, is {value}" if was != value else f"parameter {name} changed"
    if before.python != now.python:
        return f"the result was made by another Python ({before.python}, this is {now.python})"
    if before.lock != now.lock:
        return f"{LOCK} changed"
    return "the installed packages changed" if before.packages != now.packages else ""


def _code_change(before: list[str], now: list[str]) -> str:
    if before == now:
        return ""
    if len(before) != len(now):
        return f"it has {len(now)} code cells, had {len(before)}"
    place = next(number for number, (old, new) in enumerate(zip(before, now, strict=True), 1) if old != new)
    return f"its code cell {place} changed"
