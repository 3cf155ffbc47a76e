"""What stops a run from outside: Ctrl-C, a request to end, a terminal that is closed, a deadline.

A signal only leaves a note; the runner looks at it where it can stop tidily, so that no signal can interrupt a write.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from stockkit.workbook.execution import signals

SIGNALS = signals.known("SIGINT", "SIGTERM", "SIGHUP")
RESERVE = 10.0  # seconds that pages and manifest may take after the last cell was stopped
SHARE = 0.25  # of a deadline; the reserve is not more


@dataclass
class Stop:
    """Whether a run has to stop, and why.

    Attributes:
        deadline: when it has to have ended, on the monotonic clock.
        number: of the signal that came; None where none did.
        lost: why the run may not go on although nobody has stopped it; "" where it may.
        confirm: looks, just before a run is said to have succeeded, whether it has to stop.
    """

    deadline: float = math.inf
    started: float = 0.0
    number: int | None = None
    lost: str = ""
    confirm: Callable[[], object] = lambda: None

    def lose(self, why: str) -> None:
        """From now on the run may not go on."""
        self.lost = self.lost or why

    @property
    def last_moment(self) -> float:
        """When the last cell has to have ended, so that the pages can be made."""
        return self.deadline - min(RESERVE, SHARE * (self.deadline - self.started))

    @property
    def reason(self) -> str:
        """Why the run has to stop; "" while it may go on."""
        if self.number is not None:
            return f"stopped by {signal.Signals(self.number).name}"
        if self.lost:
            return self.lost
        return "stopped at its deadline" if time.monotonic() >= self.last_moment else ""


@contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Let signals stop the run, while the block runs; only the main thread gets any."""

    def note(number: int, frame: FrameType | None) -> None:
        stop.number = stop.number or number

    with signals.handled(SIGNALS, note):
        yield
