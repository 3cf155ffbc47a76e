"""From a producer to a bus: at its pace, in batches, and again what the bus did not take.

A message that was not taken is sent again until it is; until then later ones of its key wait, those of other keys go
on. What waits is bounded: when it is full, nothing more is asked of the producer (back-pressure).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from stockkit.errors import ParamError, StockkitError, StreamError
from stockkit.stream.bus.protocol import Message, Producer
from stockkit.stream.producers.batch import Batch

logger = logging.getLogger(__name__)

SIZE = 500  # messages sent at once; what waits comes in addition
WAITING = 4 * SIZE  # messages that may wait to be sent again, or behind one that does
NIGHT = 3_600_000_000  # microseconds: a longer pause in the data is not waited for


@dataclass(frozen=True)
class Patience:
    """Seconds: a pause after a refusal, doubling from `first` to `longest`; nothing taken for `most` is an error."""

    first: float = 0.05
    longest: float = 5.0
    most: float = 60.0


@dataclass
class Sent:
    """What came of sending.

    Attributes:
        taken: messages that the bus has. again: how often one was sent again. left: not sent, of those handed out.
        newest: the last due time among the messages sent; None without any.
        seconds: from the first call on.
    """

    taken: int = 0
    again: int = 0
    left: int = 0
    newest: int | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        left = f", {self.left:,} not sent" if self.left else ""
        return f"{self.taken:,} messages sent, {self.again:,} sent again{left}"


@dataclass
class Clock:
    """Time as sending sees it: `now` in seconds from any start; `wait` returns early, with true, once it shall stop."""

    stop: threading.Event = field(default_factory=threading.Event)

    def now(self) -> float:
        """Seconds."""
        return time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Wait; whether to stop."""
        return self.stop.wait(max(0.0, seconds))


def send(
    batches: Iterable[Batch],
    producer: Producer,
    *,
    speed: float = 0.0,
    clock: Clock | None = None,
    on_progress: Callable[[Sent], None] | None = None,
    patience: Patience | None = None,
) -> Sent:
    """Send all batches; returns when they end, or soon after the clock's `stop` is set.

    Args:
        batches: of `open_producer`.
        producer: of a bus; it is not closed.
        speed: 1 for as fast as it happened, 60 for an hour a minute, 0 for as fast as the bus takes it. Nights, and
            other pauses of more than an hour, are left out.
        clock: the time, and the event that ends it: ``Clock(stop)``.
        on_progress: called after each sending with what was sent so far.
        patience: with a bus that does not take anything.

    Raises:
        StreamError: the bus cannot be reached at the start, or takes nothing for a minute, or the producer fails; says
            what was sent and what was not.
    """
    if not speed >= 0:
        raise ParamError(f"speed is {speed}: 1 is real time, 60 an hour a minute, 0 as fast as possible.")
    clock = clock or Clock()
    outbox = _Outbox(producer, clock, patience or Patience(), on_progress or (lambda sent: None))
    pace = _Pace(speed, clock)
    for due, messages in _handed_out(batches, outbox):
        start = 0
        while start < len(messages) and not _stopped(pace, outbox, clock, due[start]):
            end = pace.ready(due, start)
            outbox.send(messages[start:end], due[end - 1])
            start = end
        outbox.sent.left += len(messages) - start
        if outbox.drain() or start < len(messages):
            break
    return outbox.sent


def _handed_out(batches: Iterable[Batch], outbox: _Outbox) -> Iterator[Batch]:
    """The batches; an error of theirs tells what was sent until then."""
    try:
        yield from batches
    except StockkitError as error:
        outbox.drain()
        raise StreamError(f"{error} Until then: {outbox.sent}.") from error


def _stopped(pace: _Pace, outbox: _Outbox, clock: Clock, due: int | None) -> bool:
    """Wait until a message is due, and meanwhile send again what waits; whether to stop instead."""
    while outbox.waiting and pace.delay(due) > outbox.pause:
        if clock.wait(outbox.pause):
            return True
        outbox.send([], None)
    return clock.wait(pace.delay(due))


