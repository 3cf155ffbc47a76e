"""Workers of a warm kernel are forked with its libraries, work as those of a plain one, and end with it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.manager import AsyncKernelManager

from tests.workbook.kernels.conftest import Room, eventually, opened, text, unnamed


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Of a parent that has imported what brings threads of its own where it is used."""
    with opened(tmp_path_factory.mktemp("room"), "numpy", "sklearn.ensemble") as room:
        imported = "import sys; assert 'sklearn.ensemble' in sys.modules"
        assert eventually(lambda: room.run(imported)[1].error is None)
        yield room


START = """
import json, os, sys, time
from functools import partial
import psutil
from stockkit.forecast.walk import processes
def below(): return [child.pid for child in psutil.Process().children(recursive=True)]
def all_of(call, count=4): return list(processes.in_processes([partial(call, k) for k in range(count)], 2))
"""
STATE = (
    START
    + """
import numpy, threadpoolctl
os.environ["LATER"] = "set"
os.makedirs("beside", exist_ok=True)
with open("beside/tenfold.py", "w") as file: file.write("def tenfold(number): return 10 * number")
sys.path.append(os.path.abspath("beside"))
import tenfold
os.chdir("beside")
class Answer(dict): pass
def state(number):
    import signal, numpy, sklearn.ensemble, threadpoolctl
    os.system("echo of a worker"); time.sleep(0.1)
    return Answer(
        number=tenfold.tenfold(number), later=os.environ["LATER"], folder=os.getcwd(), group=os.getpgrp() == kernel,
        session=os.getsid(0) == kernel, flags=str(sys.flags), children=str(signal.getsignal(signal.SIGCHLD)),
        mark=os.environ["STOCKKIT_MARK"].encode() in open("/proc/self/environ", "rb").read(), drawn=numpy.random.rand(),
        threads=sorted([info["user_api"], info["num_threads"]] for info in threadpoolctl.threadpool_info()),
    )
kernel = os.getpid()
"""
)


def test_workers_have_the_state_of_a_plain_kernels_workers(room: Room):
    cells = (STATE, "answers = all_of(state)", "print(json.dumps(answers), {type(it) for it in answers} == {Answer})")
    known = []
    for source in (None, "not today"):
        notebook, done = room.run(*cells, source=source)
        assert done.error is None
        assert text(notebook.cells[1]).split().count("worker") == 4
        answers, _, same = text(notebook.cells[2]).rpartition(" ")
        assert same == "True\n"
        states = json.loads(answers)
        assert [state["number"] for state in states] == [0, 10, 20, 30]
        assert len({state.pop("drawn") for state in states}) == 4
        known.append(states)
    assert known[0] == known[1]
    assert ["openmp", 1] in known[0][0]["threads"]


def test_workers_are_forked_with_what_the_parent_has_imported_and_none_is_left(room: Room):
    cells = (
        START + "kernel, waiting = os.getpid(), below()\n"
        "def state(k): return os.getppid(), psutil.Process(os.getppid()).ppid(), 'sklearn.ensemble' in sys.modules",
        "processes.begin(2); print(len(below()))",
        "print(set(all_of(state)) == {(*waiting, kernel, True)}, below() == waiting)",
        "processes.begin(2); processes.end_processes(); print(below() == waiting)",
    )
    notebook, done = room.run(*cells)
    assert (done.kernel, done.error) == ("warm", None)
    assert [text(cell) for cell in notebook.cells[1:]] == ["3\n", "True True\n", "True\n"]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ("def call(k): return 1 // (3 - k)", "ZeroDivisionError", "integer division"),
        ("def call(k): os.kill(os.getpid(), 9)", "ForecastError", "was killed, as happens where memory runs out"),
        ("def call(k): os._exit(0)", "ForecastError", "was killed, as happens where memory runs out"),
        ("def call(k): return bytearray(2**60)", "MemoryError", ""),
        ("def call(k): return (it for it in [k])", "TypeError", "cannot pickle"),
    ],
)
def test_a_call_that_fails_and_a_worker_that_is_killed_are_errors(room: Room, call, error, says):
    cells = (START + call, "before = below()", "try: all_of(call)\nfinally: assert below() == before\n")
    _, done = room.run(*cells)
    assert (done.kernel, done.error.ename) == ("warm", error)
    assert says in done.error.evalue


def test_where_nobody_can_fork_them_workers_are_those_of_loky(room: Room):
    cells = (START, "psutil.Process(below()[0]).kill(); print(all_of(partial(pow, 2)), 'loky' in sys.modules)")
    notebook, done = room.run(*cells)
    assert (done.kernel, done.error) == ("warm", None)
    assert text(notebook.cells[1]) == "[1, 2, 4, 8] True\n"


BUSY = (
    START
    + """
def sleep(k): open(str(os.getpid()), "w").close(); time.sleep(600)
all_of(sleep, 2)
"""
)


async def session(folder: Path) -> None:
    """Interrupt a kernel whose workers are busy, and kill it when they are so again."""
    manager: Any = AsyncKernelManager(kernel_name="stockkit")
    await manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        waiting = client.execute(BUSY, stop_on_error=False)  # else what comes soon after may be aborted
        workers = await busy(folder)
        await manager.interrupt_kernel()
        while (reply := await client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != waiting:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert not any(map(psutil.pid_exists, workers))
        below = psutil.Process(manager.provisioner.pid).children()
        assert (manager.provisioner.kernel, len(below)) == ("warm", 1)
        client.execute(BUSY)
        workers = await busy(folder)
        os.kill(manager.provisioner.pid, signal.SIGKILL)
        assert eventually(lambda: not any(map(psutil.pid_exists, [*workers, below[0].pid])))
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def busy(folder: Path) -> list[int]:
    """The workers, once both are."""
    while len(files := [file for file in folder.iterdir() if file.name.isdigit()]) < 2:
        await asyncio.sleep(0.05)
    for file in files:
        file.unlink()
    return [int(file.name) for file in files]


def test_no_worker_outlives_the_interrupt_of_its_cell_or_the_kill_of_its_kernel(tmp_path):
    with unnamed():
        asyncio.run(asyncio.wait_for(session(tmp_path), 120))
