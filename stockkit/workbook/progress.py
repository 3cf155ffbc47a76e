"""What a run shows while it goes: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO


class Progress(Protocol):
    """What is called as a run goes on; steps may run side by side, in threads of their own."""

    def start(self, names: Sequence[str]) -> None:
        """The run starts; these are its notebooks, in order."""

    def step(self, name: str) -> None:
        """A notebook starts."""

    def cell(self, name: str, number: int, total: int) -> None:
        """A cell of a notebook starts."""

    def kept(self, name: str, why: str) -> None:
        """A notebook does not run, as its results are there already."""

    def done(self, name: str, status: str, seconds: float) -> None:
        """A notebook has ended."""

    def say(self, text: str) -> None:
        """Something that concerns the run."""


@dataclass
class Lines:
    """A line when a notebook has ended; made for logs and pipes."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    names: list[str] = field(default_factory=list)

    def start(self, names: Sequence[str]) -> None:
        self.names = [*names]

    def step(self, name: str) -> None:
        pass

    def cell(self, name: str, number: int, total: int) -> None:
        pass

    def kept(self, name: str, why: str) -> None:
        self.say(f"{self.label(name):<24} kept: {why}")

    def done(self, name: str, status: str, seconds: float) -> None:
        self.say(f"{self.label(name):<24} {status:<10} {seconds:5.1f} s")

    def say(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    def label(self, name: str) -> str:
        """A notebook with its place among all."""
        return f"[{self.names.index(name) + 1}/{len(self.names)}] {name}" if name in self.names else name


@dataclass
class Live(Lines):
    """Live lines on a terminal: notebook, cell k of n, time; ended notebooks stay above them."""

    console: Any = None
    _bar: Any = None
    _tasks: dict[str, Any] = field(default_factory=dict)

    def step(self, name: str) -> None:
        from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn

        if self._bar is None:
            columns = (TextColumn("  {task.description:<24} cell"), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = _bar(*columns, console=self.console)
        self._tasks[name] = self._bar.add_task(self.label(name), total=None)
        self._bar.start()

    def cell(self, name: str, number: int, total: int) -> None:
        self._bar.update(self._tasks[name], completed=number, total=total)

    def done(self, name: str, status: str, seconds: float) -> None:
        self._bar.refresh()
        self._bar.remove_task(self._tasks.pop(name))
        if not self._tasks:
            self._bar.stop()
        mark = "[green]✓[/]" if status == "succeeded" else "[red]✗[/]"
        self._bar.console.print(f"{mark} {self.label(name):<24} {status:<10} {seconds:5.1f} s", highlight=False)


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
