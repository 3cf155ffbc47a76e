"""What a service needs is away for a while: it says so in one line, loses nothing, and goes on by itself."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

import stockkit
from stockkit.stream import alerts, service, store
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.pipeline import Step
from stockkit.stream.service import Backlog, Pace, Report, Service
from stockkit.stream.store import Store
from tests.conftest import mounted
from tests.stream.running import assert_exact, services, simulated, wait_for

Trouble = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return simulated(150, ["META", "NFLX"])


class Scene:
    """A service in a thread, with its lake and its store in folders of one's choice."""

    def __init__(self, lake: Path, state: Path, messages: list[Message]) -> None:
        self.lake, self.store = stockkit.open_lake(str(lake)), state / "stream.sqlite"
        self.bus, self.messages = Memory(2), messages
        self.producer = self.bus.producer()
        self.reports: list[Report] = []
        channels = ["console"]
        self.service = Service(
            self.lake, lambda: Store(self.store), self.bus, Step(channels=channels),
            notifiers=alerts.open_notifiers(channels, state), pace=Pace(flush=0.2),
        )  # fmt: skip
        self.thread = threading.Thread(target=self.service.run, args=(self.reports.append,))

    def run(self, trouble: AbstractContextManager[None], where: str) -> None:
        """Half of the messages while all is well, the other half while there is trouble; it ends when it is said."""
        half = len(self.messages) // 2
        assert self.producer.send(self.messages[:half]) == []
        self.thread.start()
        self.wait(lambda: self.lake.version("ticks") is not None)
        with trouble:
            assert self.producer.send(self.messages[half:]) == []
            self.wait(lambda: any(where in report.trouble for report in self.reports))
        self.producer.close()
        self.thread.join()

    def wait(self, until: Callable[[], bool]) -> None:
        wait_for(until, lambda: str(self.reports[-1:]))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The disk at `folder` cannot be written."""
    busy = 16  # somebody writes just now
    while subprocess.run(["mount", "-o", "remount,ro", str(folder)], capture_output=True, check=False).returncode:
        os.sched_yield()
        assert busy
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """The disk at `folder` has no byte left."""
    ballast = folder / "ballast"
    with suppress_full(), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))
    yield
    ballast.unlink()


@contextmanager
def suppress_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        assert error.errno == 28


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another process writes to the store, for longer than the service has patience."""
    other = sqlite3.connect(folder / "stream.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.parametrize(
    ("part", "trouble", "where", "why"),
    [
        ("lake", read_only, "lake", "Read-only file system"),
        ("lake", full, "lake", "No space left on device"),
        ("state", full, "store", "full"),
        ("", locked, "store", "database is locked"),
    ],
    ids=["lake read-only", "lake full", "store full", "store locked"],
)
def test_trouble_is_said_in_one_line_and_over_nothing_is_missing(
    tmp_path, monkeypatch, caplog, messages, part, trouble: Trouble, where, why
):
    monkeypatch.setattr(store, "PATIENCE", 0.3)
    with ExitStack() as mounts:
        places = {name: tmp_path / name for name in ("lake", "state")}
        if part:
            mounts.enter_context(mounted(places[part], "size=2m"))
        scene = Scene(places["lake"], places["state"], messages)
        scene.run(trouble(places[part or "state"]), where)
        lines = [line for line in caplog.messages if line.startswith("event=")]
        [said] = [line for line in lines if line.startswith(f"event=trouble where={where}")]
        assert why in said
        assert lines.count(f"event=recovered where={where}") == 1
        file = Store(scene.store)
        assert_exact(scene.lake, file, messages)
        file.close()
