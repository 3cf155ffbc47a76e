"""What a service needs is away for a while: it says so in one line, loses nothing, and goes on by itself."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

import stockkit
from stockkit.errors import StreamError
from stockkit.stream import alerts, archive, recovery, reports, service, setup, store
from stockkit.stream.bus.memory import Memory
from stockkit.stream.bus.protocol import Message
from stockkit.stream.pipeline import Step
from stockkit.stream.reports import Backlog, Report
from stockkit.stream.service import Pace, Service
from stockkit.stream.store import Store
from tests.conftest import ROOT, mounted
from tests.stream.running import assert_exact, assert_signals_of_ticks, assert_ticks_once, services, simulated, wait_for

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
        self.thread = threading.Thread(target=self.service.run, args=(self.reports.append,), daemon=True)

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
def read_only(disk: Path) -> Iterator[None]:
    """The disk cannot be written."""
    changing = ["mount", "-o", "remount,ro", str(disk)]
    # refused as long as somebody has a file open for writing
    wait_for(lambda: subprocess.run(changing, capture_output=True, check=False).returncode == 0, lambda: "it is busy")
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """The disk has no byte left."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4_096))
    yield
    ballast.unlink()


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
        [note] = [line for line in lines if line.startswith(f"event=trouble where={where}")]
        assert why in note
        assert lines.count(f"event=recovered where={where}") == 1
        file = Store(scene.store)
        assert_exact(scene.lake, file, messages)
        file.close()


def test_a_delay_that_grows_from_look_to_look_is_said_and_one_that_is_made_up_for_is_not():
    backlog, notes = Backlog(), []
    for delay in (5, 20, 19, 25, 30, 40, 50, 45):
        backlog.delay = delay
        notes.append(str(backlog.look(lag=1_000 * delay) or ""))
    assert [bool(line) for line in notes] == [False] * 5 + [True, True, False]
    assert "stored 40 s after it came, 40,000 wait, and they become more" in notes[5]


def test_a_service_whose_records_come_faster_than_they_are_stored_says_so_once(tmp_path, monkeypatch, caplog, messages):
    for module, name, value in (
        (reports, "LOOK", 0.0), (reports, "LATE", 0.1), (service, "SHOWN", 0.02), (service, "RECORDS", 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    scene = Scene(tmp_path / "lake", tmp_path, messages)
    assert scene.producer.send(messages) == []  # a record at a time takes longer and longer for each
    scene.thread.start()
    scene.wait(lambda: any("lag" in report.trouble for report in scene.reports))
    assert max(report.lag for report in scene.reports) > 10
    scene.service.stop.set()
    scene.thread.join()
    notes = [line for line in caplog.messages if "where=lag" in line]
    assert notes[0].startswith("event=trouble where=lag: records come faster than they are stored")
    assert all("recovered" in later for later in notes[1::2])


def test_a_second_store_takes_the_lake_over_exactly_and_the_first_service_ends_with_the_reason(tmp_path, messages):
    scene = Scene(tmp_path / "lake", tmp_path / "first", messages)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            scene.service.run(scene.reports.append)
        except StreamError as error:
            failures.append(error)

    scene.thread = threading.Thread(target=run, daemon=True)
    half = len(messages) // 2
    assert scene.producer.send(messages[:half]) == []
    scene.thread.start()
    scene.wait(lambda: scene.lake.version("ticks") is not None)
    second = Scene(tmp_path / "lake", tmp_path / "second", messages)
    second.bus = second.service.bus = scene.bus
    file = Store(second.store)
    recovery.recover(second.lake, file, second.service.step, 0)
    second.thread.start()
    assert scene.producer.send(messages[half:]) == []
    scene.wait(lambda: bool(failures))
    assert "is filled from another store since" in str(failures[0])
    with pytest.raises(archive.Displaced, match=r"delete stream\.sqlite"):
        recovery.recover(scene.lake, Store(scene.store), scene.service.step, 0)
    scene.producer.close()
    second.thread.join()
    assert_ticks_once(second.lake, messages)
    assert_signals_of_ticks(second.lake)


def test_sigterm_stores_and_commits_what_was_read_and_a_second_one_ends_at_once(tmp_path):
    about = {"lake": "lake", "state": "stream.sqlite", "symbols": ["META", "NFLX"], "day": "2023-09-21", "ticks": 150}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sample").symlink_to(ROOT / "data" / "sample")
    lake = stockkit.open_lake(str(tmp_path / "lake"))
    with services(tmp_path) as start:
        first = start(**about, speed=2_000)
        first.wait(lambda run: run.report[0].get("ticks", 0) > 10)
        assert first.end() == 130
        counts, lag, trouble = first.report
        assert (trouble, lag) == ({}, 0)
        assert lake.count("ticks") == counts["ticks"] > 10
        second = start(**about, speed=2_000)
        second.wait(lambda run: run.report[0].get("ticks", 0) > 10)
        with (tmp_path / "stream.flushing").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # so that it cannot commit to the lake, and waits for that
            second.process.terminate()
            second.wait(lambda run: "stopping" in run.out.read_text())
            assert second.end() == -15
    setup.run(setup.Parameters(**about), root=tmp_path)
    assert_ticks_once(lake, simulated(150, ["META", "NFLX"], corrupt=0.001))
    assert_signals_of_ticks(lake)
