"""Alerts as lines of JSON in a file, each exactly once.

A process may be killed between writing a line and noting that it did. So whoever writes looks for its ids at the end of
the file first, and cuts off a last line that was not written to its end.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from stockkit.errors import ParamError
from stockkit.stream.alerts.notifier import NotTaken, Taken
from stockkit.stream.alerts.outbox import Alert

TAIL = 1 << 20  # bytes at the end of the file that are looked through; some 2,000 lines
START = b'{"id": "'  # of every line


class File:
    """Appends a line an alert, and syncs the file to the disk before the alert counts as sent.

    Several processes and stores may write to the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._taken = Taken()
        self._seen = (0, -1)  # the file's number and size after this process wrote to it

    def send(self, alerts: Sequence[Alert]) -> None:
        """See `notifier.Notifier`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._append(file, alerts)
        except OSError as error:
            raise NotTaken(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def _append(self, file: FileIO, alerts: Sequence[Alert]) -> None:
        """Write those of the alerts that are not in the file; all of their lines, or none."""
        now = os.fstat(file.fileno())
        if self._seen != (now.st_ino, now.st_size):
            self._look(file, now.st_size)
        new = [alert for alert in alerts if alert.id not in self._taken]
        end = file.seek(0, os.SEEK_END)
        try:
            _write(file, b"".join(map(line, new)))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
        if not now.st_size:
            _sync(self.path.parent)
        for alert in new:
            self._taken.add(alert.id)
        self._seen = (now.st_ino, file.tell())

    def _look(self, file: FileIO, size: int) -> None:
        """Learn the ids at the end of the file; cut off a torn last line, or end one that is not ours."""
        file.seek(max(0, size - TAIL))
        lines = file.readall().split(b"\n")
        last = lines.pop()
        for text in lines:
            if text.startswith(START) and (name := _id(text)):
                self._taken.add(name)
        if last.startswith(START) or START.startswith(last):
            file.truncate(size - len(last))
        else:
            _write(file, b"\n")


def line(alert: Alert) -> bytes:
    """An alert as a line of JSON, its id first."""
    return json.dumps(alert.message()).encode() + b"\n"


def open_file(argument: str, root: Path) -> File:
    """The notifier of ``file:PATH``.

    Raises:
        ParamError: the path is no file's.
    """
    path = root / Path(argument).expanduser()
    if argument.endswith("/") or (path.exists() and not stat.S_ISREG(path.stat().st_mode)):
        raise ParamError(f"file:{argument} is no file: name one, as in file:data/alerts.jsonl.")
    return File(path)


def _write(file: FileIO, lines: bytes) -> None:
    """Append all of this; a disk that is nearly full may take a part only."""
    while lines:
        lines = lines[file.write(lines) :]


def _id(text: bytes) -> str:
    """The id of a line; "" where it has none."""
    try:
        return str(json.loads(text)["id"])
    except (ValueError, KeyError, TypeError):
        return ""


def _sync(folder: Path) -> None:
    """Let the name of a new file outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
