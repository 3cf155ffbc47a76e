"""What a run shows while it goes: live lines on a terminal, plain lines elsewhere, or JSON for programs (`--log`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stockkit.errors import ParamError, did_you_mean
from stockkit.workbook.progress.events import EVENTS as EVENTS
from stockkit.workbook.progress.events import Events
from stockkit.workbook.progress.lines import Lines
from stockkit.workbook.progress.live import Live
from stockkit.workbook.progress.protocol import Progress

LOGS = ("auto", "lines", "json")
NO_CURSOR = ("dumb", "unknown")  # kinds of terminals ($TERM) on which no line can be written over


def for_log(log: str = "auto") -> Progress:
    """How to show a run on the error stream.

    Args:
        log: ``auto`` for `Live` on a terminal that can write over lines and `Lines` elsewhere, ``lines``, or ``json``.

    Raises:
        ParamError: another word.
    """
    if log not in LOGS:
        raise ParamError(
            f"--log must be {', '.join(LOGS[:-1])} or {LOGS[-1]}, found {log[:40]!a}.{did_you_mean(log, LOGS)}"
        )
    if log == "json":
        return Events()
    can_overwrite = sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in NO_CURSOR
    return Live() if log == "auto" and can_overwrite else Lines()


@contextmanager
def bar(what: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere; yields what to call with a name, how many are done, and of how many.

    None for how many stands for no end in sight.
    """
    if not sys.stderr.isatty():
        yield lambda name, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what)
        yield lambda name, done, total: shown.update(task, description=f"{what} {name}", completed=done, total=total)
