"""Alerts: signals as messages, from the outbox of the store to people and machines. The registry of notifiers.

A new notifier is a file with a class that has the method of `Notifier` and an entry in `NOTIFIERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stockkit.errors import ParamError, StreamError, did_you_mean
from stockkit.stream.alerts.console import Console
from stockkit.stream.alerts.notifier import Notifier
from stockkit.stream.store import Store

AT_ONCE = 100  # alerts that a notifier gets in one call
FIRST_WAIT, LONGEST_WAIT = 1_000_000, 300_000_000  # microseconds before an alert that was not taken is sent again


@dataclass(frozen=True)
class Entry:
    """A notifier and what it needs.

    Args:
        open: opens it, given what follows its name and a colon, and the workbook's folder.
        argument: what that is, for messages; "" for none.
    """

    open: Callable[[str, Path], Notifier]
    argument: str = ""


NOTIFIERS: Mapping[str, Entry] = {"console": Entry(lambda argument, root: Console())}


def names() -> list[str]:
    """What notifiers are called by, as in ``file:PATH``."""
    return [f"{name}:{entry.argument}" if entry.argument else name for name, entry in NOTIFIERS.items()]


def open_notifiers(channels: Sequence[str], root: Path) -> dict[str, Notifier]:
    """Open the notifiers that an `alerts` parameter names, by these names.

    Args:
        channels: each one of `names`. root: the workbook's folder, which relative paths start from.

    Raises:
        ParamError: no such notifier, or its address is none.
    """
    opened = {}
    for channel in channels:
        kind, _, argument = channel.partition(":")
        entry = NOTIFIERS.get(kind)
        if entry is None or bool(argument) != bool(entry.argument):
            known = names()
            raise ParamError(
                f"alerts: {channel!r} is not known: use one of {', '.join(known)}.{did_you_mean(channel, known)}"
            )
        opened[channel] = entry.open(argument, root)
    return opened


def deliver(store: Store, notifiers: Mapping[str, Notifier], now: int) -> int:
    """Send the alerts that are due, oldest first; return how many were sent.

    What a channel does not take waits, longer after each try; the other channels go on.

    Args:
        store: has the outbox. notifiers: by channel. now: microseconds since 1970 UTC.
    """
    sent = 0
    for channel, notifier in notifiers.items():
        while waiting := store.waiting(channel, now, AT_ONCE):
            try:
                notifier.send(waiting)
            except StreamError as error:
                for alert in waiting:
                    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(alert.attempts, 20))
                    store.failed(alert, str(error), now + wait)
                break
            store.sent(waiting, now)
            sent += len(waiting)
    return sent
