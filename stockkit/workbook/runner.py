"""Run the chain: every notebook by papermill, its tables checked against what it declares.

The manifest says "failed" from the first moment, and "succeeded" last of all: once every cell ran, every declared
table was written and is there, every symbol is there and every page stands. A killed run has therefore failed.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stockkit import provenance
from stockkit.errors import LakeError, RunError
from stockkit.files import write_atomically
from stockkit.lake.tables import Lake, open_lake
from stockkit.provenance import PINS_VARIABLE, RUN_VARIABLE
from stockkit.workbook import handover, notebooks, params, preflight, report, table_checks
from stockkit.workbook.execution import limits, processes
from stockkit.workbook.execution.redactions import Redaction, from_environment
from stockkit.workbook.manifest import FAILED, SUCCEEDED, Failure, Manifest, Step
from stockkit.workbook.notebooks import Notebook
from stockkit.workbook.progress import Lines, Progress

INTERRUPTED = "Interrupted: the run was stopped or killed"
INCOMPLETE = "Incomplete: "
STOPPING = [number for number in map(signal.__dict__.get, ("SIGTERM", "SIGHUP")) if number is not None]


@dataclass(frozen=True)
class RunPlan:
    """A checked run: the notebooks in order, the value of every parameter, and where things are."""

    root: Path
    params_file: Path
    chain: list[Notebook]
    parameters: dict[str, Any]
    lake: Lake


def plan(
    params_file: Path, overrides: Sequence[str] = (), *, until: str | None = None, only: str | None = None
) -> RunPlan:
    """Check everything that can be checked before a kernel starts.

    Args:
        params_file: a flat YAML file in the workbook's `params` folder.
        overrides: ``name=value`` words, stronger than the file.
        until: run only what this notebook needs, and it.
        only: run only this notebook, on the tables that there are.

    Raises:
        ParamError, SymbolError, RunError, LakeError: what is wrong, and the way out.
    """
    root, every, values = resolve(params_file, overrides)
    lake = open_lake(values.get("lake", "data/lake"), root=root)
    for name in (until, only):
        if name and name not in [notebook.name for notebook in every]:
            known = ", ".join(notebook.name for notebook in every)
            raise RunError(f"{name[:60]!a} is no notebook of {params_file.name}: it runs {known}.")
    chain = [n for n in every if n.name == only] if only else notebooks.in_order(every, have=lake.tables())
    if until:
        chain = chain[: [n.name for n in chain].index(until) + 1]
    chain = notebooks.in_order(chain, have=lake.tables())
    preflight.check(chain, values, lake, root)
    return RunPlan(root, params_file, chain, values, lake)


def resolve(params_file: Path, overrides: Sequence[str] = ()) -> tuple[Path, list[notebooks.Notebook], dict[str, Any]]:
    """The workbook's folder, the notebooks that a file names, and the value of each of their parameters.

    Raises:
        ParamError, SymbolError, RunError: what is wrong, and the way out.
    """
    given = params.load(params_file)
    root = _root_of(params_file)
    every = [notebooks.load(root / "notebooks", name) for name in given.notebooks]
    return root, every, params.resolve(every, given.values, params.parse_overrides(overrides))


def _root_of(params_file: Path) -> Path:
    for folder in params_file.resolve().parents:
        if (folder / "notebooks").is_dir():
            return folder
    raise RunError(f"no folder above {params_file} has `notebooks`: keep parameter files in the workbook's params/.")


def run(todo: RunPlan, reports: Path, progress: Progress | None = None) -> Manifest:
    """Run a plan and return its manifest, which is also ``reports/<run>/run.json`` beside the pages.

    Raises:
        LakeError: the reports folder cannot be written. RunError: its disk is full. KeyboardInterrupt: stopped by a
            signal; the manifest says so, and no process and no temporary folder is left.
    """
    preflight.check_space(reports, todo.lake)
    folder = _new_folder(reports)
    redaction = from_environment(os.environ)
    manifest = _first_manifest(todo, folder.name, redaction)
    started = time.monotonic()
    try:
        with processes.guarded() as guard, _stoppable():
            under_way = RunUnderWay(todo, folder, manifest, progress or Lines(), redaction, guard, started)
            for notebook, step in zip(todo.chain, manifest.steps, strict=True):
                _run_step(under_way, notebook, step)
                if step.status == FAILED:
                    break
        _check_tables(todo, manifest)
    finally:
        manifest.seconds, manifest.finished_at = round(time.monotonic() - started, 1), _now()
        _finish(folder, manifest, redaction)
    return manifest


@dataclass(frozen=True)
class RunUnderWay:
    """A run that has started."""

    todo: RunPlan
    folder: Path
    manifest: Manifest
    progress: Progress
    redaction: Redaction
    guard: processes.Guard
    started: float

    def save(self) -> None:
        """Write the manifest as it is now."""
        _save(self.folder, self.manifest, self.redaction)


def _run_step(run: RunUnderWay, notebook: Notebook, step: Step) -> None:
    run.progress.step(notebook.name, run.manifest.steps.index(step) + 1, len(run.manifest.steps))
    started = time.monotonic()
    step.status = FAILED  # until it has ended otherwise
    run.manifest.reason = f"{INTERRUPTED} in {notebook.name}."
    run.save()
    status = "stopped"
    try:
        try:
            step.error = _try_step(run, notebook, step, started)
        except Exception as error:  # whatever it is, the step has not succeeded
            step.error = Failure(ename=type(error).__name__, evalue=run.redaction.text(str(error)))
        status = step.status = FAILED if step.error else SUCCEEDED
        run.manifest.reason = f"{INTERRUPTED} after {notebook.name}."
    finally:
        step.seconds = round(time.monotonic() - started, 1)
        run.progress.done(status, step.seconds)
    run.save()


def _try_step(run: RunUnderWay, notebook: Notebook, step: Step, started: float) -> Failure | None:
    """Run one notebook and check what it declared; the error, if there is one."""
    from stockkit.workbook.execution import jobs, kernels  # papermill takes a second to import

    todo, manifest = run.todo, run.manifest
    written = manifest.written
    output = run.folder / f"{notebook.name}.ipynb"
    values = {name: todo.parameters[name] for name in notebook.parameters}
    pins = {table: version for table, version in written.items() if table not in notebook.writes}
    pinned = provenance.pins(todo.lake.files.identity, pins)
    environment = {RUN_VARIABLE: manifest.run, PINS_VARIABLE: pinned}
    clock = limits.Clock(limits.chosen(todo.parameters), run.started, started)
    under = jobs.Conditions(todo.root, clock, run.guard, run.redaction, run.progress.cell, environment)
    before = table_checks.states(todo.lake)
    done = kernels.execute(notebook.path, output, values, under)
    manifest.warnings += [f"{notebook.name}: {warning}" for warning in done.warnings]
    malformed = _collect(output, step, manifest)
    if done.error or malformed:
        return done.error or Failure(evalue=malformed)
    faults = [*table_checks.broken_declaration(notebook, step)]
    faults += [] if faults else _broken_tables(run, notebook, step, before)
    if not faults:
        manifest.warnings += table_checks.excused(notebook, step, todo.lake)
        manifest.warnings += table_checks.other_writers(notebook, todo.lake, written, manifest.run)
    return Failure(evalue=faults[0]) if faults else None


def _broken_tables(
    run: RunUnderWay, notebook: Notebook, step: Step, before: Mapping[str, table_checks.State]
) -> list[str]:
    """The faults of a step's tables; they may be empty where symbols are missing, as then the run is incomplete."""
    incomplete = run.manifest.headlines.get("missing_symbols")
    empty = {**dict.fromkeys(step.writes if incomplete else (), "missing"), **step.empty}
    excused = replace(step, empty=empty)
    return [*table_checks.broken_tables(notebook, excused, run.todo.lake, before, run.manifest.run)]


