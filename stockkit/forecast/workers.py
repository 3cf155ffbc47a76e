"""Other processes to fit in, which stay for the next call until they are sent home."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stockkit.errors import ForecastError

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # each has a core


def each(todo: Sequence[Callable[[], Any]], jobs: int) -> Iterator[Any]:
    """What each of `todo` returns, in order, from `jobs` processes; 1: this one, -1: one a core.

    Raises:
        ForecastError: another number of jobs. And whatever a call raises.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or (jobs < 1 and jobs != -1):
        raise ForecastError(f"jobs {jobs!r}: give a number of processes, or -1 for one a core.")
    import loky

    jobs = loky.cpu_count() if jobs == -1 else jobs
    if jobs == 1:
        yield from (work() for work in todo)
        return
    yield from loky.get_reusable_executor(jobs, env=ONE_THREAD).map(_done, todo)


def dismiss() -> None:
    """End the processes; a kernel that is killed first would leave their locks behind, and a warning."""
    import loky

    loky.get_reusable_executor().shutdown(wait=True, kill_workers=True)


def _done(work: Callable[[], Any]) -> Any:
    return work()
