"""Run the chain: every notebook by papermill, held to what it declares, with a manifest that never lies.

The manifest says "failed" from the first moment and "succeeded" only once every cell ran, every declared
table was written, every symbol is there and the report rendered. A killed run has therefore failed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stockkit.errors import LakeError, RunError
from stockkit.lake.code_version import code_version
from stockkit.lake.raw import write_atomically
from stockkit.lake.tables import RUN_VARIABLE, Lake, open_lake
from stockkit.workbook import handover, kernels, notebooks, params, report
from stockkit.workbook.notebooks import Notebook
from stockkit.workbook.progress import Lines, Progress

SUCCEEDED, FAILED, NOT_RUN = "succeeded", "failed", "not run"
UNFINISHED = "The run did not finish: it was stopped or killed."


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
            raise RunError(f"{name!r} is no notebook of {params_file.name}: it runs {', '.join(given.notebooks)}.")
    chain = [n for n in every if n.name == only] if only else notebooks.in_order(every, have=lake.tables())
    if until:
        chain = chain[: [n.name for n in chain].index(until) + 1]
    return Plan(root, params_file, notebooks.in_order(chain, have=lake.tables()), values, lake)


def _root_of(params_file: Path) -> Path:
    for folder in params_file.resolve().parents:
        if (folder / "notebooks").is_dir():
            return folder
    raise RunError(f"no folder above {params_file} has `notebooks`: keep parameter files in the workbook's params/.")


def run(todo: Plan, reports: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Run a plan and return its manifest, which is also ``reports/<run>/run.json`` beside the pages.

    Raises:
        LakeError: the reports folder cannot be written.
    """
    folder = _new_folder(reports)
    manifest = _first_manifest(todo, folder.name)
    _save(folder, manifest)
    started = time.monotonic()
    with _environment(RUN_VARIABLE, folder.name):
        for number, notebook in enumerate(todo.chain):
            step = manifest["steps"][number]
            _run_step(todo, notebook, step, folder, progress or Lines(), manifest)
            _save(folder, manifest)
            if step["status"] == FAILED:
                break
    manifest |= {"seconds": round(time.monotonic() - started, 1), "finished_at": _now()}
    _render(folder, manifest)
    return manifest


def _run_step(
    todo: Plan, notebook: Notebook, step: dict[str, Any], folder: Path, progress: Progress, manifest: dict[str, Any]
) -> None:
    progress.step(notebook.name, manifest["steps"].index(step) + 1, len(manifest["steps"]))
    started = time.monotonic()
    output = folder / f"{notebook.name}.ipynb"
    values = {name: todo.parameters[name] for name in notebook.parameters}
    step["error"] = kernels.execute(notebook.path, output, values, cwd=todo.root, on_cell=progress.cell)
    _collect(output, step, manifest)
    step["error"] = step["error"] or _broken_promise(notebook, step, todo.lake)
    step["status"] = FAILED if step["error"] else SUCCEEDED
    step["seconds"] = round(time.monotonic() - started, 1)
    progress.done(step["status"], step["seconds"])


def _collect(output: Path, step: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Take over what an executed notebook handed over: tables with versions, headline figures."""
    import nbformat

    if not output.exists():
        return
    for payload in handover.payloads(nbformat.read(output, as_version=4)):
        step["reads"] |= payload.get("reads", {})
        step["writes"] |= payload.get("writes", {})
        told = dict(payload.get("headlines", {}))
        manifest["warnings"] += told.pop("warnings", [])
        manifest["headlines"] |= told


def _broken_promise(notebook: Notebook, step: dict[str, Any], lake: Lake) -> dict[str, Any] | None:
    """An error where the tables that a notebook touched are not those that it declares."""
    fault = ""
    for table in sorted(set(notebook.writes) - set(step["writes"])):
        fault = f"{notebook.name} declares that it writes {table!r} but did not hand it over."
    for word, touched, declared in (
        ("reads", step["reads"], notebook.reads),
        ("writes", step["writes"], notebook.writes),
    ):
        for table in sorted(set(touched) - set(declared) - set(notebook.writes)):
            fault = f"{notebook.name} {word} {table!r} but its metadata does not declare that."
    for table, version in step["writes"].items():
        if (found := lake.version(table)) is None or found < version:
            fault = f"{notebook.name} handed over {table!r} version {version}, the lake has {found}."
    return {"cell": None, "ename": "RunError", "evalue": fault, "source": ""} if fault else None


def _render(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the pages, and "succeeded" only when all of them are there."""
    reason = _reason(manifest)
    manifest |= {"status": FAILED if reason else SUCCEEDED, "reason": reason}
    try:
        _render_notebooks(folder, manifest)
        _save(folder, manifest)
        report.render_index(folder)
        report.render_runs(folder.parent)
    except BaseException as error:
        manifest |= {"status": FAILED, "reason": reason or f"The report could not be made: {error}"}
        _save(folder, manifest)
        raise


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
        manifest = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} is no run: its run.json cannot be read ({error}).") from error
    _render_notebooks(folder, manifest)
    report.render_index(folder)
    report.render_runs(folder.parent)


def _reason(manifest: Mapping[str, Any]) -> str | None:
    """Why a run that ended is not green, None where it is."""
    for step in manifest["steps"]:
        if error := step["error"]:
            where = f" cell {error['cell']}" if error["cell"] is not None else ""
            return f"{step['name']}{where}: {error['ename']}: {error['evalue']}"
    missing = manifest["headlines"].get("missing_symbols", {})
    return f"Incomplete: {'; '.join(missing.values())}" if missing else None


def _first_manifest(todo: Plan, run_id: str) -> dict[str, Any]:
    fresh = {"status": NOT_RUN, "seconds": 0.0, "error": None}
    return {
        "run": run_id,
        "status": FAILED,
        "reason": UNFINISHED,
        "started_at": _now(),
        "finished_at": None,
        "seconds": 0.0,
        "code_version": code_version(todo.root),
        "params_file": f"params/{todo.params_file.name}",
        "parameters": todo.parameters,
        "steps": [{"name": n.name, "title": n.title, **fresh, "reads": {}, "writes": {}} for n in todo.chain],
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


def _save(folder: Path, manifest: Mapping[str, Any]) -> None:
    body = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / "run.json", body.encode(), way_out=report.WAY_OUT)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for the kernels, and put back what was there."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
