"""How long a cell, a step and a run may take, and which of the three ends first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

RETRIES = "retries"  # how often a step is tried again, where that may help
DEFAULTS = {"cell_timeout": 7_200, "step_timeout": 14_400, "run_timeout": 43_200, RETRIES: 2}  # seconds, but for it
KERNEL_START = 300  # seconds; on a busy machine half a minute has been seen


@dataclass(frozen=True)
class Clock:
    """The deadlines of one step, on a monotonic clock; `deadline` is when its last cell has to have ended."""

    seconds: Mapping[str, int]
    run_started: float
    step_started: float
    now: Callable[[], float] = time.monotonic
    deadline: float = math.inf

    def remaining(self) -> tuple[float, str]:
        """The seconds that a cell that starts now may take, and the limit that sets them."""
        cell, left, limit = float(self.seconds["cell_timeout"]), *self.left()
        return (cell, "cell_timeout") if cell < left else (left, limit)

    def left(self) -> tuple[float, str]:
        """The seconds left of step and run, and the limit that sets them."""
        step = self.step_started + self.seconds["step_timeout"]
        run = self.run_started + self.seconds["run_timeout"]
        end, limit = min((self.deadline, "deadline"), (run, "run_timeout"), (step, "step_timeout"))
        return max(0.0, end - self.now()), limit

    def explain(self, limit: str) -> str:
        """The sentence for what was stopped by this limit."""
        if limit == "deadline":
            return "stopped at the deadline of the run."
        what = limit.removesuffix("_timeout")
        return (
            f"stopped as the {what} took longer than {limit}={self.seconds[limit]} seconds. "
            f"If it needs more: -p {limit}=SECONDS."
        )


def chosen(parameters: Mapping[str, Any]) -> dict[str, int]:
    """The limits, from the parameters of a run."""
    return {name: int(parameters.get(name, default)) for name, default in DEFAULTS.items()}
