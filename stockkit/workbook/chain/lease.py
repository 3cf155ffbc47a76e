"""One run at a time on a lake: the second waits for the first, or says who it is; a dead one is in nobody's way.

In a folder it is a lock of the operating system, which goes when the process ends, however it ends. On S3 it is a claim
that is renewed every few seconds (`claims`): one that was not for a minute is dead.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stockkit.errors import LakeError
from stockkit.files import Bucket, Files, Folder
from stockkit.local_files import lock, write_atomically
from stockkit.workbook.chain import claims
from stockkit.workbook.chain.claims import KEY, Claim, Holder

if TYPE_CHECKING:
    from stockkit.lake.tables import Lake

EVERY = 15.0  # seconds between two renewals
AGAIN = 3.0  # seconds until a renewal that failed is tried again
MOST = 45.0  # seconds without a renewal, after which one that fails ends the run: in time before others think it dead
HUNG = 54  # seconds of a running process in which no renewal came to an end
TICK = 1.0  # seconds
PATIENCE = 4.0  # seconds that a renewal waits for the store
LOOK = {"folder": 0.25, "bucket": 3.0}  # seconds between two looks at whether the lake is free
GRACE = 0.5  # seconds that even the impatient wait: another one may only be looking
REMIND = 300.0  # seconds after which one is told again whom a run waits for
UNANSWERED = 60.0  # seconds that a run that waits bears with a store that does not answer
WAY_OUT = "A run keeps its lock there: make the folder writable, or name another lake with -p lake=FOLDER."


@dataclass
class Lease:
    """That a run has a lake to itself, as long as `lost` is not set.

    Attributes:
        run: its id. lost: set once the lake may be another run's. reason: how that came.
        on_lost: called once with the reason, in whatever thread notices.
        handle: the open file whose lock keeps the others out, for a process that has to outlive this one; None on S3.
    """

    run: str
    lost: threading.Event = field(default_factory=threading.Event)
    reason: str = ""
    handle: int | None = None
    on_lost: Callable[[str], object] = field(default=lambda reason: None, repr=False)
    _confirm: Callable[[], str] = field(default=lambda: "", repr=False)

    def lose(self, reason: str) -> None:
        """From now on the lake counts as another run's."""
        if not self.lost.is_set():
            self.reason = f"the lease on the lake was lost {reason}"
            self.lost.set()
            self.on_lost(self.reason)

    def ask(self) -> None:
        """Look anew whether the lake is this run's; `lost` is set where it is not, or nobody answers."""
        if not self.lost.is_set() and (reason := self._confirm()):
            self.lose(reason)


@contextmanager
def taken(
    lake: Lake,
    run_id: str,
    *,
    wait: float = 3600.0,
    on_wait: Callable[[Holder], object] = lambda holder: None,
    on_lost: Callable[[str], object] = lambda reason: None,
    stopped: Callable[[], str] = lambda: "",
) -> Iterator[Lease]:
    """Have a lake to oneself while the block runs.

    Args:
        lake: in a folder, or on S3. run_id: what others are told.
        wait: seconds to wait for another run to end; 0 for none.
        on_wait: called for each run that is waited for, and every five minutes while it is.
        on_lost: called with the reason once the lake is lost.
        stopped: why the waiting has to end early; "" while it has not.

    Raises:
        LakeError: another run has it, and is named; or nothing can be written there.
    """
    me, patience = claims.this_process(run_id), _Patience(str(lake.files), wait, on_wait, stopped)
    files = lake.files
    with _taken_folder(files, me, patience) if isinstance(files, Folder) else _taken_bucket(files, me, patience) as got:
        got.on_lost = on_lost
        yield got


