"""From the outbox to the notifiers: in order, not too fast, again after a failure, and by one process at a time.

A channel is claimed by a lock on a file beside the store, which ends with its process however that ends: of two
services over one store, one sends what waits for a channel, and the other goes on at once when the first one is gone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stockkit.errors import StreamError
from stockkit.local_files import locked
from stockkit.stream.alerts.notifier import NotTaken
from stockkit.stream.alerts.outbox import DAY, Alert, Outbox, Pause

SECOND = 1_000_000  # microseconds
AT_ONCE = 100  # alerts that a notifier gets in one call
FIRST_WAIT, LONGEST_WAIT = SECOND, 300 * SECOND  # before a channel that took nothing is tried again
MINUTE = 60 * SECOND
FEWEST = 3  # tries before an alert that is over a day old is given up
STUBBORN = 5  # tries after which an alert lets those behind it go first
TURN = 5.0  # seconds after which a call comes back, whatever waits


def deliver(store: Outbox, notifiers: Mapping[str, Any], now: int) -> int:
    """Send the alerts that are due, oldest first; return how many were sent.

    A channel that takes nothing is left alone, longer after each try, and holds up none of the others. An alert is
    given up, and stays in the outbox, where its receiver refuses it for good, or has not taken it for a day. What is
    more than a channel takes in a minute waits for a later call, as does what is left after five seconds.

    Args:
        store: has the outbox. notifiers: by channel. now: microseconds since 1970 UTC.

    Raises:
        StreamError: the store cannot be written.
    """
    clock, sent = _Clock(now, time.monotonic()), 0
    for channel, notifier in notifiers.items():
        with _claimed(store.path, channel) as mine:
            if mine:
                sent += _Delivery(store, channel, notifier, clock).run()
    return sent


@dataclass(frozen=True)
class _Clock:
    """The time that was passed in, going on."""

    start: int
    started: float

    def now(self) -> int:
        return self.start + round((time.monotonic() - self.started) * SECOND)


@dataclass
class _Delivery:
    """What one call sends over one channel."""

    store: Outbox
    channel: str
    notifier: Any
    clock: _Clock
    pause: Pause = field(default_factory=Pause)

    def run(self) -> int:
        """Send what is due until nothing is, the channel fails, or the turn is over; how many were sent."""
        now, until = self.clock.now(), time.monotonic() + TURN
        self.pause = self.store.paused(self.channel)
        if self.pause.until > now:
            return 0
        sent = 0
        while time.monotonic() < until and (alerts := self._next(now)):
            taken, goes_on = self._send(alerts)
            sent += taken
            if not goes_on:
                break
        return sent

    def _next(self, now: int) -> list[Alert]:
        """The next alerts for one call of the notifier, as far as the channel's minute has room for them."""
        most = getattr(self.notifier, "at_once", AT_ONCE)
        if limit := getattr(self.notifier, "per_minute", 0):
            most = min(most, limit - self.store.sent_since(self.channel, self.clock.now() - MINUTE))
        return self.store.waiting(self.channel, now, most) if most > 0 else []

    def _send(self, alerts: Sequence[Alert]) -> tuple[int, bool]:
        """Send alerts and note what became of them; how many were taken, and whether the channel goes on."""
        problem: NotTaken | None = None
        try:
            self.notifier.send(alerts)
        except StreamError as error:
            problem = error if isinstance(error, NotTaken) else NotTaken(str(error))
        taken = alerts if problem is None else alerts[: problem.taken]
        now = self.clock.now()
        if taken:
            self.store.sent(taken, now)
            self._pause(Pause())
        if problem is None:
            return len(taken), True
        return len(taken), self._failed(alerts[problem.taken], problem, now)

    def _failed(self, alert: Alert, problem: NotTaken, now: int) -> bool:
        """Note that an alert was not taken; whether the channel goes on with the next one."""
        if problem.for_good:
            self.store.given_up(alert, str(problem))
            self._pause(Pause(0, 0, f"{problem} It was given up; `stockkit stream alert --again` tries it anew."))
            return True
        asked = min(round(problem.wait * SECOND), DAY)
        failures = self.pause.failures + 1
        wait = _back_off(failures)
        if now - alert.made_at >= DAY and alert.attempts + 1 >= FEWEST:
            self.store.given_up(alert, f"{problem} It was tried for a day.")
        else:
            self.store.failed(alert, str(problem), now + max(wait, asked))
        if alert.attempts + 1 >= STUBBORN:
            wait //= 2
        self._pause(Pause(failures, now + max(wait, asked), str(problem)))
        return False

    def _pause(self, pause: Pause) -> None:
        if pause != self.pause:
            self.store.pause(self.channel, pause)
            self.pause = pause


def _back_off(failures: int) -> int:
    """The microseconds to wait after this many failures in a row."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures - 1, 20))


@contextmanager
def _claimed(path: Path, channel: str) -> Iterator[bool]:
    """Whether this process is the one that sends over a channel of a store, while the block runs."""
    kind, name = channel.partition(":")[0], hashlib.sha256(channel.encode()).hexdigest()[:12]
    lock = path.with_name(f"{path.name}.{kind}-{name}.lock")
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(locked(lock, wait=False))
        except OSError as error:
            raise StreamError(f"alerts wait, as {lock} cannot be written: {error.strerror}.") from error
        yield mine
