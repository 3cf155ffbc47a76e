"""What is called as a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Progress(Protocol):
    """Takes note of a run; steps may run side by side, in threads of their own."""

    def start(self, names: Sequence[str], run: str) -> None:
        """The run with this id starts; `names` are its notebooks, in order."""

    def step(self, name: str) -> None:
        """A notebook starts."""

    def cell(self, name: str, number: int, total: int) -> None:
        """A cell of a notebook starts."""

    def within(self, name: str, text: str) -> None:
        """How far the cell under way has come, in words of the notebook."""

    def kept(self, name: str, why: str) -> None:
        """A notebook does not run, as its results are there already."""

    def done(self, name: str, status: str, seconds: float) -> None:
        """A notebook has ended."""

    def say(self, text: str) -> None:
        """Something that concerns the run."""

    def end(self, status: str, seconds: float, why: str) -> None:
        """The run has ended, and its pages stand as far as they could be made."""
