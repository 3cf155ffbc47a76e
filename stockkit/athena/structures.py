"""Arrays as sets, maps joined, arrays sorted by a lambda, and the equality of arrays and rows.

Sets take values for the same as IS NOT DISTINCT FROM does: NULL is NULL, and NaN is NaN. Equality is of three values:
one unequal part makes it false, else a NULL leaves it open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stockkit.athena import lambdas, types
from stockkit.athena.types import Type
from stockkit.athena.values import Scope, Value, coerced, fail, refuse, text, unanswered, unified

_FIRSTS = "list_filter({0}, lambda e, k: list_position({0}, e) = k)"
_UNION = _FIRSTS.format("n.u")
_EXCEPT = (
    "CASE WHEN len(n.b) = 0 AND len({firsts}) < len(n.a) THEN {message} WHEN len(n.b) = 0 THEN n.a "
    "ELSE list_filter(n.a, lambda e, k: list_position(n.a, e) = k AND list_position(n.b, e) IS NULL) END"
)
_INTERSECT = "list_filter(n.{0}, lambda e, k: list_position(n.{0}, e) = k AND list_position(n.{1}, e) IS NOT NULL)"
_OVERLAP = (
    "CASE WHEN len(n.a) = 0 OR len(n.b) = 0 THEN FALSE "
    "WHEN len(list_filter(n.a, lambda e: e IS NOT NULL AND list_position(n.b, e) IS NOT NULL)) > 0 THEN TRUE "
    "WHEN list_count(n.a) < len(n.a) OR list_count(n.b) < len(n.b) THEN NULL ELSE FALSE END"
)


def _two_arrays(node: Any, scope: Scope) -> tuple[Value, Value]:
    from stockkit.athena import calls

    one, other = calls.arguments(node, scope, 2, 2)
    if {one.type.name, other.type.name} - {"array", "unknown"} or one.type == other.type == types.UNKNOWN:
        raise refuse(node, f"expected two arrays, found {one.type} and {other.type}.")
    one, other = unified([one, other], node)
    return one, other


def _on_both(one: Value, other: Value, kind: Type, body: str) -> Value:
    """What `body` makes of the arrays n.a and n.b, NULL where one of them is."""
    pair = f"{{'a': {one.sql}, 'b': {other.sql}}}"
    sql = f"list_transform([{pair}], lambda n: CASE WHEN n.a IS NOT NULL AND n.b IS NOT NULL THEN {body} END)[1]"
    return Value(sql, kind, nan=one.nan or other.nan)


def _union(node: Any, scope: Scope) -> Value:
    one, other = _two_arrays(node, scope)
    body = f"list_transform([{{'u': list_concat(n.a, n.b)}}], lambda n: {_UNION})[1]"
    return _on_both(one, other, one.type, body)


def _intersect(node: Any, scope: Scope) -> Value:
    """array_intersect, in the order of the longer array, of the first one where they are as long."""
    one, other = _two_arrays(node, scope)
    body = f"CASE WHEN len(n.a) >= len(n.b) THEN {_INTERSECT.format('a', 'b')} ELSE {_INTERSECT.format('b', 'a')} END"
    return _on_both(one, other, one.type, body)


def _except(node: Any, scope: Scope) -> Value:
    """array_except; the engine hands an array back as it is where nothing is taken from it."""
    one, other = _two_arrays(node, scope)
    message = unanswered("array_except of an empty array is not translated where values repeat", one.type)
    return _on_both(one, other, one.type, _EXCEPT.format(firsts=_FIRSTS.format("n.a"), message=message))


def _overlap(node: Any, scope: Scope) -> Value:
    one, other = _two_arrays(node, scope)
    return _on_both(one, other, types.BOOLEAN, _OVERLAP)


def _map_concat(node: Any, scope: Scope) -> Value:
    """map_concat: of a key that is there twice the last map has the value; its entries come first."""
    from stockkit.athena import calls

    maps = unified(calls.arguments(node, scope, 2, 99), node)
    if maps[0].type.name != "map":
        raise refuse(node, f"expected maps, found {maps[0].type}.")
    parts = ", ".join(f"'m{k}': {one.sql}" for k, one in enumerate(maps))
    entries = " || ".join(f"map_entries(n.m{k})" for k in reversed(range(len(maps))))
    keys = "list_transform(n.e, lambda e: e.key)"
    firsts = "list_filter(n.e, lambda e, k: list_position(n.k, e.key) = k)"
    body = f"list_transform([{{'e': n.e, 'k': {keys}}}], lambda n: map_from_entries({firsts}))[1]"
    body = f"list_transform([{{'e': {entries}}}], lambda n: {body})[1]"
    known = " AND ".join(f"n.m{k} IS NOT NULL" for k in range(len(maps)))
    sql = f"list_transform([{{{parts}}}], lambda n: CASE WHEN {known} THEN {body} END)[1]"
    return Value(sql, maps[0].type, nan=True)


def _transform_keys(node: Any, scope: Scope) -> Value:
    value, body, entry = lambdas.on_map(node, scope)
    pairs = f"list_transform(map_entries({value.sql}), lambda {entry}: {{'key': {body.sql}, 'value': {entry}.value}})"
    return Value(f"map_from_entries({pairs})", Type("map", (body.type, value.type.args[1])), nan=True)


def _array_sort(node: Any, scope: Scope) -> Value:
    from stockkit.athena import calls

    if len(node.expressions) != 2:
        (value,) = calls.arguments(node, scope, 1, 1)
        if value.type.name == "array" and value.type.args[0].name in ("array", "map", "row"):
            raise refuse(node, f"{value.type} is sorted by a lambda only.")
        return calls.simple("array_sort", [value], node)
    return _sorted_by(node, scope)


def _sorted_by(node: Any, scope: Scope) -> Value:
    """array_sort(array, (x, y) -> -1, 0 or 1): each element behind those that the lambda puts before it.

    Every pair is compared; a lambda that contradicts itself is refused, as its answer depends on the way of sorting.
    """
    value = scope.value(node.expressions[0])
    if value.type.name != "array":
        raise refuse(node, f"expected an array, found {value.type}.")
    whole, i, j = (f"v{scope.depth + k}" for k in range(3))
    sides = [Value(f"({whole}.x)[{place}]", value.type.args[0], nan=True) for place in (i, j)]
    inner = scope.inside({"": Value(whole, types.UNKNOWN), " ": Value(i, types.UNKNOWN), "  ": Value(j, types.UNKNOWN)})
    body = coerced(lambdas.applied(node.expressions[1], inner, list(sides)), types.BIGINT, node).sql
    wrong = fail("Lambda comparator must return either -1, 0, or 1", types.BIGINT)
    cell = f"CASE WHEN {i} = {j} THEN 0 WHEN ({body}) IN (-1, 0, 1) THEN {body} ELSE {wrong} END"
    places = f"range(1, len({whole}.x) + 1)"
    table = f"list_transform({places}, lambda {i}: list_transform({places}, lambda {j}: {cell}))"
    sql = (
        f"list_transform([{{'x': {value.sql}}}], lambda {whole}: list_transform([{{'x': {whole}.x, 'c': {table}}}], "
        f"lambda n: {_in_order(value.type)})[1])[1]"
    )
    return Value(f"{sql}", value.type, nan=value.nan)


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
    return f"list_transform([{{'x': n.x, 'c': n.c, 'b': {before}}}], lambda n: {body})[1]"


def equality(symbol: str, one: Value, other: Value, node: Any) -> Value:
    """= and <> of two arrays or rows, IS [NOT] DISTINCT FROM of them."""
    if symbol.endswith("DISTINCT FROM"):
        if one.type.local != other.type.local:
            raise refuse(node, f"{one.type} and {other.type} are compared by = only: CAST one of them.")
        return Value(f"({one.sql} {symbol} {other.sql})", types.BOOLEAN)
    if symbol not in ("=", "<>"):
        raise refuse(node, f"{one.type} is not ordered here: compare its parts.")
    equal = _equal(Value("n.a", one.type, nan=True), Value("n.b", other.type, nan=True), node)
    sql = f"list_transform([{{'a': {one.sql}, 'b': {other.sql}}}], lambda n: {equal})[1]"
    return Value(f"(NOT {sql})" if symbol == "<>" else sql, types.BOOLEAN)


def _equal(one: Value, other: Value, node: Any) -> str:
    """Whether two values are equal part by part, in three values."""
    from stockkit.athena import operators

    if one.type.name == other.type.name == "row":
        places = range(len(one.type.args))
        parts = " AND ".join(_equal(_part(one, k), _part(other, k), node) for k in places)
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
    return operators.comparison("=", one, other, node).sql


def _part(value: Value, place: int) -> Value:
    return Value(f"({value.sql})[{text(types.field(value.type, place))}]", value.type.args[place], nan=True)


HANDLERS: dict[str, Callable[[Any, Scope], Value]] = {
    "array_union": _union, "array_intersect": _intersect, "array_except": _except, "arrays_overlap": _overlap,
    "map_concat": _map_concat, "transform_keys": _transform_keys, "array_sort": _array_sort,
}  # fmt: skip
