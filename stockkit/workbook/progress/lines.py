"""A plain line when a notebook has ended; made for logs and pipes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Lines:
    """A line when a notebook has ended."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    names: list[str] = field(default_factory=list)

    def start(self, names: Sequence[str], run: str) -> None:
        self.names = [*names]

    def step(self, name: str) -> None:
        pass

    def cell(self, name: str, number: int, total: int) -> None:
        pass

    def within(self, name: str, text: str) -> None:
        pass

    def kept(self, name: str, why: str) -> None:
        self.say(f"{self.label(name)} kept: {why}")

    def done(self, name: str, status: str, seconds: float) -> None:
        self.say(f"{self.label(name)} {status:<10} {seconds:5.1f} s")

    def say(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    def end(self, status: str, seconds: float, why: str) -> None:
        pass

    def label(self, name: str) -> str:
        """A notebook with its place among all, padded to a column."""
        place = f"[{self.names.index(name) + 1}/{len(self.names)}] {name}" if name in self.names else name
        return f"{place:<24}"
