"""Execute one notebook in a fresh kernel by papermill, and keep the evidence, whatever happens.

papermill gets an engine with this environment's kernel, one strict loop over the cells, and limits of time and output;
secrets are struck out. The executed notebook carries no time stamps, durations, paths or random cell ids, so two runs
on the same inputs give the same bytes; seconds stand in the run's manifest.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_core.utils import ensure_event_loop, run_sync
from nbclient.exceptions import CellExecutionError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.execute import ERROR_MARKER_TAG
from traitlets.config import Config

from stockkit.errors import LakeError
from stockkit.workbook.execution import alarms, limits, outputs
from stockkit.workbook.execution.jobs import KERNELSPEC, CellStopped, Conditions, Job, failure_of
from stockkit.workbook.execution.processes import MARK, end_unmarked
from stockkit.workbook.formats import notebook_file
from stockkit.workbook.kernels.forks import kernel_environment
from stockkit.workbook.kernels.provisioner import WarmManager
from stockkit.workbook.manifest import INTERRUPTED, Failure

ENGINE = "stockkit-run"
RECONNECT = 10  # milliseconds; by default a kernel that is ready sooner is waited for by tenths of a second
OUTPUT_WAIT = 120  # seconds for what a cell has put out to arrive after its end
LONGEST_SOCKET = 90  # characters of a path; the system allows some 105, with the port behind it
KINDS = {"stream", "display_data", "execute_result", "update_display_data", "error"}


@dataclass(frozen=True)
class Executed:
    """How it ended: None or the error, warnings of the execution, and the kernel: "warm", or "plain: " and why."""

    error: Failure | None
    warnings: list[str] = field(default_factory=list)
    kernel: str = ""


def execute(source: Path, output: Path, parameters: Mapping[str, Any], under: Conditions) -> Executed:
    """Run a notebook and write the executed copy to `output`, complete up to the failing cell if there is one.

    Threads may do so side by side, each with a guard of its own step: what carries its mark is ended with it.

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
            with _event_loop():
                error = _run(job, source, parameters)
        except BaseException:
            with suppress(LakeError):  # the disk may be what stopped it
                job.save()
            raise
        finally:
            under.guard.sweep()
    job.save()
    error = error and Failure(**under.redaction.all(vars(error)))
    return Executed(error, under.redaction.all(job.warnings), job.kernel)


def _job(folder: Path, output: Path, under: Conditions) -> Job:
    (temporary := folder / "tmp").mkdir()
    environment = kernel_environment()
    if not _is_writable(Path("~").expanduser()):  # as on Lambda; IPython keeps a profile there
        environment["IPYTHONDIR"] = str(folder / "ipython")
    environment |= {**under.environment, MARK: under.guard.mark, "TMPDIR": str(temporary)}
    environment |= under.redaction.listen(under.guard.folder)
    return Job(folder, environment, under, output)


@contextmanager
def _event_loop() -> Iterator[None]:
    """Close the event loop that jupyter_client makes for a thread, unless it is the main one's, which may go on."""
    try:
        yield
    finally:
        if threading.current_thread() is not threading.main_thread():
            loop = ensure_event_loop()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.close()


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _run(job: Job, source: Path, parameters: Mapping[str, Any]) -> Failure | None:
    """Run it by papermill; the error, None where every cell ran and ended well."""
    logging.getLogger("papermill").setLevel(logging.CRITICAL + 1)  # all that it says is in the error
    how = {"kernel_name": KERNELSPEC["name"], "language": "python", "engine_name": ENGINE, "progress_bar": False}
    try:
        # read here, as papermill would change this process' folder, so also a path's
        notebook = nbformat.from_dict(notebook_file.content(source))
        papermill.execute_notebook(notebook, None, dict(parameters), job=job, **how)
    except LakeError:
        raise
    except papermill.exceptions.PapermillExecutionError as failed:
        banners = 2 * (ERROR_MARKER_TAG in job.notebook.cells[0].metadata.get("tags", ()))
        job.at, job.failure = failed.cell_index + banners, job.failure or (failed.ename, str(failed.evalue))
        return failure_of(job, failed)
    except Exception as failed:  # whatever ends a notebook, it has not succeeded
        return failure_of(job, failed)
    return failure_of(job) if job.failure else _unrun(job.notebook)


def _unrun(notebook: Any) -> Failure | None:
    """An error where a code cell has no result, for whatever reason."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, 1):
        if cell.execution_count is None:
            evalue = "the cell was not run, so the notebook did not do what it says."
            return Failure(cell=number, where="", evalue=evalue, source=cell.source)
    return None


class Manager(WarmManager):
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
        """Take in all that a kernel puts out: by default a slow reader loses messages without a word.

        Try again soon where the kernel does not listen yet.
        """
        manager = super().create_kernel_manager()
        manager.context.rcvhwm = 0
        manager.context.reconnect_ivl = RECONNECT
        manager.source = self.job.under.warm
        return manager

    def start_new_kernel(self, **options: Any) -> None:
        """Start it, and remember the process: its exit code tells how it died."""
        super().start_new_kernel(**options)
        self.job.process, self.job.kernel = self.km.provisioner.process, self.km.provisioner.kernel

    def papermill_execute_cells(self) -> None:
        """Run every cell, and stop at the first that did not end well."""
        try:
            self._execute_cells()
        finally:
            end_unmarked(self.job.environment[MARK])  # while the kernel, by which they are known, is there

    def _execute_cells(self) -> None:
        self.job.started = True
        for index, cell in enumerate(self.nb.cells):
            self.job.at, self.meter = index, outputs.Meter(self.job.under.redaction)
            if cell.cell_type == "code" and (why := self.job.under.interruption()):  # while the kernel started, say
                raise CellStopped(INTERRUPTED, why)
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
        self.job.failure = run_sync(self._alarm)()

    async def _alarm(self) -> tuple[str, str] | None:
        """What went wrong in the background of the kernel, where something did."""
        asked = self.kc.execute("", silent=True, store_history=False, user_expressions={"noted": alarms.ASK})
        end = time.monotonic() + OUTPUT_WAIT
        while await self.km.is_alive() and time.monotonic() < end:
            with suppress(Empty):
                answer = await self.kc.get_shell_msg(timeout=1)
                if answer["parent_header"].get("msg_id") == asked:
                    return alarms.first(answer["content"]["user_expressions"]["noted"])
        return "DeadKernelError", "the kernel did not answer any more once its last cell had ended."

    def process_message(self, message: Any, cell: Any, cell_index: int) -> Any:
        """Shorten and redact what a cell puts out before it is kept anywhere."""
        content = message["content"]
        if outputs.PROGRESS in content.get("data", ()):
            self.job.under.on_within(str(content["data"][outputs.PROGRESS]))
            return None
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
        nb_man.nb.metadata.papermill["input_path"] = None  # it was a notebook, which would be in itself
        nb_man.save = lambda **_: job.save_soon(ensure_event_loop())
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
            client.execute(cwd=str(job.under.cwd), env=dict(job.environment), stdout=log, stderr=log)


papermill_engines.register(ENGINE, Engine)


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
    traced = "--IPKernelApp.extra_extensions=stockkit.workbook.cache.trace"  # before the first cell
    words = ["--IPKernelApp.log_level=CRITICAL", traced, f"--IPKernelApp.exec_lines={alarms.START}"]
    return Config(NotebookClient={"extra_arguments": words}, ConnectionFileMixin=meeting)
