"""One step of a run: take over a kept result, or execute its notebook and check its tables."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockkit import provenance
from stockkit.provenance import FRESH_VARIABLE, PINS_VARIABLE, PROGRESS_VARIABLE, RUN_VARIABLE, STEP_VARIABLE
from stockkit.workbook import handover, table_checks
from stockkit.workbook.cache import reuse, trace
from stockkit.workbook.chain.plan import RunPlan
from stockkit.workbook.chain.stopping import Stop
from stockkit.workbook.execution import limits, processes
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.formats import notebook_file
from stockkit.workbook.kernels import forks
from stockkit.workbook.manifest import Failure, Manifest, Step
from stockkit.workbook.notebooks import Notebook
from stockkit.workbook.pages import bodies
from stockkit.workbook.progress.protocol import Progress
from stockkit.workbook.report import WAY_OUT

if TYPE_CHECKING:
    from stockkit.workbook.execution import jobs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What the steps of a run share.

    Attributes:
        todo: the plan. folder: where executed notebooks go. manifest: of the run, whose steps are filled in.
        warm: what its kernels are forked from, or why they are not.
        stop: whether the run has to stop. started: when it began, on the monotonic clock.
        pages: where what pages show is made.
        force: the notebooks that run whatever is kept. explain: whether to tell of each why it runs.
        executed, taken: by the name of a notebook that ran, or did not need to, the key that it is kept under.
    """

    todo: RunPlan
    folder: Path
    manifest: Manifest
    progress: Progress
    redaction: Redaction
    guard: processes.Guard
    warm: forks.WarmParent | str
    stop: Stop
    started: float
    pages: Executor
    force: Collection[str] = ()
    explain: bool = False
    executed: dict[str, str] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)

    def values(self, notebook: Notebook) -> dict[str, Any]:
        """The values of a notebook's parameters."""
        return {name: self.todo.parameters[name] for name in notebook.parameters}

    def output(self, notebook: Notebook) -> Path:
        """Where the executed notebook goes."""
        return self.folder / f"{notebook.name}.ipynb"


def execute(work: Work, notebook: Notebook, step: Step) -> Failure | None:
    """Take over what is kept of a notebook, or run it and check what it declared; the error, if there is one."""
    if notebook.is_changed():
        return Failure(evalue=f"{notebook.name} was changed after the run had checked it: run it again.")
    todo, pins = work.todo, _pins(work, notebook)
    decision = reuse.decide(
        notebook.path, work.values(notebook), todo.lake.files, todo.root, pins=pins, force=notebook.name in work.force
    )
    step.why = work.redaction.text(decision.why)
    if decision.kept is not None:
        return _take_over(work, notebook, step, decision.kept)
    if work.explain:
        work.progress.say(f"{notebook.name} runs: {step.why}")
    notes, warnings = work.guard.folder / f"{notebook.name}.trace", list[str]()
    environment = {PINS_VARIABLE: provenance.pins(todo.lake.files.identity, pins), **trace.begin(notes, todo.root)}
    error = _run(work, notebook, step, environment, warnings)
    if error is None:
        _keep(work, notebook, step, decision, notes, warnings)
    return error


def _take_over(work: Work, notebook: Notebook, step: Step, kept: reuse.Kept) -> Failure | None:
    reuse.restore(kept, work.output(notebook), way_out=WAY_OUT)
    step.kept_from, work.taken[notebook.name] = kept.run, kept.stem
    step.warnings += kept.warnings
    malformed = collect(work.output(notebook), step)
    return Failure(evalue=malformed) if malformed else None


def _run(
    work: Work, notebook: Notebook, step: Step, environment: Mapping[str, str], warnings: list[str]
) -> Failure | None:
    """Run a notebook and check its tables; `warnings` gets those that another run would have as well."""
    if isinstance(work.warm, forks.WarmParent):
        work.warm.start()  # while papermill is imported, which takes a second
    notebook_file.library()  # papermill would import all of it
    from stockkit.workbook.execution import kernels

    work.pages.submit(bodies.warm)
    work.pages.submit(import_module, "pyarrow.dataset")  # which looks into tables once the kernel has ended
    before = table_checks.states(work.todo.lake)
    conditions = _conditions(work, notebook, step, environment)
    done = kernels.execute(notebook.path, work.output(notebook), work.values(notebook), conditions)
    warnings += [f"{notebook.name}: {warning}" for warning in done.warnings]
    step.warnings += warnings
    step.kernel = done.kernel
    malformed = collect(work.output(notebook), step)
    if done.error or malformed:
        return done.error or Failure(evalue=malformed)
    return _broken(work, notebook, step, before, warnings)


