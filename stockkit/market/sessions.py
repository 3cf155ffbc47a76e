"""Exchange sessions: which days were traded, which day comes next, which days are missing.

The calendars are those of `exchange_calendars`, named by ISO 10383 market code (XNYS, XHKG, XTKS, XETR …), and 24/7
and 24/5. Single days are overruled behind the name: "XNYS +2023-09-16 -2023-09-18" opens the first and closes the
second. Sessions are naive midnight timestamps (datetime64[ns]); instants are UTC.
"""

from __future__ import annotations

import warnings
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from stockkit.errors import ParamError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd

DEFAULT = "XNYS"
FIRST, LAST = "1960-01-01", "2035-12-31"
RULES_SINCE = "1970-01-01"
EARLIEST = {"XNYS": "1928-01-01", "24/7": "1928-01-01", "24/5": "1928-01-01"}  # the others from FIRST on
NAMES = (  # those of the library, which takes a second to import
    "24/5", "24/7", "AIXK", "ARCX", "ASEX", "ASX", "BATS", "BMF", "BSE", "BVB", "BVMF", "CBOT", "CFE", "CME",
    "CMES", "COMEX", "FWB", "HKEX", "ICE", "ICEUS", "IEPA", "JKT", "JPX", "LSE", "LUXSE", "NASDAQ", "NYFE", "NYMEX",
    "NYSE", "OOTC", "OSE", "SIX", "SSE", "TASE", "TSX", "XAMS", "XASE", "XASX", "XBDA", "XBEL", "XBKK", "XBOG",
    "XBOM", "XBRA", "XBRU", "XBSE", "XBUD", "XBUE", "XCBF", "XCSE", "XCYS", "XDUB", "XDUS", "XEEE", "XETR", "XEUR",
    "XFRA", "XHAM", "XHEL", "XHKG", "XICE", "XIDX", "XIST", "XJSE", "XKAR", "XKLS", "XKRX", "XLIM", "XLIS", "XLIT",
    "XLJU", "XLON", "XLUX", "XMAD", "XMEX", "XMIL", "XMOS", "XNAS", "XNYS", "XNZE", "XOSL", "XPAR", "XPHS", "XPRA",
    "XRIS", "XSAU", "XSES", "XSGO", "XSHG", "XSTO", "XSTU", "XSWX", "XTAE", "XTAI", "XTAL", "XTKS", "XTSE", "XTSX",
    "XWAR", "XWBO", "XZAG", "us_futures",
)  # fmt: skip
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

# Saturdays on which New York did not trade: in summer, and by special closings
LAST_SATURDAY = "1952-09-27"
SATURDAYS_OFF = (
    ("1944-08-19", "1944-09-02"), ("1945-07-07", "1945-09-01"), ("1946-06-01", "1946-09-28"),
    ("1947-05-31", "1947-09-27"), ("1948-05-29", "1948-09-25"), ("1949-05-28", "1949-09-24"),
    ("1950-06-03", "1950-09-30"), ("1951-06-02", "1951-09-29"), ("1952-05-31", "1952-09-27"),
)  # fmt: skip
CLOSED_SATURDAYS = (
    "1928-04-07", "1928-04-21", "1928-05-05", "1928-05-12", "1928-05-19", "1928-05-26", "1928-11-24", "1929-02-09",
    "1929-02-23", "1929-03-30", "1929-08-31", "1929-11-02", "1929-11-09", "1929-11-16", "1929-11-23", "1929-11-30",
    "1930-04-19", "1930-05-31", "1930-07-05", "1930-08-30", "1931-09-05", "1931-12-26", "1932-07-02", "1933-01-07",
    "1933-03-04", "1933-03-11", "1933-07-29", "1933-08-05", "1933-08-12", "1933-08-19", "1933-08-26", "1933-09-02",
    "1936-12-26", "1937-05-29", "1937-07-03", "1945-04-14", "1945-10-13", "1945-10-27", "1946-02-23", "1946-05-25",
    "1948-01-03", "1949-12-24", "1950-12-23",
)  # fmt: skip
SATURDAY_HOLIDAYS = ("01-01", "02-12", "02-22", "05-30", "07-04", "10-12", "11-11", "12-25")  # Armistice Day since 1934


@lru_cache(maxsize=8)
def _calendar(name: str) -> Any:
    """The library's calendar from 1960, or from its own first day."""
    import exchange_calendars

    _check_name(name)
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


