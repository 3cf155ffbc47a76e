"""Faults from outside: signals at chosen moments, a terminal that is closed, output that nobody reads."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.workbook.faults.fault import INDEX, MANIFEST, NOTEBOOK, PAGE, Fault
from tests.workbook.faults.scene import Scene

SEED = 20261126
LIMIT = 300  # seconds
DRIVER = """import importlib, os, sys
number, place = int(sys.argv[1]), sys.argv[2]
os.environ["RUNNER"] = str(os.getpid())
if place:
    module, _, name = place.partition(":")
    owner = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    before = getattr(owner, last)
    def struck(*words, **named):
        setattr(owner, last, before)
        os.kill(os.getpid(), number)
        return before(*words, **named)
    setattr(owner, last, struck)
sys.argv = ["stockkit", *sys.argv[3:]]
from stockkit.cli import main
main()"""
MOMENTS = {
    "the plan is made": "stockkit.workbook.chain.plan:plan",
    "the folder of the run is made": "stockkit.workbook.chain.runner:_first_manifest",
    "a kernel starts": "stockkit.workbook.execution.kernels:Client.start_new_kernel",
    "tables are checked": "stockkit.workbook.table_checks:broken_tables",
    "the report is rendered": "stockkit.workbook.report:render_index",
}
STRIKE = "import os, time\nos.kill(int(os.environ['RUNNER']), {number})\ntime.sleep(600)"
BUSY = """import os, subprocess, sys, tempfile, time
work = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
workers = [subprocess.Popen(work), subprocess.Popen(work, start_new_session=True)]
tempfile.mkdtemp()
open("under_way", "w").close()
time.sleep(600)"""


def command(scene: Scene, number: int, place: str, words: Sequence[str]) -> list[str]:
    """The command as a process that sends itself a signal when it comes to a place."""
    return [sys.executable, "-c", DRIVER, str(int(number)), place, *words]


def struck(number: int, place: str) -> Callable[[Scene, Sequence[str]], tuple[int, str, str]]:
    """Run the command with a signal at a place in the code."""

    def run(scene: Scene, words: Sequence[str]) -> tuple[int, str, str]:
        done = subprocess.run(command(scene, number, place, words), cwd=scene.workbook, capture_output=True, text=True,
                              check=False, timeout=LIMIT)  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def killed_when(there: str, number: int) -> Callable[[Scene, Sequence[str]], tuple[int, str, str]]:
    """Run the command, and send a signal once a cell has made a file."""

    def run(scene: Scene, words: Sequence[str]) -> tuple[int, str, str]:
        with subprocess.Popen(command(scene, 0, "", words), cwd=scene.workbook, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as running:  # fmt: skip
            wait_for(scene.workbook / there, running)
            running.send_signal(number)
            out, errors = running.communicate(timeout=LIMIT)
        return running.returncode, out, errors

    return run


def wait_for(path: Path, running: subprocess.Popen[str]) -> None:
    """Until a file is there, or the process has ended."""
    end = time.monotonic() + LIMIT
    while not path.exists() and running.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def on_a_terminal(scene: Scene, words: Sequence[str]) -> tuple[int, str, str]:
    """Run the command on a terminal that is closed while a cell runs."""
    outer, inner = pty.openpty()
    line = ["setsid", "--ctty", *command(scene, 0, "", words)]
    with subprocess.Popen(line, cwd=scene.workbook, stdin=inner, stdout=inner, stderr=inner, text=True) as running:
        os.close(inner)
        wait_for(scene.workbook / "under_way", running)
        shown = os.read(outer, 100_000).decode(errors="replace")
        os.close(outer)
        running.wait(LIMIT)
    return running.returncode, "", shown


def unread(scene: Scene, words: Sequence[str]) -> tuple[int, str, str]:
    """Run the command with an output and an error stream that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(command(scene, 0, "", words), cwd=scene.workbook, stdout=writer, stderr=writer) as running:
        os.close(writer)
        running.wait(LIMIT)
    return running.returncode, "", ""


def at_moments() -> list[Fault]:
    """A signal, drawn by chance, at each of the moments."""
    chance = random.Random(SEED)
    faults = []
    for moment, place in MOMENTS.items():
        name = chance.choice(("SIGTERM", "SIGINT", "SIGHUP"))
        early = moment == "the plan is made"
        kept = () if early else (INDEX, MANIFEST, *((NOTEBOOK, PAGE) if list(MOMENTS).index(moment) > 2 else ()))
        says = {"SIGINT": "interrupted"}.get(name, "stopped by") if early else f"stopped by {name}"
        faults.append(Fault(f"{name} while {moment}", says, ["1"], code=130, kept=kept, evidence=False,
                            in_step=moment not in ("tables are checked", "the report is rendered"),
                            run=struck(getattr(signal, name), place)))  # fmt: skip
    return faults


SIGNALS = [
    *at_moments(),
    *(Fault(f"{name} while a cell runs", f"stopped by {name} in 01_x", [STRIKE.format(number=int(number))], code=130,
            run=struck(0, "")) for name, number in (("SIGINT", 2), ("SIGTERM", 15), ("SIGHUP", 1))),
    Fault("the terminal is closed while a cell runs", "stopped by SIGHUP in 01_x", [BUSY], code=130,
          run=on_a_terminal),
    Fault("nobody reads the output of the command", "ValueError: planted", ["raise ValueError('planted')"],
          run=unread),
    Fault("the run is killed (SIGKILL) while a cell runs", "the run was stopped or killed in 01_x", [BUSY], code=-9,
          run=killed_when("under_way", signal.SIGKILL), kept=(NOTEBOOK, MANIFEST), evidence=False, killed=True),
]  # fmt: skip
