"""A display on a terminal: a line a notebook that runs, written over as it goes; those that have ended stay above."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from stockkit.workbook.progress.lines import Lines

REFRESH = 0.25  # seconds between two looks at the clock
MARKS = {"succeeded": ("✓", "+", "green"), "kept": ("=", "=", "cyan")}
FAILED = ("✗", "x", "red")


@dataclass
class Running:
    """A notebook that runs: since when on the monotonic clock, in which cell, and what that says of itself."""

    since: float
    cell: str = ""
    text: str = ""


@dataclass
class Live(Lines):
    """Lines that are written over; no line is ever wider than the terminal, however it is resized."""

    console: Any = None
    running: dict[str, Running] = field(default_factory=dict)
    _shown: Any = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: Any = field(default_factory=threading.RLock)

    def step(self, name: str) -> None:
        with self._lock:
            self.running[name] = Running(time.monotonic())
            if self._shown is None:
                self._open()
            self._refresh()

    def cell(self, name: str, number: int, total: int) -> None:
        if running := self.running.get(name):
            running.cell, running.text = f"cell {number} of {total}", ""

    def within(self, name: str, text: str) -> None:
        if running := self.running.get(name):
            running.text = text

    def kept(self, name: str, why: str) -> None:
        self.running.pop(name, None)
        self._print(f"{self.label(name)} kept: {why}", "kept")

    def done(self, name: str, status: str, seconds: float) -> None:
        self.running.pop(name, None)
        self._print(f"{self.label(name)} {status:<10} {seconds:5.1f} s", status)

    def say(self, text: str) -> None:
        self._print(text, "")

    def end(self, status: str, seconds: float, why: str) -> None:
        with self._lock:
            self._ended.set()
            self.running.clear()
            shown, self._shown = self._shown, None
            if shown is not None:
                shown.stop()

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        now = time.monotonic()
        lines = [self._line(name, running, now) for name, running in list(self.running.items())]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))

    def _line(self, name: str, running: Running, now: float) -> str:
        minutes, seconds = divmod(int(now - running.since), 60)
        parts = [running.cell or "starting", f"{minutes}:{seconds:02}", running.text]
        return f"  {self.label(name)} " + " · ".join(filter(None, parts))

    def _open(self) -> None:
        from rich.live import Live as Display

        self.console = self.console or console()
        self._shown = Display(
            self,
            console=self.console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,  # or it would stay so where the terminal is gone
            redirect_stderr=False,
        )
        self._shown.start()
        threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def _tick(self) -> None:
        """Let time pass on the display; rich's own thread would end with a traceback where the terminal is gone."""
        with suppress(OSError, ValueError):
            while not self._ended.wait(REFRESH):
                with self._lock:
                    self._refresh()

    def _refresh(self) -> None:
        if self._shown is not None:
            self._shown.refresh()

    def _print(self, line: str, status: str) -> None:
        from rich.text import Text

        with self._lock:
            self.console = self.console or console()
            sign, plain, colour = MARKS.get(status, FAILED) if status else ("", "", "")
            text = Text(plain if self.console.options.ascii_only else sign, style=colour)
            self.console.print(text.append(f" {line}" if sign else line, style="default"), soft_wrap=True)
            self._refresh()


def console(**settings: Any) -> Any:
    """A console on the error stream; where nobody reads it any more that is an OSError, not the end of the process."""
    from rich.console import Console

    class Strict(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Strict(**{"stderr": True, **settings})