def check(calendar: str) -> None:
    """Refuse a name that no calendar has, and a day that cannot be overruled; without the library of calendars.

    Raises:
        ParamError: what is wrong, and the nearest name.
    """
    _check_name(_parsed(calendar)[0])


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise ParamError(f"{name!r} is not an exchange calendar. {_instead(name)}")


def _instead(name: str) -> str:
    """What to use in place of a name that is no calendar."""
    if name.upper() in ELSEWHERE:
        return f"Use {ELSEWHERE[name.upper()]}."
    if name.upper() in NAMES:
        return f"Did you mean {name.upper()!r}?"
    near = sorted(get_close_matches(name, NAMES, n=5), key=lambda known: known[:3] != name[:3])
    known = f"Known: {', '.join(NAMES)}."
    return f"Did you mean {near[0]!r}? {known}" if near else known


@lru_cache(maxsize=8)
def _parsed(calendar: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The library's name of a calendar, and the days that are opened and closed by hand."""
    words = calendar.split()
    name, days = (words[0], words[1:]) if words else (calendar, [])
    for day in days:
        if day[:1] not in "+-" or len(day) != 11 or not _is_day(day[1:]):
            raise ParamError(
                f"calendar {calendar[:80]!r}: {day!r} overrules no day. Write +2023-09-16 for a day that was traded, "
                "and -2023-09-18 for one that was not."
            )
    return name, tuple(day[1:] for day in days if day[0] == "+"), tuple(day[1:] for day in days if day[0] == "-")


def _is_day(text: str) -> bool:
    """Whether a text is a day as in 2023-09-16, of the years that nanoseconds can hold."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return False
    return day.isoformat() == text and 1678 <= day.year <= 2261


def _recorded(calendar: Any) -> pd.DatetimeIndex:
    """The sessions of a library's calendar, datetime64[ns], without the holidays by rule before 1970.

    The library asks pandas for these with pandas' own first day, 1970-01-01, and so takes earlier ones for sessions.
    """
    days = pd.DatetimeIndex(calendar.sessions, freq=None).as_unit("ns")
    if calendar.regular_holidays is None or days[0] >= pd.Timestamp(RULES_SINCE):
        return days
    with warnings.catch_warnings():  # of pandas, where a rule gives no day of these years
        warnings.simplefilter("ignore", FutureWarning)
        feasts = calendar.regular_holidays.holidays(days[0], pd.Timestamp(RULES_SINCE))
    return days.difference(feasts.as_unit("ns"))


def _overruled(days: pd.DatetimeIndex, calendar: str) -> pd.DatetimeIndex:
    _, opened, closed = _parsed(calendar)
    if not opened and not closed:
        return days
    return days.union(pd.DatetimeIndex(list(opened)).as_unit("ns")).difference(pd.DatetimeIndex(list(closed)))


@lru_cache(maxsize=8)
def _recent(calendar: str) -> pd.DatetimeIndex:
    """The sessions from 1960 on, or from the calendar's own first day."""
    return _overruled(_recorded(_calendar(_parsed(calendar)[0])), calendar)


def _saturdays(calendar: Any) -> pd.DatetimeIndex:
    """The Saturdays with a session until the end of September 1952, from the first of the library's `calendar` on.

    The library knows none of them. Source: "NYSE Closings", the exchange's own list of special closings, for those that
    no yearly rule gives.
    """
    days = pd.date_range(calendar.first_session, LAST_SATURDAY, freq="W-SAT")
    feast = days.strftime("%m-%d").isin(SATURDAY_HOLIDAYS) & ~((days.strftime("%m-%d") == "11-11") & (days.year < 1934))
    summer = np.zeros(len(days), bool)
    for start, end in SATURDAYS_OFF:
        summer |= (days >= start) & (days <= end)
    return days[~(feast | summer | days.isin(pd.DatetimeIndex(list(CLOSED_SATURDAYS))))].as_unit("ns")


@lru_cache(maxsize=8)
def every(calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """All sessions that the calendar records, ascending, datetime64[ns]."""
    import exchange_calendars

    name, recent = _base(calendar), _recent(calendar)
    if name not in EARLIEST:
        return recent
    eve = pd.Timestamp(FIRST) - pd.Timedelta(days=1)
    old = exchange_calendars.get_calendar(name, start=EARLIEST[name], end=eve)
    days = _recorded(old)
    if name == "XNYS":
        days = days.union(_saturdays(old))
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
    for sessions in (_recent, every):  # the first takes half as long and nearly always has the answer
        days = sessions(calendar)
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


def next_close(instant: pd.Timestamp, calendar: str = DEFAULT) -> pd.Timestamp:
    """When the next closing bell after `instant` (UTC) rings, UTC: until then `last_closed` stays as it is."""
    days = reaching(instant.tz_convert("UTC").tz_localize(None), calendar)
    at = int(days.searchsorted(last_closed(instant, calendar), side="right"))
    return _closing(days[at], calendar) if at < len(days) else instant


def _closing(day: pd.Timestamp, calendar: str) -> pd.Timestamp:
    """When a session's closing bell rings, UTC; the end of the day for one that the library does not record."""
    recorded = _calendar(_parsed(calendar)[0])
    if recorded.is_session(day):
        return recorded.session_close(day)
    return (day + pd.Timedelta(days=1)).tz_localize(zone(calendar)).tz_convert("UTC")


def closings(days: pd.DatetimeIndex, calendar: str = DEFAULT) -> pd.DatetimeIndex:
    """When the closing bell of each session rings, datetime64[ns, UTC]; as `hours` for one that is not recorded."""
    bells = pd.DatetimeIndex(_calendar(_parsed(calendar)[0]).closes.reindex(days)).tz_convert("UTC").as_unit("ns")
    first = np.ones(len(days), bool)  # of a midnight that comes twice
    ends = (days + pd.Timedelta(days=1)).tz_localize(zone(calendar), ambiguous=first, nonexistent="shift_forward")
    midnights = ends.tz_convert("UTC")
    return bells.where(bells.notna(), midnights)


def hours(session: Any, calendar: str = DEFAULT) -> list[tuple[int, int]]:
    """When a session is traded: stretches from a start up to before an end, microseconds since 1970 UTC.

    Early closes and the breaks of some exchanges are honoured; a session that the library does not record lasts the
    whole day.
    """
    day, recorded = pd.Timestamp(session), _calendar(_parsed(calendar)[0])
    if day not in recorded.sessions:
        midnights = [moment.tz_localize(zone(calendar)) for moment in (day, day + pd.Timedelta(days=1))]
        return [(_microseconds(midnights[0]), _microseconds(midnights[1]))]
    bells = recorded.schedule.loc[day, ["open", "break_start", "break_end", "close"]].dropna()
    moments = [_microseconds(moment) for moment in bells]
    return list(zip(moments[::2], moments[1::2], strict=True))


def _microseconds(instant: pd.Timestamp) -> int:
    return int(instant.as_unit("ns").value) // 1_000


def closed_for(day: Any, calendar: str = DEFAULT) -> str:
    """Why the exchange's rules close a day: the holiday's name, or the weekday where it never trades; "" if no rule."""
    recorded, date = _calendar(_parsed(calendar)[0]), pd.Timestamp(day)
    if recorded.weekmask[date.weekday()] == "0":
        return date.day_name()
    return _holidays(_parsed(calendar)[0], date.year).get(date.tz_localize(None), "")


@lru_cache(maxsize=32)
def _holidays(name: str, year: int) -> dict[pd.Timestamp, str]:
    """The holidays by rule of a year, with their names where the library has some."""
    rules = _calendar(name).regular_holidays
    if rules is None:
        return {}
    days = rules.holidays(f"{year}-01-01", f"{year}-12-31", return_name=True)
    return {day.tz_localize(None): str(title or "") for day, title in days.items()}


@lru_cache(maxsize=8)
def scheduled_holidays(calendar: str = DEFAULT) -> np.ndarray:
    """The weekdays that the exchange's rules, known beforehand, close; days since 1970-01-01, ascending.

    What the calendar records as ad hoc (a storm, a state funeral, a lunar holiday listed by hand) is not among them,
    nor what is overruled by hand.
    """
    recorded = _calendar(_parsed(calendar)[0])
    rules = recorded.regular_holidays
    if rules is None:
        return np.zeros(0, "int64")
    days = pd.DatetimeIndex(rules.holidays(FIRST, LAST)).tz_localize(None).to_numpy().astype("datetime64[D]")
    return np.unique(days[np.is_busday(days, weekmask=recorded.weekmask)].astype("int64"))


@lru_cache(maxsize=8)
def scheduled(calendar: str = DEFAULT) -> np.ndarray:
    """The days on which the exchange's rules, known beforehand, let it trade; days since 1970-01-01, ascending."""
    days = np.arange(FIRST, LAST, dtype="datetime64[D]")
    days = days[np.is_busday(days, weekmask=_calendar(_parsed(calendar)[0]).weekmask)].astype("int64")
    return np.setdiff1d(days, scheduled_holidays(calendar))
