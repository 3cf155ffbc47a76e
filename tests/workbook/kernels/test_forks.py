"""A forked kernel is what a plain one is, and where there can be none, there is a plain one and the reason."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from stockkit.market import sessions
from stockkit.workbook.cache import trace
from stockkit.workbook.execution import processes
from stockkit.workbook.kernels import forks
from tests.conftest import ROOT
from tests.workbook.kernels.conftest import Room, eventually, opened, text

STATE = """
import asyncio, gc, json, locale, multiprocessing.process, os, resource, signal, sys, tempfile, threading, warnings
import matplotlib.pyplot, numpy, pandas, threadpoolctl
KINDS = ("socket", "anon_inode", "pipe", "")  # of what is no file; their number depends on when a client connects
def target(number):
    try: return os.readlink(f"/proc/self/fd/{number}").partition(":")[0]
    except OSError: return ""
own = os.path.dirname(os.environ["TMPDIR"])
state = {
    "arguments": [sys.argv, sys.orig_argv, sys.flags, sys.path, sys.executable, sys._xoptions],
    "main": [sorted(vars(sys.modules["__main__"])), sys.modules["__main__"].__doc__],
    "signals": {sign.name: str(signal.getsignal(sign)).split(" at ")[0] for sign in signal.Signals},
    "mask": str(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "environment": sorted(f"{k}={v}" for k, v in os.environ.items() if k != processes_mark), "folder": os.getcwd(),
    "session": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
    "standard": [target(number) for number in "012"],
    "open": sorted({name for name in map(target, os.listdir("/proc/self/fd")) if name not in KINDS}),
    "threads": len(threading.enumerate()),
    "limits": [resource.getrlimit(getattr(resource, n)) for n in sorted(dir(resource)) if n.startswith("RLIMIT")],
    "input": os.read(0, 1) == b"",
    "streams": [[s.encoding, s.errors, s.line_buffering] for s in (sys.__stdin__, sys.__stdout__, sys.__stderr__)],
    "warnings": sorted(map(str, warnings.filters)),
    "memory": [gc.isenabled(), gc.get_threshold()], "locale": locale.setlocale(locale.LC_ALL),
    "loops": type(asyncio.get_event_loop_policy()).__name__,
    "temporary": [tempfile.gettempdir(), multiprocessing.process.ORIGINAL_DIR],
    "pandas": str({k: pandas.get_option(k) for k in ("display.max_columns", "display.width", "display.encoding")}),
    "matplotlib": {k: str(matplotlib.rcParams._get(k)) for k in matplotlib.rcParams},
    "events": {k: [f.__qualname__ for f in v] for k, v in get_ipython().events.callbacks.items()},
    "blas": sorted([d["internal_api"], d["num_threads"]] for d in threadpoolctl.threadpool_info()),
    "hooks": [sys.excepthook.__qualname__, type(sys.displayhook).__name__, str(sys.gettrace())],
}
json.dump(state, open(processes_mark + ".json", "w"), default=str)
print(json.dumps(state, default=str).replace(own, "OWN"))
""".replace("processes_mark", repr(processes.MARK))


def test_a_warm_kernel_has_the_state_of_a_plain_one(room: Room):
    states = []
    for source in (None, "not today"):
        notebook, done = room.run(STATE, source=source)
        assert done.error is None
        states.append(json.loads(text(notebook.cells[0])))
        assert done.kernel == ("plain: not today" if source else "warm")
    for name, (warm, plain) in {name: [state[name] for state in states] for name in states[0]}.items():
        assert warm == plain, name


def test_kernels_share_neither_names_nor_random_numbers_nor_their_mark(room: Room):
    cell = (
        "import multiprocessing, os, pathlib, random, numpy\n"
        "environ = pathlib.Path('/proc/self/environ').read_bytes().split(b'\\0')\n"
        "mark = [line.decode() for line in environ if line.startswith(b'STOCKKIT_MARK=')]\n"
        "assert 'left' not in vars() and not hasattr(numpy, 'left') and os.environ['STOCKKIT_MARK'] in mark[0]\n"
        "left = numpy.left = 1\n"
        "print(random.random(), numpy.random.rand(), bytes(multiprocessing.current_process().authkey).hex(), mark[0])"
    )
    one, other = (text(room.run(cell)[0].cells[0]).split() for _ in range(2))
    assert len(one) == 4
    assert not set(one) & set(other)


@pytest.mark.parametrize(
    ("cell", "ename", "says"),
    [
        ("import os; os._exit(3)", "DeadKernelError", "ended in this cell with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "DeadKernelError", "killed by SIGKILL, as happens"),
        ("import sys; sys.exit(0)", "SystemExit", "0"),
        ("import time; time.sleep(600)", "TimeoutError", "cell_timeout=1 seconds"),
    ],
)
def test_how_a_warm_kernel_ended_is_told_exactly(room: Room, cell, ename, says):
    _, done = room.run(cell, cell_timeout=1 if "sleep" in cell else 600)
    assert (done.kernel, done.error.ename) == ("warm", ename)
    assert says in done.error.evalue


def test_workers_of_a_warm_kernel_find_its_functions_and_end_with_it(room: Room):
    cells = (
        "import multiprocessing, subprocess, sys\nfrom pathlib import Path\nimport loky\n"
        "def double(x): return 2 * x",
        "with loky.ProcessPoolExecutor(1) as pool: print(pool.submit(double, 21).result())",
        "Path('tripled.py').write_text('def triple(x): return 3 * x')\nfrom tripled import triple\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool: print(pool.map(triple, [14]))",
        "with multiprocessing.get_context('fork').Pool(1) as pool: print(pool.map(double, [21]))",
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)",
    )  # fmt: skip
    notebook, done = room.run(*cells)
    assert done.error is None
    assert [text(cell) for cell in notebook.cells[1:4]] == ["42\n", "[42]\n", "[42]\n"]


def test_what_a_notebook_left_unwritten_is_written_at_its_end(room: Room):
    cell = "import atexit\nfrom pathlib import Path\nfile = open('text', 'w'); file.write('late')\n" + (
        "import numpy; numpy.kept = open('more', 'w'); numpy.kept.write('later')\n"
        "atexit.register(lambda: Path('last').write_text('last'))"
    )
    room.run(cell)
    assert [(room.folder / name).read_text() for name in ("text", "more", "last")] == ["late", "later", "last"]


SLOW_END = """
import collections, sys, threading, time, numpy
numpy.kept = open('slow', 'w'); numpy.kept.write('late')
def slow(out, join, sleep, thread):  # names of the notebook are gone by then
    class Events(collections.deque):
        def append(self, event):
            super().append(event)
            if thread().name == 'Control': sleep(0.1)
    def join_slowly(timeout):
        join(timeout)
        sleep(0.3)
    out._events, out.thread.join = Events(out._events), join_slowly
slow(sys.stdout.pub_thread, sys.stdout.pub_thread.thread.join, time.sleep, threading.current_thread)
"""


@pytest.mark.parametrize("source", [None, "not today"])
def test_a_kernel_whose_control_thread_puts_out_last_ends_in_order(room: Room, source):
    assert room.run(SLOW_END, source=source)[1].error is None
    assert (room.folder / "slow").read_text() == "late"


def test_an_environment_that_libraries_have_not_seen_gives_a_plain_kernel(room: Room):
    notebook, done = room.run("import os; print(os.environ['OMP_NUM_THREADS'])", environment={"OMP_NUM_THREADS": "3"})
    assert done.kernel == "plain: its environment differs in OMP_NUM_THREADS"
    assert text(notebook.cells[0]) == "3\n"


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "threads"),
        ("import os; kept = open(os.devnull)", "plain: a library holds a file open: /dev/null"),
        ("import os; os._exit(7)", "plain: the warm parent ended with exit code 7"),
    ],
)
def test_a_library_that_is_not_fit_to_be_forked_gives_plain_kernels(tmp_path, monkeypatch, planted, says):
    (tmp_path / "planted.py").write_text(f"{planted}\nopen({str(tmp_path / 'imported')!r}, 'w').close()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with opened(tmp_path, "planted") as room:
        assert isinstance(room.parent, forks.WarmParent)
        room.parent.start()
        assert eventually(lambda: (tmp_path / "imported").exists() or room.parent.exit_code is not None)
        _, done = room.run("1")
    assert done.error is None
    assert says in done.kernel


def test_a_library_that_is_missing_is_left_out(tmp_path):
    with opened(tmp_path, "nosuchlibrary") as room:
        _, done = room.run("1")
    assert done.kernel == "warm"


def test_a_library_may_be_imported_as_if_another_were_not_installed(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("try: import colorsys\nexcept ImportError: colorsys = None")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with opened(tmp_path, "planted!colorsys") as room:
        cell = "import sys; assert 'planted' in sys.modules; import planted, colorsys; assert not planted.colorsys"
        assert eventually(lambda: room.run(cell)[1].error is None)


def test_how_a_kernel_ended_is_told_while_the_parent_imports(tmp_path, monkeypatch):
    steps = ["import os, time", "open('begun', 'w').close()", "while not os.path.exists('go'): time.sleep(0.01)"]
    (tmp_path / "planted.py").write_text("\n".join(steps))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    environment, command = forks.kernel_environment(), [sys.executable, *forks.LAUNCHER]
    parent = forks.WarmParent(environment, tmp_path, after=1, libraries=["planted"])
    try:
        kernel = asyncio.run(parent.fork(command, tmp_path, environment, [1, 2]))
        assert eventually((tmp_path / "begun").exists)
        kernel.kill()
        assert kernel.wait(60) == -signal.SIGKILL
    finally:
        parent.close()


def test_where_the_parent_was_killed_its_kernel_ends_and_the_next_is_a_plain_one(tmp_path):
    with opened(tmp_path) as room:
        _, done = room.run("import os, signal, time; os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)")
        assert done.error.ename == "DeadKernelError"
        _, done = room.run("1")
    assert done.kernel == "plain: the warm parent ended with exit code -9"


def test_warm_kernels_can_be_switched_off_and_need_linux(tmp_path, monkeypatch):
    with processes.guarded() as guard:
        monkeypatch.setenv(forks.SWITCH, "0")
        with forks.warm(guard, tmp_path) as parent:
            assert parent == "STOCKKIT_WARM=0"
        monkeypatch.delenv(forks.SWITCH)
        monkeypatch.setattr(sys, "platform", "darwin")
        with forks.warm(guard, tmp_path) as parent:
            assert parent == "warm kernels need Linux"


def test_nothing_is_left_where_the_run_was_killed(tmp_path):
    program = """
        import sys
        from pathlib import Path
        from tests.workbook.kernels.conftest import opened
        with opened(Path(sys.argv[1])) as room:
            cell = "import subprocess, time; subprocess.Popen(['sleep', '600']); open('mark', 'w').write('1')"
            (room.folder / "run").write_text(room.guard.mark)
            room.run(cell + "; time.sleep(600)")
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    run = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert eventually((tmp_path / "mark").exists)
        mark = (tmp_path / "run").read_text()
        assert len(processes.marked(mark)) >= 3
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert eventually(lambda: processes.marked(mark) == [])


def test_no_module_of_stockkit_is_imported_before_the_fork():
    assert not [name for name in forks.thread_free() if name.startswith("stockkit")]
    assert "import stockkit" not in (source := (ROOT / "stockkit/workbook/kernels/parent.py").read_text())
    assert "from stockkit" not in source


def test_all_that_notebooks_may_need_is_imported_and_a_kernel_is_still_forked(tmp_path):
    libraries = forks.thread_free()
    with opened(tmp_path, *libraries) as room:
        cell = f"import sys; assert {libraries[-1]!r} in sys.modules"
        assert eventually(lambda: room.run(cell)[1].error is None)
        assert room.run("1")[1].kernel == "warm"


def test_the_calendar_of_new_york_is_made_once_for_all_kernels():
    module, function, *arguments = forks.CALENDAR.split(":")
    made = getattr(importlib.import_module(module), function)(*arguments)
    assert sessions._calendar.__wrapped__("XNYS") is made


def test_what_the_first_compiled_function_needs_is_made_once_for_all_kernels(tmp_path):
    with opened(tmp_path, forks.COMPILER) as room:
        cell = "import sys; assert 'numba.np.arraymath' in sys.modules"  # which numba itself imports with that function
        assert eventually(lambda: room.run(cell)[1].error is None)
        cell = "import numba; assert numba.njit(lambda x: x + 1)(1) == 2"
        assert room.run(cell)[1].error is None
        assert room.run("1")[1].kernel == "warm"


@pytest.mark.parametrize(
    ("version", "starts"), [("1.9.0", False), ("1.41.2", False), ("1.42.0", True), ("2.1.0", True)]
)
def test_what_imports_polars_is_left_to_kernels_where_polars_starts_a_thread(monkeypatch, version, starts):
    monkeypatch.setattr(forks.metadata, "version", {"polars": version}.__getitem__)
    assert set(forks.AFTER_POLARS).isdisjoint(forks.thread_free()) == starts


def test_only_what_notebooks_may_need_is_imported():
    assert forks.used(["import os\nprint('import pandas')"]) == ()
    assert forks.used(["x = 1\nimport matplotlib.dates as dates"]) == tuple(
        name for name in forks.LIBRARIES if name.startswith("matplotlib")
    )
    assert forks.used(["", "  from stockkit import plots"]) == forks.thread_free()


def test_settings_of_matplotlib_that_the_parent_has_read_are_noted_as_read_by_each_kernel(tmp_path):
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 7\n")
    notes = tmp_path / "notes"
    with opened(tmp_path, "matplotlib") as room:
        assert isinstance(room.parent, forks.WarmParent)
        environment = trace.begin(notes, tmp_path)
        assert eventually(lambda: room.run("1", environment=environment)[1].kernel == "warm")
        cell = "import sys; assert 'matplotlib' in sys.modules"
        assert eventually(lambda: room.run(cell, environment=environment)[1].error is None)
    assert "matplotlibrc" in notes.read_text()
