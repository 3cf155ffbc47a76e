"""Run the chain: every notebook once those before it are done, side by side where they need nothing of each other.

The manifest says "failed" from the first moment, and "succeeded" last of all: once every cell ran, every declared
table was written and is there, every symbol is there and every page stands. A killed run has therefore failed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stockkit import provenance
from stockkit.errors import LakeError
from stockkit.workbook import preflight, table_checks
from stockkit.workbook.cache import reuse
from stockkit.workbook.chain import conclusion, lease, resume, retries, run_folder, steps, stopping
from stockkit.workbook.chain.claims import Holder
from stockkit.workbook.chain.plan import RunPlan
from stockkit.workbook.chain.run_folder import RunFolder
from stockkit.workbook.chain.stopping import Stop
from stockkit.workbook.execution import processes
from stockkit.workbook.execution.redactions import Redaction, from_environment
from stockkit.workbook.formats import notebook_file
from stockkit.workbook.kernels import forks
from stockkit.workbook.manifest import FAILED, INTERRUPTED, SUCCEEDED, Failure, Manifest, Step, now
from stockkit.workbook.notebooks import Notebook
from stockkit.workbook.params import NOTIFYING
from stockkit.workbook.progress.guarded import Guarded
from stockkit.workbook.progress.lines import Lines
from stockkit.workbook.progress.protocol import Progress

KILLED = "the run was stopped or killed"
TICK = 0.2  # seconds between two looks at what could stop the run
MOST_JOBS = 4  # by default: each is a kernel with a gigabyte


@dataclass(frozen=True)
class Options:
    """How a run goes, besides what its parameters say.

    Attributes:
        jobs: how many notebooks may run side by side; 0 for one a core, at most four.
        deadline: seconds after which the process has to have ended.
        resumed: the run that goes on, as it was left; None for a new one.
        on_folder: called with the run's folder once this process works on it.
        wait: seconds to wait for another run on this lake to end.
        publish: called with the folder of a run that has ended, however it has.
        force: the notebooks that run whatever is kept of them. explain: whether to tell of each why it runs.
    """

    jobs: int = 0
    deadline: float | None = None
    resumed: Manifest | None = None
    on_folder: Callable[[Path], None] = lambda folder: None
    wait: float = 3600.0
    publish: Callable[[Path], object] = lambda folder: None
    force: Collection[str] = ()
    explain: bool = False


def run(todo: RunPlan, reports: Path, progress: Progress | None = None, options: Options = Options()) -> Manifest:
    """Run a plan and return its manifest, which is also ``reports/<run>/run.json`` beside the pages.

    Raises:
        LakeError: the reports folder or the lake cannot be written, another run has the lake, or the run could not be
            published. RunError: the disk is full, or another process works on the run. KeyboardInterrupt: stopped by a
            signal; the manifest says so, and no process and no temporary folder is left.
    """
    started = time.monotonic()
    stop = Stop(started=started) if options.deadline is None else Stop(started + options.deadline, started)
    with stopping.stoppable(stop):
        manifest = _run(todo, reports, progress or Lines(), options, stop)
    if stop.number is not None and manifest.status != SUCCEEDED:
        raise KeyboardInterrupt(manifest.reason)
    return manifest


def _run(todo: RunPlan, reports: Path, progress: Progress, options: Options, stop: Stop) -> Manifest:
    preflight.check_space(reports, todo.lake)
    resumed = options.resumed
    folder = run_folder.RunFolder(reports, resumed.run) if resumed else run_folder.make(reports)
    redaction = from_environment(os.environ)
    manifest = resumed or _first_manifest(todo, folder.run, redaction)
    shown = Guarded(progress, redaction)
    run = Run(todo, folder, manifest, shown, redaction, stop, stop.started)
    with _ending(shown, manifest), run.alone(options) as mine, run_folder.working(folder):
        options.on_folder(folder.partial)
        try:
            with processes.guarded(mine.handle) as guard, run.warm(guard) as warm:
                run.go(guard, warm, options.jobs or min(MOST_JOBS, os.cpu_count() or 1), options)
            _check_tables(todo, manifest)
        except Exception as error:  # all steps may have succeeded before; the run has not
            stop.lost = stop.lost or f"ended by an error ({error})"
            raise
        finally:
            manifest.seconds, manifest.finished_at = round(manifest.seconds + time.monotonic() - run.started, 1), now()
            stop.confirm = mine.ask
            conclusion.conclude(folder, manifest, redaction, stop)
            reuse.withdraw_others(todo.lake.files, run.executed, folder.place)
    options.publish(folder.final)
    return manifest


@dataclass
class Run:
    """A run that has started."""

    todo: RunPlan
    folder: RunFolder
    manifest: Manifest
    progress: Progress
    redaction: Redaction
    stop: Stop
    started: float
    running: dict[Future[None], Step] = field(default_factory=dict)
    executed: dict[str, str] = field(default_factory=dict)  # where in the lake the results of notebooks are kept
    pages: ThreadPoolExecutor = field(default_factory=partial(ThreadPoolExecutor, 1, "pages"))

    @contextmanager
    def alone(self, options: Options) -> Iterator[lease.Lease]:
        """Have the lake to oneself while the block runs: wait for another run, then take up what this one does.

        Raises:
            LakeError: another run has it for too long; nothing is left. KeyboardInterrupt: stopped by a signal.
        """
        hear: dict[str, Any] = {"on_wait": self._waits, "on_lost": self.stop.lose, "stopped": lambda: self.stop.reason}
        with ExitStack() as lock:
            try:
                mine = lock.enter_context(lease.taken(self.todo.lake, self.folder.run, wait=options.wait, **hear))
            except LakeError:
                if not options.resumed:
                    self.folder.abandon()
                if self.stop.number is not None:
                    raise KeyboardInterrupt from None
                raise
            self.started = time.monotonic()
            if options.resumed:
                run_folder.reopen(self.folder.reports, self.folder.run)
                resume.forget_fallen(self.todo, self.manifest, self.folder.partial)
            yield mine

    def _waits(self, holder: Holder) -> None:
        self.progress.say(f"waits for {holder}")
        if self.folder.partial.is_dir():
            self.save()

    def warm(self, guard: processes.Guard) -> AbstractContextManager[forks.WarmParent | str]:
        """What kernels are forked from: with the libraries imported that the notebooks that are left may need."""
        left = {step.name for step in self.manifest.steps if step.status != SUCCEEDED}
        read = [notebook_file.content(notebook.path) for notebook in self.todo.chain if notebook.name in left]
        code = [cell["source"] for content in read for cell in content["cells"] if cell["cell_type"] == "code"]
        return forks.warm(guard, self.todo.root, forks.used(code), kernels=len(left))

    def go(self, guard: processes.Guard, warm: forks.WarmParent | str, jobs: int, options: Options) -> None:
        """Run the steps that are left until all are done, one has failed, or the run has to stop."""
        work = steps.Work(self.todo, self.folder.partial, self.manifest, self.progress, self.redaction, guard,
                          warm, self.stop, self.started, self.pages, options.force, options.explain,
                          self.executed)  # fmt: skip
        self.progress.start([step.name for step in self.manifest.steps], self.manifest.run)
        self.save()
        with self.pages, ThreadPoolExecutor(jobs, thread_name_prefix="step") as pool, ExitStack() as end:
            end.callback(self._end_all, guard)
            while self._start_more(pool, work, jobs) or self.running:
                done, _ = wait(self.running, timeout=TICK, return_when=FIRST_COMPLETED)
                for future in done:
                    del self.running[future]
                    future.result()
                if done:
                    self.save()
                if self.stop.number is not None or self.stop.lost:
                    break

    def _end_all(self, guard: processes.Guard) -> None:
        """End the kernels of steps that are under way, also of those that are only starting theirs."""
        while wait(self.running, timeout=TICK).not_done:
            guard.sweep()

    def _start_more(self, pool: ThreadPoolExecutor, work: steps.Work, jobs: int) -> bool:
        """Start every step that may; whether one was."""
        if self.stop.reason or any(step.error for step in self.manifest.steps):
            return False
        free = [step for step in self._ready() if step not in self.running.values()][: jobs - len(self.running)]
        for step in free:
            step.status, step.attempts = FAILED, step.attempts + 1  # until it has ended otherwise
            self.running[pool.submit(self._step, work, step)] = step
        if free:
            self.save()
        return bool(free)

    def _ready(self) -> list[Step]:
        """The steps that have not run, and for which all that they need has."""
        done = {step.name for step in self.manifest.steps if step.status == SUCCEEDED}
        needs = self.todo.needs()
        return [step for step in self.manifest.steps if step.status != SUCCEEDED and needs[step.name] <= done]

    def _step(self, work: steps.Work, step: Step) -> None:
        notebook = next(notebook for notebook in self.todo.chain if notebook.name == step.name)
        started = time.monotonic()
        self.progress.step(step.name)
        while (pause := self._try(work, notebook, step)) is not None and self._waited(pause):
            step.attempts += 1
            step.reads, step.writes, step.empty, step.headlines = {}, {}, {}, {}
        step.seconds = round(time.monotonic() - started, 1)
        step.status = FAILED if step.error else SUCCEEDED
        self.pages.submit(steps.make_body, work, step.name)
        stopped = step.error and step.error.ename == INTERRUPTED
        if step.kept_from and not step.error:
            self.progress.kept(step.name, step.why)
        else:
            self.progress.done(step.name, "stopped" if stopped else step.status, step.seconds)

    def _try(self, work: steps.Work, notebook: Notebook, step: Step) -> float | None:
        """Execute a step; the seconds after which it should be tried again, None where it should not."""
        try:
            step.error = steps.execute(work, notebook, step)
        except Exception as error:  # whatever it is, the step has not succeeded
            step.error = Failure(ename=type(error).__name__, evalue=self.redaction.text(str(error)))
        if step.error is None:
            return None
        pause = retries.wait_before(step.error, step.attempts, self.todo.parameters)
        if pause is not None:
            failed = f"{step.name}: try {step.attempts} failed: {step.error.ename}: {step.error.evalue}"
            step.warnings = [failed]
            self.progress.say(f"{failed} Trying again in {pause:.0f} s.")
        return pause

    def _waited(self, pause: float) -> bool:
        """Wait as long; false where the run has to stop meanwhile."""
        end = time.monotonic() + pause
        while time.monotonic() < end and not self.stop.reason:
            time.sleep(min(TICK, pause))
        return not self.stop.reason

    def save(self) -> None:
        """Write the manifest as it is now: one of a run that has failed, if it were to end here."""
        self.manifest.gather()
        self.manifest.reason = conclusion.interruption(self.manifest, KILLED)
        conclusion.save(self.folder.partial, self.manifest, self.redaction)


@contextmanager
def _ending(shown: Progress, manifest: Manifest) -> Iterator[None]:
    """Say at the end how the run has ended, however that came."""
    try:
        yield
    finally:
        shown.end(manifest.status, manifest.seconds, manifest.reason or "")


def _check_tables(todo: RunPlan, manifest: Manifest) -> None:
    """Fail the last step where a table that this run wrote is no longer there; what it took over was just looked at."""
    done = [step for step in manifest.steps if step.status == SUCCEEDED]
    if all(step.kept_from for step in done):
        return
    fault = next(table_checks.vanished(todo.lake, manifest.written), "") if done else ""
    if fault and not any(step.error for step in manifest.steps):
        done[-1].status, done[-1].error = FAILED, Failure(evalue=fault)


def _first_manifest(todo: RunPlan, run_id: str, redaction: Redaction) -> Manifest:
    return Manifest(
        run=run_id,
        status=FAILED,
        reason=None,
        started_at=now(),
        finished_at=None,
        seconds=0.0,
        code_version=provenance.code_version(todo.root),
        params_file=f"params/{todo.params_file.name}",
        parameters=redaction.all({name: it for name, it in todo.parameters.items() if name not in NOTIFYING}),
        steps=[Step(notebook.name, redaction.text(notebook.title)) for notebook in todo.chain],
    )
