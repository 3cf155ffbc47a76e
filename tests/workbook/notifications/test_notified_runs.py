"""`stockkit run --notify`: one message a run, whatever becomes of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.conftest import make_workbook, stockkit
from tests.workbook.test_runner import add, wait_for

KEEP = "import os, pathlib, sys\npathlib.Path('got', str(os.getpid())).write_text(sys.stdin.read())"


@pytest.fixture
def workbook(tmp_path):
    book = make_workbook(tmp_path / "book", own_notebooks=True)
    (book / "got").mkdir()
    (book / "keep.py").write_text(KEEP)
    (book / "params" / "own.yaml").write_text(f"notebooks: [01_x]\nnotify: ['command:{sys.executable} keep.py']\n")
    return book


def got(workbook):
    return [json.loads(path.read_text()) for path in sorted((workbook / "got").iterdir())]


def test_a_run_tells_its_success_when_its_folder_has_its_name(workbook):
    add(workbook, "01_x", "1")
    (workbook / "keep.py").write_text(f"import os\nassert os.path.exists(os.environ['STOCKKIT_REPORT'])\n{KEEP}")
    done = stockkit(workbook, "run", "params/own.yaml")
    assert (done.returncode, done.stderr.count("warning")) == (0, 0), done.stderr
    (sent,) = got(workbook)
    assert (sent["status"], sent["exit_code"], sent["params_file"]) == ("succeeded", 0, "params/own.yaml")
    run = json.loads((workbook / "reports" / sent["run"] / "run.json").read_text())
    assert "notify" not in run["parameters"]
    assert json.loads((workbook / "reports" / sent["run"] / "notified.json").read_text())["state"] == "told"


def test_a_failure_names_notebook_cell_and_cause_and_a_channel_that_fails_changes_nothing(workbook):
    add(workbook, "01_x", "1", "raise ValueError('planted')")
    done = stockkit(workbook, "run", "params/own.yaml", "--notify", "command:false", "--notify-on", "failure")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "warning: notification: command:false: false ended with exit code 1."
    assert got(workbook) == []  # the command's channels are in place of the file's
    done = stockkit(workbook, "run", "params/own.yaml", "-p", "notify_on=failure")
    (sent,) = got(workbook)
    assert (sent["notebook"], sent["cell"], sent["cause"]) == ("01_x", 4, "ValueError: planted")
    assert sent["exit_code"] == done.returncode == 1


@pytest.mark.parametrize(
    ("words", "says", "messages"),
    [
        (["-p", "horizn=5"], "there is no parameter 'horizn'", 1),
        (["--only", "02_y"], "is no notebook of own.yaml", 1),
        (["--notify", "smpt:x"], "Did you mean 'smtp'", 0),
        (["--notify", "command:nosuchprogram"], "no program 'nosuchprogram'", 0),
        (["--notify-on", "never"], "notify_on must be always or failure or change", 0),
        (["-p", "notify=me@example.org"], "notify must be a list", 0),
    ],
)
def test_what_is_refused_before_the_start(workbook, words, says, messages):
    add(workbook, "01_x", "1")
    done = stockkit(workbook, "run", "params/own.yaml", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (workbook / "reports").exists()
    sent = got(workbook)
    assert len(sent) == messages
    assert all(says in one["cause"] and one["exit_code"] == 2 for one in sent)


def test_a_report_that_cannot_be_written_is_told(workbook):
    add(workbook, "01_x", "1")
    done = stockkit(workbook, "run", "params/own.yaml", "--reports", "params/own.yaml")
    (sent,) = got(workbook)
    assert sent["exit_code"] == done.returncode == 1
    assert "cannot write reports" in sent["cause"]


SLEEP = "import pathlib, time\npathlib.Path('asleep').touch()\ntime.sleep(600)"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_tells_so_once(workbook, number):
    add(workbook, "01_x", SLEEP)
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml"]
    with subprocess.Popen(command, cwd=workbook, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        wait_for((workbook / "asleep").read_text)
        running.send_signal(number)
        assert running.wait(timeout=120) == 130
    (sent,) = got(workbook)
    assert (sent["status"], sent["exit_code"]) == ("failed", 130)
    assert f"stopped by {number.name}" in sent["cause"]


def test_a_run_that_is_refused_and_one_that_is_killed_are_told_once_by_the_resume_the_latter(workbook):
    add(workbook, "01_x", f"import os\nif not os.path.exists('asleep'):\n    {'; '.join(SLEEP.splitlines())}")
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml"]
    with subprocess.Popen(command, cwd=workbook, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        wait_for((workbook / "asleep").read_text)
        refused = stockkit(workbook, "run", "params/own.yaml", "--wait", "0")
        (sent,) = got(workbook)
        assert sent["exit_code"] == refused.returncode == 1
        assert "is in use by run" in sent["cause"]
        running.kill()
    next((workbook / "got").iterdir()).unlink()
    (folder,) = (workbook / "reports").glob("*.partial")
    run = folder.name.removesuffix(".partial")
    done = stockkit(workbook, "run", "--resume", run)
    assert done.returncode == 0, done.stderr
    sent = sorted(got(workbook), key=lambda one: one["id"])
    assert [(one["run"], one["status"]) for one in sent] == [(run, "succeeded"), (run, "failed")]
    assert sent[1]["cause"].startswith("Killed: ")


def test_a_deadline_is_told(workbook):
    add(workbook, "01_x", "import time; time.sleep(600)")
    done = stockkit(workbook, "run", "params/own.yaml", "--deadline", "3s")
    (sent,) = got(workbook)
    assert sent["exit_code"] == done.returncode == 4
    assert "deadline" in sent["cause"]
