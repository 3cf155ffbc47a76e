"""Where a fault is planted: a workbook with one notebook and an earlier run that succeeded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest

from tests.conftest import make_workbook, stockkit
from tests.workbook.faults.fault import Fault

STEP = "01_x"
EVIDENCE = "'what was ' + 'done before'"
EARLIER = "20200101T000000Z"
NOTIFY = '#!/bin/sh\ncat > /dev/null\necho "$STOCKKIT_STATUS" >> notifications.txt\n'
MARK = "STOCKKIT_SCENE"
PATIENCE = 30.0  # seconds until what has been told to end is gone


@dataclass(frozen=True)
class Outcome:
    """What a run has left behind, as anyone can see it."""

    code: int
    stdout: str
    stderr: str
    reports: Path
    notifications: list[str]
    processes: list[str]
    temporary: list[str]

    def runs(self) -> list[Path]:
        """The folders of the run, finished or not; the earlier run's is none of them."""
        if not self.reports.is_dir():
            return []
        folders = [path for path in self.reports.iterdir() if path.is_dir() and not path.is_symlink()]
        return sorted(path for path in folders if path.name != EARLIER)


@dataclass
class Scene:
    """A workbook of its own; `mark` is in the environment of all that its run starts."""

    workbook: Path
    temporary: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    reports: Path = Path()
    lake: str = "data/lake"
    store: str = ""  # the address of S3

    def __post_init__(self) -> None:
        self.reports = self.workbook / "reports"

    @property
    def notifications(self) -> Path:
        """The file that gets a line for each notification: its status."""
        return self.workbook / "notifications.txt"

    def add(
        self, name: str, cells: Sequence[str], parameters: str = "", tags: Sequence[str] = (), **declared: Sequence[str]
    ) -> Path:
        """Write a notebook that leaves evidence in its first cell; the second one has the tags."""
        metadata = {"stockkit": {key: list(tables) for key, tables in declared.items()}}
        document = nbformat.v4.new_notebook(metadata=metadata)
        code = [nbformat.v4.new_code_cell(cell) for cell in (EVIDENCE, *cells)]
        first = nbformat.v4.new_code_cell(f'lake = "data/lake"\n{parameters}', metadata={"tags": ["parameters"]})
        for cell in code[1:2]:
            cell.metadata["tags"] = list(tags)
        document.cells = [nbformat.v4.new_markdown_cell(f"# {name}?"), first, *code]
        path = self.workbook / "notebooks" / f"{name}.ipynb"
        nbformat.write(document, path)
        return path

    def choose(self, *names: str) -> None:
        """Let the run have these notebooks."""
        text = f"notebooks: [{', '.join(names)}]\nlake: {self.lake}\n"
        (self.workbook / "params" / "own.yaml").write_text(text)

    def words(self, fault: Fault) -> list[str]:
        """The command without its name."""
        notify = ["--notify", "command:./notify.sh"]
        return ["run", fault.params, "--reports", str(self.reports), *notify, *fault.words]

    def plant_earlier_run(self) -> None:
        """A run that succeeded, and `latest` that leads to it."""
        folder = self.reports / EARLIER
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"status": "succeeded", "run": EARLIER, "seconds": 1.0}))
        (folder / "index.html").write_text("earlier")
        (self.reports / "latest").symlink_to(EARLIER)

    def outcome(self, code: int, stdout: str, stderr: str) -> Outcome:
        """What there is now that the run has ended."""
        told = self.notifications.read_text().splitlines() if self.notifications.exists() else []
        left = wait_until_gone(self)
        return Outcome(code, stdout, stderr, self.reports, told, left, sorted(os.listdir(self.temporary)))


def wait_until_gone(scene: Scene) -> list[str]:
    """The processes of a scene that are still there after some patience."""
    end = time.monotonic() + PATIENCE
    while (left := processes_of(scene)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def processes_of(scene: Scene) -> list[str]:
    """The command lines of the processes that carry the scene's mark, or whose folder is in its workbook.

    The second finds those that have an empty environment, or that of the process from which they were forked.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
            environment, place = (entry / "environ").read_bytes(), os.readlink(entry / "cwd")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, IndexError):
            continue
        marked = f"{MARK}={scene.mark}".encode() in environment or Path(place).is_relative_to(scene.workbook)
        if marked and state not in (b"Z", b"X") and int(entry.name) != os.getpid():
            found.append(f"{entry.name} {command[:200]}")
    return found


@contextmanager
def scene_of(fault: Fault, folder: Path, store: str = "") -> Iterator[Scene]:
    """A scene in which the fault is planted, with an environment and a folder for temporary files of its own."""
    temporary = Path(tempfile.mkdtemp(prefix="scene-", dir="/tmp"))  # short, so that a socket's path fits in
    scene = Scene(make_workbook(folder / "book", own_notebooks=True), temporary)
    scene.store = store
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(MARK, scene.mark)
            patch.setenv("TMPDIR", str(temporary))
            patch.delenv("STOCKKIT_WARM", raising=False)
            for name, value in fault.env.items():
                patch.setenv(name, value)
            patch.setattr(tempfile, "tempdir", str(temporary))
            scene.plant_earlier_run()
            (script := scene.workbook / "notify.sh").write_text(NOTIFY)
            script.chmod(0o755)
            scene.add(STEP, fault.cells, fault.parameters, fault.tags, reads=fault.reads, writes=fault.writes)
            scene.choose(STEP)
            fault.plant(scene)
            yield scene
    finally:
        for line in processes_of(scene):
            with suppress(OSError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def met(fault: Fault, folder: Path, store: str = "") -> Iterator[tuple[Scene, Outcome]]:
    """Run the command on a fault; in the block what it has left can be looked at, on whatever disk it is."""
    with scene_of(fault, folder, store) as scene, fault.around(scene):
        if fault.run is None:
            done = stockkit(scene.workbook, *scene.words(fault))
            ended = done.returncode, done.stdout, done.stderr
        else:
            ended = fault.run(scene, scene.words(fault))
        yield scene, scene.outcome(*ended)


def python(*words: str) -> list[str]:
    """A command of this environment's Python."""
    return [sys.executable, *words]
