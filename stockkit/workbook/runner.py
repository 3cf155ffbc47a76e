"""Run the chain: every notebook by papermill, held to what it declares, with a manifest that never lies.

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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stockkit.errors import LakeError, RunError
from stockkit.files import write_atomically
from stockkit.lake.tables import Lake, open_lake
from stockkit.provenance import PINS_VARIABLE, RUN_VARIABLE, code_version
from stockkit.provenance import pins as pins_value
from stockkit.workbook import checks, handover, notebooks, params, report
from stockkit.workbook.execution import kernels, limits, processes, redactions
from stockkit.workbook.notebooks import Notebook
from stockkit.workbook.progress import Lines, Progress

SUCCEEDED, FAILED, NOT_RUN = "succeeded", "failed", "not run"
INTERRUPTED = "Interrupted: the run was stopped or killed"
INCOMPLETE = "Incomplete: "
STOPPING = [number for number in map(signal.__dict__.get, ("SIGTERM", "SIGHUP")) if number is not None]


@dataclass(frozen=True)
class Plan:
    """A checked run: the notebooks in order, the value of every parameter, and where things are."""

    root: Path
    params_file: Path
    chain: list[Notebook]
    parameters: dict[str, Any]
    lake: Lake


def plan(
    params_file: Path, overrides: Sequence[str] = (), *, until: str | None = None, only: str | None = None
) -> Plan:
    """Check everything that can be checked before a kernel starts.

    Args:
        params_file: a flat YAML file in the workbook's `params` folder.
        overrides: ``name=value`` words, stronger than the file.
        until: run only what this notebook needs, and it.
        only: run only this notebook, on the tables that there are.

    Raises:
        ParamError, SymbolError, RunError, LakeError: what is wrong, and the way out.
    """
    given = params.load(params_file)
    root = _root_of(params_file)
    every = [notebooks.load(root / "notebooks", name) for name in given.notebooks]
    values = params.resolve(every, given.values, params.parse_overrides(overrides))
    lake = open_lake(values.get("lake", "data/lake"), root=root)
    for name in (until, only):
        if name and name not in given.notebooks:
            known = ", ".join(given.notebooks)
            raise RunError(f"{name[:60]!a} is no notebook of {params_file.name}: it runs {known}.")
    chain = [n for n in every if n.name == only] if only else notebooks.in_order(every, have=lake.tables())
    if until:
        chain = chain[: [n.name for n in chain].index(until) + 1]
    chain = notebooks.in_order(chain, have=lake.tables())
    checks.surroundings(chain, values, lake, root)
    return Plan(root, params_file, chain, values, lake)


def _root_of(params_file: Path) -> Path:
    for folder in params_file.resolve().parents:
        if (folder / "notebooks").is_dir():
            return folder
    raise RunError(f"no folder above {params_file} has `notebooks`: keep parameter files in the workbook's params/.")


def run(todo: Plan, reports: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Run a plan and return its manifest, which is also ``reports/<run>/run.json`` beside the pages.

    Raises:
        LakeError: the reports folder cannot be written. RunError: its disk is full. KeyboardInterrupt: stopped by a
            signal; the manifest says so, and no process and no temporary folder is left.
    """
    checks.space(reports, todo.lake)
    folder = _new_folder(reports)
    redaction = redactions.of_environment(os.environ)
    manifest = redaction.all(_first_manifest(todo, folder.name))
    started = time.monotonic()
    try:
        with processes.guarded() as guard, _stoppable():
            going = Going(todo, folder, manifest, progress or Lines(), redaction, guard, started)
            for number in range(len(todo.chain)):
                _run_step(going, number)
                if manifest["steps"][number]["status"] == FAILED:
                    break
        _check_tables(todo, manifest)
    finally:
        manifest |= {"seconds": round(time.monotonic() - started, 1), "finished_at": _now()}
        _finish(folder, manifest, redaction)
    return manifest


@dataclass(frozen=True)
class Going:
    """A run under way."""

    todo: Plan
    folder: Path
    manifest: dict[str, Any]
    progress: Progress
    redaction: redactions.Redaction
    guard: processes.Guard
    started: float


