"""What every notifier does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stockkit.stream.store import Alert


class Notifier(Protocol):
    """Sends alerts over one channel. It may be used by one thread at a time."""

    def send(self, alerts: Sequence[Alert]) -> None:
        """Send alerts, in order.

        Raises:
            StreamError: they were not taken, as far as is known; they are sent again, with the same ids.
        """
