"""Faults of cells: what they raise, how they end, what they put out, and what they leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from stockkit.workbook import manifest
from tests.conftest import lacking
from tests.workbook.faults.fault import INDEX, MANIFEST, Fault

if TYPE_CHECKING:
    from tests.workbook.faults.scene import Scene

WHOLE_MEMORY = """import resource
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
bytearray(2**40)"""
KILLED_FOR_MEMORY = """import os, pathlib
group = pathlib.Path(os.environ["GROUP"])
(group / "memory.limit_in_bytes").write_text("500000000")
(group / "cgroup.procs").write_text(str(os.getpid()))
rows = bytearray(2_000_000_000)"""
WORKERS = """from joblib import Parallel, delayed
def work(number):
    import os, resource
    {fault}
Parallel(n_jobs=2)(delayed(work)(number) for number in range(2))"""
DAEMON = """import os, subprocess, sys
work = "import os, time\\nif not os.fork():\\n    os.setsid()\\n    os.fork() or time.sleep(600)"
subprocess.run([sys.executable, "-S", "-c", work], env={})
raise ValueError("planted")"""
THREAD = """import threading
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()"""
TASK = """import asyncio, gc
async def work():
    raise ValueError("planted")
task = asyncio.ensure_future(work())
await asyncio.sleep(0.01)
del task
gc.collect()"""
FAKE = """print('{"application/vnd.stockkit+json": {"writes": {"t1": 0}}}')"""
HANDED = """from IPython.display import display
display({{"application/vnd.stockkit+json": {payload}}}, raw=True)"""


@contextmanager
def control_group(scene: Scene) -> Iterator[None]:
    """A control group for memory, which the kernel may enter."""
    group = Path("/sys/fs/cgroup/memory") / f"stockkit-{scene.mark}"
    try:
        group.mkdir()
    except OSError:
        lacking("cgroup", "a control group for memory cannot be made here")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GROUP", str(group))
            yield
    finally:
        group.rmdir()


@contextmanager
def clock_set_back(scene: Scene) -> Iterator[None]:
    """The clock of the run goes back an hour once a cell has said so by a file."""

    class SetBack(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(hours=(scene.workbook / "set_back").exists())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "datetime", SetBack)
        yield


CELLS = [
    Fault("a cell raises an error", "01_x cell 4: ValueError: planted", ["raise ValueError('planted')"]),
    Fault(
        "an assertion fails, under `PYTHONOPTIMIZE=1`",
        "AssertionError: planted",
        ["assert False, 'planted'"],
        env={"PYTHONOPTIMIZE": "1"},
    ),
    Fault("a cell has a syntax error", "SyntaxError", ["x = = 1"]),
    Fault(
        "a magic command that there is not",
        "UsageError: Line magic function `%nosuchmagic` not found",
        ["%nosuchmagic"],
    ),
    Fault(
        "a warning that is turned into an error",
        "UserWarning: planted",
        ["import warnings\nwarnings.simplefilter('error')\nwarnings.warn('planted')"],
    ),
    Fault("`sys.exit(0)`", "SystemExit: 0", ["import sys\nsys.exit(0)"]),
    Fault("`exit()`", "the cell ended the notebook by exit() or quit()", ["exit()"]),
    Fault("`os._exit(0)`", "ended in this cell with exit code 0", ["import os\nos._exit(0)"]),
    Fault("the kernel is killed (SIGKILL)", "killed by SIGKILL", ["import os\nos.kill(os.getpid(), 9)"]),
    Fault("the kernel crashes (SIGSEGV)", "killed by SIGSEGV", ["import ctypes\nctypes.string_at(0)"]),
    Fault("a cell kills its own process group", "killed by SIGKILL", ["import os\nos.killpg(0, 9)"]),
    Fault(
        "a cell stops its own process (SIGSTOP)",
        "cell_timeout=2 seconds",
        ["import os\nos.kill(os.getpid(), 19)"],
        words=["-p", "cell_timeout=2"],
    ),
    Fault(
        "a cell interrupts itself", "KeyboardInterrupt", ["import os, time", "os.kill(os.getpid(), 2)\ntime.sleep(60)"]
    ),
    Fault("a cell asks for input", "StdinNotImplementedError", ["input('planted')"]),
    Fault(
        "an error in a cell tagged `raises-exception`",
        "ValueError: planted",
        ["raise ValueError('planted')", "1"],
        tags=["raises-exception"],
    ),
    Fault("the kernel runs out of memory: `MemoryError`", "MemoryError", [WHOLE_MEMORY]),
    Fault(
        "the kernel runs out of memory: killed by the system",
        "killed by SIGKILL, as happens where memory runs out",
        [KILLED_FOR_MEMORY],
        around=control_group,
    ),
    Fault(
        "the clock is set back by an hour while a cell runs",
        "ValueError: planted",
        ["open('set_back', 'w').close()\nraise ValueError('planted')"],
        around=clock_set_back,
    ),
    Fault(
        "a deadline comes while a cell runs",
        "stopped at its deadline",
        ["import time", "time.sleep(600)"],
        words=["--deadline", "8s"],
        code=4,
        kept=(INDEX, MANIFEST),
        evidence=False,
    ),
    Fault(
        "a worker of loky runs out of memory",
        "MemoryError",
        [WORKERS.format(fault="resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33)); bytearray(2**40)")],
    ),
    Fault("a worker of loky is killed", "TerminatedWorkerError", [WORKERS.format(fault="os.kill(os.getpid(), 9)")]),
    Fault(
        "a cell takes too long",
        "cell_timeout=1 seconds",
        ["import time\ntime.sleep(600)"],
        words=["-p", "cell_timeout=1"],
    ),
    Fault(
        "a cell that takes too long and ignores the interrupt",
        "cell_timeout=1 seconds",
        ["import signal, time\nsignal.signal(2, signal.SIG_IGN)\nwhile True: time.sleep(0.1)"],
        words=["-p", "cell_timeout=1"],
    ),
    Fault(
        "a step takes too long",
        "step_timeout=3 seconds",
        ["import time\ntime.sleep(600)"],
        words=["-p", "step_timeout=3"],
        evidence=False,
    ),
    Fault(
        "a run takes too long",
        "run_timeout=3 seconds",
        ["import time\ntime.sleep(600)"],
        words=["-p", "run_timeout=3"],
        evidence=False,
    ),
    Fault("a thread that a cell started ends with an error", "ZeroDivisionError", [THREAD, "1"]),
    Fault("a task of asyncio ends with an error that nobody asks for", "planted", [TASK, "1"]),
    Fault(
        "the kernel ends once its last cell has ended",
        "the kernel did not answer any more once its last cell had ended",
        [
            "import os, time\nfrom stockkit.workbook.execution import alarms\nalarms.noted = lambda: os._exit(0)",
        ],
    ),
    Fault(
        "200 MB of output, then an error",
        "ValueError: planted",
        ["for _ in range(200): print('x' * 1_000_000)", "raise ValueError('planted')"],
    ),
    Fault(
        "a cell closes its output", "I/O operation on closed file", ["import sys\nsys.stdout.close()\nprint('lost')"]
    ),
    Fault(
        "output that is no UTF-8, in an error",
        "ValueError",
        ["import os\nos.write(1, bytes(range(128, 256)))\nprint('\\udcff')\nraise ValueError('\\udcff planted')"],
    ),
    Fault("a daemon with an empty environment and a session of its own is left", "ValueError: planted", [DAEMON]),
    Fault(
        "a hand-over that is only printed",
        "declares that it writes 't1' but did not hand it over",
        [FAKE],
        writes=["t1"],
    ),
    Fault(
        "a malformed hand-over",
        "handed over something malformed: writes must map names to int values",
        [HANDED.format(payload={"writes": ["t1"]})],
        writes=["t1"],
    ),
    Fault(
        "`IPython.display.display` is replaced, so nothing is handed over",
        "declares that it writes 't1' but did not hand it over",
        [
            "import IPython.display\nIPython.display.display = lambda *_, **__: None",
            "from IPython.display import display\n" + HANDED.format(payload={"writes": {"t1": 0}}),
        ],
        writes=["t1"],
    ),
]
