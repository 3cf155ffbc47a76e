"""Exchange sessions: which days were traded, which day comes next, which days are missing.

The calendars are those of `exchange_calendars`, named by ISO 10383 market code (XNYS, XHKG, XTKS, XETR …), and 24/7
and 24/5. Single days are overruled behind the name: "XNYS +2023-09-16 -2023-09-18" opens the first and closes the
second. Sessions are naive midnight timestamps (datetime64[ns]); instants are UTC.
"""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ParamError
from stockkit.market import saturdays

DEFAULT = "XNYS"
FIRST, LAST = "1960-01-01", "2035-12-31"
RULES_SINCE = pd.Timestamp("1970-01-01")
EARLIEST = {"XNYS": "1928-01-01", "24/7": "1928-01-01", "24/5": "1928-01-01"}  # the others from FIRST on
ELSEWHERE = {
    "XNSE": "XBOM (Bombay), whose holidays the National Stock Exchange of India shares",
    "XSHE": "XSHG (Shanghai), whose holidays Shenzhen shares",
    "XKOS": "XKRX (Seoul)",
    "XBME": "XMAD (Madrid)",
    "XMCE": "XMAD (Madrid)",
    "XSIM": "XSES (Singapore)",
    "XCBO": "XCBF (Cboe)",
    "XOTC": "XNYS (New York)",
    "XNGS": "XNAS (Nasdaq)",
    "XNCM": "XNAS (Nasdaq)",
    "XNMS": "XNAS (Nasdaq)",
}  # codes that are real, and whose sessions are recorded under another; a similar name would be another city's


@lru_cache(maxsize=8)
def _calendar(name: str) -> Any:
    """The library's calendar from 1960, or from its own first day."""
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if name not in names:
        raise ParamError(f"{name!r} is not an exchange calendar. {_instead(name, names)}")
    try:
        return exchange_calendars.get_calendar(name, start=FIRST, end=LAST)
    except ValueError:  # a calendar that is only recorded for fewer years: from its own first day to its last
        kind = type(exchange_calendars.get_calendar(name))
        first, last = kind.bound_min(), kind.bound_max()
        return exchange_calendars.get_calendar(
            name,
            start=pd.Timestamp(FIRST) if first is None else max(first, pd.Timestamp(FIRST)),
            end=pd.Timestamp(LAST) if last is None else min(last, pd.Timestamp(LAST)),
        )


def _instead(name: str, names: list[str]) -> str:
    """What to use in place of a name that is no calendar."""
    if name.upper() in ELSEWHERE:
        return f"Use {ELSEWHERE[name.upper()]}."
    if name.upper() in names:
        return f"Did you mean {name.upper()!r}?"
    near = sorted(get_close_matches(name, names, n=5), key=lambda one: one[:3] != name[:3])
    known = f"Known: {', '.join(names)}."
    return f"Did you mean {near[0]!r}? {known}" if near else known


