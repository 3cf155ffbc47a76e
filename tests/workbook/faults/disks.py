"""Faults of disks: full from each write of a run on, or read-only; file systems in memory, so the errors are real."""

from __future__ import annotations

import gc
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from stockkit import local_files
from tests.conftest import mounted
from tests.workbook.faults.fault import MANIFEST, NOTEBOOK, PAGE, Fault
from tests.workbook.faults.scene import STEP, Scene
from tests.workbook.faults.tables import FRAME, OPEN, WRITE

FULL = "No space left on device"
FILL = """import os
place, taken = os.open({place!r} + "/filler", os.O_CREAT | os.O_WRONLY), 0
while more := os.statvfs({place!r}).f_bavail * os.statvfs({place!r}).f_frsize:
    try:
        os.posix_fallocate(place, taken, more)
        taken += more
    except OSError:  # another one has taken some of it meanwhile
        pass
os.close(place)"""


def fill(folder: Path) -> None:
    """Take all the space that a disk has left."""
    exec(FILL.format(place=str(folder)), {})  # the words that a cell has, too


def make_read_only(folder: Path) -> None:
    """From now on the disk takes nothing."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


@contextmanager
def small_disk(scene: Scene, size: str) -> Iterator[Path]:
    """A disk of its own for the reports, with what was in them."""
    with mounted(scene.workbook / "disk", f"size={size}") as folder:
        before, scene.reports = scene.reports, folder / "reports"
        subprocess.run(["cp", "-a", str(before), str(scene.reports)], check=True)
        try:
            yield folder
        finally:
            make_writable(folder)
            gc.collect()  # an error may hold on to a frame, and that to a file


def make_writable(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


def full_from_write(
    wanted: Callable[[Path], bool], number: int, for_a_moment: bool = False
) -> Callable[[Scene], AbstractContextManager[object]]:
    """The disk of the reports is filled right before a write: the `number`-th of a file that is `wanted`.

    `for_a_moment`: until the next write.
    """

    @contextmanager
    def around(scene: Scene) -> Iterator[None]:
        seen: list[Path] = []

        def opened(path: Path, *words: str) -> object:
            target = path.with_name(path.name[1:].rsplit(".", 2)[0])  # .run.json.0123abcd.part
            beside = threading.current_thread() is not threading.main_thread()  # pages are made there
            if for_a_moment and len(seen) == number and not beside:
                (scene.reports.parent / "filler").unlink(missing_ok=True)
            if "x" in "".join(words) and path.is_relative_to(scene.reports) and wanted(target):
                seen.append(path)
                if len(seen) == number:
                    fill(scene.reports.parent)
            return open(path, *words)

        with small_disk(scene, "30m"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(local_files, "open", opened, raising=False)
            yield
            assert len(seen) >= number, "the write that was to fail never came"

    return around


def named(name: str) -> Callable[[Path], bool]:
    """Files of a run of this name."""
    return lambda path: path.name == name and path.parent.name != "reports"


def front(path: Path) -> bool:
    """The page over all runs."""
    return path.name == "index.html" and path.parent.name == "reports"


def at_write(name: str, wanted: Callable[[Path], bool], number: int = 1, **more: Any) -> Fault:
    """The disk of the reports is full from a write on."""
    around = full_from_write(wanted, number)
    name = f"the disk of the reports is full when {name} is written"
    return Fault(name, FULL, ["1"], around=around, in_step=False, stale=True, **more)


@contextmanager
def lake_on(scene: Scene, *, read_only: bool) -> Iterator[None]:
    """The lake on a disk of its own."""
    with mounted(scene.workbook / "disk", "size=120m") as folder:
        scene.lake = "disk/lake"
        scene.choose(STEP)
        (folder / "lake").mkdir()
        if read_only:
            make_read_only(folder)
        yield


@contextmanager
def reports_read_only(scene: Scene) -> Iterator[None]:
    with small_disk(scene, "30m") as folder:
        make_read_only(folder)
        yield


@contextmanager
def reports_all_but_full(scene: Scene) -> Iterator[None]:
    with small_disk(scene, "10m"):
        yield


def in_notebook(*cells: str) -> Sequence[str]:
    return [OPEN, FRAME, *cells, WRITE]


DISKS = [
    at_write("the first run.json", named("run.json"), kept=()),
    at_write("the executed notebook", named(f"{STEP}.ipynb"), kept=(MANIFEST,)),
    at_write("the page of a notebook", named(f"{STEP}.html"), kept=(NOTEBOOK, MANIFEST)),
    at_write("the report", named("index.html"), kept=(NOTEBOOK, PAGE, MANIFEST)),
    at_write("the page over all runs", front, kept=(NOTEBOOK, PAGE, MANIFEST)),
    at_write("the last run.json", named("run.json"), 4, kept=(NOTEBOOK, PAGE, MANIFEST)),
    Fault("the disk of the reports is full for a moment, after the last notebook", FULL, ["1"], in_step=False,
          around=full_from_write(named("run.json"), 3, for_a_moment=True)),
    Fault("the disk of the lake is full", "No space left", in_notebook(FILL.format(place="disk")),
          around=lambda scene: lake_on(scene, read_only=False), writes=["t1"]),
    Fault("the disk of the lake is read-only", "Read-only file system. A run keeps its lock there", ["1"],
          around=lambda scene: lake_on(scene, read_only=True), kept=()),
    Fault("the reports folder is read-only from the start", "cannot write reports to", ["1"],
          around=reports_read_only, kept=()),
    Fault("the disk of the reports is all but full before the start", "a run needs 20", ["1"],
          around=reports_all_but_full, code=2, kept=()),
]  # fmt: skip
