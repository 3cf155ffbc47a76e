"""A run that a signal ends at any moment goes on to the tables and notebooks of a run that nobody disturbed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from stockkit.files import Folder
from stockkit.lake.tables import Lake
from tests.conftest import make_workbook, stockkit
from tests.workbook.faults.scene import Scene
from tests.workbook.faults.signals import SEED
from tests.workbook.faults.tables import OPEN

FIRST = "frame = pd.DataFrame({'symbol': pd.Series(['A', 'B'], dtype='string'), 'value': [1.0, 2.0]})"
NEXT = "frame = book.read('{before}').assign(value=lambda rows: rows['value'] * 3 + 1)\nframe"
WRITE = "book.write('{table}', frame, symbols=['A', 'B'])\nhand_over(book)"
CHANCE = random.Random(SEED)
SIGNALS = [*[signal.SIGKILL] * 3, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
MOMENTS = [(number, CHANCE.random()) for number in SIGNALS]  # of the time that an undisturbed run takes


def planted(folder):
    """A workbook whose three notebooks write a table each, the later ones from the one before."""
    scene = Scene(make_workbook(folder / "book", own_notebooks=True), folder)
    scene.add("01_a", [OPEN, FIRST, WRITE.format(table="t1")], writes=["t1"])
    for name, before, table in (("02_b", "t1", "t2"), ("03_c", "t2", "t3")):
        cells = [OPEN, NEXT.format(before=before), WRITE.format(table=table)]
        scene.add(name, cells, reads=[before], writes=[table])
    scene.choose("01_a", "02_b", "03_c")
    return scene


def left(scene):
    """The tables with their values, and the bytes of the executed notebooks."""
    lake = Lake(Folder(scene.workbook / "data" / "lake"), scene.workbook)
    tables = {table: lake.read(table).to_dict("list") for table in lake.tables()}
    return tables, {path.name: path.read_bytes() for path in scene.reports.glob("2*/*.ipynb")}


def started(scene):
    command = [sys.executable, "-m", "stockkit.cli", "run", "params/own.yaml"]
    return subprocess.Popen(command, cwd=scene.workbook, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run leaves that nobody disturbs, and the seconds that it took."""
    scene, began = planted(tmp_path_factory.mktemp("undisturbed")), time.monotonic()
    assert started(scene).wait(300) == 0
    return left(scene), time.monotonic() - began


@pytest.mark.parametrize(("number", "moment"), MOMENTS)
def test_a_run_that_a_signal_ends_goes_on_to_what_an_undisturbed_one_leaves(number, moment, undisturbed, tmp_path):
    expected, seconds = undisturbed
    assert [len(part) for part in expected] == [3, 3]
    scene = planted(tmp_path)
    with started(scene) as running:
        try:
            running.wait(moment * seconds)
        except subprocess.TimeoutExpired:
            running.send_signal(number)
    assert running.returncode in (0, -number, 130)
    runs = {path.parent.name: json.loads(path.read_bytes())["status"] for path in scene.reports.glob("2*/run.json")}
    succeeded = list(runs.values()) == ["succeeded"]
    assert succeeded or running.returncode
    if running.returncode:
        words = ["--resume", *runs] if runs and not succeeded else ["params/own.yaml"]
        done = stockkit(scene.workbook, "run", *words)
        assert done.returncode == 0, done.stderr
    assert left(scene) == expected
    assert (scene.reports / "latest").resolve().is_dir()
