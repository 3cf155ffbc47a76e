"""Texts read as moments: date_parse with MySQL's letters, ISO 8601 dates and timestamps.

A pattern becomes a regular expression with a group for each part, as Joda reads it: a number takes as many digits as
it may; what is not in the text is of 1970-01-01 00:00, and a month or day without a year is of the year 2000.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from stockkit.athena import types
from stockkit.athena.types import Type
from stockkit.athena.values import Handler, Value, coerced, known_pattern, let, on_values, quoted, refuse, unanswered

MONTH_NAMES = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
               "November", "December")  # fmt: skip
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# letter → what it gives and the most digits that it takes; the two-digit year takes exactly two
NUMBERS = {"Y": ("year", 4), "y": ("short", 2), "m": ("month", 2), "c": ("month", 2), "d": ("day", 2),
           "e": ("day", 2), "j": ("day_of_year", 3), "H": ("hour", 2), "k": ("hour", 2), "h": ("half", 2),
           "I": ("half", 2), "l": ("half", 2), "i": ("minute", 2), "s": ("second", 2), "S": ("second", 2),
           "f": ("fraction", 9)}  # fmt: skip
LONG = {"T": "%H:%i:%s", "r": "%I:%i:%s %p"}


@dataclass
class Reading:
    """A regular expression, and what its groups give, in their order."""

    pattern: str = ""
    parts: list[str] = field(default_factory=list)


def _date_parse(value: Value, pattern: Value, node: Any) -> Value:
    """date_parse: a timestamp(3)."""
    reading = _reading(re.sub(r"%([Tr])", lambda match: LONG[match.group(1)], known_pattern(pattern, node)), node)
    sql = coerced(value, types.VARCHAR, node).sql
    matched = f"regexp_full_match(n.t, {quoted(reading.pattern)})"
    parsed = _moment(reading, node)
    body = f"CASE WHEN NOT {matched} THEN {_invalid('TIMESTAMP')} ELSE {parsed} END"
    return Value(let(body, t=sql), types.TIMESTAMP)


def _invalid(kind: str) -> str:
    """SQL that fails with the text that could not be read."""
    return f"CAST(CAST('!Invalid format: ' || n.t AS BIGINT) AS VARCHAR)::{kind}"


def _reading(pattern: str, node: Any) -> Reading:
    reading = Reading()
    pieces = re.findall(r"%.?|[^%]", pattern, re.DOTALL)
    for k, piece in enumerate(pieces):
        following = pieces[k + 1] if k + 1 < len(pieces) else ""
        digits_follow = following[1:] in NUMBERS if following.startswith("%") else following.isdigit()
        if len(piece) == 1 and piece != "%":
            reading.pattern += (
                f"[{piece.lower()}{piece.upper()}]" if piece.isascii() and piece.isalpha() else re.escape(piece)
            )
        elif piece == "%%":
            reading.pattern += "%"
        elif piece[1:] in NUMBERS:
            name, most = NUMBERS[piece[1:]]
            exact = digits_follow or name == "short"
            reading.pattern += f"([0-9]{{{most}}})" if exact else f"([0-9]{{1,{most}}})"
            reading.parts.append(name)
        elif piece[1:] in ("M", "b", "W", "a", "p"):
            reading.pattern += f"({'|'.join(_names(piece[1:]))})"
            reading.parts.append({"M": "name", "b": "name", "p": "noon"}.get(piece[1:], "weekday"))
        else:
            raise refuse(node, f"{piece} is not translated.")
    if len(set(reading.parts)) < len(reading.parts):
        raise refuse(node, "a part that is there twice is not translated.")
    return reading


def _names(letter: str) -> list[str]:
    """The spellings that Joda takes for a name: long or short, as written, in small or in capital letters."""
    words = ("AM", "PM") if letter == "p" else MONTH_NAMES if letter in "Mb" else DAY_NAMES
    spelled = {form for word in words for short in (word, word[:3]) for form in (short, short.lower(), short.upper())}
    return sorted(spelled, key=lambda word: (-len(word), word))


def _moment(reading: Reading, node: Any) -> str:
    """The timestamp of what the groups of a reading give."""
    taken = {
        name: f"regexp_extract(n.t, {quoted(f'^{reading.pattern}$')}, {k + 1})" for k, name in enumerate(reading.parts)
    }
    number = {name: f"CAST({sql} AS BIGINT)" for name, sql in taken.items()}
    dated = {"month", "name", "day", "day_of_year"} & taken.keys()
    if {"year", "short"} <= taken.keys() or {"month", "name"} <= taken.keys() or {"hour", "half"} <= taken.keys():
        raise refuse(node, "a part that is there twice is not translated.")
    if "day_of_year" in taken and len(dated) > 1:
        raise refuse(node, "the day of the year does not go with a month or day.")
    year = number.get("year") or ("2000" if dated else "1970")
    if "short" in number:
        year = f"({number['short']} + CASE WHEN {number['short']} < 70 THEN 2000 ELSE 1900 END)"
    month, day = number.get("month", "1"), number.get("day", "1")
    if "name" in taken:
        names = ", ".join(quoted(word[:3].lower()) for word in MONTH_NAMES)
        month = f"list_position([{names}], lower(substr({taken['name']}, 1, 3)))"
    date = f"make_date({year}, {month}, {day})"
    if "day_of_year" in taken:
        place = number["day_of_year"]
        date = f"CASE WHEN {place} BETWEEN 1 AND date_part('doy', make_date({year}, 12, 31)) THEN "
        date += f"CAST(make_date({year}, 1, 1) + CAST({place} - 1 AS INTEGER) AS DATE) ELSE {_invalid('DATE')} END"
    return _with_time(date, taken, number, node)


def _with_time(date: str, taken: dict[str, str], number: dict[str, str], node: Any) -> str:
    hour, bad = number.get("hour", "0"), []
    if "half" in number:
        bad.append(f"{number['half']} NOT BETWEEN 1 AND 12")
        hour = f"{number['half']} % 12"
    if "noon" in taken:
        if "hour" in number:
            raise refuse(node, "AM and PM do not go with an hour from 0 to 23.")
        hour = f"({hour} + CASE WHEN lower({taken['noon']}) = 'pm' THEN 12 ELSE 0 END)"
    bad += [f"{sql} > {most}" for name, most in (("hour", 23), ("minute", 59), ("second", 59))
            if (sql := number.get(name))]  # fmt: skip
    millis = f"CAST(rpad({taken['fraction']}, 3, '0')[1:3] AS BIGINT)" if "fraction" in taken else "0"
    past = f"(({hour} * 60 + {number.get('minute', '0')}) * 60 + {number.get('second', '0')}) * 1000 + {millis}"
    moment = f"CAST({date} AS TIMESTAMP) + to_milliseconds({past})"
    if "weekday" in taken:
        names = ", ".join(quoted(word[:3].lower()) for word in DAY_NAMES)
        place = f"list_position([{names}], lower(substr({taken['weekday']}, 1, 3)))"
        message = unanswered("a day of the week that is not that of the date is not translated", types.TIMESTAMP)
        moment = f"CASE WHEN {place} <> date_part('isodow', {date}) THEN {message} ELSE {moment} END"
    return f"CASE WHEN {' OR '.join(bad)} THEN {_invalid('TIMESTAMP')} ELSE {moment} END" if bad else moment


DAY = r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?"
ORDINAL, WEEK = r"([0-9]{4})-([0-9]{3})", r"([0-9]{4})-W([0-9]{1,2})(?:-([1-7]))?"
TIME = r"T(?:([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:[.,]([0-9]{1,9}))?)?)?)?"
ZONE = r"(?:Z|[+-]00:?00)?"
LETTERS = r"[0-9TWZ:.,+-]+"


def _group(pattern: str, place: int, otherwise: str) -> str:
    return (
        f"CAST(coalesce(nullif(regexp_extract(n.t, {quoted(f'^{pattern}$')}, {place}), ''), '{otherwise}') AS BIGINT)"
    )


def _iso_date(rest: str) -> str:
    """The date that a text begins with, where `rest` follows it."""
    day = f"make_date({', '.join(_group(DAY + rest, k, '1') for k in (1, 2, 3))})"
    year, place = _group(ORDINAL + rest, 1, "1"), _group(ORDINAL + rest, 2, "1")
    ordinal = (
        f"CASE WHEN {place} BETWEEN 1 AND date_part('doy', make_date({year}, 12, 31)) THEN "
        f"CAST(make_date({year}, 1, 1) + CAST({place} - 1 AS INTEGER) AS DATE) ELSE {_invalid('DATE')} END"
    )
    start = f"CAST(date_trunc('week', make_date({_group(WEEK + rest, 1, '1')}, 1, 4)) AS DATE)"
    last = f"date_part('week', make_date({_group(WEEK + rest, 1, '1')}, 12, 28))"
    weeks, days = _group(WEEK + rest, 2, "1"), _group(WEEK + rest, 3, "1")
    week = (
        f"CASE WHEN {weeks} BETWEEN 1 AND {last} THEN CAST({start} + CAST(({weeks} - 1) * 7 + {days} - 1 AS INTEGER)"
        f" AS DATE) ELSE {_invalid('DATE')} END"
    )
    shapes = ((DAY, day), (ORDINAL, ordinal), (WEEK, week))
    tests = (f"WHEN regexp_full_match(n.t, {quoted(shape + rest)}) THEN {sql}" for shape, sql in shapes)
    return " ".join(tests)


def _from_iso_date(value: Value, node: Any) -> Value:
    """from_iso8601_date: a calendar, ordinal or week date."""
    sql = coerced(value, types.VARCHAR, node).sql
    body = f"CASE {_iso_date('')} ELSE {_otherwise(types.DATE)} END"
    return Value(let(body, t=sql), types.DATE)


def _otherwise(kind: Type) -> str:
    """What is none of the shapes: no ISO 8601 for sure where it has other letters, else not translated."""
    unread = unanswered("this spelling of ISO 8601 is not translated", kind)
    known = f"regexp_full_match(n.t, {quoted(LETTERS)})"
    return f"CASE WHEN n.t IS NULL THEN NULL WHEN {known} THEN {unread} ELSE {_invalid(kind.local)} END"


def _from_iso_timestamp(value: Value, node: Any) -> Value:
    """from_iso8601_timestamp: a timestamp(3) with time zone; without an offset in the text it is UTC.

    A value keeps the offset that its text has in Athena, so that other offsets than UTC's are not translated.
    """
    sql, kind = coerced(value, types.VARCHAR, node).sql, Type("zoned", (3, "UTC"))
    rest = f"(?:{TIME}{ZONE})?"
    pattern = quoted(f"^[^T]*{TIME}{ZONE}$")
    hour, minute, second = (f"coalesce(nullif(regexp_extract(n.t, {pattern}, {k}), ''), '0')" for k in (1, 2, 3))
    fraction = f"rpad(regexp_extract(n.t, {pattern}, 4), 3, '0')[1:3]"
    past = f"((CAST({hour} AS BIGINT) * 60 + CAST({minute} AS BIGINT)) * 60 + CAST({second} AS BIGINT)) * 1000"
    bad = f"CAST({hour} AS BIGINT) > 23 OR CAST({minute} AS BIGINT) > 59 OR CAST({second} AS BIGINT) > 59"
    date = f"CASE {_iso_date(rest)} ELSE {_otherwise(types.DATE)} END"
    moment = f"CAST({date} AS TIMESTAMP) + to_milliseconds({past} + CAST({fraction} AS BIGINT))"
    body = f"CASE WHEN {bad} THEN {_invalid('TIMESTAMP')} ELSE {moment} END"
    return Value(f"({let(body, t=sql)} AT TIME ZONE 'UTC')", kind)


HANDLERS: dict[str, Handler] = {
    "date_parse": on_values(_date_parse, 2), "from_iso8601_date": on_values(_from_iso_date, 1),
    "from_iso8601_timestamp": on_values(_from_iso_timestamp, 1),
}  # fmt: skip
