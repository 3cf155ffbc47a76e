"""Execute one notebook in a fresh kernel by papermill, and keep the evidence, whatever happens.

papermill gets an engine with this environment's kernel, one strict loop over the cells, and limits of time and output;
secrets are struck out. The executed notebook carries no time stamps, durations, paths or random cell ids, so two runs
on the same inputs give the same bytes; seconds stand in the run's manifest.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.execute import ERROR_MARKER_TAG
from traitlets.config import Config

from stockkit.errors import LakeError
from stockkit.files import write_atomically
from stockkit.intake.secrets import CHANNEL
from stockkit.workbook.execution import limits, outputs
from stockkit.workbook.execution.processes import MARK, Guard
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.manifest import Failure
from stockkit.workbook.report import WAY_OUT

ENGINE = "stockkit"
KERNEL_FILE = re.compile(r"\S*ipykernel_\d+\S*\.py")
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
OPTIMIZED = "PYTHONOPTIMIZE"  # a kernel with it would skip every assert
OUTPUT_WAIT = 120  # seconds for what a cell has put out to arrive after its end
LONGEST_SOCKET = 90  # characters of a path; the system allows some 105, with the port behind it
KINDS = {"stream", "display_data", "execute_result", "update_display_data", "error"}


@dataclass(frozen=True)
class Conditions:
    """Under which a notebook runs: folder, time limits, guard, what to strike out, and more of its environment."""

    cwd: Path
    clock: limits.Clock
    guard: Guard
    redaction: Redaction
    on_cell: Callable[[int, int], None]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Executed:
    """How it ended: None or the error, and warnings of the execution."""

    error: Failure | None
    warnings: list[str] = field(default_factory=list)


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
    failure: tuple[str, str] | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """What the kernel itself writes."""
        return self.folder / "kernel.log"

    def save(self) -> None:
        """Write the notebook as it is now, if papermill has read it."""
        if self.notebook is not None:
            _write(self.output, self.notebook, self.under.redaction)


def execute(source: Path, output: Path, parameters: Mapping[str, Any], under: Conditions) -> Executed:
    """Run a notebook and write the executed copy to `output`, complete up to the failing cell if there is one.

    Args:
        source: the notebook; left untouched.
        output: where the executed copy goes.
        parameters: values for its parameters cell.
        under: the conditions.

    Raises:
        LakeError: the copy cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=under.guard.folder, ignore_cleanup_errors=True) as folder:
        job = _job(Path(folder), output, under)
        try:
            error = _run(job, source, parameters)
        except BaseException:
            with suppress(LakeError):  # the disk may be what stopped it
                job.save()
            raise
        finally:
            under.guard.sweep()
    job.save()
    error = error and Failure(**under.redaction.all(vars(error)))
    return Executed(error, under.redaction.all(job.warnings))


def _job(folder: Path, output: Path, under: Conditions) -> Job:
    (temporary := folder / "tmp").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != OPTIMIZED}
    if not _is_writable(Path("~").expanduser()):  # as on Lambda; IPython keeps a profile there
        environment["IPYTHONDIR"] = str(folder / "ipython")
    environment |= {**under.environment, MARK: under.guard.mark, "TMPDIR": str(temporary)}
    return Job(folder, environment, under, output)


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _run(job: Job, source: Path, parameters: Mapping[str, Any]) -> Failure | None:
    """Run it by papermill; the error, None where every cell ran and ended well."""
    papermill_engines.register(ENGINE, Engine)
    logging.getLogger("papermill").setLevel(logging.CRITICAL + 1)  # all that it says is in the error
    how = {"kernel_name": KERNELSPEC["name"], "language": "python", "engine_name": ENGINE, "progress_bar": False}
    try:
        papermill.execute_notebook(str(source), None, dict(parameters), cwd=str(job.under.cwd), job=job, **how)
    except LakeError:
        raise
    except papermill.exceptions.PapermillExecutionError as failed:
        banners = 2 * (ERROR_MARKER_TAG in job.notebook.cells[0].metadata.get("tags", ()))
        job.at, job.failure = failed.cell_index + banners, job.failure or (failed.ename, str(failed.evalue))
        return _failure(job, failed)
    except Exception as failed:  # whatever ends a notebook, it has not succeeded
        return _failure(job, failed)
    return _failure(job) if job.failure else _unrun(job.notebook)


def _unrun(notebook: Any) -> Failure | None:
    """An error where a code cell has no result, for whatever reason."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, 1):
        if cell.execution_count is None:
            evalue = "the cell was not run, so the notebook did not do what it says."
            return Failure(cell=number, where="", evalue=evalue, source=cell.source)
    return None


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


class Manager(AsyncKernelManager):
    """Starts the Python that runs now, whatever a notebook's metadata or a user's kernels of the same name say."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel of this environment."""
        return KernelSpec(resource_dir="", **get_kernel_dict())


