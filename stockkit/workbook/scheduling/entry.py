"""What is scheduled: one run a session of one parameters file, and the command that asks whether it is due."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stockkit.errors import ParamError

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PREFIX = "stockkit-"


@dataclass(frozen=True)
class Entry:
    """One scheduled run.

    Attributes:
        params: the parameters file, absolute.
        at: when, as in ``close+30m``.
        calendar: the calendar in place of the parameters'; "" for theirs.
        words: what follows PARAMS in the command `stockkit run`.
        log: the file that takes what the runs print, absolute.
        environment: a file of variables for the runs, absolute; "" for none.
        path: the folders in which a run finds programs, as in PATH.
        program: the words that start stockkit, the first of them absolute.
    """

    params: str
    at: str
    calendar: str
    words: tuple[str, ...]
    log: str
    environment: str = ""
    path: str = ""
    program: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The same for one parameters file, however it is scheduled."""
        return name_of(Path(self.params))

    @property
    def command(self) -> list[str]:
        """The words that ask whether the run is due, and run if so."""
        calendar = [f"--calendar={self.calendar}"] if self.calendar else []
        variables = [f"--environment={self.environment}"] if self.environment else []
        asks = [f"--at={self.at}", *calendar, f"--log={self.log}", *variables, "--if-due"]
        return [*self.program, "schedule", self.params, *asks, *(["--", *self.words] if self.words else [])]

    def as_json(self) -> str:
        """One line of ASCII, from which `read` makes the same entry, but for how a run is started."""
        return json.dumps({name: value for name, value in asdict(self).items() if name not in ("path", "program")})


def read(text: str) -> Entry | None:
    """The entry of a line of JSON; None where it is none."""
    try:
        values = json.loads(text)
        return Entry(**{**values, "words": tuple(values["words"])})
    except (ValueError, TypeError, KeyError):
        return None


def name_of(params: Path) -> str:
    """A name for the schedule of a parameters file, of letters, digits, ``_`` and ``-``."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", params.stem).strip("-")[:40]
    digest = hashlib.sha256(str(params).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{PREFIX}{stem}-{digest}" if stem else f"{PREFIX}{digest}"


def checked(words: Sequence[str]) -> None:
    """Refuse what stands in no line.

    Raises:
        ParamError: a word with a line break or another control character, or that is no text.
    """
    for word in words:
        if CONTROL.search(word):
            raise ParamError(
                f"{word[:80]!a} holds a control character, which no line of cron or systemd can: rename it."
            )
        if any("\ud800" <= sign <= "\udfff" for sign in word):
            raise ParamError(f"{word[:80]!a} is no UTF-8, which a line of cron or systemd has to be.")
