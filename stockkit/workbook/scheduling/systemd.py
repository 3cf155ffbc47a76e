"""The text for systemd: a user timer in the exchange's own time zone, and the service that it starts.

The timer fires each day at every time at which a run may be due, early closes among them; stockkit decides whether one
is. ``Persistent`` makes up for a time at which the machine was off.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stockkit.errors import ParamError
from stockkit.workbook.scheduling import entry as entries
from stockkit.workbook.scheduling.entry import Entry

MARK = "# stockkit schedule: "


def units(entry: Entry, zone: str, times: Sequence[str], root: Path) -> dict[str, str]:
    """The two files, by name.

    Args:
        entry: what is scheduled.
        zone: the exchange's, an IANA name.
        times: of the exchange's clock, HH:MM.
        root: the workbook's folder, in which the service runs.

    Raises:
        ParamError: something in it stands in no line.
    """
    entries.checked([*entry.command, entry.path, str(root)])
    if not root.is_absolute() or str(root) != str(root).strip().rstrip("\\"):
        raise ParamError(f"systemd takes no folder such as {str(root)!r}: rename it, or use --as cron.")
    service = f"""{MARK}{entry.as_json()}
[Unit]
Description=stockkit run {_escaped(Path(entry.params).name)}, if a session's run is due

[Service]
Type=oneshot
WorkingDirectory={_escaped(str(root))}
Environment={_quoted(f"PATH={entry.path}")}
ExecStart={" ".join(_quoted(word, command=True) for word in entry.command)}
"""
    lines = "\n".join(f"OnCalendar=*-*-* {time}:00 {zone}" for time in times)
    timer = f"""{MARK}{entry.as_json()}
[Unit]
Description=stockkit run {_escaped(Path(entry.params).name)} after each session

[Timer]
{lines}
Persistent=true
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
    return {f"{entry.name}.service": service, f"{entry.name}.timer": timer}


def installed(timer: str) -> Entry | None:
    """The entry of a timer's text; None where it is none of ours."""
    first = timer.partition("\n")[0]
    return entries.read(first.removeprefix(MARK)) if first.startswith(MARK) else None


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str, *, command: bool = False) -> str:
    """A word as systemd reads it back; in a command, `$` would be a variable."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text.replace("$", "$$") if command else text}"'
