"""One notebook in one kernel: whatever ends it early is an error that names the cell, and nothing is left behind."""

from __future__ import annotations

import json
import threading
import time
import weakref
from pathlib import Path

import nbformat
import pytest

from stockkit.workbook.execution import alarms, jobs, kernels, limits, processes
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.manifest import INTERRUPTED
from stockkit.workbook.report import render_notebook

CANARY = "Canary+0123/4567"


def execute(tmp_path, *cells, guard=None, tags=(), environment=None, kernelspec=None, **seconds):
    """The executed notebook and how it ended; the last cell has the tags."""
    if guard is None:
        with processes.guarded() as guard:
            ended = execute(tmp_path, *cells, guard=guard, tags=tags, environment=environment, kernelspec=kernelspec,
                            **seconds)  # fmt: skip
        assert not guard.folder.exists()
        return ended
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    document.cells[-1].metadata["tags"] = list(tags)
    if kernelspec:
        document.metadata["kernelspec"] = kernelspec
    nbformat.write(document, tmp_path / "in.ipynb")
    now = time.monotonic()
    clock = limits.Clock({**limits.DEFAULTS, **seconds}, now, now)
    under = jobs.Conditions(tmp_path, clock, guard, Redaction([CANARY]), lambda cell, total: None, environment or {})
    done = kernels.execute(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {}, under)
    assert processes.marked(guard.mark) == []
    return nbformat.read(tmp_path / "out.ipynb", as_version=4), done


@pytest.mark.parametrize(
    ("cell", "ename", "says"),
    [
        ("import sys; sys.exit(0)", "SystemExit", "0"),
        ("exit()", "SystemExit", "ended the notebook by exit()"),
        ("import os; os._exit(0)", "DeadKernelError", "ended in this cell with exit code 0"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "DeadKernelError",
            "killed by SIGKILL, as happens",
        ),
        ("%nosuchmagic", "UsageError", "`%nosuchmagic` not found"),
        ("assert False, 'planted'", "AssertionError", "planted"),
    ],
)
def test_whatever_ends_a_notebook_early_is_an_error_that_names_its_cell(tmp_path, monkeypatch, cell, ename, says):
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    notebook, done = execute(tmp_path, "fine = 1", cell, "print('never')")
    assert (done.error.cell, done.error.ename) == (2, ename)
    assert says in done.error.evalue
    assert "This cell failed" in render_notebook(tmp_path / "out.ipynb", manifest={}).read_text()
    assert notebook.cells[-1].execution_count is None


def test_a_cell_that_was_skipped_is_an_error(tmp_path):
    _, done = execute(tmp_path, "fine = 1", "print('never')", tags=["skip-execution"])
    assert (done.error.cell, done.error.ename) == (2, "RunError")


def test_a_cell_is_stopped_at_the_first_limit_and_says_which(tmp_path):
    _, done = execute(tmp_path, "fine = 1", "import time; time.sleep(600)", cell_timeout=1)
    assert (done.error.cell, done.error.ename) == (2, "TimeoutError")
    assert "cell_timeout=1 seconds" in done.error.evalue


def test_a_step_without_time_left_does_not_start(tmp_path):
    _, done = execute(tmp_path, "fine = 1", run_timeout=0)
    assert done.error.ename == "TimeoutError"
    assert "run_timeout=0 seconds" in done.error.evalue


def test_a_kernel_that_cannot_start_is_said_with_its_reason(tmp_path, capfd):
    (tmp_path / "ipykernel_launcher.py").write_text("raise ImportError('planted')")
    _, done = execute(tmp_path, "fine = 1", environment={"PYTHONPATH": str(tmp_path)})
    assert (done.error.cell, done.error.where) == (None, "before its first cell")
    assert "the kernel did not start: ImportError: planted" in done.error.evalue
    assert "Traceback" not in capfd.readouterr().err


def test_a_home_that_cannot_be_written_stops_no_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc")
    _, done = execute(tmp_path, "fine = 1")
    assert done.error is None


