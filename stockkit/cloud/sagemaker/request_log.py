"""The log of a container: one event a line on stderr, key=value, a traceback folded into where it came from."""

from __future__ import annotations

import json
import logging
import traceback


class OneLine(logging.Formatter):
    """A record as `time=… level=… logger=… event=…`; an exception as its type, text and the line that raised it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line."""
        text = record.getMessage().strip()
        event = text if text.startswith("event=") else f"event={json.dumps(text)}"
        head = f"time={self.formatTime(record, '%Y-%m-%dT%H:%M:%S')} level={record.levelname.lower()}"
        return f"{head} logger={record.name} {event}{_cause(record)}"


def _cause(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" at={frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in last)
    return f" error={type(error).__name__} message={json.dumps(str(error))}{where}"


def start() -> None:
    """Send every event from INFO on to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
