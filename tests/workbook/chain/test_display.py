"""What a run shows while it goes, from the cell to whoever watches."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress

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


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_on_a_terminal_no_line_that_is_written_over_is_wider_than_it_and_an_ended_notebook_keeps_a_line(workbook):
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml", "--force", "--reports", "terminal"]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)  # of the terminal of the tests
    with subprocess.Popen(command, cwd=workbook, env=environment, stderr=theirs, stdout=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how Linux tells that the other side is closed
            while piece := os.read(ours, 65_536):
                shown += piece
        assert process.wait(600) == 0
    os.close(ours)
    lines = [re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", shown.decode())]
    assert any(line.startswith("  [1/1] 01_tells           cell ") for line in lines)
    assert [line for line in lines if line.startswith("  ") and len(line) > 40] == []
    assert any(line.startswith("✓ [1/1] 01_tells           succeeded") for line in lines)


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
