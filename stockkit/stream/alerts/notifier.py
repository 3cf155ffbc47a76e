"""What every notifier does."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from stockkit.errors import ParamError, StreamError
from stockkit.stream.alerts.outbox import Alert

RATE = "STOCKKIT_ALERTS_PER_MINUTE"
REMEMBERED = 10_000  # ids


class Message(Protocol):
    """What a channel over a network sends: an alert, or the outcome of a run."""

    @property
    def id(self) -> str:
        """The same however often it is sent."""

    @property
    def group(self) -> str:
        """What it is about: messages of a group stay in order."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What a receiver may filter by, among them the id."""

    def message(self) -> dict[str, Any]:
        """What is sent, as an object of JSON with the id in it."""


class Notifier(Protocol):
    """Sends alerts over one channel. It may be used by one thread at a time.

    It may have the attributes `per_minute` (alerts that the channel takes in a minute; 0, or none, for any number) and
    `at_once` (alerts that it gets in one call).
    """

    def send(self, alerts: Sequence[Alert]) -> None:
        """Send alerts, in order.

        Raises:
            NotTaken: not all of them were taken; says which, and whether to try again.
            StreamError: none was taken, as far as is known; they are sent again, with the same ids.
        """


class NotTaken(StreamError):
    """An alert that a receiver did not take.

    Attributes:
        taken: how many of the alerts of the call were taken before it. wait: seconds that the receiver asks to be left
            alone; 0 where it does not say. for_good: sending it again is of no use.
    """

    def __init__(self, what: str, *, taken: int = 0, wait: float = 0.0, for_good: bool = False) -> None:
        super().__init__(what)
        self.taken, self.wait, self.for_good = taken, wait, for_good


class Taken:
    """The ids of what was taken lately: where that could not be noted, the same process does not send it again."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._ids

    def add(self, name: str) -> None:
        """Remember an id, and forget the oldest where there are many."""
        self._ids[name] = None
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)


def per_minute() -> int:
    """How many alerts a channel over a network takes in a minute: STOCKKIT_ALERTS_PER_MINUTE, or 60.

    Raises:
        ParamError: the variable is no number from 1 on.
    """
    written = os.environ.get(RATE, "").strip() or "60"
    if not written.isdecimal() or not 1 <= int(written[:9]) <= 100_000:
        raise ParamError(f"{RATE}={written[:40]}: write how many alerts a minute, from 1 to 100000, as in 60.")
    return int(written)
