"""Alerts as lines on the console."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from stockkit.stream.store import Alert


class Console:
    """Prints a line an alert."""

    def send(self, alerts: Sequence[Alert]) -> None:
        """See `notifier.Notifier`."""
        for alert in alerts:
            print(json.loads(alert.body)["text"], file=sys.stderr)
