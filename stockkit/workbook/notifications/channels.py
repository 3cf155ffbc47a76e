"""The registry of channels over which a run tells its outcome.

A new channel is a file with a class that has the method of `stream.alerts.Notifier` and an entry in `CHANNELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockkit.errors import ParamError
from stockkit.stream import registry
from stockkit.stream.alerts.sns import open_sns
from stockkit.stream.alerts.webhook import open_webhook
from stockkit.workbook.notifications.command import open_command
from stockkit.workbook.notifications.smtp import open_smtp


@dataclass(frozen=True)
class Entry:
    """A channel and what it needs.

    Args:
        open: opens it, given what follows its name and a colon, and the workbook's folder.
        argument: what that is, for messages.
    """

    open: Callable[[str, Path], Any]
    argument: str


CHANNELS: Mapping[str, Entry] = {
    "command": Entry(open_command, "SHELLWORDS"),
    "smtp": Entry(open_smtp, "ADDRESS"),
    "webhook": Entry(open_webhook, "URL"),
    "sns": Entry(open_sns, "TOPIC_ARN"),
}


def names() -> list[str]:
    """What channels are called by, as in ``smtp:ADDRESS``."""
    return registry.names(CHANNELS)


def open_channels(channels: Sequence[str], root: Path) -> dict[str, Any]:
    """Open the channels that a `notify` parameter names, by these names.

    Args:
        channels: each one of `names`. root: the workbook's folder, which commands start in.

    Raises:
        ParamError: no such channel, its address is none, or a secret or setting that it needs is missing.
    """
    opened = {}
    for channel in channels:
        entry, argument = registry.look_up("notify:", channel, CHANNELS)
        try:
            opened[channel] = entry.open(argument, root)
        except ParamError as error:
            raise ParamError(f"notify: {error}") from error
    return opened
