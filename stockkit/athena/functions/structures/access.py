"""An array is made; an element, a map's value and a row's field are taken."""

from __future__ import annotations

from typing import Any

from stockkit.athena import types
from stockkit.athena.reads import only
from stockkit.athena.values import Scope, Value, coerced, fail, refuse, row_field, unified


def field(value: Value, name: str, node: Any) -> Value:
    """A field of a row, by its name."""
    if name not in value.type.names:
        raise refuse(node, f"a {value.type} has no field {name!r}.")
    return row_field(value, value.type.names.index(name))


def dot(node: Any, scope: Scope) -> Value:
    """row.field, where the row is itself an expression."""
    if type(node.expression).__name__ != "Identifier":
        raise refuse(node, "functions are called by their bare name.")
    container = scope.value(node.this)
    if container.type.name != "row":
        raise refuse(node, f"only a row has fields, this is {container.type}.")
    return field(container, node.expression.name.lower(), node)


def array(node: Any, scope: Scope) -> Value:
    """ARRAY[…], of the common type of its items."""
    items = unified([scope.value(item) for item in node.expressions], node)
    kind = items[0].type if items else types.UNKNOWN
    sql = f"CAST([{', '.join(item.sql for item in items)}] AS {types.array(kind).local})"
    return Value(sql, types.array(kind), nan=any(item.nan for item in items))


def bracket(node: Any, scope: Scope) -> Value:
    """value[index]: an element, a map's value, a row's field; fails where there is none."""
    only(node, "this", "expressions")
    if len(node.expressions) != 1:
        raise refuse(node, "one index is expected.")
    container, index = scope.value(node.this), scope.value(node.expressions[0])
    if container.type.name == "array" and index.type.integral:
        return _element(container, index)
    if container.type.name == "map":
        key = coerced(index, container.type.args[0], node)
        absent = fail("Key not present in map", container.type.args[1])
        sql = (
            f"CASE WHEN {container.sql} IS NOT NULL AND {key.sql} IS NOT NULL"
            f" AND NOT map_contains({container.sql}, {key.sql}) THEN {absent}"
            f" ELSE map_extract_value({container.sql}, {key.sql}) END"
        )
        return Value(sql, container.type.args[1], nan=container.nan)
    if container.type.name == "row" and isinstance(index.const, int) and 1 <= index.const <= len(container.type.args):
        return row_field(container, index.const - 1)
    raise refuse(node, f"Cannot use {index.type} for subscript of {container.type}.")


def _element(container: Value, index: Value) -> Value:
    kind = container.type.args[0]
    tests = [
        ("> len(" + container.sql + ")", "Array subscript must be less than or equal to array length"),
        ("= 0", "SQL array indices start at 1"),
        ("< 0", "Array subscript is negative"),
    ]
    sql = " ".join(f"WHEN {index.sql} {test} THEN {fail(message, kind)}" for test, message in tests)
    return Value(f"CASE {sql} ELSE ({container.sql})[{index.sql}] END", kind, nan=container.nan)