class _Pace:
    """When messages are due by our clock."""

    def __init__(self, speed: float, clock: Clock) -> None:
        self._speed, self._clock = speed, clock
        self._first: tuple[int, float] | None = None  # a due time, and the moment that stands for it
        self._last = 0

    def delay(self, due: int | None) -> float:
        """Seconds until a message is due, the next one; below 0 where it is overdue."""
        if not self._speed or due is None:
            return 0.0
        if self._first is None or due - self._last > NIGHT:
            self._first = due, self._clock.now()
        self._last = due
        return (due - self._now()) / 1e6 / self._speed

    def ready(self, due: Sequence[int | None], start: int) -> int:
        """The end of the messages from `start` on, at least one, that are due."""
        most = min(start + SIZE, len(due))
        if not self._speed or self._first is None:
            return most
        now, end = self._now(), start + 1
        while end < most and (due[end] or 0) <= now:
            end += 1
        self._last = max(self._last, due[end - 1] or 0)
        return end

    def _now(self) -> float:
        """The moment of the data that it is now."""
        assert self._first is not None
        return self._first[0] + (self._clock.now() - self._first[1]) * 1e6 * self._speed


class _Outbox:
    """Sends messages, and keeps those that were not taken."""

    def __init__(
        self, producer: Producer, clock: Clock, patience: Patience, on_progress: Callable[[Sent], None]
    ) -> None:
        self.sent = Sent()
        self._producer, self._clock, self._patience, self._on_progress = producer, clock, patience, on_progress
        self._refused: list[Message] = []  # in order
        self._behind: list[Message] = []  # never sent, as one of their key was refused
        self._started = self._taken_at = clock.now()
        self.pause = 0.0  # seconds before the next attempt
        self._trouble = ""

    def send(self, messages: Sequence[Message], due: int | None) -> None:
        """Send messages and what waits; returns when little enough waits, or it shall stop."""
        if self.waiting == 0:
            self._taken_at = self._clock.now()  # until now there was nothing to take
        self._attempt(messages)
        self.sent.newest = due if due is not None else self.sent.newest
        while self.waiting > WAITING and not self._clock.wait(self.pause):
            self._attempt([])

    def drain(self) -> bool:
        """Send what still waits; whether it shall stop: what has not gone then is left."""
        while self.waiting and not self._clock.wait(self.pause):
            self._attempt([])
        self.sent.left += self.waiting
        return self._clock.wait(0)

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._refused) + len(self._behind)

    def _attempt(self, fresh: Sequence[Message]) -> None:
        """One sending: what was refused, and of the rest what waits behind none of these."""
        again, blocked = len(self._refused), {message.key for message in self._refused}
        pending = [*self._behind, *fresh]
        going = self._refused + [message for message in pending if message.key not in blocked]
        self._behind = [message for message in pending if message.key in blocked]
        self._refused = [going[place] for place in self._places_left(going)]
        taken = len(going) - len(self._refused)
        self.sent.taken += taken
        self.sent.again += again
        self.sent.seconds = self._clock.now() - self._started
        self._on_progress(self.sent)
        self._judge(taken)

    def _places_left(self, going: Sequence[Message]) -> list[int]:
        """Where messages lie that the bus did not take; all of them where it cannot be reached any more."""
        try:
            left = sorted(self._producer.send(going))
            self._trouble = ""
            return left
        except StreamError as error:
            if not self.sent.taken:
                raise
            self._trouble = str(error)
            return list(range(len(going)))

    def _judge(self, taken: int) -> None:
        """How long to pause before the next attempt.

        Raises:
            StreamError: nothing was taken for too long.
        """
        now, patience = self._clock.now(), self._patience
        if taken or not self._refused:
            self._taken_at = now
            self.pause = patience.first if self._refused else 0.0
            return
        if self.pause < patience.longest:
            self.pause = min(max(patience.first, 2 * self.pause), patience.longest)
            logger.warning("bus=refuses waiting=%d again_in=%.2fs %s", self.waiting, self.pause, self._trouble)
        if now - self._taken_at >= patience.most:
            why = f" ({self._trouble})" if self._trouble else ""
            raise StreamError(
                f"the bus has taken nothing for {now - self._taken_at:.0f} s{why}. {self.sent.taken:,} messages were "
                f"sent; {self.waiting:,} that were due were not, nor any after them, the first of "
                f"{self._refused[0].key}. Run it again when the bus is there: what arrived already counts once."
            )
