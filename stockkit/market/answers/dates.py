"""A column of dates as sessions: how it is written is told from the column as a whole, or asked for, never guessed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from stockkit.errors import SourceError
from stockkit.imports import numpy as np

ORDERS = ("DMY", "MDY", "YMD")
WORDS = {"DMY": "day first", "MDY": "month first", "YMD": "year first"}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
TIME = r"(?:[T ,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp][Mm])?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})" + TIME)
YEAR_FIRST = re.compile(r"(\d{4})[./-](\d{1,2})[./-](\d{1,2})" + TIME)
PARTS = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4}|\d{2})" + TIME)
COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})" + TIME)
UNIX = re.compile(r"(-?\d{9,10})(?:\.0+)?|(-?\d{12,13})")
SMALL_UNIX = re.compile(r"(-?\d{1,10})(?:\.0+)?")
MONTH_FIRST = re.compile(r"(?:[A-Za-z]{3,9}\.?,? )?([A-Za-z]{3,9})\.? (\d{1,2}),? (\d{4})" + TIME)
DAY_FIRST = re.compile(r"(?:[A-Za-z]{3,9}\.?,? )?(\d{1,2})[ -]([A-Za-z]{3,9})\.?[ ,-]+(\d{4}|\d{2})" + TIME)
KINDS = {"iso": ISO, "year first": YEAR_FIRST, "parts": PARTS, "compact": COMPACT, "unix": UNIX,
         "month first": MONTH_FIRST, "day first": DAY_FIRST}  # fmt: skip
SHOWN = {"iso": "YYYY-MM-DD", "year first": "year first", "compact": "YYYYMMDD", "unix": "Unix seconds",
         "month first": "month by name", "day first": "month by name"}  # fmt: skip
FIRST_YEAR, LAST_YEAR = 1678, 2261  # what nanoseconds since 1970 can hold: beyond, a day would wrap round to another
FIRST_DAY, LAST_DAY = f"{FIRST_YEAR}-01-01", f"{LAST_YEAR}-12-31"
SPARSE = 20  # days between rows, in the middle, from which a column is none of daily bars
INTRADAY = 1.5  # distinct times a day, on average, from which bars are no daily ones


@dataclass(frozen=True)
class Moment:
    """A date as written: its day, the seconds since midnight if it has a time, and its zone if it has one."""

    day: date
    second: int | None = None
    zone: timezone | None = None

    @property
    def midnight(self) -> bool:
        """Whether it names a day, not a time within one."""
        return not self.second


@dataclass(frozen=True)
class Dates:
    """The sessions (datetime64[ns], NaT where a text is none), and how they were written, for the report."""

    days: np.ndarray
    shown: str


def read(texts: Sequence[str], lines: Sequence[int], *, order: str, usual: str, zone: str | None, who: str) -> Dates:
    """Read a column of dates.

    Args:
        texts: the fields, stripped; an empty one is no date.
        lines: where each stands in the file, for messages.
        order: DMY, MDY or YMD where the user says so; "" to tell it from the column (a value over 12).
        usual: what the provider always writes, where the column does not tell; "" where there is no such habit.
        zone: the exchange's time zone, in which an instant has its day; None takes the day in UTC.
        who: for messages.

    Raises:
        SourceError: day and month cannot be told apart, or differ within the column; bars within a day; no dates.
    """
    kind = _kind(texts)
    if kind is None:
        first = next((text for text in texts if text), "")
        raise SourceError(
            f"{who}: dates must be written YYYY-MM-DD, or in another way that names year, month and day; "
            f"line {lines[0]} has {first[:40]!r}."
        )
    if kind == "parts":
        order = order or _order(texts, lines, usual, who)
        moments = [_parts(text, order) for text in texts]
        shown = f"{WORDS[order]} ({order})"
    else:
        moments = [READERS[kind](text) for text in texts]
        shown = SHOWN[kind]
    _check_daily(moments, lines, texts, who)
    days, where = _sessions(moments, zone, lines, texts, who)
    days = [day if day and FIRST_YEAR <= day.year <= LAST_YEAR else None for day in days]
    return Dates(np.array(days, dtype="datetime64[D]").astype("datetime64[ns]"), shown + where)


def _kind(texts: Sequence[str]) -> str | None:
    """How most of the dates are written; None where none is written in any known way."""
    kinds: Counter[str] = Counter()
    for text in texts:
        name = next((name for name, pattern in KINDS.items() if pattern.fullmatch(text)), None)
        kinds.update([name] if name else [])
    if kinds["unix"] >= kinds["compact"]:  # the early seventies have eight digits, too
        kinds["unix"] += kinds.pop("compact", 0)
    return kinds.most_common(1)[0][0] if kinds.total() else None


def _moment(day: date | None, time: Sequence[str | None]) -> Moment | None:
    """A day with the time of day that a pattern match beside it."""
    if day is None or time[0] is None:
        return None if day is None else Moment(day)
    hour, minute, second = int(time[0]), int(time[1] or 0), int(time[2] or 0)
    if time[3]:
        hour = hour % 12 + (12 if time[3].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 60:
        return None
    return Moment(day, hour * 3600 + minute * 60 + second, _zone(time[4]))


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text in ("Z", "UTC", "GMT"):
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(offset if text[0] == "+" else -offset) if offset < timedelta(hours=24) else None


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _year_first(pattern: re.Pattern[str]) -> Callable[[str], Moment | None]:
    def reader(text: str) -> Moment | None:
        match = pattern.fullmatch(text)
        return _moment(_day(*(int(match[k]) for k in (1, 2, 3))), match.groups()[3:]) if match else None

    return reader


def _by_name(pattern: re.Pattern[str], month: int, day: int) -> Callable[[str], Moment | None]:
    def reader(text: str) -> Moment | None:
        match = pattern.fullmatch(text)
        if not match or match[month][:3].lower() not in MONTHS:
            return None
        number = MONTHS.index(match[month][:3].lower()) + 1
        return _moment(_day(_century(match[3]), number, int(match[day])), match.groups()[3:])

    return reader


def _century(text: str) -> int:
    """A year; of two digits, 69 to 99 are of the twentieth century (POSIX, strptime)."""
    year = int(text)
    return year if len(text) == 4 else year + (1900 if year >= 69 else 2000)


def _unix(text: str) -> Moment | None:
    match = UNIX.fullmatch(text) or SMALL_UNIX.fullmatch(text)
    if not match:
        return None
    seconds = int(match[1]) if match[1] else int(match[2]) // 1000
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return Moment(moment.date(), moment.hour * 3600 + moment.minute * 60 + moment.second, UTC)


def _parts(text: str, order: str) -> Moment | None:
    """A date of three numbers in an order; None where it is none in this order."""
    match = PARTS.fullmatch(text)
    if not match:
        return READERS["year first"](text) if order == "YMD" else None
    at = {letter: match[place] for place, letter in enumerate(order, 1)}
    if len(match[3]) == 4 and order == "YMD":
        return None
    return _moment(_day(_century(at["Y"].zfill(2)), int(at["M"]), int(at["D"])), match.groups()[3:])


READERS: dict[str, Callable[[str], Moment | None]] = {
    "iso": _year_first(ISO),
    "year first": _year_first(YEAR_FIRST),
    "compact": _year_first(COMPACT),
    "unix": _unix,
    "month first": _by_name(MONTH_FIRST, 1, 2),
    "day first": _by_name(DAY_FIRST, 2, 1),
}


def _order(texts: Sequence[str], lines: Sequence[int], usual: str, who: str) -> str:
    """The order in which the column's dates make sense: the only one there is, or the provider's usual one."""
    asked = [(line, text) for line, text in zip(lines, texts, strict=True) if PARTS.fullmatch(text)]
    valid = {order: {k for k, (_, text) in enumerate(asked) if _parts(text, order)} for order in ORDERS}
    some = set.union(*valid.values())
    proof = {
        order: next(
            (k for k in sorted(some) if k in rows and all(k not in valid[o] for o in ORDERS if o != order)), None
        )
        for order, rows in valid.items()
    }
    proved = [order for order in ORDERS if proof[order] is not None]
    possible = _daily([order for order in ORDERS if valid[order] == some], [text for _, text in asked])
    if len(proved) > 1:
        shown = " and ".join(f"line {asked[k][0]} has {asked[k][1]!r} ({WORDS[order]})"
                             for order, k in proof.items() if k is not None)  # fmt: skip
        raise SourceError(f"{who}: dates are written in more than one order: {shown}. Choose with -p dates=DMY, MDY "
                          "or YMD; rows that are none in that order are then refused.")  # fmt: skip
    if len(possible) == 1 or usual in possible:
        return usual if usual in possible else possible[0]
    if proved and not possible:
        return proved[0]
    line, text = asked[0]
    raise SourceError(
        f"{who}: day and month cannot be told apart: no date of the column has a number over 12 where only a day can "
        f"be; line {line} has {text!r}. Choose with -p dates={', '.join(possible or ORDERS)}."
    )


def _daily(orders: list[str], texts: Sequence[str]) -> list[str]:
    """Of orders that differ in where the year is, those that make a column of days; all where none does."""
    if "YMD" not in orders or len(orders) == 1:
        return orders
    step = {}
    for order in orders:
        days = sorted({one.day.toordinal() for one in (_parts(text, order) for text in texts) if one})
        step[order] = float(np.median(np.diff(days))) if len(days) > 2 else 0.0
    return [order for order in orders if step[order] <= SPARSE] or orders


def _check_daily(moments: Sequence[Moment | None], lines: Sequence[int], texts: Sequence[str], who: str) -> None:
    """Raise where most days have several times: bars within the day."""
    times = {(one.day, one.second) for one in moments if one and one.second is not None}
    days = {day for day, _ in times}
    if times and len(times) >= INTRADAY * len(days):
        raise SourceError(
            f"{who}: these are intraday bars, {len(times) / len(days):.0f} a day (line {lines[0]} has "
            f"{texts[0]!r}); daily bars are read. Export them with an interval of one day."
        )


def _sessions(
    moments: Sequence[Moment | None], zone: str | None, lines: Sequence[int], texts: Sequence[str], who: str
) -> tuple[list[date | None], str]:
    """The day of each, and in which zone: as written where all are midnights or have no zone, else the exchange's."""
    stamped = [k for k, one in enumerate(moments) if one and one.zone]
    if all(moments[k].midnight for k in stamped):  # type: ignore[union-attr]
        return [one.day if one else None for one in moments], ", midnight of the day" if stamped else ""
    if zone == "UTC":
        k = next(k for k in stamped if not moments[k].midnight)  # type: ignore[union-attr]
        raise SourceError(
            f"{who}: line {lines[k]} has {texts[k]!r}, which is not midnight: of which session this is the bar cannot "
            "be told on a calendar that never closes. Export whole days, or give the dates as YYYY-MM-DD."
        )
    place = ZoneInfo(zone or "UTC")
    return [_local(one, place) if one else None for one in moments], f", the day in {zone or 'UTC'}"


def _local(one: Moment, zone: ZoneInfo) -> date:
    if one.zone is None:
        return one.day
    instant = datetime(one.day.year, one.day.month, one.day.day, tzinfo=one.zone) + timedelta(seconds=one.second or 0)
    return instant.astimezone(zone).date()
