"""The whole path in one process: producer, bus, pipeline, lake and alerts, each at a pace of its own.

Signals are stored with every micro-batch, within some 50 ms; the lake gets its rows every few seconds; alerts go out
when they are due. What cannot be reached for a while is tried again; what was read stays in the store meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from stockkit.errors import LakeError, StreamError
from stockkit.lake.tables import Lake
from stockkit.stream import alerts, archive
from stockkit.stream.bus.protocol import Bus, Consumer
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.store import Quote, Store

log = logging.getLogger(__name__)

RECORDS = 2_000  # of one micro-batch
POLL = 0.05  # seconds to wait for records
DELIVERY = 0.1  # seconds between two looks into the outbox
SHOWN = 0.5  # seconds between two reports
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds before something that failed is tried again
QUIET = 3.0  # seconds without a record after which a bus that knows no end is taken as read, once the producer ended
CORRECTION = 60.0  # seconds between two corrections of bars by late ticks
FAREWELL = 3  # tries of the last commit to the lake
GROUP = "stockkit"


@dataclass(frozen=True)
class Pace:
    """When it stops, and how often the lake gets rows.

    Attributes:
        seconds: to run; 0 for until the producer is done, or until it is stopped where there is none.
        flush: seconds between two commits to the lake. waiting: records read since, at which it commits at once.
    """

    seconds: float = 0.0
    flush: float = 5.0
    waiting: int = 50_000


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


@dataclass
class Service:
    """Runs a pipeline until it is stopped or everything is read.

    Args:
        lake: where the tables are. store: makes a connection to the store; each thread has its own.
        bus: where records come from. step: what is done with them. stop: set to end it after what was read is stored.
        produce: sends the records of a producer until it is done or the event is set; None where others send.
        notifiers: by channel.
    """

    lake: Lake
    store: Callable[[], Store]
    bus: Bus
    step: Step
    produce: Callable[[threading.Event], Any] | None = None
    notifiers: Mapping[str, Any] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._raised, self._due = threading.Event(), threading.Event()  # alerts wait; rows are to go to the lake
        self._trouble: dict[str, str] = {}
        self._waiting = self._sent = 0
        self._archived: dict[str, int] = {}
        self._failure: BaseException | None = None

    def run(self, show: Callable[[Report], None] = lambda report: None) -> Report:
        """Work until `stop` is set, the time is up, or everything is read; then store and commit what was read.

        Args:
            show: gets a report twice a second.

        Raises:
            StreamError: the producer failed, or the lake cannot be written at the end; what was read is in the store.
        """
        store = self.store()
        before, self._shown = store.counts(), (time.monotonic(), 0)
        threads = [threading.Thread(target=self._flush_often, daemon=True)]
        threads += [threading.Thread(target=self._deliver, daemon=True)]
        sender = threading.Thread(target=self._send, daemon=True)
        for thread in [*threads, sender]:
            thread.start()
        try:
            self._consume(store, sender, lambda consumer, delay: show(self._report(store, before, consumer, delay)))
        finally:
            for event in (self.stop, self._due, self._raised):
                event.set()
            for thread in [sender, *threads]:
                thread.join()
        self._finish(store)
        if self._failure is not None:
            raise self._failure
        return self._report(store, before, None, 0.0)

    def _consume(self, store: Store, sender: threading.Thread, show: Callable[[Consumer, float], None]) -> None:
        """Read and take micro-batches, with a new consumer after each error."""
        pipeline, started, wait = Pipeline(store, self.step), time.monotonic(), FIRST_WAIT
        shown = heard = started
        while not self._is_over(started):
            try:
                consumer = self.bus.consumer(GROUP, store.last_offset)
                try:
                    while not self._is_over(started):
                        delay = self._take(pipeline, consumer)
                        now = time.monotonic()
                        wait, heard = FIRST_WAIT, now if delay is not None else heard
                        if now - shown >= SHOWN:
                            shown = now
                            show(consumer, delay or 0.0)
                        if consumer.finished() or (
                            self.produce and not sender.is_alive() and now - heard > QUIET and delay is None
                        ):
                            pipeline.pass_time(_now(), consumer.lag(), at_end=True)
                            return
                finally:
                    consumer.close()
            except StreamError as error:
                self._note("bus", str(error))
                pipeline.forget()
                self.stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def _take(self, pipeline: Pipeline, consumer: Consumer) -> float | None:
        """Poll and store one micro-batch; return the seconds since its newest record arrived, None where none came."""
        records = consumer.poll(RECORDS, POLL)
        now = _now()
        batch = pipeline.take(records, now) if records else pipeline.pass_time(now, consumer.lag())
        self._note("bus", "")
        if batch.alerts:
            self._raised.set()
        self._waiting += len(records)
        if self._waiting >= self.pace.waiting:
            self._due.set()
        if archived := self._archived:
            self._archived = {}
            consumer.commit(archived)
        return (_now() - records[-1].arrival) / 1e6 if records else None

    def _is_over(self, started: float) -> bool:
        late = self.pace.seconds and time.monotonic() - started >= self.pace.seconds
        return self.stop.is_set() or bool(late)

    def _send(self) -> None:
        """Run the producer."""
        if self.produce is None:
            return
        try:
            self.produce(self.stop)
        except BaseException as error:
            self._failure = error

    def _flush_often(self) -> None:
        """Commit to the lake what waits in the store, again and again."""
        store, wait, corrected = self.store(), self.pace.flush, time.monotonic()
        while not self.stop.is_set():
            self._due.wait(wait)
            self._due.clear()
            try:
                self._flush(store)
                if time.monotonic() - corrected > CORRECTION:
                    archive.correct(self.lake, store)
                    archive.compact(self.lake)
                    corrected = time.monotonic()
                self._note("lake", "")
                wait = self.pace.flush
            except (LakeError, StreamError) as error:
                self._note("lake", str(error))
                wait = min(2 * wait, LONGEST_WAIT)
        store.close()

    def _flush(self, store: Store) -> None:
        self._waiting = 0
        self._archived = archive.flush(self.lake, store)

    def _deliver(self) -> None:
        """Send the alerts that are due, again and again."""
        if not self.notifiers:
            return
        store = self.store()
        while not self.stop.is_set():
            self._raised.wait(DELIVERY)
            self._raised.clear()
            with self._noting("alerts"):
                self._sent += alerts.deliver(store, self.notifiers, _now())
        store.close()

    def _finish(self, store: Store) -> None:
        """Commit what was read to the lake, and tell the bus."""
        for attempt in range(1, FAREWELL + 1):
            try:
                archived = archive.flush(self.lake, store)
                archive.correct(self.lake, store)
                archive.compact(self.lake)
                archive.complete(self.lake)
                break
            except LakeError as error:
                if attempt == FAREWELL:
                    raise StreamError(
                        f"what was read is in {store.path} and not in the lake yet: {error} "
                        "The next `stockkit stream run` goes on with it."
                    ) from error
                time.sleep(FIRST_WAIT * 2**attempt)
        with self._noting("bus"):
            consumer = self.bus.consumer(GROUP, store.last_offset)
            consumer.commit(archived)
            consumer.close()
        if self.notifiers:
            with self._noting("alerts"):
                self._sent += alerts.deliver(store, self.notifiers, _now())

    @contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        """Note an error of the stream instead of raising it: it is tried again."""
        try:
            yield
            self._note(what, "")
        except StreamError as error:
            self._note(what, str(error))

    def _note(self, what: str, problem: str) -> None:
        """Remember what cannot be reached; log it once, and once when it can again."""
        if problem == self._trouble.get(what, ""):
            return
        if problem:
            self._trouble[what] = problem
            log.warning("event=trouble where=%s: %s", what, problem)
        else:
            del self._trouble[what]
            log.warning("event=recovered where=%s", what)

    def _report(self, store: Store, before: Mapping[str, int], consumer: Consumer | None, delay: float) -> Report:
        counts = {name: count - before.get(name, 0) for name, count in store.counts().items()}
        (then, ticks), now = self._shown, time.monotonic()
        rate = (counts.get("ticks", 0) - ticks) / max(now - then, 1e-9)
        self._shown = now, counts.get("ticks", 0)
        lag = sum(consumer.lag().values()) if consumer is not None else 0
        return Report(counts, self._sent, rate, lag, delay, tuple(store.quotes()), dict(self._trouble))


def _now() -> int:
    return time.time_ns() // 1_000