@dataclass
class _Patience:
    """How long one waits, and who hears of it."""

    lake: str
    wait: float
    on_wait: Callable[[Holder], object]
    stopped: Callable[[], str]

    def until(self, attempt: Callable[[], Holder | None], pause: float) -> None:
        """Try until nobody has the lake.

        Raises:
            LakeError: somebody has it for longer than one waits, or the store does not answer for long.
        """
        started = answered = time.monotonic()
        announced, reminded = None, started
        while True:
            try:
                holder = attempt()
                answered = time.monotonic()
            except LakeError:
                if announced is None or time.monotonic() - answered > UNANSWERED:
                    raise
                holder = announced
            if holder is None:
                return
            left = started + max(self.wait, GRACE) - time.monotonic()
            if left <= 0:
                raise LakeError(self._refusal(holder))
            if reason := self.stopped():
                raise LakeError(f"{reason} while the lake {self.lake} was in use by {holder}: nothing was started.")
            new = announced is None or announced.token != holder.token or time.monotonic() - reminded > REMIND
            if self.wait > 0 and new:
                self.on_wait(holder)
                reminded = time.monotonic()
            announced = holder
            time.sleep(min(pause, left))

    def _refusal(self, holder: Holder) -> str:
        waited = f"after {claims.duration(self.wait)} of waiting " if self.wait > 0 else ""
        return (
            f"the lake {self.lake} is {waited}in use by {holder}: nothing was started. Let that run end, wait for it "
            "with --wait SECONDS, or look with `stockkit lake lease` whether it still lives."
        )


@contextmanager
def _taken_folder(files: Folder, me: Holder, patience: _Patience) -> Iterator[Lease]:
    path, note = _lock_file(files), files.path / KEY
    handles: list[int] = []

    def attempt() -> Holder | None:
        handle = _locked(path)
        handles.extend(() if handle is None else (handle,))
        return None if handle is not None else _noted(files) or Holder()

    patience.until(attempt, LOOK["folder"])
    try:
        write_atomically(note, claims.encode(me), way_out=WAY_OUT)
        yield Lease(me.run, handle=handles[0], _confirm=lambda: _lock_is_gone(path, handles[0]))
    finally:
        with suppress(OSError):
            note.unlink()
        _unlock(handles[0])


def _lock_file(files: Folder) -> Path:
    path = files.path / Path(KEY).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeError(f"cannot write {path.parent}: {error.strerror}. {WAY_OUT}") from error
    return path


def _locked(path: Path) -> int | None:
    try:
        return lock(path, wait=False)
    except OSError as error:
        raise LakeError(f"cannot lock {path}: {error.strerror}. {WAY_OUT}") from error


def _unlock(handle: int) -> None:
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_UN)  # also where a process that was started meanwhile has inherited it
    os.close(handle)


def _noted(files: Folder) -> Holder | None:
    try:
        with open(files.path / KEY, "rb") as file:
            return claims.read_holder(file.read(claims.LARGEST))
    except OSError:
        return None


def _lock_is_gone(path: Path, handle: int) -> str:
    try:
        same = os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        same = False
    return "" if same else f"as {path} was removed or replaced while it was locked"


@contextmanager
def _taken_bucket(files: Bucket, me: Holder, patience: _Patience) -> Iterator[Lease]:
    claim = Claim(files, me)
    patience.until(claim.take, LOOK["bucket"])
    claim.store = replace(files, session=files.session.impatient(PATIENCE))
    lease = Lease(me.run, _confirm=lambda: _confirmed(claim))
    ended = threading.Event()
    for work in (_keep, _watch):
        threading.Thread(target=work, args=(claim, lease, ended), name=f"lease{work.__name__}", daemon=True).start()
    try:
        yield lease
    finally:
        ended.set()
        with suppress(LakeError):  # it is dead a minute from now
            claim.release()


def _confirmed(claim: Claim) -> str:
    """Renew a claim; why it is lost, "" where it is not, as a renewal of some seconds ago tells where none goes."""
    try:
        other = claim.renew()
    except LakeError as error:
        return _unrenewed(claim, error)
    return _loss(claim, other) if other else ""


