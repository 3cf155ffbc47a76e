"""The whole path in one process: producer, bus, pipeline, lake and alerts, each at a pace of its own.

Signals are stored with every micro-batch, within some 50 ms; the lake gets its rows every few seconds; alerts go out
when they are due. What cannot be reached for a while is tried again; what was read stays in the store meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from stockkit.errors import LakeError, StreamError
from stockkit.lake.tables import Lake
from stockkit.stream import alerts, archive
from stockkit.stream.bus.protocol import Bus, Consumer, Record
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.quotes import Copies
from stockkit.stream.reports import Backlog, Report, Troubles
from stockkit.stream.store import Fenced, Store

log = logging.getLogger(__name__)

RECORDS = 2_000  # of one micro-batch
POLL = 0.05  # seconds to wait for records
DELIVERY = 0.1  # seconds between two looks into the outbox
COPIED = 1.0  # seconds between two copies of the newest quotes
SHOWN = 0.5  # seconds between two reports
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds before something that failed is tried again
QUIET = 3.0  # seconds without a record after which a bus that knows no end is taken as read, once the producer ended
CORRECTION = 60.0  # seconds between two corrections of bars by late ticks
FAREWELL = 3  # tries of the last commit to the lake
GROUP = "stockkit"
Counts = Mapping[str, int]
Show = Callable[[Consumer | None], None]


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


@dataclass
class Service:
    """Runs a pipeline until it is stopped or everything is read.

    Args:
        lake: where the tables are. store: makes a connection to the store; each thread has its own.
        bus: where records come from. step: what is done with them. stop: set to end it after what was read is stored.
        produce: sends the records of a producer until it is done or the event is set; None where others send.
        notifiers: by channel. copies: brings the newest quotes to another place; None for the store alone.
    """

    lake: Lake
    store: Callable[[], Store]
    bus: Bus
    step: Step
    produce: Callable[[threading.Event], Any] | None = None
    notifiers: Mapping[str, Any] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    stop: threading.Event = field(default_factory=threading.Event)
    copies: Copies | None = None

    def __post_init__(self) -> None:
        self._due = threading.Event()  # rows are to go to the lake
        self._raised = {channel: threading.Event() for channel in self.notifiers}  # alerts wait
        self._troubles = Troubles()
        self._waiting = 0
        self._sent = dict.fromkeys(self.notifiers, 0)
        self._archived: dict[str, int] = {}
        self._failure: BaseException | None = None
        self._backlog = Backlog()

    def run(self, show: Callable[[Report], None] = lambda report: None) -> Report:
        """Work until `stop` is set, the time is up, or everything is read; then store and commit what was read.

        Args:
            show: gets a report twice a second.

        Raises:
            StreamError: the producer failed, or the lake cannot be written at the end; what was read is in the store.
        """
        store = self.store()
        try:
            return self._work(store, show)
        finally:
            store.close()

    def _work(self, store: Store, show: Callable[[Report], None]) -> Report:
        before, self._shown, self._started = store.counts(), (time.monotonic(), 0), time.monotonic()
        works = [self._flush_often, *(partial(self._deliver, channel) for channel in self.notifiers)]
        works += [self._copy_quotes] if self.copies else []
        threads = [threading.Thread(target=self._guarded, args=(work,)) for work in works]
        sender = threading.Thread(target=self._send)
        for thread in [*threads, sender]:
            thread.daemon = True
            thread.start()
        try:
            self._consume(store, sender, lambda consumer: self._show(show, store, before, consumer))
        finally:
            for event in (self.stop, self._due, *self._raised.values()):
                event.set()
            for thread in [sender, *threads]:
                thread.join()
        self._finish(store)
        if self._failure is not None:
            raise self._failure
        return self._report(store, before, None)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Work in a thread; an error that the work does not expect ends the service, which raises it."""
        try:
            work()
        except BaseException as error:
            self._failure = error
            self.stop.set()

    def _consume(self, store: Store, sender: threading.Thread, show: Show) -> None:
        """Read and take micro-batches, with a new consumer after each error of the bus."""
        pipeline, self._pause = Pipeline(store, self.step), FIRST_WAIT

        def start(partition: str) -> int | None:
            pipeline.forget()  # where another consumer had the partition meanwhile, the store knows more
            return store.last_offset(partition)

        while not self._is_over():
            try:
                consumer = self.bus.consumer(GROUP, start)
                try:
                    return self._read(pipeline, consumer, sender, show)
                finally:
                    consumer.close()
            except Fenced as fenced:
                log.warning("event=fenced: %s", fenced)
            except StreamError as error:
                self._troubles.note("bus", error)
            pipeline.forget()
            show(None)
            self.stop.wait(self._pause)
            self._pause = min(2 * self._pause, LONGEST_WAIT)

    def _read(self, pipeline: Pipeline, consumer: Consumer, sender: threading.Thread, show: Show) -> None:
        """Poll and take until it is over, or everything is read."""
        heard = shown = time.monotonic()
        while not self._is_over():
            came = self._take(pipeline, consumer, show)
            now = time.monotonic()
            # where the bus tells the lag of no partition, none was given to us yet: that is no quiet
            self._pause, heard = FIRST_WAIT, now if came or not consumer.lag() else heard
            if now - shown >= SHOWN:
                shown = now
                show(consumer)
            done = self.produce and not sender.is_alive() and now - heard > QUIET and not came
            if consumer.finished() or done:
                pipeline.pass_time(_now(), consumer.lag(), at_end=True)
                return

    def _take(self, pipeline: Pipeline, consumer: Consumer, show: Show) -> bool:
        """Poll and store one micro-batch; whether there was one."""
        records = consumer.poll(RECORDS, POLL)
        self._troubles.note("bus", None)
        self._store(pipeline, records, consumer, show)
        self._waiting += len(records)
        if self._waiting >= self.pace.waiting:
            self._due.set()
        if archived := self._archived:
            self._archived = {}
            consumer.commit(archived)
        if records:
            self._backlog.delay = (_now() - records[-1].arrival) / 1e6
        return bool(records)

    def _store(self, pipeline: Pipeline, records: Sequence[Record], consumer: Consumer, show: Show) -> None:
        """Store what records come to; again and again where the store cannot be written, as nothing else can be done.

        Where it is over before that, they stay in the bus.
        """
        wait = FIRST_WAIT
        while True:
            now = _now()
            try:
                batch = pipeline.take(records, now) if records else pipeline.pass_time(now, consumer.lag())
                break
            except Fenced:
                raise
            except StreamError as error:
                self._troubles.note("store", error)
            if self._is_over():
                return
            show(consumer)
            self.stop.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        self._troubles.note("store", None)
        if batch.alerts:
            for raised in self._raised.values():
                raised.set()

    def _is_over(self) -> bool:
        late = self.pace.seconds and time.monotonic() - self._started >= self.pace.seconds
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
                self._troubles.note("lake", None)
                wait = self.pace.flush
            except archive.Displaced:
                raise
            except (LakeError, StreamError) as error:
                self._troubles.note("lake", error)
                wait = min(2 * wait, LONGEST_WAIT)
        store.close()

    def _flush(self, store: Store) -> None:
        self._waiting = 0
        self._archived = archive.flush(self.lake, store)

    def _copy_quotes(self) -> None:
        """Bring the newest quotes to where they are kept, too, again and again."""
        store, wait = self.store(), COPIED
        while not self.stop.wait(wait):
            wait = COPIED if self._bring_quotes(store) else min(2 * wait, LONGEST_WAIT)
        store.close()

    def _bring_quotes(self, store: Store) -> bool:
        """Bring the quotes that are new; false where they cannot be written."""
        if self.copies:
            with self._troubles.noting("quotes"):
                self.copies.bring(store)
        return "quotes" not in self._troubles.texts()

    def _deliver(self, channel: str) -> None:
        """Send the alerts of a channel that are due, again and again; a slow one holds up none of the others."""
        store = self.store()
        while not self.stop.is_set():
            self._raised[channel].wait(DELIVERY)
            self._raised[channel].clear()
            self._send_alerts(store, channel)
        store.close()

    def _send_alerts(self, store: Store, channel: str) -> None:
        """Send the alerts of a channel that are due, and note whether it takes them."""
        where = f"alerts to {alerts.shown(channel)}"
        try:
            self._sent[channel] += alerts.deliver(store, {channel: self.notifiers[channel]}, _now())
            self._troubles.note(where, store.paused(channel).detail)
        except StreamError as error:
            self._troubles.note(where, error)

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
        with self._troubles.noting("bus"):
            consumer = self.bus.consumer(GROUP, store.last_offset)
            consumer.commit(archived)
            consumer.close()
        self._bring_quotes(store)
        for channel in self.notifiers:
            self._send_alerts(store, channel)
        counts = store.alert_counts()
        if left := ", ".join(f"{counts[state]:,} {state}" for state in ("given up", "waiting") if counts.get(state)):
            log.warning(
                "event=alerts_left: %s; `stockkit stream alert` lists them, the next run sends those that wait", left
            )

    def _show(self, show: Callable[[Report], None], store: Store, before: Counts, consumer: Consumer | None) -> None:
        """Hand out a report, where the store can be read."""
        with suppress(StreamError):
            report = self._report(store, before, consumer)
            if self._backlog.is_time_to_look(time.monotonic()):
                self._troubles.note("lag", self._backlog.look(report.lag))
            show(report)

    def _report(self, store: Store, before: Counts, consumer: Consumer | None) -> Report:
        counts = {name: count - before.get(name, 0) for name, count in store.counts().items()}
        (then, ticks), now = self._shown, time.monotonic()
        rate = (counts.get("ticks", 0) - ticks) / max(now - then, 1e-9)
        self._shown = now, counts.get("ticks", 0)
        lag = sum(consumer.lag().values()) if consumer is not None else 0
        delay = self._backlog.delay if consumer is not None else 0.0
        return Report(counts, sum(self._sent.values()), rate, lag, delay, tuple(store.quotes()), self._troubles.texts())


def _now() -> int:
    return time.time_ns() // 1_000
