"""How two ways of doing the same are compared: in turn, in one process, best of several runs."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def best(ours: Callable[[], object], theirs: Callable[[], object], runs: int = 5) -> tuple[float, float]:
    """The best seconds of each, measured alternately."""
    seconds = [float("inf"), float("inf")]
    for _ in range(runs):
        for k, work in enumerate((ours, theirs)):
            start = time.perf_counter()
            work()
            seconds[k] = min(seconds[k], time.perf_counter() - start)
    return seconds[0], seconds[1]


def say(what: str, ours: float, theirs: float, limit: str = "") -> None:
    """Print a ratio, its limit if it has one, and the seconds behind it."""
    print(f"{what:<66} {ours / theirs:6.2f}  {limit:<10} ({ours:.3f} s / {theirs:.3f} s)", flush=True)


def peak(what: str, work: Callable[..., object], *given: Any, size: float = 1.0, limit: str = "") -> None:
    """Print the most memory in GB that `work(*given)` took in a fresh process, over `size`."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_measured, args=(there, work, given))
    child.start()
    there.close()
    most = here.recv()
    print(f"peak memory of {what:<51} {most / size:6.2f}  {limit:<10} ({most:.2f} GB)", flush=True)
    child.join()


def _measured(answer: Any, work: Callable[..., object], given: tuple[Any, ...]) -> None:
    work(*given)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held when it forked
        most = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]
        answer.send(int(most) * 1024 / 1e9)
    else:
        answer.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9)  # bytes on macOS