def _collect(output: Path, step: Step, manifest: Manifest) -> str:
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
        manifest.warnings += figures.pop("warnings", [])
        manifest.headlines |= figures
    return ""


def is_incomplete(manifest: Manifest) -> bool:
    """Whether every step ran and the pages stand, but not everything that was asked for is there."""
    return str(manifest.reason).startswith(INCOMPLETE)


def _check_tables(todo: RunPlan, manifest: Manifest) -> None:
    """Fail the last step where a table that this run wrote is no longer there."""
    done = [step for step in manifest.steps if step.status == SUCCEEDED]
    fault = next(table_checks.vanished(todo.lake, manifest.written), "") if done else ""
    if fault and not any(step.error for step in manifest.steps):
        done[-1].status, done[-1].error = FAILED, Failure(evalue=fault)
    manifest.reason = None


def _finish(folder: Path, manifest: Manifest, redaction: Redaction) -> None:
    """Write the pages, then "succeeded", when all of them are there; without them the run has failed."""
    _conclude(manifest, manifest.reason or _reason(manifest), redaction)
    final = redaction.all(asdict(manifest))
    try:
        _render_notebooks(folder, final)
        report.render_index(folder, final)
        report.render_runs(folder.parent, {folder.name: final})
        _check_pages(folder, manifest)
        _save(folder, manifest, redaction)
    except Exception as error:
        _conclude(manifest, manifest.reason or f"The report could not be made: {error}", redaction)
        _withdraw(folder, manifest, redaction)
        if isinstance(error, LakeError):
            raise