def _keep(
    work: Work, notebook: Notebook, step: Step, decision: reuse.Decision, notes: Path, warnings: Sequence[str]
) -> None:
    todo = work.todo
    stem, reason = reuse.keep(
        decision, work.output(notebook), notes, todo.lake.files, todo.root, run=work.manifest.run, reads=step.reads,
        writes=step.writes, stored=table_checks.data_files(todo.lake, step.writes), warnings=warnings,
        redact=work.redaction.text,
    )  # fmt: skip
    if stem:
        work.executed[notebook.name] = stem
    else:
        log.info("event=not_kept notebook=%s: %s", notebook.name, work.redaction.text(reason))


def make_body(work: Work, name: str) -> None:
    """Make what the page of a notebook shows, and keep that where the notebook is kept."""
    output = work.folder / f"{name}.ipynb"
    bodies.keep(output)
    if stem := {**work.taken, **work.executed}.get(name):
        reuse.keep_body(work.todo.lake.files, stem, output)


def _conditions(work: Work, notebook: Notebook, step: Step, more: Mapping[str, str]) -> jobs.Conditions:
    from stockkit.workbook.execution import jobs

    clock = limits.Clock(
        limits.chosen(work.todo.parameters), work.started, time.monotonic(), deadline=work.stop.last_moment
    )
    guard = work.guard.for_step(work.manifest.steps.index(step) + 1)
    environment = {RUN_VARIABLE: work.manifest.run, STEP_VARIABLE: notebook.name, PROGRESS_VARIABLE: "1", **more}
    if notebook.name in work.force:
        environment[FRESH_VARIABLE] = "1"

    def on_cell(number: int, total: int) -> None:
        work.progress.cell(notebook.name, number, total)

    def on_within(text: str) -> None:
        work.progress.within(notebook.name, text)

    def interruption() -> str:
        return work.stop.reason

    root, redaction = work.todo.root, work.redaction
    return jobs.Conditions(root, clock, guard, redaction, on_cell, environment, interruption, work.warm, on_within)


def _pins(work: Work, notebook: Notebook) -> dict[str, int]:
    """The versions that a step has to read: those that the steps before it wrote."""
    before = work.todo.needs()[notebook.name]
    steps = [step for step in work.manifest.steps if step.name in before]
    return {table: version for step in steps for table, version in step.writes.items()}


def collect(output: Path, step: Step) -> str:
    """Take over what an executed notebook handed over: tables with versions, headline figures; what is malformed."""
    if not output.exists():
        return ""
    for payload in handover.payloads(json.loads(output.read_bytes())):
        if fault := handover.fault(payload):
            return f"{step.name} handed over something malformed: {fault}. Use headline() and hand_over()."
        step.reads |= payload.get("reads", {})
        step.writes |= payload.get("writes", {})
        step.empty |= payload.get("empty", {})
        figures = dict(payload.get("headlines", {}))
        step.warnings += figures.pop("warnings", [])
        step.headlines |= figures
    return ""


def _broken(
    work: Work, notebook: Notebook, step: Step, before: Mapping[str, table_checks.State], warnings: list[str]
) -> Failure | None:
    """The first fault of a step's tables; they may be empty where symbols are missing: the run is incomplete then."""
    lake, written, run = work.todo.lake, work.manifest.written, work.manifest.run
    incomplete = any(other.headlines.get("missing_symbols") for other in work.manifest.steps)
    empty = {**dict.fromkeys(step.writes if incomplete else (), "missing"), **step.empty}
    faults = [*table_checks.broken_declaration(notebook, step)]
    faults += [] if faults else table_checks.broken_tables(notebook, replace(step, empty=empty), lake, before, run)
    if faults:
        return Failure(evalue=faults[0])
    excused = [*table_checks.excused(notebook, step, lake)]
    warnings += excused
    step.warnings += excused
    step.warnings += table_checks.other_writers(notebook, lake, written, run)
    return None
