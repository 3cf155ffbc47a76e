"""Dates and timestamps: adding, truncating and counting complete units, in the zone of the moment."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

from stockkit.athena import casts, intervals, types
from stockkit.athena.functions import simple
from stockkit.athena.intervals import from_local, local_time, to_digits
from stockkit.athena.types import Type
from stockkit.athena.values import (
    NOTHING,
    Handler,
    Scope,
    Value,
    arguments,
    coerced,
    fail,
    known_pattern,
    null,
    on_values,
    quoted,
    refuse,
)

MONTHS = {"month": 1, "quarter": 3, "year": 12}
MILLIS = {"millisecond": 1, **intervals.MILLIS, "week": 7 * intervals.DAY}
ON_DATES = ("day", "week", "month", "quarter", "year")
FIELDS = {"year": "year", "quarter": "quarter", "month": "month", "week": "week", "week_of_year": "week",
          "day": "day", "day_of_month": "day", "day_of_week": "isodow", "dow": "isodow", "day_of_year": "doy",
          "doy": "doy", "year_of_week": "isoyear", "yow": "isoyear", "hour": "hour", "minute": "minute",
          "second": "second", "millisecond": "millisecond"}  # fmt: skip


def _unit_of(value: Value, kind: Type, node: Any) -> str:
    """A unit given as text, where it fits the type of the moment."""
    unit = value.const.lower() if isinstance(value.const, str) else None
    allowed = ON_DATES if kind == types.DATE else (*MILLIS, *MONTHS)
    if unit not in allowed:
        given = "what a row says" if value.const is NOTHING else repr(value.const)
        raise refuse(node, f"{given} is no unit for a {kind}: give one of {', '.join(allowed)} as text.")
    return str(unit)


def _date_add(unit: Value, count: Value, value: Value, node: Any) -> Value:
    """date_add: month ends are clamped; hours and less are of the instant, days and more of the clock."""
    if value.type == types.UNKNOWN:
        return null()
    name, number = _unit_of(unit, value.type, node), coerced(count, types.BIGINT, node).sql
    if name in MONTHS:
        return from_local(f"({local_time(value)} + to_months(CAST({number} * {MONTHS[name]} AS INTEGER)))", value.type)
    if name in ("day", "week"):
        days = f"to_days(CAST({number} * {1 if name == 'day' else 7} AS INTEGER))"
        return from_local(f"({local_time(value)} + {days})", value.type)
    return to_digits(Value(f"({value.sql} + to_milliseconds({number} * {MILLIS[name]}))", value.type), value.type)


def _date_trunc(unit: Value, value: Value, node: Any) -> Value:
    """date_trunc: the type stays."""
    if value.type == types.UNKNOWN:
        return null()
    name = _unit_of(unit, value.type, node)
    name = "milliseconds" if name == "millisecond" else name
    return from_local(f"date_trunc('{name}', {local_time(value)})", value.type)


def _date_diff(unit: Value, start: Value, end: Value, node: Any) -> Value:
    """date_diff: complete units, towards zero."""
    if types.UNKNOWN in (start.type, end.type):
        return null(types.BIGINT)
    kind = types.common(start.type, end.type)
    if {start.type.name, end.type.name} == {"zoned"}:
        kind = start.type
        end = replace(end, type=kind)
    if kind is None or not kind.moment:
        raise refuse(node, f"Cannot count between {start.type} and {end.type}.")
    name = _unit_of(unit, kind, node)
    start, end = coerced(start, kind, node), coerced(end, kind, node)
    if kind == types.DATE and name in ("day", "week"):
        days = f"CAST({end.sql} - {start.sql} AS BIGINT)"
        return Value(days if name == "day" else f"({days} // 7)", types.BIGINT)
    clocks = name in MONTHS or name in ("day", "week")
    moments = (local_time(side) if clocks else _instant(side) for side in (start, end))
    a, b = (f"date_trunc('milliseconds', {moment})" for moment in moments)
    if name in MONTHS:
        months = f"(CASE WHEN {a} <= {b} THEN {_months(a, b)} ELSE -{_months(b, a)} END)"
        return Value(f"CAST({months} // {MONTHS[name]} AS BIGINT)", types.BIGINT)
    return Value(f"CAST((epoch_us({b}) - epoch_us({a})) // {MILLIS[name] * 1000} AS BIGINT)", types.BIGINT)


def _months(a: str, b: str) -> str:
    """Complete months from a to the later b; the end of a shorter month completes one."""
    boundaries = f"date_diff('month', {a}, {b})"
    return f"({boundaries} - CASE WHEN {a} + to_months(CAST({boundaries} AS INTEGER)) > {b} THEN 1 ELSE 0 END)"


def _instant(value: Value) -> str:
    return f"({value.sql} AT TIME ZONE 'UTC')" if value.type.name == "zoned" else local_time(value)


def _extracted(name: str, value: Value, node: Any) -> Value:
    """A field of a moment, as a bigint; weeks are ISO weeks, Monday is day 1."""
    if value.type == types.UNKNOWN:
        return null(types.BIGINT)
    if value.type.name == "interval":
        return intervals.part(name.lower(), value, node)
    part = FIELDS.get(name.lower())
    fine = ("hour", "minute", "second", "millisecond")
    if part is None or not value.type.moment or (part in fine and value.type == types.DATE):
        raise refuse(node, f"there is no {name.lower()} of a {value.type}.")
    sql = f"date_part('{part}', {local_time(value) if value.type != types.DATE else value.sql})"
    return Value(f"CAST({f'{sql} % 1000' if part == 'millisecond' else sql} AS BIGINT)", types.BIGINT)


def _rezoned(value: Value, zone: Value, node: Any) -> Value:
    """The same instant shown in another zone; a timestamp without one is taken for UTC, the session's."""
    name = casts.checked_zone(zone.const, node)
    if value.type == types.UNKNOWN:
        return null()
    if value.type.name not in ("timestamp", "zoned"):
        raise refuse(node, f"only a timestamp has a zone, this is {value.type}.")
    kind = Type("zoned", (value.type.args[0], name))
    utc = coerced(value, Type("zoned", (value.type.args[0], "UTC"))) if value.type.name == "timestamp" else value
    return replace(utc, type=kind)


