"""What `stockkit stream alert` shows and does."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from stockkit.cli.shared import fail
from stockkit.errors import ParamError, StockkitError, StreamError
from stockkit.market.ticks import as_datetime
from stockkit.stream import alerts
from stockkit.stream.alerts.outbox import STATES, WAITING, Alert, Posted
from stockkit.stream.store import Store

SHOWN = 20  # alerts of a state


def send_test(channels: Sequence[str], root: Path) -> bool:
    """Send a test alert over each channel, and say what each answered; whether one did not take it.

    Raises:
        ParamError: no channel is named, or one that is not known.
    """
    if not channels:
        raise ParamError(f"--test needs --to CHANNEL, one of {', '.join(alerts.names())}.")
    opened = alerts.open_notifiers(channels, root)
    now = time.time_ns() // 1_000
    name = f"test:{uuid.uuid4()}"
    text = f"TEST at {_moment(now)} UTC: alerts of stockkit arrive here"
    body = json.dumps({"id": name, "symbol": "TEST", "side": "test", "text": text})
    failed = False
    for channel, notifier in opened.items():
        try:
            notifier.send([Alert(0, name, channel, "TEST", body, now, 0)])
            print(f"{alerts.shown(channel)}: taken")
        except StreamError as error:
            print(f"{alerts.shown(channel)}: not taken: {error}")
            failed = True
    return failed


def send_again(store: Store, channels: Sequence[str] | None, root: Path) -> bool:
    """Try the alerts that were given up anew, and what waits with them; whether a channel did not take all."""
    failed = False
    for channel in channels or sorted({*store.channels("given up"), *store.channels(WAITING)}):
        where, now = alerts.shown(channel), time.time_ns() // 1_000
        try:
            opened = alerts.open_notifiers([channel], root)
            count = store.again([channel], now)
            sent = alerts.deliver(store, opened, now)
        except StockkitError as error:
            fail(f"{where}: {error}")
            failed = True
            continue
        problem = store.paused(channel).detail
        waits = "" if sent or not count else "; what waits is sent by the service that is running, or by its next start"
        print(f"{where}: {count:,} tried anew, {sent:,} sent{f'; {problem}' if problem else waits}")
        failed = failed or bool(problem)
    show(store, channels)
    return failed


def show(store: Store, channels: Sequence[str] | None) -> bool:
    """Print the outbox, the newest alerts of each state first; false."""
    counts = store.alert_counts()
    for state in STATES:
        print(f"{state}: {counts.get(state, 0):,}")
        for posted in store.posted(state, SHOWN, channels):
            print(f"  {_line(posted)}")
    return False


def _line(posted: Posted) -> str:
    """An alert in a line: when, where to, what, and what its last try came to."""
    from stockkit.stream.alerts.console import sentence

    alert = posted.alert
    parts = [
        _moment(posted.due if posted.state == "sent" else alert.made_at),
        alerts.shown(alert.channel),
        sentence(alert),
    ]
    if posted.detail:
        parts.append(f"(tried {'once' if alert.attempts == 1 else f'{alert.attempts} times'}: {posted.detail})")
    return "  ".join(parts)


def _moment(time_: int) -> str:
    return f"{as_datetime(time_):%Y-%m-%d %H:%M:%S}"
