from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial

import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.walk import processes
from tests.conftest import ROOT, lacking

CODE = """
from functools import partial
from stockkit.forecast.walk import processes
print(list(processes.in_processes([partial(pow, 2, k) for k in range(4)], 2)))
processes.end_processes()
"""


def test_one_job_is_done_here_and_in_order():
    assert list(processes.in_processes([partial(pow, 2, k) for k in range(4)], 1)) == [1, 2, 4, 8]


@pytest.mark.parametrize("jobs", [0, -2, True, 1.5])
def test_no_number_of_processes_is_refused(jobs):
    with pytest.raises(ForecastError, match="give a number of processes"):
        list(processes.in_processes([], jobs))


def test_without_shared_memory_the_calls_take_turns_here_and_it_is_said():
    """As on Lambda: /dev/shm is read-only, in a mount namespace of its own."""
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$0" "$@"']
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        lacking("mount", "the right to mount in a namespace is missing")
    done = subprocess.run([*mount, sys.executable, "-c", CODE], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "[1, 2, 4, 8]\n"), done.stderr
    assert "No process can be started beside this one" in done.stderr


def test_a_process_that_is_killed_is_said():
    results = processes.in_processes([partial(os._exit, 9)], 2)
    with pytest.raises(ForecastError, match="was killed, as happens where memory runs out"):
        next(results)
    processes.end_processes()


THREADS = """
import pandas as pd
from stockkit.forecast import models
from stockkit.forecast.walk import backtest

bars = pd.read_csv("data/sample/AAPL.csv", parse_dates=["timestamp"]).iloc[::-1]
panel = pd.DataFrame({"symbol": "AAPL", "date": bars["timestamp"], "close": bars["close"]}).reset_index(drop=True)
newest = backtest.latest(panel, models=models.by_name(["garch"]), features=(), horizon=1, jobs=1)
print(newest.rows["sigma"].iloc[0].hex())
"""


def test_the_numbers_do_not_depend_on_the_threads_of_the_machine():
    """BLAS divides a sum among its threads, and the search of a GARCH ends a millionth elsewhere."""
    sigmas = set()
    for count in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
        done = subprocess.run(
            [sys.executable, "-c", THREADS], capture_output=True, text=True, cwd=ROOT, env=environment
        )
        assert done.returncode == 0, done.stderr
        sigmas.add(done.stdout)
    assert len(sigmas) == 1
