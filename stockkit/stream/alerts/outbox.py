"""The part of a store that has the alerts: those that wait, those that were sent, those that were given up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stockkit.stream.database import Database

KEPT_SENT = 10_000  # alerts
DAY = 86_400_000_000  # microseconds
WAITING, SENT, GIVEN_UP = STATES = ("waiting", "sent", "given up")


class Alert(NamedTuple):
    """A message to send over one channel.

    Attributes:
        number: its place in the outbox. id: the signal's; the same however often it is sent. channel: the notifier.
        body: JSON. made_at: microseconds since 1970 UTC. attempts: made so far.
    """

    number: int
    id: str
    channel: str
    symbol: str
    body: str
    made_at: int
    attempts: int

    @property
    def group(self) -> str:
        """The symbol: alerts of one stay in order."""
        return self.symbol

    @property
    def attributes(self) -> Mapping[str, str]:
        """What a receiver may filter by."""
        return {"id": self.id, "symbol": self.symbol}

    def message(self) -> dict[str, Any]:
        """The body with the id in it."""
        body = json.loads(self.body)
        return {"id": self.id} | (body if isinstance(body, dict) else {"text": str(body)}) | {"id": self.id}


class Posted(NamedTuple):
    """An alert and what became of it.

    Attributes:
        state: one of `STATES`. due: when it was sent, or is tried again, microseconds since 1970 UTC.
        detail: why the last try failed; "" where none did.
    """

    alert: Alert
    state: str
    due: int
    detail: str


class Pause(NamedTuple):
    """How often in a row a channel took nothing, until when it is left alone (µs since 1970 UTC), and its problem."""

    failures: int = 0
    until: int = 0
    detail: str = ""


class Outbox(Database):
    """Alerts by channel, in the order in which they were made."""

    def waiting(self, channel: str, now: int, limit: int) -> list[Alert]:
        """The oldest alerts of a channel that are to be sent now."""
        rows = self._rows(
            "SELECT number, id, channel, symbol, body, made_at, attempts FROM alerts WHERE state = 'waiting' AND "
            "channel = ? AND due <= ? ORDER BY number LIMIT ?", channel, now, limit,
        )  # fmt: skip
        return [Alert(*row) for row in rows]

    def sent(self, alerts: Sequence[Alert], now: int) -> None:
        """Note that these alerts were sent; of those that were sent over a day ago the newest are kept."""
        with self._explained("write"), self._transaction() as connection:
            connection.executemany(
                "UPDATE alerts SET state = 'sent', due = ?, detail = NULL, attempts = attempts + 1 "
                "WHERE number = ? AND state = 'waiting'", [(now, alert.number) for alert in alerts],
            )  # fmt: skip
            dropped = connection.execute(
                "DELETE FROM alerts WHERE number <= (SELECT max(number) FROM alerts) - ? "
                "AND state = 'sent' AND due < ?", (KEPT_SENT, now - DAY),
            ).rowcount  # fmt: skip
            if dropped:
                count = int(self._value("SELECT value FROM about WHERE name = 'dropped'") or 0) + dropped
                connection.execute("INSERT OR REPLACE INTO about VALUES ('dropped', ?)", (str(count),))

    def failed(self, alert: Alert, detail: str, again_at: int) -> None:
        """Note that an alert was not taken, why, and when to try again."""
        self._settle("due = ?, detail = ?, attempts = attempts + 1", [(again_at, detail, alert.number)])

    def given_up(self, alert: Alert, detail: str) -> None:
        """Note that an alert is not sent any more; it stays in the outbox."""
        self._settle("state = 'given up', detail = ?, attempts = attempts + 1", [(detail, alert.number)])

    def _settle(self, change: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with self._explained("write"), self._transaction() as connection:
            connection.executemany(f"UPDATE alerts SET {change} WHERE number = ? AND state = 'waiting'", rows)

    def again(self, channels: Sequence[str], now: int) -> int:
        """Let the alerts of these channels that were given up wait again, and try the channels at once; how many."""
        count = 0
        with self._explained("write"), self._transaction() as connection:
            for channel in channels:
                connection.execute("DELETE FROM about WHERE name = ?", (f"pause:{channel}",))
                connection.execute(
                    "UPDATE alerts SET due = ? WHERE state = 'waiting' AND channel = ? AND due > ?", (now, channel, now)
                )
                count += connection.execute(
                    "UPDATE alerts SET state = 'waiting', attempts = 0, due = ? "
                    "WHERE state = 'given up' AND channel = ?", (now, channel),
                ).rowcount  # fmt: skip
        return count

    def alert_counts(self) -> dict[str, int]:
        """How many alerts are waiting, sent and given up; those that were sent since the store was made."""
        counts = dict(self._rows("SELECT state, count(*) FROM alerts GROUP BY state ORDER BY state"))
        dropped = int(self._value("SELECT value FROM about WHERE name = 'dropped'") or 0)
        return counts | {SENT: counts.get(SENT, 0) + dropped} if dropped else counts

    def alert_ids(self) -> list[str]:
        """The ids of all alerts, in order, once a channel."""
        return [name for (name,) in self._rows("SELECT id FROM alerts ORDER BY number")]

    def channels(self, state: str) -> list[str]:
        """The channels that have alerts in this state."""
        rows = self._rows("SELECT DISTINCT channel FROM alerts WHERE state = ? ORDER BY channel", state)
        return [channel for (channel,) in rows]

    def posted(self, state: str, limit: int, channels: Sequence[str] | None = None) -> list[Posted]:
        """The newest alerts in this state, newest first; of these channels, or of all."""
        chosen = "" if not channels else f"AND channel IN ({', '.join('?' * len(channels))}) "
        rows = self._rows(
            "SELECT number, id, channel, symbol, body, made_at, attempts, state, due, coalesce(detail, '') FROM alerts "
            f"WHERE state = ? {chosen}ORDER BY number DESC LIMIT ?", state, *(channels or ()), limit,
        )  # fmt: skip
        return [Posted(Alert(*row[:7]), *row[7:]) for row in rows]

    def sent_since(self, channel: str, moment: int) -> int:
        """How many alerts a channel took after this moment, microseconds since 1970 UTC."""
        question = "SELECT count(*) FROM alerts WHERE state = 'sent' AND channel = ? AND due > ?"
        return int(self._value(question, channel, moment))

    def paused(self, channel: str) -> Pause:
        """Until when a channel that takes nothing is left alone."""
        kept = self._value("SELECT value FROM about WHERE name = ?", f"pause:{channel}")
        return Pause(*json.loads(kept)) if kept else Pause()

    def pause(self, channel: str, pause: Pause) -> None:
        """Leave a channel alone for a while; `Pause()` for no more."""
        with self._explained("write"), self._transaction() as connection:
            if pause.detail:
                connection.execute(
                    "INSERT OR REPLACE INTO about VALUES (?, ?)", (f"pause:{channel}", json.dumps(pause))
                )
            else:
                connection.execute("DELETE FROM about WHERE name = ?", (f"pause:{channel}",))
