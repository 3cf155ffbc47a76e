"""Arrays, maps and rows: how they are made, and how one thing is taken out of them."""

from __future__ import annotations

from typing import Any

from stockkit.athena import types
from stockkit.athena.values import Scope, Value, coerced, fail, only, refuse, text, unified


def field(value: Value, name: str, node: Any) -> Value:
    """A field of a row, by its name."""
    if name not in value.type.names:
        raise refuse(node, f"a {value.type} has no field {name!r}.")
    place = value.type.names.index(name)
    return Value(f"({value.sql})[{text(types.field(value.type, place))}]", value.type.args[place], nan=True)


def dot(node: Any, scope: Scope) -> Value:
    """row.field, where the row is itself an expression."""
    if type(node.expression).__name__ != "Identifier":
        raise refuse(node, "functions are called by their bare name.")
    whole = scope.value(node.this)
    if whole.type.name != "row":
        raise refuse(node, f"only a row has fields, this is {whole.type}.")
    return field(whole, node.expression.name.lower(), node)


def array(node: Any, scope: Scope) -> Value:
    """ARRAY[…], of the common type of its items."""
    items = unified([scope.value(one) for one in node.expressions], node)
    kind = items[0].type if items else types.UNKNOWN
    sql = f"CAST([{', '.join(one.sql for one in items)}] AS {types.array(kind).local})"
    return Value(sql, types.array(kind), nan=any(one.nan for one in items))


def bracket(node: Any, scope: Scope) -> Value:
    """value[index]: an element, a map's value, a row's field; fails where there is none."""
    only(node, "this", "expressions")
    if len(node.expressions) != 1:
        raise refuse(node, "one index is expected.")
    whole, index = scope.value(node.this), scope.value(node.expressions[0])
    if whole.type.name == "array" and index.type.whole:
        return _element(whole, index)
    if whole.type.name == "map":
        key = coerced(index, whole.type.args[0], node)
        absent = fail("Key not present in map", whole.type.args[1])
        sql = (
            f"CASE WHEN {whole.sql} IS NOT NULL AND {key.sql} IS NOT NULL AND NOT map_contains({whole.sql}, {key.sql})"
            f" THEN {absent} ELSE map_extract_value({whole.sql}, {key.sql}) END"
        )
        return Value(sql, whole.type.args[1], nan=whole.nan)
    if whole.type.name == "row" and isinstance(index.const, int) and 1 <= index.const <= len(whole.type.args):
        place = index.const - 1
        return Value(f"({whole.sql})[{text(types.field(whole.type, place))}]", whole.type.args[place], nan=True)
    raise refuse(node, f"Cannot use {index.type} for subscript of {whole.type}.")


def _element(whole: Value, index: Value) -> Value:
    kind = whole.type.args[0]
    tests = [
        ("> len(" + whole.sql + ")", "Array subscript must be less than or equal to array length"),
        ("= 0", "SQL array indices start at 1"),
        ("< 0", "Array subscript is negative"),
    ]
    sql = " ".join(f"WHEN {index.sql} {test} THEN {fail(message, kind)}" for test, message in tests)
    return Value(f"CASE {sql} ELSE ({whole.sql})[{index.sql}] END", kind, nan=whole.nan)
