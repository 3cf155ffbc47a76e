"""What a notebook costs beyond its own work: in a warm kernel, against a plain one and plain papermill.

`python -m benchmarks.kernels [NOTEBOOKS]`: four of each by default, one after the other. Compared are seconds of a
processor, of this process and of what it starts, as they hardly depend on what else the machine does; the seconds that
passed stand behind. The warm parent's own imports are paid once a run and stand in a line of their own.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill

from stockkit.workbook.execution import jobs, kernels, limits, processes
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.kernels import forks

NOTHING = "6 * 7"
IMPORTS = (  # what 03_features has imported once it has run
    "import duckdb, deltalake, exchange_calendars, matplotlib.pyplot, numpy, pandas, scipy.stats, seaborn, sqlglot\n"
    "import matplotlib_inline.backend_inline, pyarrow.dataset"
)
CPU = "CPU seconds of a notebook that"


def used() -> float:
    """Seconds of a processor that this process and all that has ended below it have taken."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in both)


def of_process(pid: int) -> float:
    """The same of a process that still runs, and of what has ended below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / 100


@contextmanager
def opened(folder: Path) -> Iterator[tuple[processes.Guard, forks.WarmParent]]:
    """A warm parent that has imported all that it will."""
    with processes.guarded() as guard, forks.warm(guard, folder) as parent:
        if isinstance(parent, str):
            sys.exit(f"there are no warm kernels here: {parent}")
        parent.start()
        assert parent.pid
        before = -1.0
        while before != (before := of_process(parent.pid)):
            time.sleep(2)
        print(f"{'CPU seconds of the imports of a warm parent, once a run':<66} {before:6.2f}", flush=True)
        yield guard, parent


def by_stockkit(path: Path, guard: processes.Guard, source: forks.WarmParent | str) -> None:
    """Execute a notebook as a run does."""
    now = time.monotonic()
    clock = limits.Clock(limits.DEFAULTS, now, now)
    under = jobs.Conditions(path.parent, clock, guard, Redaction(), lambda cell, total: None, warm=source)
    done = kernels.execute(path, path.with_suffix(".out.ipynb"), {}, under)
    assert done.error is None, done.error
    assert (done.kernel == "warm") == (not isinstance(source, str)), done.kernel


def by_papermill(path: Path) -> None:
    """Execute a notebook as plain papermill does."""
    papermill.execute_notebook(path, path.with_suffix(".out.ipynb"), cwd=path.parent, progress_bar=False)


def measured(work: Callable[[], None], count: int, pid: int) -> tuple[float, float]:
    """The least CPU seconds and the median of the seconds that passed."""
    taken, passed = [], []
    for _ in range(count):
        cpu, start = used() + of_process(pid), time.perf_counter()
        work()
        taken.append(used() + of_process(pid) - cpu)
        passed.append(time.perf_counter() - start)
    return min(taken), statistics.median(passed)


def line(what: str, warm: tuple[float, float], other: tuple[float, float], limit: str = "") -> None:
    """Print the ratio of CPU seconds, and behind it both, with the seconds that passed."""
    behind = " / ".join(f"{cpu:.2f} s CPU, {passed:.2f} s" for cpu, passed in (warm, other))
    print(f"{what:<66} {warm[0] / other[0]:6.2f}  {limit:<10} ({behind})", flush=True)


def main(count: int = 4) -> None:
    """Print a line a notebook and way."""
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as (guard, parent):
        assert parent.pid
        for what, cell in (("does nothing", NOTHING), ("imports what 03 uses", IMPORTS)):
            path = Path(name) / "given.ipynb"
            document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
            document.metadata["kernelspec"] = jobs.KERNELSPEC
            nbformat.write(document, path)
            step, pid = guard.for_step(1), parent.pid
            warm = measured(lambda path=path, step=step: by_stockkit(path, step, parent), count, pid)
            plain = measured(lambda path=path, step=step: by_stockkit(path, step, "measured"), count, pid)
            theirs = measured(lambda path=path: by_papermill(path), count, pid)
            line(f"{CPU} {what}, warm / plain", warm, plain, "(<0.4 s)")
            line(f"{CPU} {what}, warm / papermill", warm, theirs)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