def _conclude(manifest: Manifest, reason: str | None, redaction: Redaction) -> None:
    manifest.status = FAILED if reason else SUCCEEDED
    manifest.reason = reason and redaction.text(reason)


def _check_pages(folder: Path, manifest: Manifest) -> None:
    ran = [step.name for step in manifest.steps if step.status == SUCCEEDED]
    pages = [folder / f"{name}.html" for name in (*ran, "index")]
    if lost := [page.name for page in pages if not page.is_file() or not page.stat().st_size]:
        raise RunError(f"{', '.join(lost)} is not there.")


def _withdraw(folder: Path, manifest: Manifest, redaction: Redaction) -> None:
    """Say as far as the disk allows that the run failed; a front page that says otherwise goes."""
    with suppress(OSError):
        (folder / "index.html").unlink(missing_ok=True)
    with suppress(LakeError):
        _save(folder, manifest, redaction)
    with suppress(Exception):  # it may be what could not be rendered
        report.render_index(folder, redaction.all(asdict(manifest)))


def _render_notebooks(folder: Path, manifest: report.Json) -> None:
    for step in manifest["steps"]:
        if (path := folder / f"{step['name']}.ipynb").exists():
            report.render_notebook(path, manifest=manifest)


def render_again(folder: Path) -> None:
    """Make the pages of an earlier run anew.

    Raises:
        RunError: the folder holds no readable run.json.
    """
    try:
        _render_notebooks(folder, report.read(folder / "run.json"))
        report.render_index(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{folder} is no run that can be shown: {str(error)[:300]}") from error
    report.render_runs(folder.parent)


def _reason(manifest: Manifest) -> str | None:
    """Why a run that ended is not green, None where it is."""
    for step in manifest.steps:
        if error := step.error:
            where = f" cell {error.cell}" if error.cell is not None else ""
            return f"{step.name}{where}: {error.ename}: {error.evalue}"
    missing = manifest.headlines.get("missing_symbols", {})
    return f"{INCOMPLETE}{'; '.join(missing.values())}" if missing else None


def _first_manifest(todo: RunPlan, run_id: str, redaction: Redaction) -> Manifest:
    return Manifest(
        run=run_id,
        status=FAILED,
        reason=f"{INTERRUPTED} before its first notebook.",
        started_at=_now(),
        finished_at=None,
        seconds=0.0,
        code_version=provenance.code_version(todo.root),
        params_file=f"params/{todo.params_file.name}",
        parameters=redaction.all(todo.parameters),
        steps=[Step(notebook.name, redaction.text(notebook.title)) for notebook in todo.chain],
    )


def _new_folder(reports: Path) -> Path:
    """Make ``reports/<UTC time>``, with a suffix where another run started in the same second."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        reports.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{k}" for k in range(2, 100))):
            folder = reports / (stamp + suffix)
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise LakeError(
            f"cannot write reports to {reports}: {error.strerror}. Name another folder: --reports."
        ) from error
    raise RunError(f"a hundred runs started at {stamp} in {reports}.")


def _save(folder: Path, manifest: Manifest, redaction: Redaction) -> None:
    body = json.dumps(redaction.all(asdict(manifest)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / "run.json", body.encode("utf-8", "replace"), way_out=report.WAY_OUT)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let a request to end, or a terminal that is closed, stop the run as Ctrl-C does: tidily."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt
