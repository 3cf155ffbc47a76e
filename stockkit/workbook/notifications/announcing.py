"""Exactly one notification a run, however it ends: told once the outcome is final, and noted in the run's folder.

A run that is killed cannot tell it any more. The next one of its parameters file does, before it starts.
"""

from __future__ import annotations

import math
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from stockkit.workbook.execution import signals
from stockkit.workbook.manifest import FAILED, PARTIAL, SUCCEEDED, Manifest, now
from stockkit.workbook.notifications import notes
from stockkit.workbook.notifications.outcome import Outcome, kind, of_run, shortened

ALWAYS, FAILURE, CHANGE = WHEN = ("always", "failure", "change")
LEAST = 5.0  # seconds that channels have in any case
OF_THE_DEAD = 15.0  # seconds for telling what became of runs that were killed
KILLED = "Killed: its process ended before it could say how the run went."
LATE = signals.known("SIGTERM", "SIGHUP")


@dataclass
class Announcer:
    """Tells the outcome of a run once.

    Args:
        channels: by name; with none nothing is told. when: one of `WHEN`. reports: where the folders of runs are.
        params_file: as a manifest names it. address: what comes before ``/<run>/index.html`` in the link to a report.
        page: where the run's own page is, once it is there. ends: when the process has to, on the monotonic clock.
        warn: gets a sentence for each channel that failed.
    """

    channels: Mapping[str, Any]
    when: str
    reports: Path
    params_file: str
    address: str = ""
    page: str = ""
    ends: float = math.inf
    warn: Callable[[str], None] = lambda text: None
    run: str = ""
    started: float = field(default_factory=time.monotonic)
    began: str = field(default_factory=now)
    outcome: Outcome | None = None
    _note: notes.Note | None = None

    def begin(self, folder: Path) -> None:
        """The run has a folder from now on; its end is to be told."""
        self.run = folder.name.removesuffix(PARTIAL)
        if not self.channels:
            return
        with suppress(OSError):  # a full disk ends the run itself
            self._note = notes.begin(folder, self.params_file)

    def publish(self, page: str) -> None:
        """The run's page is here now."""
        self.page = page

    def end(self, manifest: Manifest, exit_code: int) -> None:
        """This is how the run went."""
        self.run = manifest.run
        self.outcome = of_run(asdict(manifest), report=self._report(manifest.run), exit_code=exit_code)

    def fail(self, error: BaseException, exit_code: int | None = None) -> None:
        """An error ended the run; what its manifest says of that comes first."""
        code = exit_code or (130 if isinstance(error, KeyboardInterrupt) else 1 if self.run else 2)
        places = [self.reports / f"{self.run}{ending}" for ending in ("", PARTIAL)] if self.run else []
        manifest = next(filter(None, map(notes.manifest_of, places)), {})
        if str(manifest.get("finished_at") or "") >= self.began:  # of a run that goes on it may be its earlier end
            last_run = of_run({**manifest, "status": FAILED}, report=self._report(self.run), exit_code=code)
            self.outcome = last_run if last_run.cause else replace(last_run, cause=_cause(error))
            return
        moment = now()
        self.outcome = Outcome(
            id=f"run:{self.run or uuid.uuid4().hex}:{moment}",
            status=FAILED,
            run=self.run,
            params_file=self.params_file,
            cause=_cause(error),
            exit_code=code,
            seconds=round(time.monotonic() - self.started, 1),
            finished_at=moment,
            report=self._report(self.run) if self.run else "",
        )

    def tell(self) -> None:
        """Send the outcome, unless it was sent, or is not wanted; a channel that fails is a warning."""
        if self.outcome is None or not self.channels:
            return
        state, problems = notes.NOT_WANTED, list[str]()
        if self._is_wanted():
            from stockkit.workbook.notifications.sending import PATIENCE, send

            try:
                problems = send(self.channels, self.outcome, max(LEAST, min(PATIENCE, self.ends - time.monotonic())))
            except KeyboardInterrupt:
                problems = ["it was interrupted; it may have been sent or not."]
            state = notes.NOT_TAKEN if problems else notes.TOLD
        self._warn(problems)
        if self._note:
            with suppress(OSError):
                self._note.write(**self._noted(self.outcome, state, problems))
            self._note.close()
            self._note = None
        self.outcome = None

    def tell_of_the_dead(self) -> None:
        """Tell of earlier runs that were killed before they could; what no channel takes is left for the next run."""
        end = time.monotonic() + OF_THE_DEAD
        for folder, note in notes.untold(self.reports, self.params_file) if self.channels else ():
            try:
                if time.monotonic() < end:
                    self._tell_of_dead(folder, note, end)
            finally:
                note.close()

    def _tell_of_dead(self, folder: Path, note: notes.Note, end: float) -> None:
        from stockkit.workbook.notifications.sending import send

        run = folder.name.removesuffix(PARTIAL)
        manifest = notes.manifest_of(folder)
        if not manifest.get("finished_at"):
            manifest = {"run": run, "params_file": self.params_file, **manifest, "status": FAILED, "reason": KILLED}
        outcome = of_run({**manifest, "run": run}, report=self._report(folder.name))
        problems = send(self.channels, outcome, end - time.monotonic())
        self._warn(problems)
        if len(problems) < len(self.channels):
            with suppress(OSError):
                note.write(**self._noted(outcome, notes.TOLD, problems))

    def _warn(self, problems: Sequence[str]) -> None:
        for problem in problems:
            self.warn(f"notification: {problem}")

    def _is_wanted(self) -> bool:
        outcome = self.outcome
        if outcome is None or self.when == ALWAYS or not outcome.run:
            return True
        if self.when == FAILURE:
            return outcome.status != SUCCEEDED
        before = notes.earlier(self.reports, outcome.params_file, outcome.run)
        return before is None or kind(of_run(before, report="")) != kind(outcome)

    def _noted(self, outcome: Outcome, state: str, problems: list[str]) -> dict[str, Any]:
        from stockkit.workbook.notifications.sending import shown

        return {
            "state": state,
            "id": outcome.id,
            "params_file": self.params_file,
            "status": outcome.status,
            "channels": [shown(channel) for channel in self.channels],
            "problems": problems,
        }

    def _report(self, folder: str) -> str:
        if self.page and folder == self.run:
            if not self.address:
                return self.page
            folder = Path(self.page).parent.name
        if self.address:
            return f"{self.address.rstrip('/')}/{folder}/index.html"
        return str(self.reports / folder / "index.html")


@contextmanager
def announcing(announcer: Announcer) -> Iterator[Announcer]:
    """Tell the outcome of the run in this block when it has ended, also by an error or a signal."""
    with signals.handled(LATE, _interrupt):
        if not announcer.channels:
            yield announcer
            return
        try:
            announcer.tell_of_the_dead()
            yield announcer
        except BaseException as error:
            if announcer.outcome is None:
                announcer.fail(error)
            raise
        finally:
            with signals.handled(LATE, signal.SIG_IGN):  # it takes seconds at most, and Ctrl-C still ends it
                announcer.tell()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")


def _cause(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"Interrupted: {str(error) or 'stopped by SIGINT'}"
    return shortened(f"{type(error).__name__}: {error}")