def _run_step(run: Going, number: int) -> None:
    notebook, step = run.todo.chain[number], run.manifest["steps"][number]
    run.progress.step(notebook.name, number + 1, len(run.todo.chain))
    started = time.monotonic()
    step["status"] = FAILED  # until it has ended otherwise
    run.manifest["reason"] = f"{INTERRUPTED} in {notebook.name}."
    _save(run.folder, run.manifest, run.redaction)
    status = "stopped"
    try:
        try:
            step["error"] = _try_step(run, notebook, step, started)
        except Exception as error:  # whatever it is, the step has not succeeded
            step["error"] = run.redaction.all(_fault(str(error), type(error).__name__))
        status = step["status"] = FAILED if step["error"] else SUCCEEDED
        run.manifest["reason"] = f"{INTERRUPTED} after {notebook.name}."
    finally:
        step["seconds"] = round(time.monotonic() - started, 1)
        run.progress.done(status, step["seconds"])
    _save(run.folder, run.manifest, run.redaction)


def _try_step(run: Going, notebook: Notebook, step: dict[str, Any], started: float) -> dict[str, Any] | None:
    """Run one notebook and hold it to its word; the error, if there is one."""
    todo, run_id = run.todo, run.manifest["run"]
    written = _written(run.manifest)
    output = run.folder / f"{notebook.name}.ipynb"
    values = {name: todo.parameters[name] for name in notebook.parameters}
    pins = {table: version for table, version in written.items() if table not in notebook.writes}
    environment = {RUN_VARIABLE: run_id, PINS_VARIABLE: pins_value(todo.lake.files.identity, pins)}
    clock = limits.Clock(limits.of(todo.parameters), run.started, started)
    under = kernels.Conditions(todo.root, clock, run.guard, run.redaction, run.progress.cell, environment)
    before = checks.states(todo.lake)
    done = kernels.execute(notebook.path, output, values, under)
    run.manifest["warnings"] += [f"{notebook.name}: {warning}" for warning in done.warnings]
    malformed = _collect(output, step, run.manifest)
    if done.error or malformed:
        return done.error or _fault(malformed)
    faults = [*checks.broken_declaration(notebook, step)]
    faults += [] if faults else checks.broken_tables(notebook, _excused(step, run.manifest), todo.lake, before, run_id)
    if not faults:
        run.manifest["warnings"] += checks.excused(notebook, step, todo.lake)
        run.manifest["warnings"] += checks.strangers(notebook, todo.lake, written, run_id)
    return _fault(faults[0]) if faults else None


def _written(manifest: Mapping[str, Any]) -> dict[str, int]:
    """The tables that the steps so far handed over as written, each with its version."""
    return {table: version for step in manifest["steps"] for table, version in step["writes"].items()}


def _fault(evalue: str, ename: str = "RunError") -> dict[str, Any]:
    return {"cell": None, "where": "outside its cells", "ename": ename, "evalue": evalue, "source": ""}


