"""Alerts as lines on the console.

A console cannot be asked what it shows. So a line is printed first and noted then: a process that is killed between the
two prints the lines of its last call again when it is back, under the same ids. None is ever missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from stockkit.errors import StreamError
from stockkit.stream.alerts.notifier import Taken
from stockkit.stream.alerts.outbox import Alert


class Console:
    """Prints a line an alert, to the stream of errors."""

    def __init__(self) -> None:
        self._taken = Taken()

    def send(self, alerts: Sequence[Alert]) -> None:
        """See `notifier.Notifier`."""
        new = [alert for alert in alerts if alert.id not in self._taken]
        try:
            print("\n".join(map(sentence, new)), end="\n" if new else "", file=sys.stderr, flush=True)
        except (OSError, ValueError) as error:  # nobody reads it any more, or it is closed
            raise StreamError(f"the console takes no alerts: {error}.") from error
        for alert in new:
            self._taken.add(alert.id)


def sentence(alert: Alert) -> str:
    """The sentence of an alert in one line, whatever signs are in it."""
    text = str(alert.message().get("text", alert.body))
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)
