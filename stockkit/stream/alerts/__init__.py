"""Alerts: signals as messages, from the outbox of the store to people and machines. The registry of notifiers.

A new notifier is a file with a class that has the method of `Notifier` and an entry in `NOTIFIERS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stockkit.stream import registry
from stockkit.stream.alerts.console import Console
from stockkit.stream.alerts.delivery import deliver
from stockkit.stream.alerts.file import open_file
from stockkit.stream.alerts.notifier import Notifier
from stockkit.stream.alerts.sns import open_sns
from stockkit.stream.alerts.webhook import open_webhook
from stockkit.stream.registry import Channel

__all__ = ["NOTIFIERS", "Notifier", "deliver", "names", "open_notifiers", "shown"]


NOTIFIERS: Mapping[str, Channel[Notifier]] = {
    "console": Channel(lambda argument, root: Console()),
    "file": Channel(open_file, "PATH"),
    "webhook": Channel(open_webhook, "URL"),
    "sns": Channel(open_sns, "TOPIC_ARN"),
}


def names() -> list[str]:
    """What notifiers are called by, as in ``file:PATH``."""
    return registry.names(NOTIFIERS)


def shown(channel: str) -> str:
    """A channel for messages, without what an address may keep secret: of a URL its host alone."""
    kind, _, argument = channel.partition(":")
    scheme, slashes, rest = argument.partition("://")
    if kind != "webhook" or not slashes or scheme == "secret":
        return channel
    return f"{kind}:{scheme}://{rest.partition('/')[0].rpartition('@')[2]}/…"


def open_notifiers(channels: Sequence[str], root: Path) -> dict[str, Notifier]:
    """Open the notifiers that an `alerts` parameter names, by these names.

    Args:
        channels: each one of `names`. root: the workbook's folder, which relative paths start from.

    Raises:
        ParamError: no such notifier, or its address is none.
    """
    return registry.open_channels("alerts", channels, NOTIFIERS, root)