def _unrenewed(claim: Claim, error: Exception) -> str:
    quiet = claim.now() - claim.renewed
    return f"as it could not be renewed for {claims.duration(quiet)}: {error}" if quiet > MOST else ""


def _loss(claim: Claim, other: Holder) -> str:
    if other.token == claim.me.token or not other.token:
        return f"as it was {other.ended}" if other.ended else "as something else was put in its place"
    return f"to {other}"


def _keep(claim: Claim, lease: Lease, ended: threading.Event) -> None:
    """Renew a claim every few seconds until it has ended or is lost; at once after the machine slept."""
    due = claim.renewed + EVERY
    while not ended.wait(TICK) and not lease.lost.is_set():
        if claim.now() < due:
            continue
        try:
            other = claim.renew()
            reason, due = _loss(claim, other) if other else "", claim.renewed + EVERY
        except Exception as error:  # whatever it is, the claim was not renewed
            reason, due = _unrenewed(claim, error), claim.now() + AGAIN
        if reason and not ended.is_set():
            lease.lose(reason)


def _watch(claim: Claim, lease: Lease, ended: threading.Event) -> None:
    """Notice a renewal that hangs, by the seconds in which this process ran: one that was stopped asks first."""
    seconds, renewed = 0, claim.renewed
    while not ended.wait(TICK) and not lease.lost.is_set():
        seconds, renewed = (seconds + 1, renewed) if claim.renewed == renewed else (0, claim.renewed)
        if seconds > HUNG:
            lease.lose(f"as it could not be renewed for {seconds} s: the store does not answer")


def state(lake: Lake) -> tuple[Holder | None, str]:
    """Who has a lake, None for nobody, and in words how sure that is.

    Raises:
        LakeError: nothing can be read there.
    """
    return _state_of_folder(lake.files) if isinstance(lake.files, Folder) else _state_of_bucket(lake.files)


def _state_of_folder(files: Folder) -> tuple[Holder | None, str]:
    noted = _noted(files)
    path = files.path / Path(KEY).with_suffix(".lock")
    handle = _locked(path) if path.exists() else -1
    if handle is None:
        return noted or Holder(), "it lives: its process has the lock"
    if handle >= 0:
        _unlock(handle)
    return None, f"{noted} ended without saying so; it is in nobody's way" if noted else "no run has it"


def _state_of_bucket(files: Bucket) -> tuple[Holder | None, str]:
    there = files.stored(KEY, claims.LARGEST)
    if there is None:
        return None, "no run has it"
    holder = claims.read_holder(there.body)
    if holder.ended:
        return None, f"no run has it; the last one was {holder}"
    quiet = f"it was renewed {claims.duration(there.age)} ago"
    if there.age > claims.DEAD:
        return None, f"{holder} is dead, {quiet}; it is in nobody's way"
    return holder, quiet


def break_(lake: Lake, by: str) -> str:
    """Take the lease away from a run on S3, or clear up after a dead one; in words what was done.

    Args:
        lake: whose. by: who does it, as the run will say that lost it.

    Raises:
        LakeError: the holder lives on this machine's lock, or the lease changed hands meanwhile.
    """
    files: Files = lake.files
    holder, words = state(lake)
    if isinstance(files, Folder):
        if holder is not None:
            raise LakeError(f"the lake {files} is in use by {holder}: {words}. End it with `kill {holder.pid}`.")
        (files.path / KEY).unlink(missing_ok=True)
        return words
    return _broken(files, by)


def _broken(files: Bucket, by: str) -> str:
    there = files.stored(KEY, claims.LARGEST)
    holder = claims.read_holder(there.body) if there else Holder(ended="released")
    if there is None or holder.ended:
        return "no run has it"
    if files.replace(KEY, claims.encode(replace(holder, ended=f"broken by {by}")), there.tag) is None:
        raise LakeError(
            f"the lease of {files} changed while it was to be broken: {holder} lives, or another has it now."
        )
    return f"the lease of {holder} is broken; if that run lives, it fails within {claims.duration(EVERY)}"
