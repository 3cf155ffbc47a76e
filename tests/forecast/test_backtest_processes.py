from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial

import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.walk import backtest
from tests.conftest import ROOT, lacking

CODE = """
from functools import partial
from stockkit.forecast.walk import backtest
print(list(backtest.in_processes([partial(pow, 2, k) for k in range(4)], 2)))
backtest.end_processes()
"""


def test_one_job_is_done_here_and_in_order():
    assert list(backtest.in_processes([partial(pow, 2, k) for k in range(4)], 1)) == [1, 2, 4, 8]


@pytest.mark.parametrize("jobs", [0, -2, True, 1.5])
def test_no_number_of_processes_is_refused(jobs):
    with pytest.raises(ForecastError, match="give a number of processes"):
        list(backtest.in_processes([], jobs))


def test_without_shared_memory_the_calls_take_turns_here_and_it_is_said():
    """As on Lambda: /dev/shm is read-only, in a mount namespace of its own."""
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$0" "$@"']
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        lacking("mount", "the right to mount in a namespace is missing")
    done = subprocess.run([*mount, sys.executable, "-c", CODE], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "[1, 2, 4, 8]\n"), done.stderr
    assert "No process can be started beside this one" in done.stderr


def test_a_process_that_is_killed_is_said():
    results = backtest.in_processes([partial(os._exit, 9)], 2)
    with pytest.raises(ForecastError, match="was killed, as happens where memory runs out"):
        next(results)
    backtest.end_processes()
