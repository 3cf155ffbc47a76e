"""The one judge of all faults: what is wrong with the way in which a run took a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from stockkit.workbook.manifest import PARTIAL
from tests.workbook.faults.fault import INDEX, MANIFEST, NOTEBOOK, PAGE, Fault
from tests.workbook.faults.scene import EARLIER, STEP, Outcome
from tests.workbook.test_manifest import check as check_manifest

SMALL = (".lock", "notified.json")  # what may be there of a run of which nothing could be kept


def problems(fault: Fault, outcome: Outcome) -> list[str]:
    """Every clause that the outcome of a fault breaks, in words; none where the run was honest."""
    found = [
        *_of_the_command(fault, outcome),
        *_of_notifications(fault, outcome),
        *_of_what_is_left(outcome),
        *_of_other_runs(outcome),
    ]
    if not fault.kept:
        return [*found, *_of_nothing(fault, outcome)]
    folders = outcome.runs()
    if len(folders) != 1:
        return [*found, f"there are {len(folders)} folders of the run"]
    return [*found, *_of_the_evidence(fault, folders[0], outcome)]


def _of_the_command(fault: Fault, outcome: Outcome) -> Iterator[str]:
    if outcome.code == 0 or outcome.code != fault.code:
        yield f"the exit code is {outcome.code}, not {fault.code}"
    if "Traceback (most recent call last)" in outcome.stderr:
        yield f"the error stream has a traceback: {outcome.stderr}"
    if fault.in_step and "succeeded" in outcome.stderr + outcome.stdout:
        yield "the command says that something succeeded"


def _of_notifications(fault: Fault, outcome: Outcome) -> Iterator[str]:
    expected = [] if fault.killed else ["failed"]  # one that was killed is told by the next run
    if outcome.notifications != expected:
        yield f"the notifications are {outcome.notifications}, not {expected}"


def _of_what_is_left(outcome: Outcome) -> Iterator[str]:
    if outcome.processes:
        yield f"processes are left: {outcome.processes}"
    if outcome.temporary:
        yield f"temporary files are left: {outcome.temporary}"


def _of_other_runs(outcome: Outcome) -> Iterator[str]:
    """`latest` still leads to the run that succeeded, and the front page calls this one no success."""
    latest, front = outcome.reports / "latest", outcome.reports / "index.html"
    if outcome.reports.is_dir() and latest.is_symlink() and latest.readlink() != Path(EARLIER):
        yield f"latest leads to {latest.readlink()}"
    rows = front.read_text().split("<tr>") if front.is_file() else []
    names = [folder.name.removesuffix(PARTIAL) for folder in outcome.runs()]
    if any(f"{name}<" in row and _successes(row) for row in rows for name in names):
        yield "the front page of all runs says that this one succeeded"


def _successes(page: str) -> int:
    return page.lower().count("succeeded</")


def _of_nothing(fault: Fault, outcome: Outcome) -> Iterator[str]:
    left = [str(path) for folder in outcome.runs() for path in folder.iterdir() if path.name not in SMALL]
    if left or (outcome.runs() and fault.code == 2):
        yield f"a run was started: {left or outcome.runs()}"
    if fault.says not in outcome.stderr:
        yield f"the error does not name the cause: {outcome.stderr}"


def _of_the_evidence(fault: Fault, folder: Path, outcome: Outcome) -> Iterator[str]:
    present = {
        NOTEBOOK: (folder / f"{STEP}.ipynb").is_file(),
        PAGE: (folder / f"{STEP}.html").is_file(),
        INDEX: (folder / "index.html").is_file(),
        MANIFEST: (folder / "run.json").is_file(),
    }
    if folder.name.endswith(PARTIAL) and not (fault.stale or fault.killed):
        yield "the folder of the run still has its temporary name"
    yield from (f"{part} is not kept" for part in fault.kept if not present[part])
    if present[MANIFEST]:
        yield from _of_the_manifest(fault, json.loads((folder / "run.json").read_text()), outcome)
    if present[NOTEBOOK] and fault.evidence:
        yield from _of_the_notebook(folder / f"{STEP}.ipynb")
    if present[INDEX]:
        yield from _of_the_index(fault, folder / "index.html")
    if present[PAGE] and fault.in_step and _successes((folder / f"{STEP}.html").read_text()):
        yield "the page says succeeded"


def _of_the_manifest(fault: Fault, run: dict[str, Any], outcome: Outcome) -> Iterator[str]:
    check_manifest(run)
    if run["status"] != "failed":
        yield f"run.json says {run['status']}"
    if fault.says not in (outcome.stderr if fault.stale else str(run["reason"])):
        yield f"the reason does not name the cause: {run['reason']}"
    if fault.in_step and any(step["status"] == "succeeded" for step in run["steps"]):
        yield "a step says succeeded"
    if run["finished_at"] is not None and run["seconds"] < 0:
        yield f"it took {run['seconds']} seconds"


def _of_the_notebook(path: Path) -> Iterator[str]:
    cells = nbformat.read(path, as_version=4).cells
    if not any("what was done before" in str(cell.get("outputs")) for cell in cells):
        yield "the notebook does not hold what was done before the fault"


def _of_the_index(fault: Fault, path: Path) -> Iterator[str]:
    text = path.read_text()
    if "FAILED" not in text:
        yield "the report does not say FAILED"
    if _successes(text) > (not fault.in_step):  # the step's own
        yield "the report says that something succeeded"