MYSQL = {"a": "%a", "b": "%b", "c": "%-m", "d": "%d", "e": "%-d", "f": "%g000", "H": "%H", "h": "%I", "I": "%I",
         "i": "%M", "j": "%j", "k": "%-H", "l": "%-I", "M": "%B", "m": "%m", "p": "%p", "r": "%I:%M:%S %p",
         "S": "%S", "s": "%S", "T": "%H:%M:%S", "v": "%V", "W": "%A", "x": "%G", "Y": "%Y", "y": "%y",
         "%": "%%"}  # fmt: skip
JODA = {"y": "%Y", "yy": "%y", "yyyy": "%Y", "Y": "%Y", "YYYY": "%Y", "M": "%-m", "MM": "%m", "MMM": "%b",
        "MMMM": "%B", "d": "%-d", "dd": "%d", "E": "%a", "EE": "%a", "EEE": "%a", "EEEE": "%A", "e": "%u",
        "D": "%-j", "DDD": "%j", "H": "%-H", "HH": "%H", "h": "%-I", "hh": "%I", "m": "%-M", "mm": "%M",
        "s": "%-S", "ss": "%S", "SSS": "%g", "a": "%p", "ww": "%V", "x": "%G", "xxxx": "%G"}  # fmt: skip


def _date_format(value: Value, pattern: Value, node: Any) -> Value:
    """date_format, whose pattern has MySQL's letters."""

    def letter(match: re.Match[str]) -> str:
        if match.group(1) not in MYSQL:
            raise refuse(node, f"%{match.group(1)} is not translated.")
        return MYSQL[match.group(1)]

    return _formatted(value, re.sub(r"%(.?)", letter, known_pattern(pattern, node), flags=re.DOTALL), node)


