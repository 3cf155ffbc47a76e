"""Which failures of a step may pass if it is tried again, and after how long.

A step is tried again as a whole, in a fresh kernel, as its cells build on each other; what it has written by then it
writes again. An error that would come again is not tried again: of a cell's code, its data or a limit of time, or a
kernel that died.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockkit.workbook.execution import limits
from stockkit.workbook.manifest import Failure

# seconds before the second try, by the name of the error; before each later one four times as many
WAITS: Mapping[str, float] = {
    "KernelError": 1.0,  # the kernel did not start: a machine that is busy
    "LakeUnavailable": 15.0,
    "SourceUnavailable": 30.0,
}
GROWTH = 4.0


def wait_before(failure: Failure, attempts: int, parameters: Mapping[str, Any]) -> float | None:
    """The seconds to wait before a step is tried again; None where that is of no use.

    Args:
        failure: of its last try. attempts: how often it was tried so far. parameters: of the run.
    """
    if failure.ename not in WAITS or attempts > limits.chosen(parameters)[limits.RETRIES]:
        return None
    return WAITS[failure.ename] * GROWTH ** (attempts - 1)
