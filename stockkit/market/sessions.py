"""Exchange sessions: which days were traded, which day comes next, which days are missing.

The calendars are those of `exchange_calendars`, named by ISO 10383 market code (XNYS, XHKG, XTKS, XETR …).
Sessions are naive midnight timestamps (datetime64[ns]); instants are UTC.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ParamError

DEFAULT = "XNYS"
FIRST, LAST = "1960-01-01", "2035-12-31"


@lru_cache(maxsize=8)
def _calendar(name: str) -> Any:
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if name not in names:
        near = get_close_matches(name, names, n=1) or ["XNYS"]
        raise ParamError(f"{name!r} is not an exchange calendar. Did you mean {near[0]!r}?")
    try:
        return exchange_calendars.get_calendar(name, start=FIRST, end=LAST)
    except ValueError:  # a calendar that is only recorded for fewer years
        return exchange_calendars.get_calendar(name)


@lru_cache(maxsize=8)
def every(calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """All sessions that the calendar records, ascending, datetime64[ns]."""
    return pd.DatetimeIndex(_calendar(calendar).sessions, freq=None).as_unit("ns")


def between(first: Any, last: Any, calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """The sessions from `first` to `last`, both included."""
    days = every(calendar)
    return days[days.searchsorted(pd.Timestamp(first)) : days.searchsorted(pd.Timestamp(last), side="right")]


def shift(session: Any, count: int, calendar: str = DEFAULT) -> pd.Timestamp:
    """The session `count` sessions after `session`; a day that was not traded counts as the one before it.

    Raises:
        ParamError: the answer lies outside the years that the calendar records.
    """
    days = every(calendar)
    at = int(days.searchsorted(pd.Timestamp(session), side="right")) - 1 + count
    if not 0 <= at < len(days):
        raise ParamError(f"{count} sessions from {pd.Timestamp(session).date()} is outside the {calendar} calendar.")
    return days[at]


def last_closed(instant: pd.Timestamp, calendar: str = DEFAULT) -> pd.Timestamp:
    """The last session whose closing bell had rung at `instant` (UTC); early closes are honoured."""
    days = every(calendar)
    at = int(days.searchsorted(instant.tz_convert("UTC").tz_localize(None).normalize(), side="right")) - 1
    day = days[max(at, 0)]
    return day if _calendar(calendar).session_close(day) <= instant else days[max(at - 1, 0)]


def gaps(dates: pd.Series, calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """The sessions between the first and the last of `dates` (one symbol's) that are not among them."""
    if dates.empty:
        return pd.DatetimeIndex([])
    return between(dates.min(), dates.max(), calendar).difference(pd.DatetimeIndex(dates))


@lru_cache(maxsize=8)
def scheduled_holidays(calendar: str = DEFAULT) -> np.ndarray:
    """The weekdays that the exchange's rules, known beforehand, close; days since 1970-01-01, ascending.

    What the calendar records as ad hoc (a storm, a state funeral, a lunar holiday listed by hand) is not among them.
    """
    rules = _calendar(calendar).regular_holidays
    if rules is None:
        return np.zeros(0, "int64")
    days = pd.DatetimeIndex(rules.holidays(FIRST, LAST)).tz_localize(None)
    found = days.values.astype("datetime64[D]").astype("int64")
    return np.unique(found[np.is_busday(found.astype("datetime64[D]"), weekmask=_calendar(calendar).weekmask)])


@lru_cache(maxsize=8)
def scheduled(calendar: str = DEFAULT) -> np.ndarray:
    """The days on which the exchange's rules, known beforehand, let it trade; days since 1970-01-01, ascending."""
    days = np.arange(FIRST, LAST, dtype="datetime64[D]")
    days = days[np.is_busday(days, weekmask=_calendar(calendar).weekmask)].astype("int64")
    return np.setdiff1d(days, scheduled_holidays(calendar))
