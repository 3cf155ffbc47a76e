"""What the runner does when something goes wrong: small planted notebooks in a workbook of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from stockkit.errors import RunError
from stockkit.lake.tables import open_lake
from stockkit.workbook.chain import plan, retries
from stockkit.workbook.execution.outputs import HANDOVER
from tests.conftest import ROOT, make_workbook, manifest_of, stockkit, stockkit_process
from tests.workbook.test_manifest import check as check_manifest

OPEN = "from stockkit import hand_over, open_lake\nbook = open_lake(lake)"
WRITE = """import pandas as pd
rows = pd.DataFrame({"symbol": pd.Series(["A"], dtype="string"), "value": [1.0]})
book.write("t1", rows, symbols=["A"])"""


def handed(**writes):
    """A cell that leaves in a notebook what `hand_over` does; it imports nothing heavy."""
    payload = {HANDOVER: {"writes": writes}}
    return f"from IPython.display import display\ndisplay({payload}, raw=True)"


@pytest.fixture
def workbook(tmp_path):
    return make_workbook(tmp_path / "book", own_notebooks=True)


def add(workbook, name, *cells, reads=(), writes=()):
    document = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "stockkit": {"reads": list(reads), "writes": list(writes)},
        }
    )
    document.cells = [
        nbformat.v4.new_markdown_cell(f"# {name}?"),
        nbformat.v4.new_code_cell('lake = "data/lake"', metadata={"tags": ["parameters"]}),
        *(nbformat.v4.new_code_cell(cell) for cell in cells),
    ]
    nbformat.write(document, workbook / "notebooks" / f"{name}.ipynb")


def run(workbook, *names, words=(), command=stockkit):
    (workbook / "params" / "own.yaml").write_text(f"notebooks: [{', '.join(names)}]\nlake: data/lake\n")
    return command(workbook, "run", "params/own.yaml", *words)


def test_what_a_kernel_logs_of_itself_is_not_shown(workbook):
    add(workbook, "01_loud", "get_ipython().kernel.log.error('planted')")
    done = run(workbook, "01_loud", command=stockkit_process)
    assert (done.returncode, "planted" in done.stderr) == (0, False), done.stderr


def test_a_failing_notebook_stops_the_chain_and_its_evidence_is_kept(workbook):
    add(workbook, "01_good", "1")
    add(workbook, "02_bad", "1", "raise ValueError('planted ' + 'fault')", "print('never')", writes=["t2"])
    add(workbook, "03_after", "1", reads=["t2"])
    done = run(workbook, "01_good", "02_bad", "03_after")
    manifest = manifest_of(workbook)
    assert done.returncode == 1
    check_manifest(json.loads((manifest["folder"] / "run.json").read_text()))
    assert manifest["status"] == "failed"
    assert [step["status"] for step in manifest["steps"]] == ["succeeded", "failed", "not run"]
    error = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert len(error) <= 5
    for word in ("02_bad", "cell [4]", "ValueError: planted fault", "03_after"):
        assert word in "\n".join(error)
    assert "planted fault" in (manifest["folder"] / "02_bad.ipynb").read_text()
    page = (manifest["folder"] / "02_bad.html").read_text()
    assert 'id="failed"' in page
    assert not (manifest["folder"] / "03_after.ipynb").exists()
    assert done.stdout.splitlines()[-1].endswith("index.html")
    assert "planted fault" in (manifest["folder"] / "index.html").read_text()


@pytest.mark.parametrize(
    ("cells", "reads", "writes", "says"),
    [
        ([handed()], [], ["t1"], "declares that it writes 't1' but did not hand it over"),
        ([OPEN, WRITE], [], ["t1"], "declares that it writes 't1' but did not hand it over"),
        ([handed(t1=0)], [], [], "writes 't1' but its metadata does not declare that"),
        (
            [OPEN, WRITE, "book.writes['t1'] = 9", "hand_over(book)"],
            [],
            ["t1"],
            "handed over 't1' version 9, the lake has 0",
        ),
    ],
)
def test_a_notebook_that_breaks_its_declaration_is_no_success(workbook, cells, reads, writes, says):
    add(workbook, "01_x", *cells, reads=reads, writes=writes)
    done = run(workbook, "01_x")
    assert done.returncode == 1
    assert says in manifest_of(workbook)["reason"]


BUSY = """import os, subprocess, sys, tempfile, time
work = [sys.executable, "-c", "import time; time.sleep(600)"]
workers = [subprocess.Popen(work), subprocess.Popen(work, start_new_session=True)]
open('kernel.pid.part', 'w').write(' '.join(map(str, [os.getpid(), *(w.pid for w in workers)])))
open('kernel.tmp', 'w').write(tempfile.mkdtemp())
os.rename('kernel.pid.part', 'kernel.pid')
time.sleep(60)"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_says_so_and_leaves_no_process_and_no_folder(workbook, number, code):
    add(workbook, "01_x", BUSY)
    (workbook / "params" / "own.yaml").write_text("notebooks: [01_x]\n")
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml"]
    with subprocess.Popen(command, cwd=workbook, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        pids = [int(pid) for pid in wait_for((workbook / "kernel.pid").read_text).split()]
        temporary = (workbook / "kernel.tmp").read_text()
        running.send_signal(number)
        assert running.wait(timeout=120) == code
    manifest = manifest_of(workbook)
    why = "the run was stopped or killed" if number == signal.SIGKILL else f"stopped by {number.name}"
    way_out = f"Go on with: stockkit run --resume {manifest['run']}"
    assert (manifest["status"], manifest["reason"]) == ("failed", f"Interrupted: {why} in 01_x. {way_out}")
    assert manifest["folder"].name == manifest["run"] + (".partial" if number == signal.SIGKILL else "")
    for process in pids:
        wait_for(lambda process=process: gone(process))
    wait_for(lambda: absent(Path(temporary)))


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:
        if stat.read().rpartition(")")[2].split()[0] == "Z":
            return True
    raise ValueError("still there")


def absent(path):
    if path.exists():
        raise ValueError(f"{path} is still there")


def wait_for(probe, seconds=120):
    end = time.monotonic() + seconds
    while True:
        try:
            return probe()
        except (OSError, ValueError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_two_runs_at_once_keep_apart(workbook):
    add(workbook, "01_x", OPEN, WRITE, "hand_over(book)", writes=["t1"])
    (workbook / "params" / "own.yaml").write_text("notebooks: [01_x]\n")
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml"]
    both = [subprocess.Popen(command, cwd=workbook, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [running.communicate(timeout=120) for running in both]
    assert [running.returncode for running in both] == [0, 0], outputs
    manifests = [json.loads(path.read_text()) for path in workbook.glob("reports/2*/run.json")]
    assert [run["status"] for run in manifests] == ["succeeded", "succeeded"]


def test_until_and_only_choose_notebooks(workbook):
    add(workbook, "01_a", OPEN, WRITE, "hand_over(book)", writes=["t1"])
    add(workbook, "02_b", OPEN, "book.read('t1')\nhand_over(book)", reads=["t1"])
    assert run(workbook, "01_a", "02_b", words=["--until", "01_a"]).returncode == 0
    assert run(workbook, "01_a", "02_b", words=["--only", "02_b"]).returncode == 0
    assert run(workbook, "01_a", "02_b", words=["--only", "03_c"]).returncode == 2
    ran = [
        [s["name"] for s in json.loads(p.read_text())["steps"]] for p in sorted(workbook.glob("reports/2*/run.json"))
    ]
    assert ran == [["01_a"], ["02_b"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["params/sample.yaml", "-p", "horizn=5"], "Did you mean 'horizon'"),
        (["params/sample.yaml", "-p", "horizon=x"], "whole number"),
        (["params/sample.yaml", "-p", "symbols=[../../etc/passwd]"], "is not a symbol"),
        (["params/none.yaml"], "No such file"),
        (["params/sample.yaml", "-p", "lake=s3://bucket/x?databse=d"], "Did you mean 'database'"),
        (["params/sample.yaml", "-p", "lake=params/sample.yaml"], "is a file"),
        (["params/sample.yaml", "--only", "05_visualise"], "run the one first"),
        (["params/sample.yaml", "-p", "source=folder:/nowhere"], "source folder /nowhere does not exist"),
        (["params/sample.yaml", "-p", "horizon=20"], "horizon 20 is not among horizons [1, 5]"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(tmp_path, words, says):
    workbook = make_workbook(tmp_path / "book")
    done = stockkit(workbook, "run", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert not (workbook / "reports").exists()
    assert not (workbook / "data" / "lake").exists()


def test_reports_that_cannot_be_made_are_said_in_a_line(tmp_path):
    workbook = make_workbook(tmp_path / "book")
    done = stockkit(workbook, "run", "params/sample.yaml", "--reports", "params/sample.yaml")
    assert done.returncode == 1
    assert "cannot write reports" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_repository_itself_is_a_workbook():
    assert {path.stem for path in (ROOT / "params").glob("*.yaml")} >= {"sample"}


def test_a_key_in_the_environment_reaches_nothing_that_a_run_publishes(workbook, monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_CANARY", "Canary0123456789")
    add(workbook, "01_x", "import os\nkey = os.environ['STOCKKIT_SECRET_CANARY']\nprint(dict(os.environ))",
        "from stockkit import headline\nheadline(note=key, warnings=[key], missing_symbols={'A': key})",
        "raise ValueError(key)")  # fmt: skip
    done = run(workbook, "01_x", command=stockkit_process)
    assert done.returncode == 1
    assert "ValueError: ***" in done.stderr
    published = {path.name: path.read_text() for path in workbook.glob("reports/**/*") if path.is_file()}
    assert {"run.json", "index.html", "01_x.ipynb", "01_x.html"} <= set(published)
    for name, text in {**published, "out": done.stdout, "err": done.stderr}.items():
        assert "canary0123456789" not in text.lower(), name


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"stockkit": {"writes": "t1"}}, "must be a list of tables"),
        ({"stockkit": []}, "`stockkit` in its metadata must be a mapping"),
        ({"kernelspec": {"language": "R", "name": "ir", "display_name": "R"}}, "is written in 'R'"),
    ],
)
def test_a_malformed_notebook_is_refused_before_anything_starts(workbook, metadata, says):
    add(workbook, "01_x", "1")
    path = workbook / "notebooks" / "01_x.ipynb"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "metadata": {**document["metadata"], **metadata}}))
    (workbook / "params" / "own.yaml").write_text("notebooks: [01_x]\n")
    with pytest.raises(RunError, match=says):
        plan.plan(workbook / "params" / "own.yaml")


def test_a_cell_that_would_be_skipped_is_refused_before_anything_starts(workbook):
    add(workbook, "01_x", "1")
    path = workbook / "notebooks" / "01_x.ipynb"
    document = nbformat.read(path, as_version=4)
    document.cells[-1].metadata["tags"] = ["skip-execution"]
    nbformat.write(document, path)
    (workbook / "params" / "own.yaml").write_text("notebooks: [01_x]\n")
    with pytest.raises(RunError, match="tagged `skip-execution`"):
        plan.plan(workbook / "params" / "own.yaml")


SIDE = """import pathlib, time
pathlib.Path('{mine}').touch()
end = time.monotonic() + 120
while not pathlib.Path('{other}').exists():
    assert time.monotonic() < end, 'the other one never ran beside this one'
    time.sleep(0.05)"""


def test_notebooks_that_need_nothing_of_each_other_run_side_by_side(workbook):
    add(workbook, "01_a", SIDE.format(mine="a", other="b"))
    add(workbook, "02_b", SIDE.format(mine="b", other="a"))
    done = run(workbook, "01_a", "02_b", words=["--jobs", "2"])
    assert done.returncode == 0, done.stderr


def test_what_a_notebook_writes_without_saying_so_is_no_fault_of_the_one_beside_it(workbook):
    add(workbook, "01_a", OPEN, WRITE, SIDE.format(mine="a", other="b"))
    add(workbook, "02_b", SIDE.format(mine="b", other="a"))
    done = run(workbook, "01_a", "02_b", words=["--jobs", "2"])
    assert done.returncode == 1
    steps = {step["name"]: step for step in manifest_of(workbook)["steps"]}
    assert "writes 't1' but its metadata does not declare that" in steps["01_a"]["error"]["evalue"]
    assert steps["02_b"]["status"] == "succeeded"


def test_latest_leads_to_the_newest_run_that_succeeded(workbook):
    add(workbook, "01_a", "1")
    assert run(workbook, "01_a").returncode == 0
    good = manifest_of(workbook)["run"]
    assert os.readlink(workbook / "reports" / "latest") == good
    add(workbook, "01_a", "1 / 0")
    assert run(workbook, "01_a").returncode == 1
    assert os.readlink(workbook / "reports" / "latest") == good


FIRST = f"{OPEN}\n{WRITE}\nhand_over(book)"
SECOND = """from stockkit import hand_over, headline, open_lake
import os, pathlib, time
book = open_lake(lake)
rows = book.read('t1')
if pathlib.Path('wait').exists():
    pathlib.Path('reached').touch()
    time.sleep(600)
book.write('t2', rows.assign(value=rows['value'] + 1), symbols=['A'])
headline(as_of='2026-11-26')
hand_over(book)"""


@pytest.fixture
def stopped(workbook):
    """A run of two notebooks that was ended by SIGKILL in the second one, and its id."""
    add(workbook, "01_a", FIRST, writes=["t1"])
    add(workbook, "02_b", SECOND, reads=["t1"], writes=["t2"])
    (workbook / "wait").touch()
    (workbook / "params" / "own.yaml").write_text("notebooks: [01_a, 02_b]\nlake: data/lake\n")
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml"]
    with subprocess.Popen(command, cwd=workbook, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        wait_for((workbook / "reached").stat)
        running.kill()
    (workbook / "wait").unlink()
    return manifest_of(workbook)["run"]


def test_a_run_that_was_killed_goes_on_where_it_was(workbook, stopped):
    done = stockkit(workbook, "run", "--resume", stopped)
    assert done.returncode == 0, done.stderr
    manifest = manifest_of(workbook)
    assert (manifest["run"], manifest["status"], manifest["folder"].name) == (stopped, "succeeded", stopped)
    assert [(step["name"], step["attempts"]) for step in manifest["steps"]] == [("01_a", 1), ("02_b", 2)]
    assert (manifest["headlines"], os.readlink(workbook / "reports" / "latest")) == ({"as_of": "2026-11-26"}, stopped)
    again = stockkit(workbook, "run", "--resume", stopped)
    assert (again.returncode, "has succeeded" in again.stderr) == (2, True)


@pytest.mark.parametrize("change", ["code", "table"])
def test_a_step_that_no_longer_stands_runs_again_when_a_run_goes_on(workbook, stopped, change):
    if change == "code":
        add(workbook, "01_a", FIRST.replace("1.0", "5.0"), writes=["t1"])
    else:
        shutil.rmtree(workbook / "data" / "lake" / "tables" / "t1")
    done = stockkit(workbook, "run", "--resume", stopped)
    assert done.returncode == 0, done.stderr
    assert [step["attempts"] for step in manifest_of(workbook)["steps"]] == [2, 2]
    value = open_lake(str(workbook / "data" / "lake")).read("t2")["value"].item()
    assert value == (6.0 if change == "code" else 2.0)


def test_a_run_stops_at_its_deadline_and_goes_on_later(workbook):
    add(workbook, "01_a", "import time; time.sleep(600)")
    done = run(workbook, "01_a", words=["--deadline", "6s"])
    manifest = manifest_of(workbook)
    assert (done.returncode, manifest["status"]) == (4, "failed")
    assert manifest["reason"].startswith(
        "Interrupted: stopped at its deadline in 01_a. Go on with: stockkit run --resume"
    )
    add(workbook, "01_a", "1")
    assert stockkit(workbook, "run", "--resume", manifest["run"]).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--resume", "20200101T000000Z"], "there is no run '20200101T000000Z'"),
        (["--resume", "../../etc"], "there is no run"),
        (["--resume", "x", "params/sample.yaml"], "name nothing else"),
        (["params/sample.yaml", "--deadline", "soon"], "is no span of time"),
        (["params/sample.yaml", "--deadline", "721h"], "at most thirty days"),
        ([], "name a parameters file"),
    ],
)
def test_a_run_that_cannot_be_is_refused(tmp_path, words, says):
    done = stockkit(make_workbook(tmp_path / "book"), "run", *words)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_a_step_that_a_down_lake_failed_is_tried_again_in_a_fresh_kernel(workbook, monkeypatch):
    monkeypatch.setattr(retries, "WAITS", {"LakeUnavailable": 0.01})
    add(
        workbook,
        "01_a",
        """import pathlib
from stockkit.errors import LakeUnavailable
if not pathlib.Path('up').exists():
    pathlib.Path('up').touch()
    raise LakeUnavailable('planted')""",
    )
    done = run(workbook, "01_a")
    assert done.returncode == 0, done.stderr
    (step,) = manifest_of(workbook)["steps"]
    assert (step["attempts"], step["error"]) == (2, None)
    assert step["warnings"] == ["01_a: try 1 failed: LakeUnavailable: planted"]


def test_a_forced_notebook_is_told_to_make_kept_fits_anew(workbook):
    cell = "import os\nprint('fresh', os.environ.get('STOCKKIT_FRESH'))"
    add(workbook, "01_forced", cell)
    add(workbook, "02_other", cell)
    assert run(workbook, "01_forced", "02_other", words=["--force", "01_forced"]).returncode == 0
    folder = manifest_of(workbook)["folder"]
    assert "fresh 1" in (folder / "01_forced.ipynb").read_text()
    assert "fresh None" in (folder / "02_other.ipynb").read_text()
