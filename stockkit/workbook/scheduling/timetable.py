"""When a run is due: once after each session of a calendar, by the exchange's clock; no clock and no file is read here.

Instants are UTC. cron and systemd only ask now and then; what they are answered rests on the instant alone and on what
was answered before, so neither a machine in another zone nor a change of clocks makes two runs of one session, or none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from functools import cached_property

import numpy as np
import pandas as pd

from stockkit.errors import ParamError
from stockkit.market import sessions

AFTER_CLOSE = re.compile(r"close(?:\+(?=[0-9])(?:([0-9]{1,2})h)?(?:([0-9]{1,3})m)?)?")
ON_THE_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
LONGEST = pd.Timedelta(hours=12)
MARGIN = pd.Timedelta(days=40)  # longer than any exchange was closed
AHEAD = pd.Timedelta(days=760)  # over two changes to summer time, and every early close of a year
DAY = pd.Timedelta(days=1)
PATIENCE = pd.Timedelta(hours=1)  # how late the first question may come, where nothing is known of those before


@dataclass(frozen=True)
class At:
    """A time after each session: so long after its close, or the first such time of the clock from its usual close on.

    Attributes:
        after: since the close, where there is no `clock`.
        clock: since midnight on the exchange's clock; None for a time after the close.
    """

    after: pd.Timedelta
    clock: pd.Timedelta | None = None


def parse(text: str) -> At:
    """Read ``close``, ``close+30m``, ``close+1h30m`` or ``18:30``, the exchange's time.

    Raises:
        ParamError: it is none of these, or over twelve hours after the close.
    """
    if match := ON_THE_CLOCK.fullmatch(text):
        return At(pd.Timedelta(0), clock=pd.Timedelta(hours=int(match[1]), minutes=int(match[2])))
    match = AFTER_CLOSE.fullmatch(text)
    after = match and pd.Timedelta(hours=int(match[1] or 0), minutes=int(match[2] or 0))
    if after is None or after > LONGEST:
        raise ParamError(
            f"--at {text[:40]!a} is no time after a session: write close+30m or close+1h30m (up to close+12h; early "
            "closes count), or a time of the exchange's clock such as 18:30."
        )
    return At(after=after)


@dataclass(frozen=True)
class Timetable:
    """The sessions of a calendar around an instant, and when the run after each of them is due.

    Attributes:
        name: the calendar's name, without the days that are overruled.
        zone: the exchange's time zone.
        days: sessions, ascending.
        due: UTC, one for each session, ascending.
        closed: the days between them without a session, and some after the last, ascending.
        spoken: UTC, when the run after each of `closed` would be due, had it been a usual session.
    """

    name: str
    zone: str
    days: pd.DatetimeIndex
    due: pd.DatetimeIndex
    closed: pd.DatetimeIndex
    spoken: pd.DatetimeIndex

    @cached_property
    def sessions(self) -> list[str]:
        """The sessions as YYYY-MM-DD."""
        return list(self.days.strftime("%Y-%m-%d"))

    @cached_property
    def holidays(self) -> list[str]:
        """The days without a session as YYYY-MM-DD."""
        return list(self.closed.strftime("%Y-%m-%d"))

    @cached_property
    def instants(self) -> tuple[list[int], list[int]]:
        """`due` and `spoken` as nanoseconds since 1970."""
        return self.due.asi8.tolist(), self.spoken.asi8.tolist()

    def after(self, instant: pd.Timestamp, count: int) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
        """The next `count` sessions whose run is due after `instant`, each with that moment."""
        at = int(self.due.searchsorted(instant, side="right"))
        return list(zip(self.days[at : at + count], self.due[at : at + count], strict=True))

    def minutes(self, since: pd.Timestamp, zone: tzinfo) -> list[int]:
        """The minutes of the hour, on a clock in `zone`, at which runs are due after `since`; ascending."""
        ahead = self.due[self.due > since]
        return sorted({moment.to_pydatetime().astimezone(zone).minute for moment in ahead}) or [0]

    def times(self, since: pd.Timestamp) -> list[str]:
        """The times of the exchange's clock, HH:MM, at which runs are due after `since`; ascending."""
        return sorted(set(self.due[self.due > since].tz_convert(self.zone).strftime("%H:%M")))


