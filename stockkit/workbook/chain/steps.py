"""One step of a run: execute its notebook, take over what it handed over, and check its tables."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stockkit import provenance
from stockkit.provenance import PINS_VARIABLE, RUN_VARIABLE, STEP_VARIABLE
from stockkit.workbook import handover, table_checks
from stockkit.workbook.chain.plan import RunPlan
from stockkit.workbook.chain.stopping import Stop
from stockkit.workbook.execution import limits, processes
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.manifest import Failure, Manifest, Step
from stockkit.workbook.notebooks import Notebook
from stockkit.workbook.progress import Progress

if TYPE_CHECKING:
    from stockkit.workbook.execution import jobs


@dataclass(frozen=True)
class Work:
    """What the steps of a run share.

    Attributes:
        todo: the plan. folder: where executed notebooks go. manifest: of the run, whose steps are filled in.
        stop: whether the run has to stop. started: when it began, on the monotonic clock.
    """

    todo: RunPlan
    folder: Path
    manifest: Manifest
    progress: Progress
    redaction: Redaction
    guard: processes.Guard
    stop: Stop
    started: float


def execute(work: Work, notebook: Notebook, step: Step) -> Failure | None:
    """Run a notebook and check what it declared; the error, if there is one."""
    from stockkit.workbook.execution import kernels  # papermill takes a second to import

    output = work.folder / f"{notebook.name}.ipynb"
    values = {name: work.todo.parameters[name] for name in notebook.parameters}
    before = table_checks.states(work.todo.lake)
    done = kernels.execute(notebook.path, output, values, _conditions(work, notebook, step))
    step.warnings += [f"{notebook.name}: {warning}" for warning in done.warnings]
    malformed = collect(output, step)
    if done.error or malformed:
        return done.error or Failure(evalue=malformed)
    return _broken(work, notebook, step, before)


def _conditions(work: Work, notebook: Notebook, step: Step) -> jobs.Conditions:
    from stockkit.workbook.execution import jobs

    clock = limits.Clock(
        limits.chosen(work.todo.parameters), work.started, time.monotonic(), deadline=work.stop.last_moment
    )
    guard = work.guard.for_step(work.manifest.steps.index(step) + 1)
    environment = {
        RUN_VARIABLE: work.manifest.run,
        STEP_VARIABLE: notebook.name,
        PINS_VARIABLE: provenance.pins(work.todo.lake.files.identity, _pins(work, notebook)),
    }

    def on_cell(number: int, total: int) -> None:
        work.progress.cell(notebook.name, number, total)

    return jobs.Conditions(work.todo.root, clock, guard, work.redaction, on_cell, environment, lambda: work.stop.reason)


def _pins(work: Work, notebook: Notebook) -> dict[str, int]:
    """The versions that a step has to read: those that the steps before it wrote."""
    before = work.todo.needs()[notebook.name]
    steps = [step for step in work.manifest.steps if step.name in before]
    return {table: version for step in steps for table, version in step.writes.items()}


def collect(output: Path, step: Step) -> str:
    """Take over what an executed notebook handed over: tables with versions, headline figures; what is malformed."""
    import nbformat

    if not output.exists():
        return ""
    for payload in handover.payloads(nbformat.read(output, as_version=4)):
        if fault := handover.fault(payload):
            return f"{step.name} handed over something malformed: {fault}. Use headline() and hand_over()."
        step.reads |= payload.get("reads", {})
        step.writes |= payload.get("writes", {})
        step.empty |= payload.get("empty", {})
        figures = dict(payload.get("headlines", {}))
        step.warnings += figures.pop("warnings", [])
        step.headlines |= figures
    return ""


def _broken(work: Work, notebook: Notebook, step: Step, before: Mapping[str, table_checks.State]) -> Failure | None:
    """The first fault of a step's tables; they may be empty where symbols are missing: the run is incomplete then."""
    lake, written, run = work.todo.lake, work.manifest.written, work.manifest.run
    incomplete = any(other.headlines.get("missing_symbols") for other in work.manifest.steps)
    empty = {**dict.fromkeys(step.writes if incomplete else (), "missing"), **step.empty}
    faults = [*table_checks.broken_declaration(notebook, step)]
    faults += [] if faults else table_checks.broken_tables(notebook, replace(step, empty=empty), lake, before, run)
    if faults:
        return Failure(evalue=faults[0])
    step.warnings += table_checks.excused(notebook, step, lake)
    step.warnings += table_checks.other_writers(notebook, lake, written, run)
    return None