def _excused(step: dict[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The step with reasons for empty tables: where symbols are missing the run is incomplete, not failed."""
    missing = manifest["headlines"].get("missing_symbols")
    return {**step, "empty": {**dict.fromkeys(step["writes"] if missing else (), "missing"), **step["empty"]}}


def _collect(output: Path, step: dict[str, Any], manifest: dict[str, Any]) -> str:
    """Take over what an executed notebook handed over: tables with versions, headline figures; what is malformed."""
    import nbformat

    if not output.exists():
        return ""
    for payload in handover.payloads(nbformat.read(output, as_version=4)):
        if fault := handover.fault(payload):
            return f"{step['name']} handed over something malformed: {fault}. Use headline() and hand_over()."
        for part in ("reads", "writes", "empty"):
            step[part] |= payload.get(part, {})
        figures = dict(payload.get("headlines", {}))
        manifest["warnings"] += figures.pop("warnings", [])
        manifest["headlines"] |= figures
    return ""


def is_incomplete(manifest: Mapping[str, Any]) -> bool:
    """Whether every step ran and the pages stand, but not everything that was asked for is there."""
    return str(manifest["reason"]).startswith(INCOMPLETE)


def _check_tables(todo: Plan, manifest: dict[str, Any]) -> None:
    """Fail the last step where a table that this run wrote is no longer there."""
    done = [step for step in manifest["steps"] if step["status"] == SUCCEEDED]
    fault = next(checks.vanished(todo.lake, _written(manifest)), "") if done else ""
    if fault and not any(step["error"] for step in manifest["steps"]):
        done[-1] |= {"status": FAILED, "error": _fault(fault)}
    manifest["reason"] = None


def _finish(folder: Path, manifest: dict[str, Any], redaction: redactions.Redaction) -> None:
    """Write the pages, then "succeeded", when all of them are there; without them the run has failed."""
    reason = manifest["reason"] or _reason(manifest)
    manifest |= redaction.all({"status": FAILED if reason else SUCCEEDED, "reason": reason})
    final = redaction.all(manifest)
    try:
        _render_notebooks(folder, final)
        report.render_index(folder, final)
        report.render_runs(folder.parent, {folder.name: final})
        _check_pages(folder, final)
        _save(folder, final, redaction)
    except Exception as error:
        why = f"The report could not be made: {redaction.text(str(error))}"
        manifest |= {"status": FAILED, "reason": reason or why}
        _withdraw(folder, manifest, redaction)
        if isinstance(error, LakeError):
            raise


def _check_pages(folder: Path, manifest: Mapping[str, Any]) -> None:
    ran = [step["name"] for step in manifest["steps"] if step["status"] == SUCCEEDED]
    pages = [folder / f"{name}.html" for name in (*ran, "index")]
    if lost := [page.name for page in pages if not page.is_file() or not page.stat().st_size]:
        raise RunError(f"{', '.join(lost)} is not there.")


def _withdraw(folder: Path, manifest: dict[str, Any], redaction: redactions.Redaction) -> None:
    """Say as far as the disk allows that the run failed; a front page that says otherwise goes."""
    with suppress(OSError):
        (folder / "index.html").unlink(missing_ok=True)
    with suppress(LakeError):
        _save(folder, manifest, redaction)
    with suppress(Exception):  # it may be what could not be rendered
        report.render_index(folder, redaction.all(manifest))


def _render_notebooks(folder: Path, manifest: Mapping[str, Any]) -> None:
    for step in manifest["steps"]:
        if (path := folder / f"{step['name']}.ipynb").exists():
            report.render_notebook(path, manifest=dict(manifest))


def render_again(folder: Path) -> None:
    """Make the pages of an earlier run anew.

    Raises:
        RunError: the folder holds no readable run.json.
    """
    try:
        manifest = report.read(folder / "run.json")
        _render_notebooks(folder, manifest)
        report.render_index(folder)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{folder} is no run that can be shown: {str(error)[:300]}") from error
    report.render_runs(folder.parent)


def _reason(manifest: Mapping[str, Any]) -> str | None:
    """Why a run that ended is not green, None where it is."""
    for step in manifest["steps"]:
        if error := step["error"]:
            where = f" cell {error['cell']}" if error["cell"] is not None else ""
            return f"{step['name']}{where}: {error['ename']}: {error['evalue']}"
    missing = manifest["headlines"].get("missing_symbols", {})
    return f"{INCOMPLETE}{'; '.join(missing.values())}" if missing else None


def _first_manifest(todo: Plan, run_id: str) -> dict[str, Any]:
    fresh = {"status": NOT_RUN, "seconds": 0.0, "error": None}
    return {
        "run": run_id,
        "status": FAILED,
        "reason": f"{INTERRUPTED} before its first notebook.",
        "started_at": _now(),
        "finished_at": None,
        "seconds": 0.0,
        "code_version": code_version(todo.root),
        "params_file": f"params/{todo.params_file.name}",
        "parameters": todo.parameters,
        "steps": [
            {"name": n.name, "title": n.title, **fresh, "reads": {}, "writes": {}, "empty": {}} for n in todo.chain
        ],
        "headlines": {},
        "warnings": [],
    }


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


def _save(folder: Path, manifest: Mapping[str, Any], redaction: redactions.Redaction) -> None:
    body = json.dumps(redaction.all(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
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
