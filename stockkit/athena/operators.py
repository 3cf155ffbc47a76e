"""Arithmetic and comparison: integers that stay whole, decimals that keep their scale, NaN that equals nothing."""

from __future__ import annotations

from typing import Any

from stockkit.athena import intervals, types
from stockkit.athena.types import Type
from stockkit.athena.values import Value, coerced, let, null, refuse, row_field

SYMBOLS = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%"}
COMPARISONS = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=",
               "NullSafeEQ": "IS NOT DISTINCT FROM", "NullSafeNEQ": "IS DISTINCT FROM"}  # fmt: skip


def mismatch(operator: str, one: Value, other: Value, node: Any) -> Exception:
    """Athena's refusal of operands that do not go together."""
    return refuse(
        node, f"Cannot apply operator: {one.type} {operator} {other.type}. CAST one side to the type of the other."
    )


def arithmetic(symbol: str, one: Value, other: Value, node: Any) -> Value:
    """`one` symbol `other`, with Athena's result type."""
    if "interval" in (one.type.name, other.type.name):
        return intervals.arithmetic(symbol, one, other, node)
    kind = types.common(one.type, other.type)
    if one.type.moment and other.type.moment and symbol == "-":
        return intervals.between(other, one, node)
    if kind is None or not (kind.number or kind.name == "unknown"):
        raise mismatch(symbol, one, other, node)
    if kind.name == "decimal":
        return _decimal(symbol, one, other)
    kind = types.INTEGER if kind.name == "unknown" else kind
    a, b = coerced(one, kind).sql, coerced(other, kind).sql
    if kind.integral:
        return Value(f"({a} {'//' if symbol == '/' else symbol} {b})", kind)
    return Value(f"({a} {symbol} {b})", kind, nan=True)


def _decimal(symbol: str, one: Value, other: Value) -> Value:
    if types.UNKNOWN in (one.type, other.type):
        return null(one.type if other.type == types.UNKNOWN else other.type)
    one, other = coerced(one, types.as_decimal(one.type)), coerced(other, types.as_decimal(other.type))
    (p1, s1), (p2, s2) = one.type.args, other.type.args
    integral, scale = max(p1 - s1, p2 - s2), max(s1, s2)
    if symbol in "+-":
        kind = types.decimal(1 + integral + scale, scale)
        a, b = (f"CAST({side.sql} AS {kind.local})" for side in (one, other))
        return Value(f"CAST({a} {symbol} {b} AS {kind.local})", kind)
    if symbol == "*":
        kind = types.decimal(p1 + p2, s1 + s2)
        if s1 + s2 > 38:
            raise refuse(f"{one.type} * {other.type}", "the scale is above 38 digits. CAST one to fewer.")
        return Value(f"CAST({one.sql} * {other.sql} AS {kind.local})", kind)
    if symbol == "/":
        kind = types.decimal(p1 + s2 + max(s2 - s1, 0), scale)
        return Value(quotient(f"{unscaled(one)} * {10 ** (scale - s1 + s2)}", unscaled(other), kind), kind)
    kind = types.decimal(min(p1 - s1, p2 - s2) + scale, scale)
    a, b = (f"{unscaled(side)} * {10 ** (scale - side.type.args[1])}" for side in (one, other))
    return Value(rescaled(f"(({a}) % ({b}))", kind), kind)


def unscaled(value: Value) -> str:
    """A decimal's digits as one whole number."""
    return f"CAST(replace(CAST({value.sql} AS VARCHAR), '.', '') AS HUGEINT)"


def rescaled(sql: str, kind: Type) -> str:
    """The decimal whose digits are a whole number."""
    scale = kind.args[1]
    unit = f" * CAST('0.{'1'.rjust(scale, '0')}' AS DECIMAL({scale},{scale}))" if scale else ""
    return f"CAST(CAST({sql} AS DECIMAL(38,0)){unit} AS {kind.local})"


def quotient(numerator: str, denominator: str, kind: Type) -> str:
    """The whole quotient, halves away from zero, as the digits of a decimal; fails for a denominator of 0."""
    half = "CASE WHEN 2 * abs(r.n % r.d) >= abs(r.d) THEN sign(r.n) * sign(r.d) ELSE 0 END"
    parts = f"[{{'n': CAST({numerator} AS HUGEINT), 'd': CAST({denominator} AS HUGEINT)}}]"
    return rescaled(f"list_transform({parts}, lambda r: r.n // r.d + {half})[1]", kind)


def negative(value: Value, node: Any) -> Value:
    """-x; the smallest integer has none and fails."""
    if value.type == types.UNKNOWN:
        return value
    if value.type.name == "interval":
        return intervals.negative(value)
    if not value.type.number:
        raise refuse(node, f"Cannot apply operator: -{value.type}.")
    if isinstance(value.const, int) and "$" not in value.sql:
        return Value(f"CAST({-value.const} AS {value.type.local})", value.type, -value.const)
    return Value(f"CAST(-({value.sql}) AS {value.type.local})", value.type, nan=value.nan)


