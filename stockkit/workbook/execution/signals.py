"""Signals that are handled in another way for a while."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def known(*names: str) -> list[int]:
    """The numbers of the signals that this system has of these."""
    return [number for number in map(signal.__dict__.get, names) if number is not None]


@contextmanager
def handled(numbers: Iterable[int], handler: Any) -> Iterator[None]:
    """Handle signals like this while the block runs.

    Only the main thread gets any; one that is ignored, as nohup does with SIGHUP, stays so.

    Args:
        numbers: of the signals. handler: as of `signal.signal`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
