"""The note beside a run's manifest that says whether its end was told: `notified.json`.

A process that works on a run holds the note's lock, which ends with the process however that ends. A note that says
"pending" and is held by nobody is that of a run that was killed: the next run of its parameters file tells that, once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockkit.local_files import lock

NAME = "notified.json"
PUBLISHED = ".published"  # what is known here of runs whose reports are on S3
PENDING, TOLD, NOT_TAKEN, NOT_WANTED = "pending", "told", "not taken", "not wanted"
LOOKED_AT = 200  # runs, the newest first
LARGEST = 1_000_000  # bytes


@dataclass(frozen=True)
class Note:
    """An open note, locked for this process alone; it stays so while its folder gets another name."""

    handle: int

    def read(self) -> dict[str, Any]:
        """What it says; nothing where that was not written to its end."""
        try:
            content = json.loads(os.pread(self.handle, LARGEST, 0))
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, **content: Any) -> None:
        """Let it say this.

        Raises:
            OSError: the disk is full, …
        """
        body = json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        os.pwrite(self.handle, body, 0)
        os.ftruncate(self.handle, len(body))
        os.fsync(self.handle)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)


def begin(folder: Path, params_file: str) -> Note | None:
    """Note that the end of the run in this folder is to be told; None where another process is to.

    Raises:
        OSError: it cannot be written.
    """
    note, part = take(folder), folder / f".{NAME}.{os.getpid()}"
    if note is None and not (folder / NAME).exists():
        # before anybody can see it, as a note that nobody holds is that of a run that was killed
        note = _locked(part, create=True)
        part.rename(folder / NAME)
    if note:
        note.write(state=PENDING, params_file=params_file)
    return note


def take(folder: Path) -> Note | None:
    """The note of a run's folder; None where there is none, or another process holds it.

    Raises:
        OSError: it cannot be opened.
    """
    return _locked(folder / NAME, create=False) if (folder / NAME).is_file() else None


def _locked(path: Path, *, create: bool) -> Note | None:
    handle = lock(path, wait=False, create=create)
    return None if handle is None else Note(handle)


def untold(reports: Path, params_file: str) -> Iterator[tuple[Path, Note]]:
    """The folders of runs of a parameters file whose end nobody was told, each with its note; close it after use."""
    for folder in _newest(reports):
        try:
            note = take(folder) if _says_pending(folder, params_file) else None
        except OSError:
            continue
        if note is None:
            continue
        if note.read().get("state", PENDING) == PENDING:  # another process may have told it in the meantime
            yield folder, note
        else:
            note.close()


def earlier(reports: Path, params_file: str, run: str) -> dict[str, Any] | None:
    """The manifest of the last run of a parameters file that ended before `run`; None where there was none."""
    places = [*_newest(reports), *_newest(reports / PUBLISHED)]
    for folder in sorted(places, key=lambda place: place.name, reverse=True):
        manifest = manifest_of(folder)
        if manifest.get("params_file") == params_file and manifest.get("run") != run and manifest.get("finished_at"):
            return manifest
    return None


def manifest_of(folder: Path) -> dict[str, Any]:
    """What a run's folder says of itself; nothing where that cannot be read."""
    try:
        content = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _says_pending(folder: Path, params_file: str) -> bool:
    try:
        content = json.loads((folder / NAME).read_bytes())
    except ValueError:
        return True  # cut off: its lock tells
    except OSError:
        return False
    return isinstance(content, dict) and content.get("state") == PENDING and content.get("params_file") == params_file


def _newest(reports: Path) -> Sequence[Path]:
    try:
        folders = [entry.name for entry in os.scandir(reports) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [reports / name for name in sorted(folders, reverse=True)[:LOOKED_AT]]
