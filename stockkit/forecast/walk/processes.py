"""Calls that share nothing, in several processes or in this one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from stockkit import forked
from stockkit.errors import ForecastError

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # each has a core

_begun: list[forked.Pool] = []  # at most one, until it is asked
_executors: set[Any] = set()


def in_processes(todo: Sequence[Callable[[], Any]], jobs: int) -> Generator[Any]:
    """What each of `todo` returns, in order, from `jobs` processes; 1: this one, -1: one a core.

    Where processes cannot share locks, as on Lambda, which has no writable /dev/shm, the calls take turns in this one,
    after a warning.

    Raises:
        ForecastError: another number of jobs; a process that was killed. And whatever a call raises.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or (jobs < 1 and jobs != -1):
        raise ForecastError(f"jobs {jobs!r}: give a number of processes, or -1 for one a core.")
    results = None if jobs == 1 else _from_processes(todo, jobs)
    if results is None:
        yield from map(_call, todo)
        return
    from loky.process_executor import TerminatedWorkerError

    try:
        yield from results
    except (TerminatedWorkerError, forked.KilledError) as error:
        raise ForecastError(
            "a process that fitted models was killed, as happens where memory runs out: give it fewer symbols, more "
            "memory, or jobs=1."
        ) from error


def _from_processes(todo: Sequence[Callable[[], Any]], jobs: int) -> Iterator[Any] | None:
    """The results from several processes, to come; None where there can be none beside this one."""
    try:
        count = _count(jobs)
        if count == 1:
            return None
        if pool := _begun.pop() if _begun else _pool(count):
            return pool.results([partial(_call, work) for work in todo])
        return _executor(count).map(_call, todo)  # type: ignore[no-any-return]
    except (OSError, ImportError) as error:
        warnings.warn(
            f"No process can be started beside this one ({error}; is /dev/shm writable?): fits take turns.",
            stacklevel=3,
        )
        return None


def _count(jobs: int) -> int:
    import loky

    return int(loky.cpu_count()) if jobs == -1 else jobs


def _pool(count: int) -> forked.Pool | None:
    """Processes that need not import libraries; None where this one is no warm kernel."""
    try:
        return forked.Pool(count, ONE_THREAD, _import)
    except OSError:
        return None


def _executor(count: int) -> Any:
    import loky

    executor = loky.get_reusable_executor(count, env=ONE_THREAD)
    _executors.add(executor)
    return executor


def begin(jobs: int) -> None:
    """Start the processes that `in_processes` will be asked for, so that they import while this one prepares the calls.

    What is wrong with them, or with `jobs`, is told when they are asked.
    """
    with suppress(OSError, ImportError, TypeError, ValueError):
        count = _count(jobs)
        if count == 1 or _begun:
            return
        if pool := _pool(count):
            _begun.append(pool)
            return
        for _ in range(count):
            _executor(count).submit(_import)


def _import() -> None:
    """Load what nearly every fit needs."""
    import stockkit.forecast.walk.fold_fits  # noqa: F401


def end_processes() -> None:
    """End the processes; a kernel that is killed first would leave their locks behind, and a warning."""
    while _begun:
        _begun.pop().end()
    while _executors:
        with suppress(OSError):
            _executors.pop().shutdown(wait=True, kill_workers=True)


def _call(work: Callable[[], Any]) -> Any:
    """The result of a call; sums that BLAS divides among threads would round as the machine's cores have it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return work()
