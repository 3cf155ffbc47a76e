"""One execution of a notebook: its conditions, how far it is, and in words what ended it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from stockkit.errors import LakeError
from stockkit.local_files import write_atomically
from stockkit.workbook.execution import limits
from stockkit.workbook.execution.processes import Guard
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.kernels.forks import WarmParent
from stockkit.workbook.manifest import INTERRUPTED, Failure
from stockkit.workbook.report import WAY_OUT

KERNEL_FILE = re.compile(r"\S*ipykernel_\d+\S*\.py")
SAVE_EVERY = 2.0  # seconds: what a killed run may lack of its evidence
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


@dataclass(frozen=True)
class Conditions:
    """Under which a notebook runs: folder, time limits, guard, what to strike out, and more of its environment.

    `interruption` says why the run has to stop; "" while it may go on. `on_within` gets what the cell under way tells
    of itself.
    """

    cwd: Path
    clock: limits.Clock
    guard: Guard
    redaction: Redaction
    on_cell: Callable[[int, int], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    interruption: Callable[[], str] = str
    warm: WarmParent | str = "no warm parent was started"  # or why there is none
    on_within: Callable[[str], None] = lambda text: None


class CellStopped(Exception):
    """A cell that may not go on, with the name of the error and what to say of it."""

    def __init__(self, ename: str, evalue: str) -> None:
        super().__init__(evalue)
        self.ename, self.evalue = ename, evalue


@dataclass
class Job:
    """One execution: what it is given, and how far it has come."""

    folder: Path
    environment: Mapping[str, str]
    under: Conditions
    output: Path
    notebook: Any = None
    at: int | None = None  # the cell under way; None before the first and after the last
    started: bool = False
    process: Any = None
    kernel: str = ""  # "warm", or "plain: " and why
    failure: tuple[str, str] | None = None
    saved_until: float = 0.0  # on the monotonic clock: a save before this moment waits for it
    to_save: asyncio.TimerHandle | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """What the kernel itself writes."""
        return self.folder / "kernel.log"

    def save(self) -> None:
        """Write the notebook as it is now, if papermill has read it."""
        if self.to_save:
            self.to_save.cancel()
            self.to_save = None
        if self.notebook is not None:
            started = time.monotonic()
            _write(self.output, self.notebook, self.under.redaction)
            now = time.monotonic()
            self.saved_until = now + max(SAVE_EVERY, 10 * (now - started))

    def save_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write it now or, if that was done a moment ago, as soon as `loop` runs after that moment.

        Raises:
            LakeError: it was to be written now, and cannot be.
        """
        wait = self.saved_until - time.monotonic()
        if wait <= 0:
            self.save()
        elif self.to_save is None:
            self.to_save = loop.call_later(wait, self._save_later)

    def _save_later(self) -> None:
        self.to_save = None
        with suppress(LakeError):  # the next save, at the end at the latest, stops the notebook
            self.save()


def _write(path: Path, notebook: Any, redaction: Redaction) -> None:
    plain = nbformat.from_dict(_without_volatile(redaction.all(notebook)))
    write_atomically(path, (nbformat.writes(plain) + "\n").encode("utf-8", "replace"), way_out=WAY_OUT)


def _without_volatile(notebook: dict[str, Any]) -> dict[str, Any]:
    given = notebook["metadata"].pop("papermill", {}).get("parameters", {})
    notebook["metadata"]["papermill"] = {"parameters": given}
    if notebook["metadata"].get("kernelspec", {}).get("name") != KERNELSPEC["name"]:
        notebook["metadata"]["kernelspec"] = KERNELSPEC  # what ran it
    notebook["metadata"].get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook["cells"]):
        cell["id"] = f"cell-{number}"
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output["text"] = KERNEL_FILE.sub("cell", output["text"])
    return notebook


def failure_of(job: Job, error: BaseException | None = None) -> Failure:
    """What to keep of what ended a notebook.

    The cell gets it as an output, too, where the kernel could not put one out.
    """
    ename, evalue = job.failure or _names(job, error)
    cell = job.notebook.cells[job.at] if job.at is not None and job.notebook else None
    if cell is None:
        where = "after its last cell" if job.started else "before its first cell"
        return Failure(where=where, ename=ename, evalue=evalue)
    if not any(output.output_type == "error" for output in cell.outputs):
        traceback = [f"{ename}: {evalue}"]
        cell.outputs.append(nbformat.v4.new_output("error", ename=ename, evalue=evalue, traceback=traceback))
    cell.execution_count = cell.execution_count or _count(job)
    return Failure(cell=cell.execution_count, where="", ename=ename, evalue=evalue, source=cell.source)


def _names(job: Job, error: BaseException | None) -> tuple[str, str]:
    if why := job.under.interruption():
        return INTERRUPTED, why
    if isinstance(error, CellStopped):
        return error.ename, error.evalue
    left, limit = job.under.clock.left()
    if not job.started and not left:
        return "TimeoutError", job.under.clock.explain(limit)
    if not job.started:
        return "KernelError", f"the kernel did not start: {_why_not_started(job, error)}"
    if isinstance(error, CellTimeoutError):
        return "OutputError", "the cell put out more than could be taken in, and part of it is lost: print less."
    if isinstance(error, DeadKernelError):
        return "DeadKernelError", _death(job.process)
    return type(error).__name__, str(error)


def _why_not_started(job: Job, error: BaseException | None) -> str:
    if "respond" in str(error):
        return f"it gave no sign of life in {limits.KERNEL_START} seconds. Is the machine overloaded? Try again."
    lines = job.log.read_text(errors="replace").strip().splitlines() if job.log.exists() else []
    code = job.process.poll() if job.process else None
    if lines or code:
        last = lines[-1] if lines else f"exit code {code}"
        return f"{last[:300]}. Is ipykernel whole in {sys.executable}? `make setup` installs it again."
    return f"{str(error)[:300]} ({sys.executable})"


def _death(process: Any) -> str:
    code = process.poll() if process else None
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = ", as happens where memory runs out: give it fewer symbols or more memory" if name == "SIGKILL" else ""
        return f"the kernel died in this cell, killed by {name}{memory}."
    return f"the kernel ended in this cell with exit code {code}, before the cell was done."


def _count(job: Job) -> int:
    """The execution count that the cell under way would have got."""
    until = job.notebook.cells[: (job.at or 0) + 1]
    return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in until)
