"""Alerts in a store, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stockkit.stream.alerts.outbox import Alert
from stockkit.stream.store import Batch, Reach, Store

HOSTILE = 'BUY "A"\n</script><b>&amp;\'; DROP TABLE alerts; -- \x1b[2J\u2028é'


def post(store: Store, count: int, *channels: str, now: int = 0, text: str = "BUY", symbol: str = "AAPL") -> list[str]:
    """Put alerts into the outbox for each channel; return their ids."""
    before = store.last_offset("p/0")
    first = 0 if before is None else before + 1
    ids = [f"tick:5/20:p/0:{first + k}" for k in range(count)]
    store.commit(
        Batch(
            reaches={"p/0": Reach(before, first + count - 1, 0)},
            alerts=[
                (name, channel, symbol, json.dumps({"id": name, "symbol": symbol, "text": f"{text} {name}"}))
                for name in ids
                for channel in channels
            ],
            now=now,
        )
    )
    return ids


class Listed:
    """A notifier that keeps what it got, and does what it is told before it takes an alert."""

    def __init__(self, *troubles: Exception | None) -> None:
        self.calls: list[list[str]] = []
        self.troubles = list(troubles)

    def send(self, alerts: Sequence[Alert]) -> None:
        self.calls.append([alert.id for alert in alerts])
        if self.troubles and (trouble := self.troubles.pop(0)):
            raise trouble

    @property
    def ids(self) -> list[str]:
        return [name for call in self.calls for name in call]
