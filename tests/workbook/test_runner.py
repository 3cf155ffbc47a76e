"""What the runner does when something goes wrong: small planted notebooks in a workbook of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from stockkit.errors import RunError
from stockkit.workbook import runner
from stockkit.workbook.execution.outputs import HANDOVER
from tests.conftest import ROOT, make_workbook, manifest_of, mounted, stockkit, stockkit_process
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


def test_a_kernel_that_is_killed_is_a_failure_with_the_notebook_kept(workbook):
    add(workbook, "01_x", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    done = run(workbook, "01_x")
    assert done.returncode == 1
    assert "DeadKernelError" in done.stderr
    assert (manifest_of(workbook)["folder"] / "01_x.html").is_file()


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
    assert (manifest["status"], manifest["reason"]) == ("failed", "Interrupted: the run was stopped or killed in 01_x.")
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
    manifests = [json.loads(path.read_text()) for path in workbook.glob("reports/*/run.json")]
    assert [run["status"] for run in manifests] == ["succeeded", "succeeded"]


def test_until_and_only_choose_notebooks(workbook):
    add(workbook, "01_a", OPEN, WRITE, "hand_over(book)", writes=["t1"])
    add(workbook, "02_b", OPEN, "book.read('t1')\nhand_over(book)", reads=["t1"])
    assert run(workbook, "01_a", "02_b", words=["--until", "01_a"]).returncode == 0
    assert run(workbook, "01_a", "02_b", words=["--only", "02_b"]).returncode == 0
    assert run(workbook, "01_a", "02_b", words=["--only", "03_c"]).returncode == 2
    ran = [[s["name"] for s in json.loads(p.read_text())["steps"]] for p in sorted(workbook.glob("reports/*/run.json"))]
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


def test_a_disk_that_fills_up_under_the_reports_is_a_failed_run(workbook, tmp_path):
    with mounted(tmp_path / "small", "size=30m") as folder:
        fill = f"import shutil\nfree = shutil.disk_usage('{folder}').free\nopen('{folder}/x', 'wb').write(bytes(free))"
        add(workbook, "01_x", fill, "print('x' * 200_000)")
        (workbook / "params" / "own.yaml").write_text("notebooks: [01_x]\n")
        done = stockkit(workbook, "run", "params/own.yaml", "--reports", str(folder / "reports"))
        (path,) = folder.glob("reports/*/run.json")
        assert json.loads(path.read_text())["status"] == "failed"
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_repository_itself_is_a_workbook():
    assert {path.stem for path in (ROOT / "params").glob("*.yaml")} >= {"sample"}


def test_a_report_that_cannot_be_made_is_a_failed_run(workbook):
    block = "import glob, os\nos.makedirs(glob.glob('reports/*')[0] + '/index.html/x')"
    add(workbook, "01_x", block)
    done = run(workbook, "01_x")
    assert done.returncode == 1
    assert (manifest_of(workbook)["status"], "Traceback" in done.stderr) == ("failed", False)


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
        ({"stockkit": []}, "is not a notebook that can be run"),
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
        runner.plan(workbook / "params" / "own.yaml")


def test_a_cell_that_would_be_skipped_is_refused_before_anything_starts(workbook):
    add(workbook, "01_x", "1")
    path = workbook / "notebooks" / "01_x.ipynb"
    document = nbformat.read(path, as_version=4)
    document.cells[-1].metadata["tags"] = ["skip-execution"]
    nbformat.write(document, path)
    (workbook / "params" / "own.yaml").write_text("notebooks: [01_x]\n")
    with pytest.raises(RunError, match="tagged `skip-execution`"):
        runner.plan(workbook / "params" / "own.yaml")