def comparison(symbol: str, one: Value, other: Value, node: Any) -> Value:
    """`one` symbol `other`; a NaN is neither equal to, below nor above anything."""
    kind = types.common(one.type, other.type)
    if one.type.moment and other.type.moment and "zoned" in (one.type.name, other.type.name):
        kind = Type("zoned", (6, "UTC"))
        one, other = (Value(side.sql, kind) if side.type.name == "zoned" else side for side in (one, other))
    if kind is not None and types.UNKNOWN in (one.type, other.type):
        one, other = coerced(one, kind), coerced(other, kind)
    if kind is not None and kind.name in ("array", "row"):
        return _equality(symbol, one, other, node)
    if kind is None or kind.name in ("map", "json"):
        raise mismatch(symbol, one, other, node)
    one, other = coerced(one, kind), coerced(other, kind)
    plain = f"({one.sql} {symbol} {other.sql})"
    guards = {"=": (one, other), ">": (one,), ">=": (one,), "<": (other,), "<=": (other,), "<>": (one, other)}
    odd = [f"isnan({side.sql})" for side in guards.get(symbol, ()) if side.nan and kind.floating]
    if not odd or (symbol in ("=", "<>") and not (one.nan and other.nan)):
        return Value(plain, types.BOOLEAN)
    if symbol == "<>":
        return Value(f"({plain} OR ({odd[0]} AND {other.sql} IS NOT NULL))", types.BOOLEAN)
    return Value(f"({plain} AND NOT {odd[0]})", types.BOOLEAN)


def joined(one: Value, other: Value, node: Any) -> Value:
    """`||` of two texts, two arrays, or an array and an element."""
    first, second = one.type, other.type
    if first.name != "array" and second.name != "array":
        if not {first.name, second.name} <= {"varchar", "unknown"}:
            raise refuse(node, f"Cannot concatenate {first} and {second}: CAST to varchar first.")
        return Value(f"({coerced(one, types.VARCHAR).sql} || {coerced(other, types.VARCHAR).sql})", types.VARCHAR)
    wrapped = [
        v if v.type.name == "array" else Value(f"[{v.sql}]", types.array(v.type), nan=v.nan) for v in (one, other)
    ]
    kind = types.common(wrapped[0].type, wrapped[1].type)
    if kind is None:
        raise mismatch("||", one, other, node)
    a, b = (coerced(side, kind).sql for side in wrapped)
    parts = f"CASE WHEN {one.sql} IS NOT NULL AND {other.sql} IS NOT NULL THEN list_concat({a}, {b}) END"
    return Value(parts, kind, nan=any(side.nan for side in wrapped))


def _equality(symbol: str, one: Value, other: Value, node: Any) -> Value:
    """= and <> of two arrays or rows, IS [NOT] DISTINCT FROM of them."""
    if symbol.endswith("DISTINCT FROM"):
        if one.type.local != other.type.local:
            raise refuse(node, f"{one.type} and {other.type} are compared by = only: CAST one of them.")
        return Value(f"({one.sql} {symbol} {other.sql})", types.BOOLEAN)
    if symbol not in ("=", "<>"):
        raise refuse(node, f"{one.type} is not ordered here: compare its parts.")
    equal = _equal(Value("n.a", one.type, nan=True), Value("n.b", other.type, nan=True), node)
    sql = let(equal, a=one.sql, b=other.sql)
    return Value(f"(NOT {sql})" if symbol == "<>" else sql, types.BOOLEAN)


def _equal(one: Value, other: Value, node: Any) -> str:
    """Whether two values are equal part by part, in three values."""
    if one.type.name == other.type.name == "row":
        places = range(len(one.type.args))
        parts = " AND ".join(_equal(row_field(one, k), row_field(other, k), node) for k in places)
        return f"CASE WHEN {one.sql} IS NOT NULL AND {other.sql} IS NOT NULL THEN ({parts}) END"
    if one.type.name == other.type.name == "array":
        place = f"q{str(one.type).count('array')}"
        a, b = (Value(f"({side.sql})[{place}]", side.type.args[0], nan=True) for side in (one, other))
        tests = f"list_transform(range(1, len({one.sql}) + 1), lambda {place}: {_equal(a, b, node)})"
        return (
            f"CASE WHEN {one.sql} IS NULL OR {other.sql} IS NULL THEN NULL WHEN len({one.sql}) <> len({other.sql})"
            f" THEN FALSE WHEN list_contains({tests}, FALSE) THEN FALSE"
            f" WHEN list_count({tests}) < len({one.sql}) THEN NULL ELSE TRUE END"
        )
    return comparison("=", one, other, node).sql
