"""What a run shows while it goes: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO


class Progress(Protocol):
    """Hears of each step and cell of a run."""

    def step(self, name: str, number: int, of: int) -> None:
        """A notebook starts."""

    def cell(self, number: int, of: int) -> None:
        """A cell of the current notebook starts."""

    def done(self, status: str, seconds: float) -> None:
        """The current notebook has ended."""


@dataclass
class Lines:
    """A line when a notebook has ended; made for logs and pipes."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    _label: str = ""

    def step(self, name: str, number: int, of: int) -> None:
        self._label = f"[{number}/{of}] {name}"

    def cell(self, number: int, of: int) -> None:
        pass

    def done(self, status: str, seconds: float) -> None:
        print(f"{self._label:<24} {status:<10} {seconds:5.1f} s", file=self.out, flush=True)


@dataclass
class Live:
    """A live line on a terminal: notebook, cell k of n, seconds; ended notebooks stay above it."""

    _console: Any = None
    _status: Any = None
    _label: str = ""
    _cell: str = ""
    _started: float = 0.0

    def __post_init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    def step(self, name: str, number: int, of: int) -> None:
        from rich.live import Live as RichLive

        self._label, self._cell, self._started = f"[{number}/{of}] {name}", "starting", time.monotonic()
        self._status = RichLive(get_renderable=self._line, console=self._console, transient=True)
        self._status.start()

    def cell(self, number: int, of: int) -> None:
        self._cell = f"cell {number} of {of}"

    def done(self, status: str, seconds: float) -> None:
        self._status.stop()
        mark = "[green]✓[/]" if status == "succeeded" else "[red]✗[/]"
        self._console.print(f"{mark} {self._label:<24} {status:<10} {seconds:5.1f} s", highlight=False)

    def _line(self) -> Any:
        from rich.text import Text

        return Text(f"  {self._label:<24} {self._cell:<16} {time.monotonic() - self._started:5.1f} s")


def for_terminal() -> Progress:
    """`Live` where the error stream is a terminal, `Lines` elsewhere."""
    return Live() if sys.stderr.isatty() else Lines()


@contextmanager
def bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, nothing elsewhere; yields what to call with a name, how many are done, and of how many."""
    if not sys.stderr.isatty():
        yield lambda name, done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what)
        yield lambda name, done, of: shown.update(task, description=f"{what} {name}", completed=done, total=of)