class Client(PapermillNotebookClient):  # type: ignore[misc]
    """Runs cell after cell; whatever ends a cell early ends the notebook and is kept as its failure."""

    job: Job
    meter: outputs.Meter

    def create_kernel_manager(self) -> Any:
        """Take in all that a kernel puts out: by default a slow reader loses messages without a word."""
        manager = super().create_kernel_manager()
        manager.context.rcvhwm = 0
        return manager

    def start_new_kernel(self, **options: Any) -> None:
        """Start it, and remember the process: its exit code tells how it died."""
        super().start_new_kernel(**options)
        self.job.process = self.km.provisioner.process

    def papermill_execute_cells(self) -> None:
        """Run every cell, and stop at the first that did not end well."""
        self.job.started = True
        self.comm_open_handlers[CHANNEL] = self._hide
        for index, cell in enumerate(self.nb.cells):
            self.job.at, self.meter = index, outputs.Meter(self.job.under.redaction)
            self.job.under.on_cell(index + 1, len(self.nb.cells))
            self.nb_man.cell_start(cell, index)
            try:
                self.execute_cell(cell, index)
            except CellExecutionError as error:
                self.job.failure = (error.ename, error.evalue)
            finally:
                self._finish(cell, index)
            if self.job.failure:
                return
        self.job.at = None

    def process_message(self, message: Any, cell: Any, cell_index: int) -> Any:
        """Shorten and redact what a cell puts out before it is kept anywhere."""
        content = message["content"]
        if message["msg_type"] in KINDS and not self.meter.admit(content):
            return None
        return super().process_message(message, cell, cell_index)

    def _finish(self, cell: Any, index: int) -> None:
        if cell.cell_type == "code":
            if note := outputs.finish(cell, self.meter):
                self.job.warnings.append(f"cell [{cell.execution_count}]: {note}")
            if self.job.failure:
                self.nb_man.cell_exception(cell, cell_index=index)
        self.nb_man.cell_complete(cell, cell_index=index)

    def _hide(self, message: Any) -> None:
        """A secret that the kernel has just looked up."""
        self.job.under.redaction.add(str(message["content"]["data"].get("value", "")))

    def _get_timeout(self, cell: Any) -> float:
        return self.job.under.clock.remaining()[0] or 0.001

    async def _async_handle_timeout(self, timeout: float, cell: Any = None) -> None:
        clock = self.job.under.clock
        limit = "cell_timeout" if timeout >= clock.seconds["cell_timeout"] else clock.left()[1]
        raise CellStopped("TimeoutError", clock.explain(limit))


class Engine(NBClientEngine):  # type: ignore[misc]
    """What `papermill.execute_notebook` calls."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, *, job: Job, **options: Any) -> None:
        """Run the notebook of a manager in a kernel that only this client can reach."""
        job.notebook = nb_man.nb
        nb_man.save = lambda **_: job.save()
        client = Client(
            nb_man,
            kernel_name=KERNELSPEC["name"],
            log=logging.getLogger("papermill"),
            startup_timeout=math.ceil(min(limits.KERNEL_START, job.under.clock.left()[0])),
            iopub_timeout=OUTPUT_WAIT,
            on_cell_executed=_check_reply,
            kernel_manager_class=Manager,
            config=_settings(job.folder),
        )
        client.job, client.meter = job, outputs.Meter(job.under.redaction)
        with job.log.open("wb") as log:
            client.execute(env=dict(job.environment), stdout=log, stderr=log)


def _check_reply(*, cell: Any, cell_index: int, execute_reply: Any) -> None:
    content = execute_reply["content"]
    cell.execution_count = content.get("execution_count") or cell.execution_count
    if any(payload.get("source") == "ask_exit" for payload in content.get("payload") or ()):
        raise CellStopped("SystemExit", "the cell ended the notebook by exit() or quit(). Take it out.")
    if content.get("status") not in ("ok", "error"):
        raise CellStopped("RunError", f"the kernel answered {content.get('status')!r} and ran nothing.")


def _settings(folder: Path) -> Config:
    """Let kernel and client meet in `folder`, which is this user's alone, not at open TCP ports.

    The kernel's own log says nothing: one that is told to end is interrupted first and may log that as an error.
    """
    meeting = {"connection_file": str(folder / "kernel.json")}
    if os.name == "posix" and len(os.fsencode(folder / "kernel")) <= LONGEST_SOCKET:
        meeting |= {"transport": "ipc", "ip": str(folder / "kernel")}
    quiet = {"extra_arguments": ["--IPKernelApp.log_level=CRITICAL"]}
    return Config(NotebookClient=quiet, ConnectionFileMixin=meeting)


def _failure(job: Job, error: BaseException | None = None) -> Failure:
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
    lines = job.log.read_text(errors="replace").strip().splitlines() if job.log.exists() else []
    code = job.process.poll() if job.process else None
    if lines or code:
        last = lines[-1] if lines else f"exit code {code}"
        return f"{last[:300]}. Is ipykernel whole in {sys.executable}? `make setup` installs it again."
    if "respond" in str(error):
        return f"it gave no sign of life in {limits.KERNEL_START} seconds. Is the machine overloaded? Try again."
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
