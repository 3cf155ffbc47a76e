"""The functions of arrays and maps that take a lambda."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stockkit.athena import types
from stockkit.athena.functions import simple
from stockkit.athena.types import Type
from stockkit.athena.values import Handler, Scope, Value, arguments, coerced, fail, let, refuse, unanswered


def _array_before_lambda(node: Any, scope: Scope, number: int) -> Value:
    if len(node.expressions) != number:
        raise refuse(node, f"expected {number} arguments.")
    value = _taken_for(scope.value(node.expressions[0]), types.array(types.UNKNOWN))
    if value.type.name != "array":
        raise refuse(node, f"expected an array, found {value.type}.")
    return value


def _taken_for(value: Value, kind: Type) -> Value:
    """A NULL of no type as an array or map of such; anything else as it is."""
    return coerced(value, kind) if value.type == types.UNKNOWN else value


def _lambda(node: Any, scope: Scope, given: Sequence[Value | Type]) -> tuple[list[str], Value]:
    """The names and the translated body of a lambda; a given Value stands itself, a Type gets a new name."""
    if type(node).__name__ != "Lambda" or len(node.expressions) != len(given):
        raise refuse(node, f"expected a lambda of {len(given)} argument(s).")
    names, variables = [], {}
    for k, (written, one) in enumerate(zip(node.expressions, given, strict=True)):
        name = f"v{scope.depth + k}"
        names.append(name)
        variables[written.name.lower()] = one if isinstance(one, Value) else Value(name, one, nan=True)
    return names, scope.inside(variables).value(node.this)


def _transform(node: Any, scope: Scope) -> Value:
    value = _array_before_lambda(node, scope, 2)
    names, body = _lambda(node.expressions[1], scope, [value.type.args[0]])
    return Value(f"list_transform({value.sql}, lambda {names[0]}: {body.sql})", types.array(body.type), nan=body.nan)


def _filter(node: Any, scope: Scope) -> Value:
    value = _array_before_lambda(node, scope, 2)
    names, body = _lambda(node.expressions[1], scope, [value.type.args[0]])
    test = coerced(body, types.BOOLEAN, node).sql
    return Value(f"list_filter({value.sql}, lambda {names[0]}: {test})", value.type, nan=value.nan)


def _match(name: str) -> Handler:
    """any_match, all_match and none_match, NULL where a NULL leaves it open."""

    def translate(node: Any, scope: Scope) -> Value:
        value = _array_before_lambda(node, scope, 2)
        names, body = _lambda(node.expressions[1], scope, [value.type.args[0]])
        test = coerced(body, types.BOOLEAN, node).sql
        tests = f"list_transform({value.sql}, lambda {names[0]}: {test})"
        settled, wanted = (
            ("FALSE", "FALSE") if name == "all_match" else ("TRUE", "FALSE" if name == "none_match" else "TRUE")
        )
        other = "FALSE" if wanted == "TRUE" else "TRUE"
        sql = (
            f"CASE WHEN {value.sql} IS NULL THEN NULL WHEN list_contains({tests}, {settled}) THEN {wanted}"
            f" WHEN list_count({tests}) < len({tests}) THEN NULL ELSE {other} END"
        )
        return Value(sql, types.BOOLEAN)

    return translate


def _reduce(node: Any, scope: Scope) -> Value:
    value = _array_before_lambda(node, scope, 4)
    start = scope.value(node.expressions[1])
    element = value.type.args[0]
    names, body = _lambda(node.expressions[2], scope, [start.type, element])
    if not types.takes(start.type, body.type):
        start = coerced(start, body.type, node)
        names, body = _lambda(node.expressions[2], scope, [start.type, element])
    step = coerced(body, start.type, node).sql
    state = f"list_reduce({value.sql}, lambda {names[0]}, {names[1]}: {step}, {start.sql})"
    _, result = _lambda(node.expressions[3], scope, [Value(state, start.type, nan=True)])
    return result


def _zip_with(node: Any, scope: Scope) -> Value:
    if len(node.expressions) != 3:
        raise refuse(node, "expected 3 arguments.")
    nothing = types.array(types.UNKNOWN)
    one, other = (_taken_for(scope.value(side), nothing) for side in node.expressions[:2])
    if one.type.name != "array" or other.type.name != "array":
        raise refuse(node, f"expected two arrays, found {one.type} and {other.type}.")
    pair = f"v{scope.depth}"
    sides = [Value(f"{pair}.{place}", side.type.args[0], nan=True) for place, side in (("a", one), ("b", other))]
    inner = scope.inside({"": Value(pair, types.UNKNOWN)})
    _, body = _lambda(node.expressions[2], inner, sides)
    place = f"v{scope.depth}"
    spot = f"{{'a': ({one.sql})[{place}], 'b': ({other.sql})[{place}]}}"
    places = f"range(1, greatest(len({one.sql}), len({other.sql})) + 1)"
    pairs = f"list_transform({places}, lambda {place}: {spot})"
    sql = f"list_transform({pairs}, lambda {pair}: {body.sql})"
    both = f"{one.sql} IS NOT NULL AND {other.sql} IS NOT NULL"
    return Value(f"CASE WHEN {both} THEN {sql} END", types.array(body.type), nan=body.nan)


def _on_map(node: Any, scope: Scope) -> tuple[Value, Value, str]:
    """A map, the body of a lambda for the key and value of an entry, and the name of the entry in the SQL."""
    if len(node.expressions) != 2:
        raise refuse(node, "expected 2 arguments.")
    value = _taken_for(scope.value(node.expressions[0]), Type("map", (types.UNKNOWN, types.UNKNOWN)))
    if value.type.name != "map":
        raise refuse(node, f"expected a map, found {value.type}.")
    entry = f"v{scope.depth}"
    sides = [
        Value(f"{entry}.{name}", kind, nan=True) for name, kind in zip(("key", "value"), value.type.args, strict=True)
    ]
    inner = scope.inside({"": Value(entry, types.UNKNOWN)})
    return value, _lambda(node.expressions[1], inner, sides)[1], entry


def _transform_values(node: Any, scope: Scope) -> Value:
    value, body, entry = _on_map(node, scope)
    pairs = f"list_transform(map_entries({value.sql}), lambda {entry}: {{'key': {entry}.key, 'value': {body.sql}}})"
    return Value(f"map_from_entries({pairs})", Type("map", (value.type.args[0], body.type)), nan=True)


def _map_filter(node: Any, scope: Scope) -> Value:
    value, body, entry = _on_map(node, scope)
    test = coerced(body, types.BOOLEAN, node).sql
    return Value(
        f"map_from_entries(list_filter(map_entries({value.sql}), lambda {entry}: {test}))", value.type, nan=True
    )


def _transform_keys(node: Any, scope: Scope) -> Value:
    value, body, entry = _on_map(node, scope)
    pairs = f"list_transform(map_entries({value.sql}), lambda {entry}: {{'key': {body.sql}, 'value': {entry}.value}})"
    return Value(f"map_from_entries({pairs})", Type("map", (body.type, value.type.args[1])), nan=True)


def _array_sort(node: Any, scope: Scope) -> Value:
    if len(node.expressions) != 2:
        (value,) = arguments(node, scope, 1, 1)
        if value.type.name == "array" and value.type.args[0].name in ("array", "map", "row"):
            raise refuse(node, f"{value.type} is sorted by a lambda only.")
        return simple.call("array_sort", [value], node)
    return _sorted_by(node, scope)


def _sorted_by(node: Any, scope: Scope) -> Value:
    """array_sort(array, (x, y) -> -1, 0 or 1): each element behind those that the lambda puts before it.

    Every pair is compared; a lambda that contradicts itself is refused, as its answer depends on the way of sorting.
    """
    value = scope.value(node.expressions[0])
    if value.type.name != "array":
        raise refuse(node, f"expected an array, found {value.type}.")
    outer, i, j = (f"v{scope.depth + k}" for k in range(3))
    sides = [Value(f"({outer}.x)[{place}]", value.type.args[0], nan=True) for place in (i, j)]
    inner = scope.inside({"": Value(outer, types.UNKNOWN), " ": Value(i, types.UNKNOWN), "  ": Value(j, types.UNKNOWN)})
    body = coerced(_lambda(node.expressions[1], inner, sides)[1], types.BIGINT, node).sql
    wrong = fail("Lambda comparator must return either -1, 0, or 1", types.BIGINT)
    cell = f"CASE WHEN {i} = {j} THEN 0 WHEN ({body}) IN (-1, 0, 1) THEN {body} ELSE {wrong} END"
    places = f"range(1, len({outer}.x) + 1)"
    table = f"list_transform({places}, lambda {i}: list_transform({places}, lambda {j}: {cell}))"
    ordered = let(_in_order(value.type), x=f"{outer}.x", c=table)
    sql = f"list_transform([{{'x': {value.sql}}}], lambda {outer}: {ordered})[1]"
    return Value(sql, value.type, nan=value.nan)


def _in_order(kind: Type) -> str:
    """n.x in the order that the comparisons n.c give it; what compares as equal stays as it was."""
    before = "list_transform(n.c, lambda r: len(list_filter(r, lambda c: c > 0)))"
    places = "list_sort(list_transform(n.b, lambda b, k: {'b': b, 'k': k}))"
    other = "n.x[i] IS DISTINCT FROM n.x[j]"
    wrong = (
        f"list_filter(n.c, lambda r, i: len(list_filter(r, lambda c, j: {other} AND c <> sign(n.b[i] - n.b[j]))) > 0)"
    )
    message = unanswered("a comparator that contradicts itself is not translated", kind)
    taken = f"list_transform({places}, lambda s: n.x[s.k])"
    body = f"CASE WHEN len({wrong}) > 0 THEN {message} ELSE {taken} END"
    return let(body, x="n.x", c="n.c", b=before)


HANDLERS: dict[str, Handler] = {
    "transform": _transform, "filter": _filter, "reduce": _reduce, "zip_with": _zip_with, "array_sort": _array_sort,
    "transform_keys": _transform_keys, "transform_values": _transform_values, "map_filter": _map_filter,
    **{name: _match(name) for name in ("any_match", "all_match", "none_match")},
}  # fmt: skip
