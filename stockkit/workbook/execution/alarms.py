"""What goes wrong in the background of a kernel: threads and tasks that end with an error that nobody waits for.

Python prints such an error and goes on, so a notebook would end well without what they should have done. A kernel arms
this module at its start; the runner asks for what was noted once the last cell has ended.
"""

from __future__ import annotations

import ast
import atexit
import ctypes
import gc
import json
import logging
import sys
import threading
from asyncio import Future
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

START = f"__import__({__name__!r}, fromlist=['arm']).arm()"  # the line that a kernel runs first
ASK = f"__import__({__name__!r}, fromlist=['noted']).noted()"  # the expression that the runner asks for
ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of Linux
LONGEST = 2_000  # characters of a message
UNASKED = ("Task exception was never retrieved", "Future exception was never retrieved")

_noted: list[tuple[str, str]] = []


def arm() -> None:
    """Note from now on what ends in the background, and stay the parent of what a cell leaves without one.

    A daemon that a cell has started, in a session and with an environment of its own, is then still known as the
    kernel's and ended with it.
    """
    before = threading.excepthook

    def hook(args: Any) -> None:
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread else "unknown"
            _note(args.exc_value or args.exc_type(), f"thread {name!r}")
        before(args)

    threading.excepthook = hook
    logging.getLogger("asyncio").addFilter(_filter)
    atexit.register(_end_control)
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)


def _end_control() -> None:
    """End the thread of control requests; ipykernel first ends the thread that puts out, for which it may wait then."""
    from ipykernel.kernelapp import IPKernelApp  # here, as the runner imports this module as well, before any kernel

    thread = IPKernelApp.instance().control_thread if IPKernelApp.initialized() else None
    if thread:
        thread.stop()
        thread.join()


def noted() -> str:
    """The errors so far as JSON, each with its name and a sentence; those of tasks that are still there among them."""
    futures = (it for it in gc.get_objects() if issubclass(type(it), Future))  # isinstance fails on a dead proxy
    for future in (it for it in futures if getattr(it, "_log_traceback", False)):
        if error := future.exception():
            _note(error, "a task of asyncio")
    return json.dumps(_noted[:5])


def first(answer: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and sentence of the first error, from what the kernel answered to `ASK`; None where there was none."""
    if answer["status"] != "ok":
        return "KernelError", f"the kernel cannot say what ended in its background: {answer.get('evalue')}"
    errors = json.loads(ast.literal_eval(answer["data"]["text/plain"]))
    return tuple(errors[0]) if errors else None


def _filter(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] and record.getMessage().startswith(UNASKED):
        _note(record.exc_info[1], "a task of asyncio")
    return True


def _note(error: BaseException, what: str) -> None:
    why = f"{what} ended with it in the background, and no cell waited for that: {str(error)[:LONGEST]}"
    _noted.append((type(error).__name__, why))
