"""Moments in their zones, and intervals: a number of months or of milliseconds, known now or while the query runs.

Athena has two types of intervals, which do not mix: year to month and day to second. In the local engine both are
whole numbers; the answer spells them as Athena does.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from stockkit.athena import types
from stockkit.athena.types import Type
from stockkit.athena.values import NOTHING, Value, coerced, fail, let, null, quoted, refuse

MONTHS, SECONDS = Type("interval", ("month",)), Type("interval", ("second",))
UNITS = {"month": 1, "year": 12}
MILLIS = {"second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
DAY = MILLIS["day"]
WRITTEN = r"[+-]?[0-9]+(\.[0-9]{1,3})?"


def known(number: int, kind: Type) -> Value:
    """An interval of a number that is known now."""
    return Value(f"CAST({number} AS BIGINT)", kind, number)


def interval(node: Any) -> Value:
    """INTERVAL '2' DAY."""
    unit = node.args["unit"].name.lower() if node.args.get("unit") is not None else ""
    inner, sign = (node.this.this, -1) if node.this.key == "neg" else (node.this, 1)
    written = inner.name
    if inner.key != "literal" or not inner.is_string or not re.fullmatch(WRITTEN, written):
        raise refuse(node, "an interval is written INTERVAL '2' DAY, with one unit.")
    if unit in UNITS and "." not in written:
        return known(sign * int(written) * UNITS[unit], MONTHS)
    if unit in MILLIS and ("." not in written or unit == "second"):
        return known(sign * round(float(written) * MILLIS[unit]), SECONDS)
    raise refuse(node, f"an interval of {unit.upper() or 'no unit'} is not translated.")


def negative(value: Value) -> Value:
    """The interval backwards."""
    const = -value.const if isinstance(value.const, int) else value.const
    return replace(value, sql=f"(-{value.sql})", const=const)


def arithmetic(symbol: str, one: Value, other: Value, node: Any) -> Value:
    """Two values of which one is an interval."""
    result = combined(symbol, one, other, node)
    if result is not None:
        return result
    value, span = (other, one) if one.type.name == "interval" else (one, other)
    if value.type == types.UNKNOWN and symbol in ("+", "-"):
        return null()
    if not value.type.moment or symbol not in ("+", "-") or (symbol == "-" and span is one):
        raise refuse(node, f"Cannot apply operator: {one.type} {symbol} {other.type}.")
    return moved(symbol, value, span, node)


def combined(symbol: str, one: Value, other: Value, node: Any) -> Value | None:
    """Two intervals added, one times or by a number; None where one side is a moment."""
    kinds = [side.type for side in (one, other)]
    if kinds[0] == kinds[1] and symbol in "+-":
        constant = NOTHING
        if isinstance(one.const, int) and isinstance(other.const, int):
            constant = one.const + other.const if symbol == "+" else one.const - other.const
        return Value(f"({one.sql} {symbol} {other.sql})", kinds[0], constant)
    span, number = (one, other) if kinds[0].name == "interval" else (other, one)
    if number.type.number and (symbol == "*" or (symbol == "/" and span is one)):
        return _scaled(symbol, span, number, node)
    return None


def _scaled(symbol: str, span: Value, number: Value, node: Any) -> Value:
    if number.type.integral and symbol == "*":
        constant = (
            span.const * number.const if isinstance(span.const, int) and isinstance(number.const, int) else NOTHING
        )
        return Value(f"({span.sql} * {coerced(number, types.BIGINT, node).sql})", span.type, constant)
    factor = coerced(number, types.DOUBLE, node).sql
    message = fail("Cannot multiply by NaN, or divide by NaN or 0", span.type)
    odd = f"isnan({factor})" + (f" OR {factor} = 0" if symbol == "/" else "")
    worked = f"CAST(trunc({span.sql} {symbol} {factor}) AS BIGINT)"
    return Value(f"CASE WHEN {odd} THEN {message} ELSE {worked} END", span.type)


def between(start: Value, end: Value, node: Any) -> Value:
    """end - start of two moments: the milliseconds between them."""
    kind = types.common(start.type, end.type)
    if {start.type.name, end.type.name} == {"zoned"}:
        kind = start.type
    if kind is None:
        raise refuse(node, f"Cannot apply operator: {end.type} - {start.type}. CAST one side to the type of the other.")
    if kind == types.DATE:
        return Value(f"(CAST({end.sql} - {start.sql} AS BIGINT) * {DAY})", SECONDS)
    sides = [f"epoch_ms({side.sql})" if side.type.name == "zoned" else f"epoch_ms({local_time(side)})"
             for side in (start, end)]  # fmt: skip
    return Value(f"({sides[1]} - {sides[0]})", SECONDS)


def moved(symbol: str, value: Value, span: Value, node: Any) -> Value:
    """A moment plus or minus an interval."""
    span = negative(span) if symbol == "-" else span
    if span.type == MONTHS:
        months = str(span.const) if isinstance(span.const, int) else f"CAST({span.sql} AS INTEGER)"
        return from_local(f"({local_time(value)} + to_months({months}))", value.type)
    if value.type != types.DATE:
        kind = replace(value.type, args=(max(3, value.type.args[0]), *value.type.args[1:]))
        return Value(f"({value.sql} + to_milliseconds({span.sql}))", kind)
    wrong = "Cannot add hour, minutes or seconds to a date"
    if isinstance(span.const, int):
        if span.const % DAY:
            raise refuse(node, f"{wrong}: CAST it to timestamp.")
        return Value(f"CAST({value.sql} + {span.const // DAY} AS DATE)", types.DATE)
    days = f"CAST({value.sql} + CAST({span.sql} // {DAY} AS INTEGER) AS DATE)"
    return Value(f"CASE WHEN {span.sql} % {DAY} <> 0 THEN {fail(wrong, types.DATE)} ELSE {days} END", types.DATE)


def part(name: str, value: Value, node: Any) -> Value:
    """day, hour, minute, second or millisecond of an interval, year or month of one of months, with its sign."""
    time_parts = {"day": (None, DAY), "hour": (DAY, MILLIS["hour"]), "minute": (MILLIS["hour"], MILLIS["minute"]),
             "second": (MILLIS["minute"], 1000), "millisecond": (1000, 1)}  # fmt: skip
    parts: dict[str, tuple[int | None, int]] = (
        {"year": (None, 12), "month": (12, 1)} if value.type == MONTHS else time_parts
    )
    if name not in parts:
        raise refuse(node, f"there is no {name} of an {value.type}.")
    rest, unit = parts[name]
    left = value.sql if rest is None else f"({value.sql} % {rest})"
    return Value(f"({left} // {unit})", types.BIGINT)


def total(name: str, value: Value, distinct: str) -> Value:
    """The sum or mean of intervals; a mean is rounded, halves up."""
    summed = f"sum({distinct}{value.sql})\0"
    if name == "sum":
        return Value(f"CAST({summed} AS BIGINT)", value.type)
    mean = f"floor(CAST({summed} AS DOUBLE) / count({distinct}{value.sql})\0 + 0.5)"
    return Value(f"CASE WHEN {summed} IS NOT NULL THEN CAST({mean} AS BIGINT) END", value.type)


def spelled(sql: str, kind: Type) -> str:
    """An interval as Athena shows it: 2 03:04:05.678, or 1-6 for a year and six months."""
    if kind == MONTHS:
        body = "CAST(abs(n.x) // 12 AS VARCHAR) || '-' || CAST(abs(n.x) % 12 AS VARCHAR)"
    else:
        parts = [f"abs(n.x) // {DAY}", f"abs(n.x) // {MILLIS['hour']} % 24", f"abs(n.x) // {MILLIS['minute']} % 60",
                 "abs(n.x) // 1000 % 60", "abs(n.x) % 1000"]  # fmt: skip
        body = f"printf('%d %02d:%02d:%02d.%03d', {', '.join(f'CAST({part} AS BIGINT)' for part in parts)})"
    return let(f"CASE WHEN n.x < 0 THEN '-' ELSE '' END || {body}", x=sql)


def frame_offset(span: Value, key: Value, node: Any) -> str:
    """The offset of a RANGE frame in the local engine, for the key that the window is ordered by."""
    if span.type.name == "interval" and key.type.moment and isinstance(span.const, int) and span.const >= 0:
        return _moment_offset(span, key, node)
    integral = (
        isinstance(span.const, int) and not isinstance(span.const, bool) and span.type.integral and span.const >= 0
    )
    if integral and key.type.integral:
        return str(span.const)
    number = isinstance(span.const, int | float) and not isinstance(span.const, bool) and span.const >= 0
    if number and key.type == types.DOUBLE and span.type.number and not key.nan:
        return f"CAST({float(span.const)!r} AS DOUBLE)"
    raise refuse(node, f"the offset of a RANGE frame over {key.type} must be known, not negative, and go with it.")


def _moment_offset(span: Value, key: Value, node: Any) -> str:
    if span.type == MONTHS:
        if key.type.name == "zoned" and key.type.args[1] != "UTC":
            raise refuse(node, "months in a frame are not translated for other zones than UTC.")
        return f"to_months({span.const})"
    if key.type == types.DATE and span.const % DAY:
        raise refuse(node, "Cannot add hour, minutes or seconds to a date: CAST it to timestamp.")
    return f"to_days({span.const // DAY})" if key.type == types.DATE else f"to_milliseconds({span.const})"


def local_time(value: Value) -> str:
    """The clock time of a moment in its own zone, as a TIMESTAMP."""
    if value.type.name == "zoned":
        return f"({value.sql} AT TIME ZONE {quoted(value.type.args[1])})"
    return f"CAST({value.sql} AS TIMESTAMP)" if value.type.name == "date" else value.sql


def from_local(sql: str, kind: Type) -> Value:
    """A clock time taken back to a date, timestamp or zoned timestamp."""
    if kind.name == "zoned":
        return Value(f"({sql} AT TIME ZONE {quoted(kind.args[1])})", kind)
    return Value(f"CAST({sql} AS {kind.local})", kind)


def to_digits(value: Value, kind: Type) -> Value:
    """A timestamp rounded to the digits of a second that its type has, halves up."""
    step = 10 ** (6 - kind.args[0]) if kind.name in ("timestamp", "zoned") else 1
    if step == 1:
        return value
    micros = f"(epoch_us({value.sql}) + {step // 2})"
    rounded = f"make_timestamp({micros} - ({micros} % {step} + {step}) % {step})"
    return Value(rounded if kind.name == "timestamp" else f"({rounded} AT TIME ZONE 'UTC')", kind)
