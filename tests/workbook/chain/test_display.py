"""What a run shows while it goes, from the cell to whoever watches."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nbformat
import pytest

from stockkit.workbook.progress import EVENTS
from tests.conftest import make_workbook, stockkit

TELLS = """from stockkit.workbook.handover import counting
on_done = counting("fits")
for number, name in enumerate(["AAPL", "META", "NVDA"], 1):
    on_done(name, number, 3)"""


@pytest.fixture(scope="module")
def workbook(tmp_path_factory):
    folder = make_workbook(tmp_path_factory.mktemp("display"), own_notebooks=True)
    parameters = nbformat.v4.new_code_cell('lake = "data/lake"', metadata={"tags": ["parameters"]})
    document = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(TELLS)])
    document.metadata["stockkit"] = {"reads": [], "writes": []}
    nbformat.write(document, folder / "notebooks" / "01_tells.ipynb")
    (folder / "params" / "own.yaml").write_text("notebooks: [01_tells]\nlake: data/lake\n")
    return folder


def test_json_tells_all_of_a_run_and_what_its_cells_tell_of_themselves(workbook):
    done = stockkit(workbook, "run", "params/own.yaml", "--log", "json", "--reports", "told")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 0
    assert [event["event"] for event in events if event["event"] != "within"] == [
        "run", "step", *["cell"] * 3, "done", "end"
    ]  # fmt: skip
    assert {event["event"] for event in events} < {*EVENTS}
    within = next(event for event in events if event["event"] == "within")
    assert within.items() >= {"step": "01_tells", "text": "1 of 3 fits, AAPL"}.items()
    assert events[-1]["status"] == "succeeded"
    (notebook,) = (workbook / "told").glob("2*/01_tells.ipynb")
    assert all(not cell.get("outputs") for cell in nbformat.read(notebook, as_version=4).cells)


def test_a_refusal_is_json_as_well_and_another_command_after_it_is_not(workbook):
    done = stockkit(workbook, "run", "params/own.yaml", "--log", "json", "-p", "lakes=x")
    assert done.returncode == 2
    event = json.loads(done.stderr)
    assert (event["event"], "Did you mean 'lake'?" in event["text"]) == ("error", True)
    assert stockkit(workbook, "run", "params/own.yaml", "-p", "lakes=x").stderr.startswith(
        "error: there is no parameter"
    )


@pytest.mark.parametrize("log", ["lines", "json"])
def test_a_run_goes_on_where_nobody_reads_what_it_shows(workbook, log):
    reader, writer = os.pipe()
    os.close(reader)
    command = [
        sys.executable,
        "-m",
        "stockkit.cli",
        "run",
        "params/own.yaml",
        "--log",
        log,
        "--reports",
        f"unread-{log}",
    ]
    done = subprocess.run(command, cwd=workbook, stderr=writer, stdout=subprocess.PIPE, check=False, timeout=600)
    os.close(writer)
    assert done.returncode == 0
    (manifest,) = (workbook / f"unread-{log}").glob("2*/run.json")
    assert json.loads(manifest.read_text())["status"] == "succeeded"