def timetable(calendar: str, at: At, around: pd.Timestamp, ahead: pd.Timedelta = MARGIN) -> Timetable:
    """The timetable from some weeks before an instant until `ahead` after it.

    Args:
        calendar: as `market.sessions` knows it, overruled days behind the name.
        at: the time after each session.
        around: UTC.
        ahead: how far.

    Raises:
        ParamError: no such calendar, or it records no session there.
    """
    zone, today = sessions.zone(calendar), around.tz_convert("UTC").tz_localize(None).normalize()
    days = sessions.between(today - MARGIN, today + ahead, calendar)
    if not len(days):
        last = sessions.every(calendar)[-1]
        raise ParamError(
            f"the calendar {calendar.split()[0]} is recorded until {last.date()} and knows no session near "
            f"{today.date()}: is this machine's clock right? A newer exchange_calendars may know more."
        )
    closes = sessions.closings(days, calendar)
    lasted = (closes.tz_convert(zone).tz_localize(None) - days).value_counts().index[0]  # of most sessions
    if at.clock is None:
        usual = lasted + at.after
        due = closes + at.after
    else:
        usual = at.clock + DAY * max(int(np.ceil((lasted - at.clock) / DAY)), 0)
        due = _instants(days + usual, zone)
    closed = pd.date_range(days[0], max(days[-1], today + DAY), unit="ns").difference(days)
    return Timetable(calendar.split()[0], zone, days, due, closed, _instants(closed + usual, zone))


def _instants(moments: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Times of an exchange's clock as UTC: of a time that comes twice the first, of one that is left out the next."""
    first = np.ones(len(moments), bool)
    there = moments.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return there.tz_convert("UTC").as_unit("ns")


@dataclass(frozen=True)
class State:
    """What was answered before.

    Attributes:
        since: UTC; a run that was due until then is not made up for.
        session: the last session whose run was started, YYYY-MM-DD; "" for none.
        closed: the last day without a session that was spoken of; "" for none.
    """

    since: pd.Timestamp
    session: str = ""
    closed: str = ""


@dataclass(frozen=True)
class Answer:
    """Whether to run now.

    Attributes:
        session: the session whose run is due, YYYY-MM-DD; "" where none is.
        text: one line to say; "" for nothing.
        state: what is to be kept before the run starts.
        ended: whether the calendar's record ends, so that nobody knows any more what is a session.
    """

    session: str
    text: str
    state: State = field(repr=False)
    ended: bool = False


def ask(table: Timetable, state: State | None, now: pd.Timestamp) -> Answer:
    """Decide whether a run is due at `now`.

    The newest session counts: where a machine was off over several, one run makes up for all of them.

    Args:
        table: around `now`.
        state: of the answer before; None where there was none.
        now: UTC.
    """
    state = state or State(now - PATIENCE)
    at, off = (_newest(instants, now, state.since) for instants in table.instants)
    session = table.sessions[at] if at >= 0 else ""
    if session > state.session:
        return Answer(session, _in_words(table, state, at), replace(state, session=session))
    closed = table.holidays[off] if off >= 0 else ""
    if closed <= max(state.closed, state.session, session):
        return Answer("", "", state)
    ended = table.closed[off] > table.days[-1]
    text = _ended_in_words(table, table.closed[off]) if ended else _closed_in_words(table, table.closed[off])
    return Answer("", text, replace(state, closed=closed), ended)


def _newest(instants: list[int], now: pd.Timestamp, since: pd.Timestamp) -> int:
    """The place of the newest instant (nanoseconds) after `since` and up to `now`; -1 where there is none."""
    at = bisect_right(instants, now.value) - 1
    return at if at >= 0 and instants[at] > since.value else -1


def _in_words(table: Timetable, state: State, newest: int) -> str:
    waiting = (table.due > state.since) & (table.days > pd.Timestamp(state.session or 0))
    missed = int(waiting[:newest].sum())
    more = f"; {missed} before it had no run, as nothing asked in time" if missed else ""
    return f"session {table.days[newest].date()} of {table.name}{more}"


def _closed_in_words(table: Timetable, day: pd.Timestamp) -> str:
    reason = sessions.closed_for(day, table.name)
    ahead = table.days[table.days > day][0].date()
    return f"{table.name} is closed on {day.date()}{f' ({reason})' if reason else ''}, the next session is {ahead}."


def _ended_in_words(table: Timetable, day: pd.Timestamp) -> str:
    return (
        f"{table.name} is recorded until {table.days[-1].date()}, so whether {day.date()} had a session is not known "
        "and nothing was run: install a newer exchange_calendars, or name another calendar."
    )
