"""How many requests a provider allows, counted in a file that all processes share.

A request is counted before it is sent, in one SQLite transaction: a process that is killed in between has
counted one too many, never one too few. Each request also reserves its moment, so that any number of threads and
processes together keep the pace.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

from stockkit.errors import BudgetSpent, LakeError

BUDGET_FILE = "budget.sqlite"
ZONE = "America/New_York"
SPACING = 1.1  # a little more than the interval: requests sent a second apart can arrive closer together
LONGEST_QUEUE = 60  # reserved moments further ahead than so many intervals (and seconds) mean a clock set back
IN_TURN = threading.Lock()  # threads of one process queue here; SQLite's own queue polls, and is for processes
TABLES = """
CREATE TABLE IF NOT EXISTS used (provider TEXT, day TEXT, requests INTEGER NOT NULL, PRIMARY KEY (provider, day));
CREATE TABLE IF NOT EXISTS pace (provider TEXT PRIMARY KEY, last REAL NOT NULL);
"""


@dataclass(frozen=True)
class Budget:
    """A provider's allowance of requests.

    The day is Alpha Vantage's, which does not publish when its count starts anew. It is taken to be the calendar
    day in New York: the company and its data are American, and its daily bars change at that midnight. Should it
    count otherwise, its own "25 requests per day" answer ends the day here as well (see `spend`).
    The count is one a file: two lakes that share a key must share the file, or halve the limits.

    Args:
        path: the SQLite file; made when missing.
        provider: whose requests these are.
        per_day: the most requests a day; 0 for no limit.
        per_second: the most requests a second; 0 for no limit.
        zone: where the provider's midnight is (IANA name).
        clock: seconds since 1970, UTC.
        sleep: waits so many seconds.
    """

    path: Path
    provider: str = "alphavantage"
    per_day: int = 25
    per_second: float = 1.0
    zone: str = ZONE
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def take(self) -> None:
        """Count one request and wait for its turn; call it before each request, retries too.

        Raises:
            BudgetSpent: the day's requests are used up; names when the next day starts.
            LakeError: the file cannot be used.
        """
        if not self.per_day and not self.per_second:
            return
        with self._transaction() as db:
            moment = self._next_moment(db)
            used = self._used(db, moment)
            if self.per_day and used >= self.per_day:
                raise self.spent(moment)
            self._write(db, used + 1, moment)
        self.sleep(max(0.0, moment - self.clock()))

    def left(self) -> int | None:
        """How many requests the present day still allows; None where there is no limit."""
        if not self.per_day:
            return None
        with self._transaction() as db:
            return max(0, self.per_day - self._used(db, self.clock()))

    def spend(self) -> BudgetSpent:
        """Take the day's requests as used up, because the provider says so; returns the error that says it."""
        with self._transaction() as db:
            now = self.clock()
            self._write(db, max(self._used(db, now), self.per_day), now)
        return self.spent(now)

    def spent(self, now: float) -> BudgetSpent:
        """The error for a day without requests left."""
        allowed = f"all {self.per_day} requests" if self.per_day else "all requests"
        return BudgetSpent(
            f"{self.provider}: {allowed} of {self._day(now)} ({self.zone}) are used up; the next day starts at "
            f"{self.resets_at(now):%Y-%m-%d %H:%M} UTC. Run again then, or with a larger plan set "
            "STOCKKIT_ALPHAVANTAGE_PER_DAY."
        )

    def resets_at(self, now: float | None = None) -> pd.Timestamp:
        """When the provider's next day starts, UTC."""
        zone = ZoneInfo(self.zone)
        day = datetime.fromtimestamp(self.clock() if now is None else now, zone).date() + timedelta(days=1)
        return pd.Timestamp(datetime.combine(day, time_of_day(), zone)).tz_convert("UTC")

    def _day(self, moment: float) -> str:
        return datetime.fromtimestamp(moment, ZoneInfo(self.zone)).date().isoformat()

    def _next_moment(self, db: sqlite3.Connection) -> float:
        now = self.clock()
        row = db.execute("SELECT last FROM pace WHERE provider = ?", (self.provider,)).fetchone()
        if row is None or not self.per_second:
            return now
        interval = SPACING / self.per_second
        if row[0] > now + max(LONGEST_QUEUE, LONGEST_QUEUE * interval):
            return now
        return max(now, row[0] + interval)

    def _used(self, db: sqlite3.Connection, moment: float) -> int:
        key = (self.provider, self._day(moment))
        row = db.execute("SELECT requests FROM used WHERE provider = ? AND day = ?", key).fetchone()
        return int(row[0]) if row else 0

    def _write(self, db: sqlite3.Connection, used: int, moment: float) -> None:
        db.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", (self.provider, self._day(moment), used))
        db.execute("INSERT OR REPLACE INTO pace VALUES (?, ?)", (self.provider, moment))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time over all processes; nothing is written when the block raises."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with IN_TURN, closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                for table in TABLES.strip().splitlines():
                    db.execute(table)
                yield db
                db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise LakeError(
                f"the count of requests in {self.path} cannot be used: {error}. Make it writable; if it is "
                "broken, delete it (the day's count then starts anew)."
            ) from error


def share_out(
    symbols: Sequence[str], oldest: Mapping[str, pd.Timestamp | None], left: int | None
) -> tuple[list[str], list[str]]:
    """Share out the requests that are left: symbols without data first, then those with the oldest.

    Args:
        symbols: whom to ask for.
        oldest: symbol to the time of its newest data, any one scale; None or absent for none at all.
        left: the requests left; None for no limit.

    Returns:
        The symbols to ask now, in order, and those for the next day.
    """
    age = {symbol: oldest.get(symbol) for symbol in symbols}
    without = sorted(symbol for symbol, newest in age.items() if newest is None)
    ordered = without + [s for _, s in sorted((newest, s) for s, newest in age.items() if newest is not None)]
    return ordered[:left], [] if left is None else ordered[left:]
