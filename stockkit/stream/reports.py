"""How a service goes: its counts, what cannot be reached, and whether records come faster than they are stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from stockkit.errors import StockkitError, StreamError
from stockkit.stream.store import Quote

LOOK, LOOKS, LATE = 10.0, 3, 10.0  # a delay of over 10 s that grew over three looks, 10 s apart, is said
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """How it goes.

    Attributes:
        counts: of this run: records, ticks, duplicates, rejects, late, bars, signals. sent: alerts sent in it.
        rate: ticks a second since the last report. lag: records that wait in the bus. delay: seconds between the
            newest record's arrival at the bus and its being stored. quotes: the newest prices.
        trouble: what cannot be reached at the moment, by what it is; empty when all is well.
    """

    counts: Mapping[str, int]
    sent: int
    rate: float
    lag: int
    delay: float
    quotes: tuple[Quote, ...]
    trouble: Mapping[str, str]


class Troubles:
    """What is wrong at the moment, by where; each is logged once, and once when it is well again."""

    def __init__(self) -> None:
        self._by_place: dict[str, StockkitError | str] = {}

    def texts(self) -> dict[str, str]:
        """What is wrong, in words."""
        return {place: str(problem) for place, problem in dict(self._by_place).items()}

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note an error of the stream instead of raising it: it is tried again."""
        try:
            yield
            self.note(what, None)
        except StreamError as error:
            self.note(what, error)

    def note(self, what: str, problem: StockkitError | str | None) -> None:
        """Remember what is wrong; log it once, and once when it is well again.

        The same problem comes in many words (names of files, seconds): its kind tells whether it is another one.
        """
        before = self._by_place.get(what)
        if problem:
            self._by_place[what] = problem
            if type(problem) is not type(before):
                log.warning("event=trouble where=%s: %s", what, problem)
        elif before is not None:
            del self._by_place[what]
            log.warning("event=recovered where=%s", what)


class Backlog:
    """Whether records come faster than they are stored.

    Attributes:
        delay: seconds between the newest record's arrival at the bus and its being stored.
    """

    def __init__(self) -> None:
        self.delay = 0.0
        self._next = 0.0
        self._delays: list[float] = []

    def is_time_to_look(self, now: float) -> bool:
        """Whether it is; the next time is `LOOK` seconds later."""
        if now < self._next:
            return False
        self._next = now + LOOK
        return True

    def look(self, lag: int) -> StreamError | None:
        """What to say where the delay grew from look to look. lag: records that wait."""
        self._delays = [*self._delays[-LOOKS:], self.delay]
        grows = all(earlier < later for earlier, later in pairwise(self._delays))
        if len(self._delays) <= LOOKS or not grows or self.delay < LATE:
            return None
        return StreamError(
            f"records come faster than they are stored: the newest one was stored {self.delay:,.0f} s after it came, "
            f"{lag:,} wait, and they become more. Nothing is lost as long as the bus keeps them; start more consumers."
        )
