"""What a run shows while it goes: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO


class Progress(Protocol):
    """What is called for each step and cell of a run."""

    def step(self, name: str, number: int, total: int) -> None:
        """A notebook starts."""

    def cell(self, number: int, total: int) -> None:
        """A cell of the current notebook starts."""

    def done(self, status: str, seconds: float) -> None:
        """The current notebook has ended."""


@dataclass
class Lines:
    """A line when a notebook has ended; made for logs and pipes."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    _label: str = ""

    def step(self, name: str, number: int, total: int) -> None:
        self._label = f"[{number}/{total}] {name}"

    def cell(self, number: int, total: int) -> None:
        pass

    def done(self, status: str, seconds: float) -> None:
        print(f"{self._label:<24} {status:<10} {seconds:5.1f} s", file=self.out, flush=True)


@dataclass
class Live:
    """A live line on a terminal: notebook, cell k of n, time; ended notebooks stay above it."""

    console: Any = None
    _bar: Any = None

    def step(self, name: str, number: int, total: int) -> None:
        from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("  {task.description:<24} cell"), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = _bar(*columns, console=self.console)
        self._bar.add_task(f"[{number}/{total}] {name}", total=None)
        self._bar.start()

    def cell(self, number: int, total: int) -> None:
        self._bar.update(self._bar.task_ids[0], completed=number, total=total)

    def done(self, status: str, seconds: float) -> None:
        self._bar.stop()
        mark, label = "[green]✓[/]" if status == "succeeded" else "[red]✗[/]", self._bar.tasks[0].description
        self._bar.console.print(f"{mark} {label:<24} {status:<10} {seconds:5.1f} s", highlight=False)


def for_terminal() -> Progress:
    """`Live` where the error stream is a terminal, `Lines` elsewhere."""
    return Live() if sys.stderr.isatty() else Lines()


@contextmanager
def bar(what: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere; yields what to call with a name, how many are done, and of how many.

    None for how many stands for no end in sight.
    """
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    with _bar() as shown:
        task = shown.add_task(what)
        yield lambda name, done, total: shown.update(task, description=f"{what} {name}", completed=done, total=total)


def _bar(*columns: Any, console: Any = None) -> Any:
    from rich.console import Console
    from rich.progress import Progress as Bar

    return Bar(*columns, console=console or Console(stderr=True), transient=True)
