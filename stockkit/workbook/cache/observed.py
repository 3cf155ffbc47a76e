"""What the notes of a trace come to: what a step read, in the state in which it read it, or why that cannot be told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stockkit.files import Files
from stockkit.workbook.cache import keys, table_states
from stockkit.workbook.cache.table_states import TableState
from stockkit.workbook.cache.trace import PACKAGE, digest

LEFT_OUT = ("__pycache__", ".ipynb_checkpoints", ".git")
OURS, HOME = "stockkit/", "~/"  # what the name of a file of the package, and of one in a user's folder, begins with


class Unkept(Exception):
    """A result that cannot be kept, with the reason."""


@dataclass(frozen=True)
class Observed:
    """What a step read.

    Attributes:
        files: each with a hash of its bytes; those of the workbook named from its folder.
        folders: each with a hash of the names in it. made: files below the workbook's folder
            that the step wrote, with hashes.
        tables: of the lake; None for one that was not there. written: the tables that the step wrote.
        stored: the data files of those, each with its bytes, counted; empty for a lake on S3.
        lake: other keys of it: operation, key, hash of the answer.
        always: why another run may have another result all the same; "" where it has not.
        until: the moment from which on the result is another, as 2026-11-27T21:00:00+00:00; "" for none.
    """

    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    tables: dict[str, TableState | None] = field(default_factory=dict)
    written: dict[str, TableState | None] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    lake: list[list[str]] = field(default_factory=list)
    always: str = ""
    until: str = ""


@dataclass
class _Notes:
    """The lines of a trace, sorted."""

    begun: bool = False
    read: dict[str, tuple[int, int]] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    appended: set[str] = field(default_factory=set)
    tables: dict[str, int | None] = field(default_factory=dict)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    put: set[str] = field(default_factory=set)
    always: list[str] = field(default_factory=list)
    clock: bool = False
    until: list[str] = field(default_factory=list)

    def take(self, lake: str, kind: str, *parts: Any) -> None:
        """Sort one line in."""
        match kind, parts:
            case "begin", _:
                self.begun = True
            case "read", (path, changed, size):
                if path not in self.written and self.read.setdefault(path, (changed, size)) != (changed, size):
                    raise Unkept(f"{path} changed while it ran")
            case "list", (path, changed, _):
                self.listed.setdefault(path, changed)
            case "write", (path,):
                self.written.add(path)
            case "append", (path,):
                self.appended.add(path)
            case "table", (identity, table, version):
                self._table(identity == lake, table, version)
            case "key", (identity, operation, key, answer):
                self._key(identity == lake, operation, key, answer)
            case "always", (reason,):
                self.always.append(reason)
            case "clock", _:
                self.clock = True
            case "until", (moment,):
                self.until.append(moment)
            case _:
                raise Unkept(f"its trace has a line of a kind {kind!r}")

    def _table(self, here: bool, table: str, version: int | None) -> None:
        if not here:
            self.always.append("it reads a second lake")
        self.tables.setdefault(table, version)
        if self.tables[table] != version:
            self.tables[table] = -1  # of a table that the step writes, the version that it left counts

    def _key(self, here: bool, operation: str, key: str, answer: str) -> None:
        if not here:
            self.always.append("it reads a second lake")
        elif operation == "written":
            self.put.add(key)
        else:
            self.keys.setdefault((operation, key), answer)


def observe(
    trace: Path, files: Files, root: Path, *, reads: Mapping[str, int], writes: Mapping[str, int], wishes: keys.Wishes
) -> Observed:
    """What a step that has ended read and wrote, in the states in which it read and left them.

    Args:
        trace: the file of notes. files: of the lake. root: the workbook's folder.
        reads, writes: tables that it handed over, each with its version.
        wishes: what the notebook's metadata says.

    Raises:
        Unkept: something changed while it ran, or it was not traced.
    """
    notes = _notes(trace, files.identity)
    seen = {**dict(notes.tables), **reads}
    if torn := [table for table, version in seen.items() if version == -1 and table not in writes]:
        raise Unkept(f"table {torn[0]} changed while it ran")
    always = _why_always(notes, wishes)
    return Observed(
        files=_files(notes, root, wishes),
        folders=_folders(notes, root, wishes),
        made=_made(notes, root),
        tables={table: _state(files, table, version) for table, version in seen.items() if table not in writes},
        written={table: _state(files, table, version) for table, version in writes.items()},
        lake=[[*place, answer] for place, answer in sorted(_lake(notes, files).items())],
        always=always,
        until=min(notes.until, default="") if notes.clock else "",
    )


def _why_always(notes: _Notes, wishes: keys.Wishes) -> str:
    if wishes.always is not None:
        return "its metadata says so (`always`)" if wishes.always else ""
    return notes.always[0] if notes.always else ""


def _notes(trace: Path, lake: str) -> _Notes:
    notes = _Notes()
    try:
        for line in trace.read_text(encoding="utf-8").splitlines()[1:]:
            notes.take(lake, *json.loads(line))
    except (OSError, ValueError, TypeError) as error:
        raise Unkept(f"its trace cannot be read ({str(error)[:100]})") from error
    if not notes.begun:
        raise Unkept("what it read was not noted")
    return notes


def _files(notes: _Notes, root: Path, wishes: keys.Wishes) -> dict[str, str]:
    hashes = {}
    for path, state in notes.read.items():
        if path in notes.appended or _state_of(path) != state:
            raise Unkept(f"{name_of(path, root)} changed while it ran")
        hashes[name_of(path, root)] = hash_of(path)
    for file in wishes.files:
        for path in _below(root / file):
            hashes[name_of(path, root)] = hash_of(path)
    return hashes


def _below(path: Path) -> Iterable[str]:
    return [str(file) for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [str(path)]


def _state_of(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _folders(notes: _Notes, root: Path, wishes: keys.Wishes) -> dict[str, str]:
    for path, changed in notes.listed.items():
        if not os.path.isdir(path) or os.stat(path).st_mtime_ns != changed:
            raise Unkept(f"the folder {name_of(path, root)} changed while it ran")
    below = [root / file for file in wishes.files if (root / file).is_dir()]
    declared = [str(path) for top in below for path in (top, *top.rglob("*")) if path.is_dir()]
    return {name_of(path, root): names_in(path) for path in (*notes.listed, *declared)}


def _made(notes: _Notes, root: Path) -> dict[str, str]:
    top = os.path.abspath(root) + os.sep
    left = [path for path in notes.written - notes.appended if path.startswith(top) and os.path.isfile(path)]
    return {name_of(path, root): hash_of(path) for path in left}


def _state(files: Files, table: str, version: int | None) -> TableState | None:
    if version is None:
        return None
    state = table_states.at(files, table, version)
    if state is None:
        raise Unkept(f"table {table} has no version {version} any more")
    return state


def _lake(notes: _Notes, files: Files) -> dict[tuple[str, str], str]:
    """Each key with its answer; where the step wrote there itself, with the answer that it left."""
    return {
        place: ask(files, *place) if any(_touches(put, *place) for put in notes.put) else answer
        for place, answer in notes.keys.items()
    }


def _touches(put: str, operation: str, key: str) -> bool:
    return put.startswith(f"{key}/") if operation in ("names", "folders") else put == key


def ask(files: Files, operation: str, key: str) -> str:
    """What stands for the answer of a lake now."""
    match operation:
        case "read":
            return digest(files.read(key))
        case "size":
            return digest(files.size(key))
        case "names":
            return digest(files.names(key))
        case "folders":
            return digest(files.folders(key))
        case "tables":
            return digest([name for name in files.folders("tables") if files.has_folder(f"tables/{name}/_delta_log")])
    return "?"


def name_of(path: str, root: Path) -> str:
    """A path as it is kept: from the folder of the workbook, of stockkit or of the user it is below, else in full."""
    top = os.path.abspath(root) + os.sep
    if path.startswith(PACKAGE + os.sep):
        return OURS + path[len(PACKAGE) + 1 :]
    short = path[len(top) :] or "." if os.path.join(path, "").startswith(top) else path
    if short.startswith((OURS, HOME)):
        return f"./{short}"  # a folder of this name that is another one
    home = os.path.join(os.path.expanduser("~"), "")
    return HOME + short[len(home) :] if short.startswith(home) and home != os.sep else short


def path_of(name: str, root: Path) -> str:
    """The path of a kept name."""
    if name.startswith(OURS):
        return os.path.join(PACKAGE, name[len(OURS) :])
    return os.path.join(os.path.abspath(root), os.path.expanduser(name) if name.startswith(HOME) else name)


def hash_of(path: str) -> str:
    """The hash of a file's bytes; "" where it is none that can be read."""
    try:
        with open(path, "rb") as file:
            return keys.sha(file.read())
    except OSError:
        return ""


def names_in(path: str) -> str:
    """A hash of the names in a folder, parts of unfinished writes left out; "" where it is none."""
    try:
        names = os.listdir(path)
    except OSError:
        return ""
    return keys.sha("\n".join(sorted(name for name in names if name not in LEFT_OUT and name[0] != ".")))