def _format_datetime(value: Value, pattern: Value, node: Any) -> Value:
    """format_datetime, whose pattern has Joda's letters."""
    letters = known_pattern(pattern, node)
    if letters.count("'") % 2:
        raise refuse(node, "the quotes in the pattern must stand in pairs.")

    def part(match: re.Match[str]) -> str:
        piece = match.group(0)
        if piece.startswith("'"):
            return (piece[1:-1].replace("''", "'") or "'").replace("%", "%%")
        if piece[0].isalpha() and piece not in JODA:
            raise refuse(node, f"{piece!r} in the pattern is not translated.")
        return JODA.get(piece, piece.replace("%", "%%"))

    return _formatted(value, re.sub(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+", part, letters), node)


def _formatted(value: Value, pattern: str, node: Any) -> Value:
    """A moment spelled by a pattern of the local engine."""
    if value.type == types.UNKNOWN:
        return null(types.VARCHAR)
    if not value.type.moment:
        raise refuse(node, f"only a date or timestamp is spelled, this is {value.type}.")
    millis = Type("timestamp", (3,))  # what is finer is rounded before it is spelled
    clock = local_time(value)
    if value.type.args and value.type.args[0] > 3:
        clock = to_digits(Value(clock, millis), millis).sql
    return Value(f"strftime({clock}, {quoted(pattern)})", types.VARCHAR)


def _date_sequence(start: Value, stop: Value, step: Value | None, node: Any) -> Value:
    """sequence over dates, a day or a given interval apart; each entry is counted from the start."""
    if step is not None and not (step.type.name == "interval" and isinstance(step.const, int)):
        raise refuse(node, "the step between dates is an interval that is known before the query runs.")
    months = step.const if step is not None and step.type == intervals.MONTHS else 0
    millis = step.const if step is not None and step.type == intervals.SECONDS else 0
    if step is not None and (millis % MILLIS["day"] or not (months or millis)):
        raise refuse(node, "the step between dates is whole days or months.")
    gap = str(months or millis // MILLIS["day"])
    if step is None:
        gap = f"(CASE WHEN {start.sql} <= {stop.sql} THEN 1 ELSE -1 END)"
    span = _date_diff(Value("", types.VARCHAR, "month" if months else "day"), start, stop, node).sql
    kind, unit = types.array(types.DATE), "to_months" if months else "to_days"
    against = fail("sequence stop value should lie in the direction of the step", kind)
    long = fail("result of sequence function must not have more than 10000 entries", kind)
    element = f"CAST({start.sql} + {unit}(CAST(place * {gap} AS INTEGER)) AS DATE)"
    sql = (
        f"CASE WHEN ({stop.sql} - {start.sql}) * {gap} < 0 THEN {against} WHEN {span} // {gap} >= 10000 THEN {long} "
        f"ELSE list_transform(range({span} // {gap} + 1), lambda place: {element}) END"
    )
    return Value(sql, kind)


def _from_unixtime(node: Any, scope: Scope) -> Value:
    seconds, *zone = arguments(node, scope, 1, 2)
    kind = Type("zoned", (3, casts.checked_zone(zone[0].const, node) if zone else "UTC"))
    millis = f"CAST(round({coerced(seconds, types.DOUBLE, node).sql} * 1000) AS BIGINT)"
    return Value(f"(make_timestamp({millis} * 1000) AT TIME ZONE 'UTC')", kind)


def _with_timezone(value: Value, zone: Value, node: Any) -> Value:
    if value.type.name != "timestamp":
        raise refuse(node, f"expected a timestamp without zone, found {value.type}.")
    return from_local(value.sql, Type("zoned", (value.type.args[0], casts.checked_zone(zone.const, node))))


def _sequence(node: Any, scope: Scope) -> Value:
    values = arguments(node, scope, 2, 3)
    if values[0].type == values[1].type == types.DATE:
        return _date_sequence(values[0], values[1], values[2] if len(values) == 3 else None, node)
    return simple.call("sequence", values, node)


def _to_milliseconds(value: Value, node: Any) -> Value:
    if value.type != intervals.SECONDS:
        raise refuse(node, f"Unexpected parameters ({value.type}) for function to_milliseconds.")
    return Value(value.sql, types.BIGINT)


EXTRACTED = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DAY_OF_MONTH", "DAY_OF_WEEK", "DOW", "DAY_OF_YEAR", "DOY",
             "YEAR_OF_WEEK", "YOW", "HOUR", "MINUTE", "SECOND")  # fmt: skip


def extract(node: Any, scope: Scope) -> Value:
    """EXTRACT(field FROM moment)."""
    if node.this.name.upper() not in EXTRACTED:
        raise refuse(node, f"EXTRACT takes one of {', '.join(EXTRACTED)}.")
    return _extracted(node.this.name, scope.value(node.expression), node)


def at_time_zone(node: Any, scope: Scope) -> Value:
    """moment AT TIME ZONE 'zone'."""
    return _rezoned(scope.value(node.this), scope.value(node.args["zone"]), node)


HANDLERS: dict[str, Handler] = {
    "date_add": on_values(_date_add, 3), "date_diff": on_values(_date_diff, 3), "date_trunc": on_values(_date_trunc, 2),
    "date_format": on_values(_date_format, 2), "format_datetime": on_values(_format_datetime, 2),
    "at_timezone": on_values(_rezoned, 2), "with_timezone": on_values(_with_timezone, 2),
    "from_unixtime": _from_unixtime, "sequence": _sequence, "to_milliseconds": on_values(_to_milliseconds, 1),
    "date": on_values(lambda value, node: casts.cast(value, types.DATE, node), 1),
    **{name: on_values(partial(_extracted, name), 1) for name in FIELDS},
}  # fmt: skip
