"""The text for cron: a marked block of one line, put into a crontab and taken out, everything else byte for byte.

cron knows neither the exchange's zone nor its holidays, and on most systems runs nothing in the hour that a change of
clocks repeats, unless the hour is a ``*``. So the line asks once an hour, at the minute at which runs are due, and
stockkit decides by the exchange's clock. A machine that slept, or was carried to another zone, is an hour late at most.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from stockkit.errors import ParamError, RunError
from stockkit.workbook.scheduling import entry as entries
from stockkit.workbook.scheduling.entry import Entry

LONGEST = 990  # characters of a command; common crons refuse from 1,000 on
BEGIN, END = ">>> stockkit schedule", "<<< stockkit schedule"
BLOCK = re.compile(rb"^# >>> stockkit schedule (\S+)\n(.*?)^# <<< stockkit schedule \1\n?", re.M | re.S)
STRAY = re.compile(rb"^# (?:>>>|<<<) stockkit schedule \S+$", re.M)


def block(entry: Entry, minutes: Sequence[int]) -> str:
    """The lines of a schedule, its marks around them.

    Args:
        entry: what is scheduled.
        minutes: of the hour, at which runs are due on this machine's clock.

    Raises:
        ParamError: the command is longer than cron takes, or holds what no line can.
    """
    entries.checked([*entry.command, entry.path])
    command = shlex.join(["/usr/bin/env", f"PATH={entry.path}", *entry.command]).replace("%", r"\%")
    if len(command.encode()) > LONGEST:
        raise ParamError(
            f"the line for cron has {len(command.encode())} bytes, and cron takes {LONGEST}: shorten PATH, which is "
            "part of it (PATH=/usr/bin:/bin stockkit schedule …), or use --as systemd."
        )
    line = f"{','.join(map(str, minutes))} * * * * {command}"
    return f"# {BEGIN} {entry.name}\n# {entry.as_json()}\n{line}\n# {END} {entry.name}\n"


def with_block(crontab: bytes, name: str, text: str) -> bytes:
    """A crontab in which the block of this name is `text`, in its old place or at the end.

    Raises:
        RunError: the marks in the crontab are not in pairs.
    """
    _check(crontab)
    for match in BLOCK.finditer(crontab):
        if match[1] == name.encode():
            return crontab[: match.start()] + text.encode() + without(crontab[match.end() :], name)
    return crontab + (b"" if crontab.endswith(b"\n") or not crontab else b"\n") + text.encode()


def without(crontab: bytes, name: str) -> bytes:
    """A crontab without the blocks of this name.

    Raises:
        RunError: the marks in the crontab are not in pairs.
    """
    _check(crontab)
    return BLOCK.sub(lambda match: b"" if match[1] == name.encode() else match[0], crontab)


def installed(crontab: bytes) -> Iterator[Entry]:
    """The entries of the blocks in a crontab; a block that cannot be read is passed over."""
    for match in BLOCK.finditer(crontab):
        first = match[2].partition(b"\n")[0].decode("utf-8", "replace")
        if (entry := entries.read(first.removeprefix("# "))) is not None:
            yield entry


def _check(crontab: bytes) -> None:
    if stray := STRAY.search(BLOCK.sub(b"", crontab)):
        raise RunError(
            f"the crontab has {stray[0].decode()!r} without its other end: nothing was changed. Put it right with "
            "`crontab -e`: a block goes from `# >>> stockkit schedule NAME` to `# <<< stockkit schedule NAME`."
        )
