"""Arrays as sets, elements looked for in an array, and maps joined.

Sets take values for the same as IS NOT DISTINCT FROM does: NULL is NULL, and NaN is NaN.
"""

from __future__ import annotations

from typing import Any

from stockkit.athena import types
from stockkit.athena.functions import simple
from stockkit.athena.types import Type
from stockkit.athena.values import Handler, Scope, Value, arguments, let, refuse, unanswered, unified

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
    one, other = arguments(node, scope, 2, 2)
    if {one.type.name, other.type.name} - {"array", "unknown"} or one.type == other.type == types.UNKNOWN:
        raise refuse(node, f"expected two arrays, found {one.type} and {other.type}.")
    one, other = unified([one, other], node)
    return one, other


def _on_both(one: Value, other: Value, kind: Type, body: str) -> Value:
    """What `body` makes of the arrays n.a and n.b, NULL where one of them is."""
    sql = let(f"CASE WHEN n.a IS NOT NULL AND n.b IS NOT NULL THEN {body} END", a=one.sql, b=other.sql)
    return Value(sql, kind, nan=one.nan or other.nan)


def _union(node: Any, scope: Scope) -> Value:
    one, other = _two_arrays(node, scope)
    return _on_both(one, other, one.type, let(_UNION, u="list_concat(n.a, n.b)"))


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
    maps = unified(arguments(node, scope, 2, 99), node)
    if maps[0].type.name != "map":
        raise refuse(node, f"expected maps, found {maps[0].type}.")
    entries = " || ".join(f"map_entries(n.m{k})" for k in reversed(range(len(maps))))
    keys = "list_transform(n.e, lambda e: e.key)"
    firsts = "list_filter(n.e, lambda e, k: list_position(n.k, e.key) = k)"
    body = let(let(f"map_from_entries({firsts})", e="n.e", k=keys), e=entries)
    known = " AND ".join(f"n.m{k} IS NOT NULL" for k in range(len(maps)))
    sql = let(f"CASE WHEN {known} THEN {body} END", **{f"m{k}": part.sql for k, part in enumerate(maps)})
    return Value(sql, maps[0].type, nan=True)


def _listed(name: str) -> Handler:
    """contains, array_position and array_remove: an equality that must not meet NaN."""

    def translate(node: Any, scope: Scope) -> Value:
        values = arguments(node, scope, 2, 2)
        kind = values[0].type.args[0] if values[0].type.name == "array" else types.UNKNOWN
        if kind.name in ("array", "map", "row") or (kind.floating and any(value.nan for value in values)):
            raise refuse(node, f"{name} compares {kind}, which may hold NaN or NULL inside: use filter or any_match.")
        return simple.call(name, values, node)

    return translate


HANDLERS: dict[str, Handler] = {
    "array_union": _union, "array_intersect": _intersect, "array_except": _except, "arrays_overlap": _overlap,
    "map_concat": _map_concat, **{name: _listed(name) for name in ("contains", "array_position", "array_remove")},
}  # fmt: skip
