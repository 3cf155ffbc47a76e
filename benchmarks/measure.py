"""How two ways of doing the same are compared: in turn, in one process, best of several runs."""

from __future__ import annotations

import time
from collections.abc import Callable


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