@lru_cache(maxsize=8)
def _parsed(calendar: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The library's name of a calendar, and the days that are opened and closed by hand."""
    words = calendar.split()
    name, days = (words[0], words[1:]) if words else (calendar, [])
    for day in days:
        if (
            day[:1] not in "+-"
            or len(day) != 11
            or pd.isna(pd.to_datetime(day[1:], format="%Y-%m-%d", errors="coerce"))
        ):
            raise ParamError(
                f"calendar {calendar[:80]!r}: {day!r} overrules no day. Write +2023-09-16 for a day that was traded, "
                "and -2023-09-18 for one that was not."
            )
    return name, tuple(day[1:] for day in days if day[0] == "+"), tuple(day[1:] for day in days if day[0] == "-")


def _held(calendar: Any) -> pd.DatetimeIndex:
    """The sessions of a library's calendar, datetime64[ns], without the holidays by rule before 1970.

    The library asks pandas for these with pandas' own first day, 1970-01-01, and so takes earlier ones for sessions.
    """
    days = pd.DatetimeIndex(calendar.sessions, freq=None).as_unit("ns")
    if calendar.regular_holidays is None or days[0] >= RULES_SINCE:
        return days
    with warnings.catch_warnings():  # of pandas, where a rule gives no day of these years
        warnings.simplefilter("ignore", FutureWarning)
        feasts = calendar.regular_holidays.holidays(days[0], RULES_SINCE)
    return days.difference(feasts.as_unit("ns"))


def _overruled(days: pd.DatetimeIndex, calendar: str) -> pd.DatetimeIndex:
    _, opened, closed = _parsed(calendar)
    if not opened and not closed:
        return days
    return days.union(pd.DatetimeIndex(list(opened)).as_unit("ns")).difference(pd.DatetimeIndex(list(closed)))


@lru_cache(maxsize=8)
def _recent(calendar: str) -> pd.DatetimeIndex:
    """The sessions from 1960 on, or from the calendar's own first day."""
    return _overruled(_held(_calendar(_parsed(calendar)[0])), calendar)


@lru_cache(maxsize=8)
def every(calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """All sessions that the calendar records, ascending, datetime64[ns]."""
    import exchange_calendars

    name, recent = _base(calendar), _recent(calendar)
    if name not in EARLIEST:
        return recent
    eve = pd.Timestamp(FIRST) - pd.Timedelta(days=1)
    old = exchange_calendars.get_calendar(name, start=EARLIEST[name], end=eve)
    days = _held(old)
    if name == "XNYS":
        days = days.union(saturdays.traded(old))
    return _overruled(days.union(recent), calendar)


def reaching(day: Any, calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """The sessions of the calendar, at least from `day` on where it records them; quicker than `every` since 1960."""
    return every(calendar) if pd.Timestamp(day) < pd.Timestamp(FIRST) else _recent(calendar)


def first(calendar: str = DEFAULT) -> pd.Timestamp:
    """The day from which on the calendar knows what was a session."""
    name = _base(calendar)
    return pd.Timestamp(EARLIEST[name]) if name in EARLIEST else _recent(calendar)[0]


def zone(calendar: str = DEFAULT) -> str:
    """The exchange's time zone, as an IANA name."""
    return str(_calendar(_parsed(calendar)[0]).tz)


def _base(calendar: str) -> str:
    """The market code that a calendar's name, or an alias such as NYSE, stands for."""
    import exchange_calendars

    name = _parsed(calendar)[0]
    _calendar(name)
    return str(exchange_calendars.resolve_alias(name))


def between(first: Any, last: Any, calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """The sessions from `first` to `last`, both included."""
    days = reaching(first, calendar)
    return days[days.searchsorted(pd.Timestamp(first)) : days.searchsorted(pd.Timestamp(last), side="right")]


def shift(session: Any, count: int, calendar: str = DEFAULT) -> pd.Timestamp:
    """The session `count` sessions after `session`; a day that was not traded counts as the one before it.

    Raises:
        ParamError: the answer lies outside the years that the calendar records.
    """
    for days in (_recent(calendar), every(calendar)):
        at = int(days.searchsorted(pd.Timestamp(session), side="right")) - 1 + count
        if 0 <= at < len(days):
            return days[at]
    raise ParamError(f"{count} sessions from {pd.Timestamp(session).date()} is outside the {calendar} calendar.")


def last_closed(instant: pd.Timestamp, calendar: str = DEFAULT) -> pd.Timestamp:
    """The last session whose closing bell had rung at `instant` (UTC); early closes are honoured."""
    days = reaching(instant.tz_convert("UTC").tz_localize(None), calendar)
    at = int(days.searchsorted(instant.tz_convert("UTC").tz_localize(None).normalize(), side="right")) - 1
    day = days[max(at, 0)]
    return day if _closing(day, calendar) <= instant else days[max(at - 1, 0)]


def _closing(day: pd.Timestamp, calendar: str) -> pd.Timestamp:
    """When a session's closing bell rings, UTC; the end of the day for one that the library does not record."""
    held = _calendar(_parsed(calendar)[0])
    if held.is_session(day):
        return held.session_close(day)
    return (day + pd.Timedelta(days=1)).tz_localize(zone(calendar)).tz_convert("UTC")


def gaps(dates: pd.Series, calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """The sessions between the first and the last of `dates` (one symbol's) that are not among them."""
    if dates.empty:
        return pd.DatetimeIndex([])
    return between(dates.min(), dates.max(), calendar).difference(pd.DatetimeIndex(dates))


@lru_cache(maxsize=8)
def scheduled_holidays(calendar: str = DEFAULT) -> np.ndarray:
    """The weekdays that the exchange's rules, known beforehand, close; days since 1970-01-01, ascending.

    What the calendar records as ad hoc (a storm, a state funeral, a lunar holiday listed by hand) is not among them,
    nor what is overruled by hand.
    """
    held = _calendar(_parsed(calendar)[0])
    rules = held.regular_holidays
    if rules is None:
        return np.zeros(0, "int64")
    days = pd.DatetimeIndex(rules.holidays(FIRST, LAST)).tz_localize(None)
    found = days.values.astype("datetime64[D]").astype("int64")
    return np.unique(found[np.is_busday(found.astype("datetime64[D]"), weekmask=held.weekmask)])


@lru_cache(maxsize=8)
def scheduled(calendar: str = DEFAULT) -> np.ndarray:
    """The days on which the exchange's rules, known beforehand, let it trade; days since 1970-01-01, ascending."""
    days = np.arange(FIRST, LAST, dtype="datetime64[D]")
    days = days[np.is_busday(days, weekmask=_calendar(_parsed(calendar)[0]).weekmask)].astype("int64")
    return np.setdiff1d(days, scheduled_holidays(calendar))
