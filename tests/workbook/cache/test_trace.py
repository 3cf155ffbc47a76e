"""What a step reads is noted, however it reads it; and what cannot be noted makes it run each time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from stockkit.workbook.cache import trace
from stockkit.workbook.execution import jobs, kernels, limits, processes
from stockkit.workbook.execution.redactions import Redaction
from tests.workbook.cache.planted import Steps, plant


@pytest.fixture
def steps(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "data.csv").write_text("1\n")
    return Steps(tmp_path / "book")


def again(steps, *cells, change=lambda root: None, **how):
    """Why a step runs a second time, or why its first result was not kept."""
    path = plant(steps.root, "01_a", *cells, **how)
    steps.run(path)
    change(steps.root)
    return steps.unkept or steps.run(path)


def another(root):
    (root / "data.csv").write_text(f"{(root / 'data.csv').stat().st_mtime_ns}\n")


@pytest.mark.parametrize(
    "cell",
    [
        "open('data.csv')",
        "open(b'data.csv', 'rb')",
        "Path('data.csv').read_text()",
        "import os\nos.open('data.csv', os.O_RDONLY)",
        "import shutil, tempfile\nshutil.copy('data.csv', tempfile.mkdtemp())",
        "import numpy\nnumpy.loadtxt('data.csv')",
        "import os\nos.chdir('/')\nopen(f'{os.environ[\"OLD\"]}/data.csv')",
        "import multiprocessing as m\nm.get_context('fork').Pool(1).map(Path.read_text, [Path('data.csv')])",
        "import subprocess, sys\nimport stockkit.market\n"
        "subprocess.run([sys.executable, '-c', 'import stockkit; open(\"data.csv\")'], check=True)",
        "import os\nos.closerange(3, 200)\nhandle = open('kept.txt', 'w')\nopen('data.csv').read()",
    ],
)
def test_a_file_is_noted_however_it_is_opened(steps, cell, monkeypatch):
    monkeypatch.setenv("OLD", str(steps.root))
    declared = {"always": False} if "subprocess" in cell else {}
    assert again(steps, cell, change=another, **declared) == "the file data.csv changed"
    if "kept.txt" in cell:
        assert (steps.root / "kept.txt").read_text() == ""  # no note went into a user's file


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("import subprocess\nsubprocess.run(['cat', 'data.csv'])", "it starts a program (cat), and what that reads"),
        ("import os\nos.system('cat data.csv')", "it starts a program (cat), and what that reads is not seen"),
        ("open('data.csv', 'a').write('2')\nopen('data.csv').read()", "data.csv changed while it ran"),
        ("open('data.csv').read()\nopen('data.csv', 'w').write('23')", "data.csv changed while it ran"),
        ("import os\nos.listdir('.')\nopen('made.csv', 'w').write('2')", "the folder . changed while it ran"),
        ("open('log.txt', 'a').write('2')", "kept"),
        ("open('made.csv', 'w').write('2')\nopen('made.csv').read()", "kept"),
        ("import platform\nplatform.uname().processor", "kept"),
        ("open('/etc/hosts').read(); open('/proc/self/stat').read()", "kept"),
    ],
)
def test_what_cannot_be_noted_makes_a_step_run_each_time(steps, cell, says):
    assert says in again(steps, cell)


def test_what_a_step_wrote_has_to_be_there(steps):
    cell = "open('made.csv', 'w').write('2')"
    gone = again(steps, cell, change=lambda root: (root / "made.csv").unlink())
    assert gone == "the file made.csv, which it wrote, is gone"


def test_a_step_that_asks_another_computer_runs_each_time(steps):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        why = again(steps, f"import socket\nsocket.create_connection(('127.0.0.1', {port}))")
    assert why == f"it asks 127.0.0.1:{port}, which may answer otherwise each time"


def test_a_notebook_says_which_files_it_reads_that_are_not_seen(steps):
    cell = "import pyarrow.csv\npyarrow.csv.read_csv('data.csv')"
    assert again(steps, cell, change=another) == "kept"  # opened by C++
    assert again(steps, cell, change=another, files=["data.csv"]) == "the file data.csv changed"


def test_a_folder_that_a_notebook_declares_counts_with_the_files_that_come_later(steps):
    (steps.root / "more" / "deep").mkdir(parents=True)
    (steps.root / "more" / "deep" / "a.csv").write_text("1")
    for change, says in (
        (lambda root: (root / "more" / "deep" / "a.csv").write_text("2"), "the file more/deep/a.csv changed"),
        (lambda root: (root / "more" / "deep" / "b.csv").write_text("2"), "the folder more/deep has other files"),
    ):
        assert again(steps, "1", change=change, files=["more"]) == says


def test_a_thread_of_a_library_that_reads_for_the_lake_is_no_question_to_another_computer(steps):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        ask = "import botocore.session as s, threading\nfrom botocore.config import Config\n"
        ask += "how = Config(connect_timeout=2, read_timeout=0.2, retries={'max_attempts': 0})\n"
        ask += f"client = s.Session().create_client('s3', 'eu-west-1', endpoint_url='{address}', config=how,"
        ask += " aws_access_key_id='a', aws_secret_access_key='b')\n"
        thread = ask + "t = threading.Thread(target=client.list_buckets); t.start(); t.join()"
        assert again(steps, thread) == "kept"
        cell = ask + "try:\n    client.list_buckets()\nexcept Exception: pass"
        assert "which may answer otherwise each time" in again(steps, cell)


def test_a_notebook_asks_to_be_run_each_time_or_to_be_kept_all_the_same(steps):
    assert "`always`" in again(steps, "1", always=True)
    assert again(steps, "import os\nos.system('true')", always=False) == "kept"


def test_keys_of_the_lake_count_and_those_that_the_step_wrote_as_it_left_them(steps):
    cell = f"""from stockkit.files import Folder
