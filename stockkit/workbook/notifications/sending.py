"""An outcome to every channel at once: tried again after a failure that may pass, and given up within bounded time."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace

from stockkit.errors import StreamError
from stockkit.stream import alerts
from stockkit.stream.alerts.notifier import Notifier, NotTaken
from stockkit.workbook import manifest
from stockkit.workbook.execution.redactions import from_environment
from stockkit.workbook.notifications.outcome import TEST, Outcome

PATIENCE = 30.0  # seconds for all channels together
TRIES = 4
FIRST_WAIT = 1.0  # seconds; then twice as long


def send(channels: Mapping[str, Notifier], outcome: Outcome, seconds: float = PATIENCE) -> list[str]:
    """Send an outcome over each channel; return what went wrong, a sentence a channel. Nothing is raised.

    Args:
        channels: by name. outcome: from which known secrets are struck out. seconds: in which it comes back.
    """
    problems = send_each(channels, outcome, seconds)
    return [f"{shown(name)}: {problem}" for name, problem in problems.items()]


def send_each(channels: Mapping[str, Notifier], outcome: Outcome, seconds: float = PATIENCE) -> dict[str, str]:
    """The same, with what went wrong by channel."""
    redaction = from_environment(os.environ)
    safe = replace(outcome, **redaction.all(asdict(outcome)))
    end = time.monotonic() + seconds
    problems: dict[str, str] = {}
    threads = {
        name: threading.Thread(target=_keep_trying, args=(name, channel, safe, end, problems), daemon=True)
        for name, channel in channels.items()
    }
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            problems[name] = f"no answer within {seconds:g} s; it may have been taken or not."
    return {name: redaction.text(problem) for name, problem in dict(problems).items()}


def test(channels: Mapping[str, Notifier]) -> dict[str, str]:
    """Send a test message over each channel; what went wrong by channel."""
    return send_each(channels, Outcome(id=f"test:{uuid.uuid4()}", status=TEST, finished_at=manifest.now()))


def _keep_trying(name: str, channel: Notifier, outcome: Outcome, end: float, problems: dict[str, str]) -> None:
    """Send until it is taken, refused for good, or tried often enough; a problem is left under the channel's name."""
    wait = FIRST_WAIT
    for tries in range(1, TRIES + 1):
        problem = _try(channel, outcome)
        if problem is None:
            problems.pop(name, None)
            return
        problems[name] = f"{problem}" + (f" (tried {tries} times)" if tries > 1 else "")
        pause = max(wait, problem.wait)
        if problem.for_good or tries == TRIES or time.monotonic() + pause > end:
            return
        time.sleep(pause)
        wait *= 2


def _try(channel: Notifier, outcome: Outcome) -> NotTaken | None:
    try:
        channel.send([outcome])  # type: ignore[list-item]
    except NotTaken as problem:
        return problem
    except StreamError as error:
        return NotTaken(str(error))
    except Exception as error:  # whatever it is: a notification changes nothing of its run
        return NotTaken(f"{type(error).__name__}: {error}", for_good=True)
    return None


def shown(channel: str) -> str:
    """A channel for messages: of an address or a command only what is no secret."""
    kind, _, argument = channel.partition(":")
    if kind != "command":
        return alerts.shown(channel)
    program, *arguments = argument.split() or [""]
    return f"{kind}:{program}{' …' if arguments else ''}"
