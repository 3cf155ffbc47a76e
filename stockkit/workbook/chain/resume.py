"""A run that was killed, stopped or has failed goes on: under its id, in its folder, from the steps that stand."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from stockkit.errors import RunError, did_you_mean
from stockkit.workbook import report, table_checks
from stockkit.workbook.cache import keys
from stockkit.workbook.chain.plan import RunPlan, plan
from stockkit.workbook.formats import notebook_file
from stockkit.workbook.manifest import NOT_RUN, PARTIAL, SUCCEEDED, Failure, Manifest, Step
from stockkit.workbook.notebooks import Notebook

STANDS = "it had succeeded before the run was stopped"


def resume(run: str, reports: Path) -> tuple[RunPlan, Manifest]:
    """The plan of a run as it was, and its manifest; to be followed by `forget_fallen` once the lake is this run's.

    Args:
        run: its id, as in ``20261121T071334Z``. reports: the folder that it is in.

    Raises:
        RunError: there is no such run, it has succeeded, or its manifest cannot be read. ParamError, LakeError: as for
            a new run.
    """
    folder = _folder(run, reports)
    try:
        before = report.read(folder / "run.json")
        manifest = _manifest(before)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{folder} cannot go on: {str(error)[:300]}. Start a new run.") from error
    if manifest.status == SUCCEEDED and not folder.name.endswith(PARTIAL):
        raise RunError(f"run {manifest.run} has succeeded: there is nothing to go on with. Start a new run.")
    return _plan(manifest, folder), manifest


def forget_fallen(todo: RunPlan, manifest: Manifest, folder: Path) -> None:
    """Let only steps that still stand count as done, and leave of the others nothing but their names.

    A step stands where it succeeded, its notebook has the same code, its executed copy is there, its tables are in the
    lake as it left them, and every step that it needs stands.

    Args:
        todo, manifest: of the run. folder: its own.
    """
    standing = _standing(todo, manifest, folder)
    for number, step in enumerate(manifest.steps):
        if step.name in standing:
            step.why = STANDS
        else:
            manifest.steps[number] = Step(step.name, step.title, NOT_RUN, attempts=step.attempts)


def _folder(run: str, reports: Path) -> Path:
    name = Path(run).name.removesuffix(PARTIAL)
    for folder in (reports / f"{name}{PARTIAL}", reports / name):
        if name and (folder / "run.json").is_file():
            return folder
    known = sorted(path.parent.name.removesuffix(PARTIAL) for path in reports.glob("[!.]*/run.json"))
    raise RunError(
        f"there is no run {run[:60]!r} in {reports}.{did_you_mean(name, known, 'Name another with --reports.')}"
    )


def _manifest(values: dict[str, Any]) -> Manifest:
    """A manifest as it was written; what a newer or older version wrote besides is not taken over."""
    steps = [_step(step) for step in values["steps"]]
    return Manifest(**{**_known(Manifest, values), "steps": steps})


def _step(values: dict[str, Any]) -> Step:
    error = values.get("error")
    return Step(**{**_known(Step, values), "error": Failure(**_known(Failure, error)) if error else None})


def _known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in (field.name for field in fields(kind)) if name in values}


def _plan(manifest: Manifest, folder: Path) -> RunPlan:
    from stockkit.lake.tables import workbook_root

    root = next((place for place in folder.resolve().parents if (place / "notebooks").is_dir()), workbook_root())
    words = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in manifest.parameters.items()]
    todo = plan(root / manifest.params_file, words, among=[step.name for step in manifest.steps])
    if {notebook.name for notebook in todo.chain} != {step.name for step in manifest.steps}:
        raise RunError(f"{manifest.params_file} names other notebooks than run {manifest.run} has: start a new run.")
    return todo


def _standing(todo: RunPlan, manifest: Manifest, folder: Path) -> set[str]:
    """The names of the steps that need not run again."""
    now, needs = table_checks.states(todo.lake), todo.needs()
    steps = {step.name: step for step in manifest.steps}
    standing: set[str] = set()
    for notebook in todo.chain:
        step = steps[notebook.name]
        tables = all(table in now and now[table].version == version for table, version in step.writes.items())
        if (
            step.status == SUCCEEDED
            and needs[notebook.name] <= standing
            and tables
            and _same_code(notebook, folder / f"{notebook.name}.ipynb")
        ):
            standing.add(notebook.name)
    return standing


def _same_code(notebook: Notebook, executed: Path) -> bool:
    """Whether an executed notebook has the code cells that the notebook had when the run was planned."""
    with suppress(OSError, ValueError):
        return keys.code(notebook_file.content(executed)) == notebook.code
    return False
