"""Function calls: the list of what is known to mean the same, or is translated to it. All others are refused."""

from __future__ import annotations

import re
from typing import Any

from stockkit.athena import operators, types
from stockkit.athena.functions import (
    aggregates,
    date_parsing,
    datetimes,
    documents,
    java_format,
    regex,
    simple,
)
from stockkit.athena.functions.structures import lambdas, sets
from stockkit.athena.types import Type
from stockkit.athena.values import (
    Handler,
    Scope,
    Value,
    arguments,
    coerced,
    let,
    new_row,
    null,
    on_values,
    once,
    quoted,
    refuse,
    tried,
    unanswered,
    unified,
)
from stockkit.errors import did_you_mean

CLOCK = ("now", "current_date", "current_timestamp", "localtimestamp", "random", "rand", "uuid", "shuffle")


def call(node: Any, scope: Scope) -> Value:
    """Translate a call by the function's name."""
    name = node.name.lower()
    if name in HANDLERS:
        return HANDLERS[name](node, scope)
    if name in simple.FUNCTIONS:
        return simple.call(name, [scope.value(argument) for argument in node.expressions], node)
    if name in CLOCK:
        raise refuse(node, "the answer would change from run to run: give the day or number as a :parameter.")
    near = did_you_mean(name, [*simple.FUNCTIONS, *HANDLERS])
    raise refuse(node, f"the function {name} is not translated; use Athena for it.{near}")


def trim(node: Any, scope: Scope) -> Value:
    """TRIM([LEADING | TRAILING | BOTH] [characters] FROM text)."""
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "BOTH").upper(), "trim")
    given = [node.this, *([node.expression] if node.expression else [])]
    return simple.call(name, [scope.value(argument) for argument in given], node)


def substring(node: Any, scope: Scope) -> Value:
    """SUBSTRING(text FROM start FOR length), or with commas."""
    given = [node.this, node.args.get("start"), node.args.get("length")]
    return simple.call("substr", [scope.value(argument) for argument in given if argument is not None], node)


def position(node: Any, scope: Scope) -> Value:
    """POSITION(part IN text)."""
    return simple.call("strpos", [scope.value(node.this), scope.value(node.args["substr"])], node)


def _try(node: Any, scope: Scope) -> Value:
    if len(node.expressions) != 1:
        raise refuse(node, "expected 1 argument.")
    return tried(lambda inner: inner.value(node.expressions[0]), scope)


def _coalesce(node: Any, scope: Scope) -> Value:
    values = unified(arguments(node, scope, 2, 99), node)
    sql = f"coalesce({', '.join(value.sql for value in values)})"
    return Value(sql, values[0].type, nan=any(value.nan for value in values))


def _nullif(one: Value, other: Value, node: Any) -> Value:
    def made(values: list[Value]) -> str:
        same = operators.comparison("=", values[0], values[1], node)
        return f"CASE WHEN {same.sql} THEN NULL ELSE {values[0].sql} END"

    return Value(once([one, other], made), one.type, nan=one.nan)


def _extreme(name: str) -> Handler:
    def translate(node: Any, scope: Scope) -> Value:
        values = unified(arguments(node, scope, 1, 99), node)
        kind = values[0].type
        if not (kind.number or kind.moment or kind.name in ("varchar", "boolean", "unknown")):
            raise refuse(node, f"{kind} is not ordered.")
        return Value(once(values, made), kind)

    def made(values: list[Value]) -> str:
        kind = values[0].type
        sql = f"{name}({', '.join(value.sql for value in values)})"
        tests = [f"WHEN {value.sql} IS NULL THEN NULL" for value in values]
        odd = [value.sql for value in values if value.nan and kind.floating]
        tests += [f"WHEN isnan({sql}) THEN {unanswered(f'{name} of NaN is not translated', kind)}" for sql in odd]
        return f"CASE {' '.join(tests)} ELSE {sql} END"

    return translate


def _concat(node: Any, scope: Scope) -> Value:
    values = arguments(node, scope, 2, 99)
    joined = values[0]
    for value in values[1:]:
        joined = operators.joined(joined, value, node)
    return joined


def _concat_ws(node: Any, scope: Scope) -> Value:
    values = [coerced(value, types.VARCHAR, node) for value in arguments(node, scope, 2, 99)]
    return Value(f"concat_ws({', '.join(value.sql for value in values)})", types.VARCHAR)


def row(node: Any, scope: Scope) -> Value:
    """ROW(…), or values in parentheses."""
    return new_row(arguments(node, scope, 1, 99))


def _rounding(name: str) -> Handler:
    """round, floor, ceil, truncate, abs, sign and mod, which give a decimal for a decimal."""

    def translate(node: Any, scope: Scope) -> Value:
        values = arguments(node, scope, 1, 2)
        if name == "mod" and len(values) == 2 and any(value.type.floating for value in values):
            return operators.arithmetic("%", values[0], values[1], node)
        if values[0].type.name == "decimal" or (name == "mod" and values[-1].type.name == "decimal"):
            return null(values[0].type) if types.UNKNOWN in (v.type for v in values) else _decimal(name, values, node)
        return simple.call(name, values, node)

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
        integral = types.decimal(precision - scale + min(1, scale), 0)
        wide = f"CAST({value.sql} AS {types.decimal(precision + 1, scale).local})"
        return Value(f"CAST({'ceil' if name == 'ceiling' else name}({wide}) AS {integral.local})", integral)
    raise refuse(node, f"{name} of a {kind} is not translated like this: CAST to double.")


def _cut(value: Value, digits: int, kind: Type, half: str) -> Value:
    """A decimal without its digits from a place on, towards zero after half of that place is added."""
    lost, shift = value.type.args[1] - digits, digits - kind.args[1]

    def made(values: list[Value]) -> str:
        unscaled, sign = operators.unscaled(values[0]), f"CAST(sign({values[0].sql}) AS HUGEINT)"
        cut = let(f"(n.u // {10**lost} * {10 ** max(0, -shift)} * n.s)", u=f"abs({unscaled}) + {half}", s=sign)
        return operators.rescaled(cut, kind)

    return Value(once([value], made), kind)


def _typeof(node: Any, scope: Scope) -> Value:
    """typeof: the name of the type, where it is the same here; the length of a varchar is not kept here."""
    (value,) = arguments(node, scope, 1, 1)
    named = type(node.expressions[0]).__name__ in ("Cast", "TryCast") and not node.expressions[0].to.expressions
    if "varchar" in str(value.type) and not (named and value.type == types.VARCHAR):
        raise refuse(node, "the length of a varchar is not kept here: CAST(x AS varchar) has the type varchar.")
    name = value.type.name if value.type.name == "unknown" else str(value.type)
    name = re.sub(r"(decimal\([0-9]+), ", r"\1,", name)
    return Value(quoted(name), types.VARCHAR, name)


HANDLERS: dict[str, Handler] = {
    "try": _try, "coalesce": _coalesce, "nullif": on_values(_nullif, 2), "greatest": _extreme("greatest"),
    "least": _extreme("least"), "concat": _concat, "concat_ws": _concat_ws, "row": row, "typeof": _typeof,
    **{name: _rounding(name) for name in ("round", "floor", "ceil", "ceiling", "abs", "mod", "sign", "truncate")},
    **dict.fromkeys(aggregates.NAMES, aggregates.aggregate),
    **datetimes.HANDLERS, **date_parsing.HANDLERS, **documents.HANDLERS, **java_format.HANDLERS,
    **regex.HANDLERS, **sets.HANDLERS, **lambdas.HANDLERS,
}  # fmt: skip
