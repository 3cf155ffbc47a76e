"""A run as JSON for programs: one object a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

EVENTS = ("run", "step", "cell", "within", "kept", "done", "say", "warning", "error", "end")
LEAST = 1.0  # seconds between two of what a cell tells of itself


@dataclass
class Events:
    """An object a line: `time` (UTC), `event` (one of `EVENTS`), `run`, and what the event is about.

    No field is there without a value: `step`, `cell` and `cells`, `status`, `seconds`, `why`, `text`.
    """

    out: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    run: str = ""
    _last: dict[str, float] = field(default_factory=dict)
    _cells: dict[str, dict[str, int]] = field(default_factory=dict)

    def start(self, names: Sequence[str], run: str) -> None:
        self.run = run
        self._write("run", steps=[*names])

    def step(self, name: str) -> None:
        self._write("step", step=name)

    def cell(self, name: str, number: int, total: int) -> None:
        self._cells[name] = {"cell": number, "cells": total}
        self._last.pop(name, None)
        self._write("cell", step=name, **self._cells[name])

    def within(self, name: str, text: str) -> None:
        now = self.clock()
        if now - self._last.get(name, -LEAST) >= LEAST:
            self._last[name] = now
            self._write("within", step=name, **self._cells.get(name, {}), text=text)

    def kept(self, name: str, why: str) -> None:
        self._write("kept", step=name, why=why)

    def done(self, name: str, status: str, seconds: float) -> None:
        self._write("done", step=name, status=status, seconds=seconds)

    def say(self, text: str) -> None:
        self._write("say", text=text)

    def end(self, status: str, seconds: float, why: str) -> None:
        self._write("end", status=status, seconds=seconds, why=why)

    def _write(self, event: str, **about: Any) -> None:
        self.out.write(line(event, run=self.run, **about))
        self.out.flush()


def line(event: str, **about: Any) -> str:
    """An event as a line of JSON in ASCII, so that no text and no encoding of a terminal can spoil it."""
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    known = {name: value for name, value in about.items() if value not in ("", None)}
    return json.dumps({"time": moment, "event": event, **known}) + "\n"
