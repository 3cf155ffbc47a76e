"""A claim on a lake in a store with conditional puts: one object that says which run has it, renewed as that runs.

The object is only ever replaced by its tag, never deleted: a run that ends writes into it that it has ended, and
whoever comes next replaces that. So of two that come at once one wins, whatever was lost or late in between. Each write
holds a text of its own, as tags may be sums of the bytes. How old the object is tells the store's clock alone.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from stockkit.errors import LakeError
from stockkit.files import Stored
from stockkit.workbook import manifest

KEY = "runs/lease.json"
DEAD = 60.0  # seconds without a renewal, after which a holder is replaced
LARGEST = 10_000  # bytes that are read of the object; it takes 300
TRIES = 4  # of a put that meets an earlier one of this same claim
NO_TAG = '"00000000000000000000000000000000"'


class Store(Protocol):
    """What a claim needs of a store: `files.Bucket` has it."""

    def stored(self, key: str, most: int | None = None) -> Stored | None:
        """An object with its tag and age; None where there is none."""

    def replace(self, key: str, body: bytes, tag: str | None) -> str | None:
        """Put an object in place of the one with this tag, or of none; its tag, None where another one is there."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The run that has a lake, as it describes itself.

    Attributes:
        run: its id; "" where what is there does not tell. token: of this one claim.
        started_at: when it took the lake, in UTC by its own clock.
        ended: how it let go: "" while it has the lake.
    """

    run: str = ""
    pid: int = 0
    host: str = ""
    user: str = ""
    started_at: str = ""
    token: str = ""
    ended: str = ""

    @property
    def age(self) -> float | None:
        """Seconds since it took the lake, by this machine's clock; None where it does not tell."""
        try:
            return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.started_at)).total_seconds())
        except (ValueError, TypeError):
            return None

    def __str__(self) -> str:
        if not self.run:
            return "a holder that does not say which run it is"
        age = "" if self.age is None else f" since {self.started_at}, {duration(self.age)}"
        return f"run {self.run} (process {self.pid} of {self.user} on {self.host}{age})"


def this_process(run: str) -> Holder:
    """The holder that this process is, for a run of this id."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for it
        user = str(os.getuid())
    return Holder(
        run=run,
        pid=os.getpid(),
        host=socket.gethostname(),
        user=user,
        started_at=manifest.now(),
        token=uuid.uuid4().hex,
    )


def read_holder(body: bytes) -> Holder:
    """The holder that an object or a file names; one without a run where it is anything else."""
    try:
        given = json.loads(body)
        fields = {name: given[name] for name in Holder.__dataclass_fields__ if name in given}
    except (ValueError, TypeError, RecursionError):
        return Holder()
    return Holder(**fields) if all(_is_sane(name, value) for name, value in fields.items()) else Holder()


def _is_sane(name: str, value: Any) -> bool:
    """Whether a field can be what its name says: it is shown to people."""
    if name == "pid":
        return type(value) is int and 0 <= value < 2**32
    return isinstance(value, str) and len(value) <= 300 and value.isprintable()


def encode(holder: Holder, **more: Any) -> bytes:
    """What is stored of a holder, with some more fields."""
    return (json.dumps({**asdict(holder), **more}, indent=2) + "\n").encode()


def duration(seconds: float) -> str:
    """Some seconds in words, as in "3 min 5 s"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@dataclass
class Claim:
    """One run's claim on a lake. All of it may be called from several threads.

    Attributes:
        store: where the lake is. me: who claims it.
        now: seconds of a clock that also counts while the machine sleeps, where there is one.
        renewed: when the last put was sent that the store took, by that clock.
    """

    store: Store
    me: Holder
    now: Callable[[], float] = field(default=lambda: _awake_or_not(), repr=False)
    renewed: float = float("-inf")
    _tag: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self) -> Holder | None:
        """Try to get the lake once: None where it is ours now, else who has it.

        Raises:
            LakeError: the store does not answer, or puts on no condition.
        """
        with self._lock:
            there = self.store.stored(KEY, LARGEST)
            if there is not None and not self._is_free(there):
                return read_holder(there.body)
            other = self._put(self.me, there.tag if there else None)
        if other is None:
            self._check_conditions()
        return other

    def renew(self) -> Holder | None:
        """Show that the run goes on: None where the lake is still ours, else who has it, or who broke the claim.

        Raises:
            LakeError: the store does not answer; the lake may be ours or not.
        """
        with self._lock:
            return self._put(self.me, self._tag)

    def release(self, how: str = "released") -> Holder | None:
        """Let go of the lake, where it is still ours: None where it was.

        Raises:
            LakeError: the store does not answer; the claim ends by itself.
        """
        with self._lock:
            return self._put(Holder(**{**asdict(self.me), "ended": how}), self._tag)

    def _is_free(self, there: Stored) -> bool:
        holder = read_holder(there.body)
        return bool(holder.ended) or holder.token == self.me.token or there.age > DEAD

    def _put(self, holder: Holder, tag: str | None) -> Holder | None:
        """Put an object in place of the one with this tag, or of one of this claim, whose answer was lost."""
        for _ in range(TRIES):
            sent = self.now()
            new = self.store.replace(KEY, encode(holder, write=uuid.uuid4().hex), tag)
            if new is not None:
                self._tag, self.renewed = new, sent
                return None
            there = self.store.stored(KEY, LARGEST)
            if there is None:
                return Holder(ended="removed")
            other = read_holder(there.body)
            if other.token != self.me.token or other.ended:
                return other
            tag = there.tag
        raise LakeError(f"the store refused {TRIES} times to replace {KEY}, which nobody else has changed.")

    def _check_conditions(self) -> None:
        """Prove that a put that has to be refused is refused; a store that takes it would let two runs in."""
        for tag in (None, NO_TAG):
            if self.store.replace(KEY, encode(self.me, write=uuid.uuid4().hex), tag) is not None:
                raise LakeError(
                    f"{self.store} does not heed the conditions of a put (If-None-Match, If-Match), so two runs at "
                    "once, and two writers of a table, would overwrite each other: keep the lake where they are "
                    "heeded, as on AWS S3, or in a folder."
                )


def _awake_or_not() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
