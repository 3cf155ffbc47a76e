"""The judge of faults: a run that is not honest breaks the clause that it should break, and an honest one none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from tests.workbook.faults.fault import ALL, Fault
from tests.workbook.faults.judge import problems
from tests.workbook.faults.scene import EARLIER, STEP, Outcome
from tests.workbook.test_manifest import example

RUN = "20261121T070102Z"
FAULT = Fault("planted", "ValueError: planted", kept=ALL)


def manifest(**changes):
    step = {**example()["steps"][1], "name": STEP}
    return example(run=RUN, steps=[step], reason=f"{STEP} cell 3: ValueError: planted", **changes)


@pytest.fixture
def honest(tmp_path):
    """What an honest run leaves of a fault."""
    reports = tmp_path / "reports"
    (folder := reports / RUN).mkdir(parents=True)
    (reports / EARLIER).mkdir()
    (reports / "latest").symlink_to(EARLIER)
    (reports / "index.html").write_text(f"<tr>{RUN}</a><span>FAILED</span><tr>{EARLIER}</a><span>Succeeded</span>")
    (folder / "run.json").write_text(json.dumps(manifest()))
    (folder / "index.html").write_text("<strong>FAILED</strong>")
    (folder / f"{STEP}.html").write_text("<strong>FAILED</strong>")
    output = nbformat.v4.new_output("execute_result", data={"text/plain": "'what was done before'"})
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])]), folder / f"{STEP}.ipynb"
    )
    return Outcome(1, f"reports/{RUN}/index.html", "error: planted", reports, ["failed"], [], [])


def folder_of(outcome):
    return outcome.reports / RUN


def test_an_honest_run_breaks_no_clause(honest):
    assert problems(FAULT, honest) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"code": 0}, "the exit code is 0"),
        ({"code": 3}, "the exit code is 3"),
        ({"stderr": "Traceback (most recent call last):"}, "has a traceback"),
        ({"stderr": "[1/1] 01_x succeeded"}, "the command says that something succeeded"),
        ({"notifications": []}, "the notifications are []"),
        ({"notifications": ["failed", "failed"]}, "the notifications are ['failed', 'failed']"),
        ({"notifications": ["succeeded"]}, "the notifications are ['succeeded']"),
        ({"processes": ["7 sleep 600"]}, "processes are left"),
        ({"temporary": ["stockkit-abc"]}, "temporary files are left"),
    ],
)
def test_what_a_command_does_wrong_is_found(honest, change, says):
    assert says in " ".join(problems(FAULT, replace(honest, **change)))


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda run: (run / "run.json").write_text(json.dumps(manifest(status="succeeded"))), "run.json says succ"),
        (lambda run: (run / "run.json").write_text(json.dumps({**manifest(), "reason": "?"})), "not name the cause"),
        (lambda run: rewrite(run / "run.json", '"status": "failed", "seconds"', '"status": "succeeded", "seconds"'),
         "a step says succeeded"),
        (lambda run: (run / "run.json").unlink(), "run.json is not kept"),
        (lambda run: (run / f"{STEP}.ipynb").unlink(), "notebook is not kept"),
        (lambda run: (run / f"{STEP}.html").unlink(), "page is not kept"),
        (lambda run: (run / "index.html").unlink(), "index is not kept"),
        (lambda run: rewrite(run / f"{STEP}.ipynb", "done before", ""), "what was done before the fault"),
        (lambda run: rewrite(run / "index.html", "FAILED", "fine"), "does not say FAILED"),
        (lambda run: rewrite(run / "index.html", "</strong>", "</strong>Succeeded</b>"), "something succeeded"),
        (lambda run: (run / f"{STEP}.html").write_text("Succeeded</span>"), "the page says succeeded"),
        (lambda run: rewrite(run.parent / "index.html", "FAILED", "Succeeded"), "front page"),
        (lambda run: run.rename(run.with_name(f"{RUN}.partial")), "temporary name"),
        (lambda run: run.with_name("20261121T070103Z").mkdir(), "2 folders of the run"),
        (lambda run: ((link := run.parent / "latest").unlink(), link.symlink_to(RUN)), f"latest leads to {RUN}"),
    ],
)  # fmt: skip
def test_what_a_run_leaves_wrong_is_found(honest, spoil, says):
    spoil(folder_of(honest))
    assert says in " ".join(problems(FAULT, honest))


def test_a_run_that_was_started_all_the_same_or_says_nothing_is_found(honest):
    refused = replace(FAULT, code=2, kept=())
    found = " ".join(problems(refused, replace(honest, code=2, stderr="error: something else")))
    assert "a run was started" in found
    assert "the error does not name the cause" in found