lake = Folder(Path({str(steps.root / "data" / "lake")!r}))
lake.names("raw"), lake.read("raw/a"), lake.put("raw/a", b"1"), lake.size("raw/b")"""
    assert again(steps, cell) == "kept"
    steps.files.note("raw/a", b"2")
    assert steps.run(steps.root / "notebooks" / "01_a.ipynb") == "raw/a of the lake changed"
    steps.files.put("raw/b", b"2")
    assert "of the lake changed" in steps.run(steps.root / "notebooks" / "01_a.ipynb")


def test_a_second_lake_is_not_followed(steps, tmp_path):
    cell = f"from stockkit.files import Folder\nFolder(Path({str(tmp_path / 'second')!r})).read('raw/a')"
    assert again(steps, cell) == "it reads a second lake"


def test_time_counts_for_a_step_that_asked_the_clock_which_day_is_the_newest(steps):
    until = "import sys\nsys.audit('stockkit.until', '2023-09-22T20:00:00+00:00')"
    assert again(steps, until) == "kept"
    assert "since 2023-09-22 20:00 UTC" in again(steps, until, "sys.audit('stockkit.clock')")


def test_a_hook_that_cannot_note_spoils_the_result_and_not_the_step(steps):
    assert "could not be noted" in again(steps, "import sys\nsys.audit('stockkit.table', 1, 2, 3)")


def test_without_a_file_for_notes_a_process_runs_as_ever(tmp_path):
    environment = {**os.environ, trace.VARIABLE: str(tmp_path / "absent")}
    subprocess.run([sys.executable, "-c", "import stockkit"], env=environment, check=True)


@pytest.mark.parametrize("cell", ["open('data.csv').read()", "!echo 1"])
def test_a_kernel_notes_what_a_cell_reads_before_stockkit_is_imported(steps, cell):
    path = plant(steps.root, "01_a", cell)
    with processes.guarded() as guard:
        notes = guard.folder / "notes"
        environment = trace.begin(notes, steps.root)
        clock = limits.Clock(limits.DEFAULTS, time.monotonic(), time.monotonic())
        under = jobs.Conditions(steps.root, clock, guard, Redaction(), lambda cell, of: None, environment)
        assert kernels.execute(path, steps.root / "out.ipynb", {}, under).error is None
        noted = [json.loads(line) for line in notes.read_text().splitlines()[1:]]
    kinds = {line[0] for line in noted}
    assert "begin" in kinds
    assert ("always" in kinds) == cell.startswith("!")
    assert any("data.csv" in str(line) for line in noted) == cell.startswith("open")