def test_this_environment_runs_it_secrets_are_struck_out_output_is_cut_and_workers_are_ended(tmp_path):
    foreign = {"name": "conda-env-elsewhere", "display_name": "Elsewhere", "language": "python"}
    cells = [
        "import os, subprocess, sys, tempfile\nprint(sys.executable)",
        "print(os.environ['K'], dict(os.environ)); sys.stderr.write(os.environ['K'])",
        "for sign in os.environ['K']: print(sign, end='', flush=True)",
        "from IPython.display import HTML, display\ndisplay(HTML(f'<b>{os.environ[\"K\"]}</b>'))",
        "import base64, json, urllib.parse\n[json.dumps(os.environ['K']), urllib.parse.quote(os.environ['K'], safe=''),"
        " base64.b64encode(b'user:' + os.environ['K'].encode()).decode()]",
        "import stockkit.intake.secrets as s\nfresh = 'looked' + 'UpLater99'\ns.tell(fresh); print(fresh)",
        "print('x' * 3_000_000)",
        "left = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "subprocess.Popen(left); subprocess.Popen(left, start_new_session=True); tempfile.mkdtemp()",
        "raise ValueError(dict(os.environ))",
    ]
    notebook, done = execute(tmp_path, *cells, environment={"K": CANARY}, kernelspec=foreign)
    assert done.error.ename == "ValueError"
    assert notebook.metadata.kernelspec.name == "python3"
    page = render_notebook(tmp_path / "out.ipynb", manifest={}).read_text()
    for text in ((tmp_path / "out.ipynb").read_text(), page, str(done)):
        for form in (CANARY, "Canary%2B0123%2F4567", "DYW5hcnkrMDEyMy80NTY", "lookedUpLater99"):
            assert form not in text
    assert done.warnings == ["cell [7]: The output of this cell was cut: 2,000,001 characters more were left out."]
    assert "2,000,001 characters more were left out" in page
    assert len(page) < 1_500_000


def test_steps_run_side_by_side_and_each_ends_its_own_processes_alone(tmp_path):
    cell = (
        "import os, subprocess, sys, time\nfrom pathlib import Path\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "end = time.monotonic() + 120\n"
        "while not Path('go').exists() and time.monotonic() < end: time.sleep(0.05)\n"
        "print(Path('go').exists(), left.poll(), Path.cwd().name)"
    )
    before, ended = Path.cwd(), {}
    with processes.guarded() as guard:

        def step(number):
            ended[number] = execute(tmp_path / str(number), cell, guard=guard.for_step(number))

        threads = [threading.Thread(target=step, args=(number,)) for number in (1, 2)]
        for number, thread in enumerate(threads, 1):
            (tmp_path / str(number)).mkdir()
            thread.start()
        for number, thread in enumerate(threads, 1):  # the second goes on once all of the first has ended
            (tmp_path / str(number) / "go").touch()
            thread.join(timeout=180)
    assert [ended[number][0].cells[0].outputs[0].text for number in (1, 2)] == ["True None 1\n", "True None 2\n"]
    assert [ended[number][1].error for number in (1, 2)] == [None, None]
    assert Path.cwd() == before


def test_a_notebook_is_saved_at_first_and_at_the_end_but_not_with_each_of_its_quick_cells(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(jobs, "SAVE_EVERY", 600)
    monkeypatch.setattr(
        jobs, "write_atomically", lambda path, body, **_: (written.append(body), path.write_bytes(body))
    )
    execute(tmp_path, *(f"print({number})" for number in range(10)))
    assert len(written) == 2
    assert written[1] == (tmp_path / "out.ipynb").read_bytes()


def test_while_a_long_cell_runs_the_cells_before_it_are_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "SAVE_EVERY", 0.2)
    cell = (
        "import time; from pathlib import Path\nend = time.monotonic() + 60\n"
        "while '\"42\\\\n\"' not in Path('out.ipynb').read_text() and time.monotonic() < end: time.sleep(0.05)\n"
        "assert time.monotonic() < end"
    )
    _, done = execute(tmp_path, "print(6 * 7)", cell)
    assert done.error is None


def test_a_proxy_of_what_is_gone_is_no_error_of_the_background():
    proxy = weakref.proxy(set())  # as numba leaves of a function that was compiled and dropped
    with pytest.raises(ReferenceError):
        isinstance(proxy, int)
    assert json.loads(alarms.noted()) == []


def test_a_run_that_has_to_stop_runs_no_further_cell(tmp_path):
    cells = [nbformat.v4.new_code_cell("open('first', 'w').close()"), nbformat.v4.new_code_cell("open('next', 'w')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "in.ipynb")
    now = time.monotonic()

    def interruption():
        return "stopped by a test" if (tmp_path / "first").exists() else ""

    with processes.guarded() as guard:
        under = jobs.Conditions(tmp_path, limits.Clock(dict(limits.DEFAULTS), now, now), guard, Redaction(),
                                lambda cell, total: None, interruption=interruption)  # fmt: skip
        done = kernels.execute(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {}, under)
    assert (done.error.ename, done.error.evalue) == (INTERRUPTED, "stopped by a test")
    assert not (tmp_path / "next").exists()
