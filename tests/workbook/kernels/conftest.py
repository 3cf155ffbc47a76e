"""A warm parent that the tests of this folder share, and notebooks run in its kernels."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

from stockkit.workbook.execution import jobs, kernels, limits, processes
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.kernels import forks


@pytest.fixture(scope="module", autouse=True)
def warm_kernels() -> Iterator[None]:
    """What the other tests do without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("STOCKKIT_WARM", raising=False)
        yield


@contextmanager
def unnamed() -> Iterator[None]:
    """pytest names each test in the environment, which would differ from that of a parent that tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST", raising=False)
        yield


@dataclass
class Room:
    """A run's guard and its warm parent."""

    guard: processes.Guard
    parent: forks.WarmParent | str
    folder: Path
    redaction: Redaction = field(default_factory=Redaction)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, *cells: str, source: Any = None, environment: Any = None, **seconds: int) -> tuple[Any, Any]:
        """The executed notebook and how it ended; in a warm kernel, or by another source of kernels."""
        document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        number, now = next(self.numbers), time.monotonic()
        given, output = self.folder / f"{number}.ipynb", self.folder / f"{number}-out.ipynb"
        nbformat.write(document, given)
        clock = limits.Clock({**limits.DEFAULTS, **seconds}, now, now)
        source = self.parent if source is None else source
        under = jobs.Conditions(
            self.folder, clock, self.guard.for_step(number), self.redaction, lambda cell, total: None,
            environment or {}, warm=source,
        )  # fmt: skip
        with unnamed():
            done = kernels.execute(given, output, {}, under)
        assert processes.marked(under.guard.mark) == []
        return nbformat.read(output, as_version=4), done


@contextmanager
def opened(folder: Path, *libraries: str) -> Iterator[Room]:
    """A room whose parent imports these."""
    with processes.guarded() as guard, ExitStack() as stack:
        with unnamed():
            parent = stack.enter_context(forks.warm(guard, folder, libraries))
        yield Room(guard, parent, folder)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Of a parent that imports what the tests use."""
    with opened(tmp_path_factory.mktemp("room"), "numpy", "pandas", "matplotlib.pyplot", "threadpoolctl") as room:
        yield room
        assert isinstance(room.parent, forks.WarmParent)
        assert processes.marked(room.guard.mark) == [room.parent.pid]


def text(cell: Any) -> str:
    """What a cell printed, or the plain text of its result."""
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something becomes true before a generous limit."""
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
