"""A display that can do a run no harm: what it is told is free of secrets, and where it cannot write it is silent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.progress.protocol import Progress

LONGEST = 2_000  # characters of a text


@dataclass
class Guarded:
    """Passes on one call at a time, from whichever thread; after one that fails, as on a closed terminal, none."""

    shown: Progress
    redaction: Redaction
    is_open: bool = True
    _lock: Any = field(default_factory=threading.RLock)

    def start(self, names: Sequence[str], run: str) -> None:
        self._pass_on(self.shown.start, names, run)

    def step(self, name: str) -> None:
        self._pass_on(self.shown.step, name)

    def cell(self, name: str, number: int, total: int) -> None:
        self._pass_on(self.shown.cell, name, number, total)

    def within(self, name: str, text: str) -> None:
        self._pass_on(self.shown.within, name, " ".join(text[:LONGEST].split()))

    def kept(self, name: str, why: str) -> None:
        self._pass_on(self.shown.kept, name, why)

    def done(self, name: str, status: str, seconds: float) -> None:
        self._pass_on(self.shown.done, name, status, seconds)

    def say(self, text: str) -> None:
        self._pass_on(self.shown.say, text)

    def end(self, status: str, seconds: float, why: str) -> None:
        self._pass_on(self.shown.end, status, seconds, why)

    def _pass_on(self, event: Callable[..., None], *about: Any) -> None:
        with self._lock:
            if self.is_open:
                try:
                    event(*(self.redaction.text(it) if isinstance(it, str) else it for it in about))
                except (OSError, ValueError):  # a closed file is a ValueError
                    self.is_open = False
                    with suppress(OSError, ValueError):
                        self.shown.end("", 0.0, "")  # no thread of it goes on
