"""The registry of channels over which a run tells its outcome.

A new channel is a file with a class that has the method of `stream.alerts.Notifier` and an entry in `CHANNELS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stockkit.stream import registry
from stockkit.stream.alerts.sns import open_sns
from stockkit.stream.alerts.webhook import open_webhook
from stockkit.stream.registry import Channel
from stockkit.workbook.notifications.command import open_command
from stockkit.workbook.notifications.smtp import open_smtp

CHANNELS: Mapping[str, Channel[Any]] = {
    "command": Channel(open_command, "SHELLWORDS"),
    "smtp": Channel(open_smtp, "ADDRESS"),
    "webhook": Channel(open_webhook, "URL"),
    "sns": Channel(open_sns, "TOPIC_ARN"),
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
    return registry.open_channels("notify", channels, CHANNELS, root)
