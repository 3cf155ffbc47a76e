"""Functions that need more than a line: patterns known before the run, decimals, any number of arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from stockkit.athena import calls, casts, datetimes, intervals, java_format, operators, types
from stockkit.athena.types import Type
from stockkit.athena.values import Scope, Value, coerced, null, once, refuse, text, unanswered, unified


def _try(node: Any, scope: Scope) -> Value:
    from stockkit.athena import expressions

    if len(node.expressions) != 1:
        raise refuse(node, "expected 1 argument.")
    return expressions.tried(lambda inner: inner.value(node.expressions[0]), scope)


def _coalesce(node: Any, scope: Scope) -> Value:
    values = unified(calls.arguments(node, scope, 2, 99), node)
    sql = f"coalesce({', '.join(value.sql for value in values)})"
    return Value(sql, values[0].type, nan=any(value.nan for value in values))


def _nullif(node: Any, scope: Scope) -> Value:
    one, other = calls.arguments(node, scope, 2, 2)

    def made(values: list[Value]) -> str:
        same = operators.comparison("=", values[0], values[1], node)
        return f"CASE WHEN {same.sql} THEN NULL ELSE {values[0].sql} END"

    return Value(once([one, other], made), one.type, nan=one.nan)


def _extreme(name: str) -> Callable[[Any, Scope], Value]:
    def translate(node: Any, scope: Scope) -> Value:
        values = unified(calls.arguments(node, scope, 1, 99), node)
        kind = values[0].type
        if not (kind.number or kind.moment or kind.name in ("varchar", "boolean", "unknown")):
            raise refuse(node, f"{kind} is not ordered.")
        return Value(once(values, made), kind)

    def made(values: list[Value]) -> str:
        kind = values[0].type
        sql = f"{name}({', '.join(value.sql for value in values)})"
        tests = [f"WHEN {value.sql} IS NULL THEN NULL" for value in values]
        odd = [value.sql for value in values if value.nan and kind.floating]
        tests += [f"WHEN isnan({one}) THEN {unanswered(f'{name} of NaN is not translated', kind)}" for one in odd]
        return f"CASE {' '.join(tests)} ELSE {sql} END"

    return translate


def _concat(node: Any, scope: Scope) -> Value:
    values = calls.arguments(node, scope, 2, 99)
    whole = values[0]
    for value in values[1:]:
        whole = operators.joined(whole, value, node)
    return whole


def _concat_ws(node: Any, scope: Scope) -> Value:
    values = [coerced(value, types.VARCHAR, node) for value in calls.arguments(node, scope, 2, 99)]
    return Value(f"concat_ws({', '.join(value.sql for value in values)})", types.VARCHAR)


def _format(node: Any, scope: Scope) -> Value:
    pattern, *values = calls.arguments(node, scope, 1, 99)
    return java_format.java_format(pattern.const, values, node)


def _date_add(node: Any, scope: Scope) -> Value:
    unit, count, value = calls.arguments(node, scope, 3, 3)
    return datetimes.date_add(unit, count, value, node)


def _date_diff(node: Any, scope: Scope) -> Value:
    unit, start, end = calls.arguments(node, scope, 3, 3)
    return datetimes.date_diff(unit, start, end, node)


def _date_trunc(node: Any, scope: Scope) -> Value:
    unit, value = calls.arguments(node, scope, 2, 2)
    return datetimes.date_trunc(unit, value, node)


def _date_format(node: Any, scope: Scope) -> Value:
    value, pattern = calls.arguments(node, scope, 2, 2)
    return datetimes.formatted(value, datetimes.mysql_pattern(pattern.const, datetimes.MYSQL, node), node)


def _format_datetime(node: Any, scope: Scope) -> Value:
    value, pattern = calls.arguments(node, scope, 2, 2)
    return datetimes.formatted(value, datetimes.joda_pattern(pattern.const, node), node)


def _field(name: str) -> Callable[[Any, Scope], Value]:
    return lambda node, scope: datetimes.extracted(name, calls.arguments(node, scope, 1, 1)[0], node)


def _from_unixtime(node: Any, scope: Scope) -> Value:
    seconds, *zone = calls.arguments(node, scope, 1, 2)
    kind = Type("zoned", (3, casts.checked_zone(zone[0].const, node) if zone else "UTC"))
    millis = f"CAST(round({coerced(seconds, types.DOUBLE, node).sql} * 1000) AS BIGINT)"
    return Value(f"(make_timestamp({millis} * 1000) AT TIME ZONE 'UTC')", kind)


def _at_timezone(node: Any, scope: Scope) -> Value:
    value, zone = calls.arguments(node, scope, 2, 2)
    return datetimes.rezoned(value, casts.checked_zone(zone.const, node), node)


def _with_timezone(node: Any, scope: Scope) -> Value:
    value, zone = calls.arguments(node, scope, 2, 2)
    if value.type.name != "timestamp":
        raise refuse(node, f"expected a timestamp without zone, found {value.type}.")
    return casts.from_local(value.sql, Type("zoned", (value.type.args[0], casts.checked_zone(zone.const, node))))


def _sequence(node: Any, scope: Scope) -> Value:
    values = calls.arguments(node, scope, 2, 3)
    if values[0].type == values[1].type == types.DATE:
        return datetimes.sequence(values[0], values[1], values[2] if len(values) == 3 else None, node)
    return calls.simple("sequence", values, node)


def _date(node: Any, scope: Scope) -> Value:
    return casts.cast(calls.arguments(node, scope, 1, 1)[0], types.DATE, node)


def row(node: Any, scope: Scope) -> Value:
    """ROW(…), or values in parentheses."""
    values = calls.arguments(node, scope, 1, 99)
    kind = Type("row", tuple(value.type for value in values), (None,) * len(values))
    parts = (f"'{types.field(kind, k)}': {value.sql}" for k, value in enumerate(values))
    return Value(f"{{{', '.join(parts)}}}", kind, nan=True)


def _rounding(name: str) -> Callable[[Any, Scope], Value]:
    """round, floor, ceil, truncate, abs, sign and mod, which give a decimal for a decimal."""

    def translate(node: Any, scope: Scope) -> Value:
        values = calls.arguments(node, scope, 1, 2)
        if name == "mod" and len(values) == 2 and any(value.type.floating for value in values):
            return operators.arithmetic("%", values[0], values[1], node)
        if values[0].type.name == "decimal" or (name == "mod" and values[-1].type.name == "decimal"):
            return null(values[0].type) if types.UNKNOWN in (v.type for v in values) else _decimal(name, values, node)
        return calls.simple(name, values, node)

    return translate


def _decimal(name: str, values: list[Value], node: Any) -> Value:
    value, kind = values[0], values[0].type
    if name == "mod" and len(values) == 2:
        return operators.arithmetic("%", value, values[1], node)
    digits = values[1].const if len(values) == 2 else 0
    precision, scale = kind.args
    if name == "abs" and len(values) == 1:
        return Value(f"CAST(abs({value.sql}) AS {kind.local})", kind)
    if name == "sign" and len(values) == 1:
        return Value(f"CAST(sign({value.sql}) AS DECIMAL(1,0))", types.decimal(1, 0))
    if name == "truncate" and len(values) == 1:
        return _cut(value, 0, types.decimal(max(1, precision - scale), 0), "0")
    if name == "truncate" and isinstance(digits, int) and digits + precision <= scale:
        return Value(f"({value.sql} * 0)::{kind.local}", kind)
    if name in ("round", "truncate") and len(values) == 2 and isinstance(digits, int) and digits + precision > scale:
        wider = types.decimal(precision + 1, scale) if name == "round" else kind
        if digits >= scale:
            return Value(f"CAST({value.sql} AS {wider.local})", wider)
        return _cut(value, digits, wider, f"{10 ** (scale - digits) // 2}" if name == "round" else "0")
    if name in ("round", "floor", "ceil", "ceiling") and len(values) == 1:
        whole = types.decimal(precision - scale + min(1, scale), 0)
        wide = f"CAST({value.sql} AS {types.decimal(precision + 1, scale).local})"
        return Value(f"CAST({'ceil' if name == 'ceiling' else name}({wide}) AS {whole.local})", whole)
    raise refuse(node, f"{name} of a {kind} is not translated like this: CAST to double.")


def _cut(value: Value, digits: int, kind: Type, half: str) -> Value:
    """A decimal without its digits from a place on, towards zero after half of that place is added."""
    lost, shift = value.type.args[1] - digits, digits - kind.args[1]
    return Value(once([value], lambda given: _cut_once(given[0], lost, shift, kind, half)), kind)


def _cut_once(value: Value, lost: int, shift: int, kind: Type, half: str) -> str:
    """The same: `lost` digits fewer, then `shift` places up."""
    whole = f"(n.u // {10**lost} * {10 ** max(0, -shift)} * n.s)"
    parts = f"[{{'u': abs({operators.unscaled(value)}) + {half}, 's': CAST(sign({value.sql}) AS HUGEINT)}}]"
    return operators.rescaled(f"list_transform({parts}, lambda n: {whole})[1]", kind)


def _to_milliseconds(node: Any, scope: Scope) -> Value:
    (value,) = calls.arguments(node, scope, 1, 1)
    if value.type != intervals.SECONDS:
        raise refuse(node, f"Unexpected parameters ({value.type}) for function to_milliseconds.")
    return Value(value.sql, types.BIGINT)


def _typeof(node: Any, scope: Scope) -> Value:
    """typeof: the name of the type, where it is the same here; the length of a varchar is not kept here."""
    (value,) = calls.arguments(node, scope, 1, 1)
    named = type(node.expressions[0]).__name__ in ("Cast", "TryCast") and not node.expressions[0].to.expressions
    if "varchar" in str(value.type) and not (named and value.type == types.VARCHAR):
        raise refuse(node, "the length of a varchar is not kept here: CAST(x AS varchar) has the type varchar.")
    name = value.type.name if value.type.name == "unknown" else str(value.type)
    name = re.sub(r"(decimal\([0-9]+), ", r"\1,", name)
    return Value(text(name), types.VARCHAR, name)


def _listed(name: str) -> Callable[[Any, Scope], Value]:
    """contains, array_position and array_remove: an equality that must not meet NaN."""

    def translate(node: Any, scope: Scope) -> Value:
        values = calls.arguments(node, scope, 2, 2)
        kind = values[0].type.args[0] if values[0].type.name == "array" else types.UNKNOWN
        if kind.name in ("array", "map", "row") or (kind.floating and any(value.nan for value in values)):
            raise refuse(node, f"{name} compares {kind}, which may hold NaN or NULL inside: use filter or any_match.")
        return calls.simple(name, values, node)

    return translate


HANDLERS: dict[str, Callable[[Any, Scope], Value]] = {
    "try": _try, "coalesce": _coalesce, "nullif": _nullif, "greatest": _extreme("greatest"), "least": _extreme("least"),
    "concat": _concat, "concat_ws": _concat_ws, "format": _format, "date_add": _date_add, "date_diff": _date_diff,
    "date_trunc": _date_trunc, "date_format": _date_format, "format_datetime": _format_datetime,
    "from_unixtime": _from_unixtime, "at_timezone": _at_timezone,
    "with_timezone": _with_timezone, "sequence": _sequence, "date": _date, "row": row,
    **{name: _field(name) for name in datetimes.FIELDS},
    **{name: _rounding(name) for name in ("round", "floor", "ceil", "ceiling", "abs", "mod", "sign", "truncate")},
    "typeof": _typeof, "to_milliseconds": _to_milliseconds,
    **{name: _listed(name) for name in ("contains", "array_position", "array_remove")},
    **java_format.HANDLERS,
}  # fmt: skip
