"""JSON in texts: parsed, taken apart by a path, spelled again.

A path is $ with .name, [place] or ["name"] behind it, as the engine's own extractor has it; others are refused. What
the engines spell differently (a number with an exponent or zeros at its end, the order of nested keys) stops the run.
"""

from __future__ import annotations

import re
from typing import Any

from stockkit.athena import types
from stockkit.athena.types import Type
from stockkit.athena.values import Handler, Scope, Value, arguments, fail, quoted, refuse, unanswered

JSON = Type("json")
STEP = re.compile(r'\.([A-Za-z0-9_:]+)|\[([A-Za-z0-9_]+)\]|\["([^"\\*\[\]]+)"\]')
# what is JSON to the local engine only, and what it does not spell as it was written
LENIENT = r"(?i),\s*[\]}]|(^|[:\[,])\s*-?(nan|inf)|-0([^0-9.]|$)|\\u"
ODD_NUMBER = r"[0-9][eE]|\.[0-9]+0([^0-9]|$)|[0-9.]{17,}|[0-9]{8,}\.|(^|[^0-9.])0\.00"
BEGINNING = r'^[ \t\r\n]*[\[{"0-9tfn-]'
KEY = r"[A-Za-z0-9_ -]+"


def _given(node: Any, scope: Scope, least: int, most: int) -> tuple[Value, list[Value]]:
    value, *rest = arguments(node, scope, least, most)
    if value.type not in (types.VARCHAR, JSON, types.UNKNOWN):
        raise refuse(node, f"expected varchar or json, found {value.type}.")
    return value, rest


def _steps(path: Any, node: Any) -> list[str]:
    if not isinstance(path, str) or not path.startswith("$"):
        raise refuse(node, "the path must be a text known before the query runs that begins with $.")
    steps = list(STEP.finditer(path, 1))
    if "".join(step.group(0) for step in steps) != path[1:]:
        raise refuse(node, f'the path {path!r} is not translated: write $ with .name, [place] or ["name"] behind it.')
    return [next(part for part in step.groups() if part is not None) for step in steps]


def _step(name: str) -> str:
    """The part of the document n.j under a name, or at a place where the name is a number and n.j an array."""
    place = f" WHEN 'ARRAY' THEN json_extract(n.j, '$[{int(name)}]')" if re.fullmatch(r"[0-9]{1,9}", name) else ""
    key = quoted(f'$."{name}"')
    return f"CASE json_type(n.j) WHEN 'OBJECT' THEN json_extract(n.j, {key}){place} END"


def _part(value: Value, path: Any, body: str, node: Any, *, broken: str = "") -> str:
    """What `body` makes of the part n.j of the document n.t that a path leads to.

    `broken`: what a text that is no JSON gives; else it is NULL where its first letter tells so, as the engine's
    extractor stops there and not before.
    """
    wrong = unanswered("this text is no JSON, or JSON that is not translated", types.VARCHAR)
    shape = broken or f"CASE WHEN regexp_matches(n.t, {quoted(BEGINNING)}) THEN {wrong} END"
    lenient = f"regexp_matches(n.t, {quoted(LENIENT)})"
    kept = f"CASE WHEN {lenient} THEN {wrong} WHEN n.t IS NULL OR json_valid(n.t) THEN n.t ELSE {shape} END"
    documents = [f"CAST({kept} AS JSON)", *(_step(name) for name in _steps(path, node))]
    sql = f"[{{'t': CAST({value.sql} AS VARCHAR)}}]"
    for document in documents:
        sql = f"list_transform({sql}, lambda n: {{'t': n.t, 'j': {document}}})"
    return f"list_transform({sql}, lambda n: CASE WHEN n.j IS NOT NULL THEN {body} END)[1]"


def _number(kind: Type) -> str:
    """Stops where a number of the document may be spelled otherwise."""
    odd = unanswered("a number of this JSON is spelled in a way that is not translated", kind)
    return f"regexp_matches(n.t, {quoted(ODD_NUMBER)}) THEN {odd}"


def _extract(node: Any, scope: Scope) -> Value:
    value, (path,) = _given(node, scope, 2, 2)
    body = f"CASE WHEN {_number(types.VARCHAR)} ELSE CAST(json_extract(n.j, '$') AS VARCHAR) END"
    return Value(_part(value, path.const, body, node), JSON)


def _extract_scalar(node: Any, scope: Scope) -> Value:
    value, (path,) = _given(node, scope, 2, 2)
    body = (
        "CASE WHEN json_type(n.j) IN ('OBJECT', 'ARRAY', 'NULL') THEN NULL "
        f"WHEN json_type(n.j) = 'DOUBLE' AND {_number(types.VARCHAR)} ELSE json_extract_string(n.j, '$') END"
    )
    return Value(_part(value, path.const, body, node), types.VARCHAR)


def _parse(node: Any, scope: Scope) -> Value:
    """json_parse, which sorts the keys of objects; translated where no object is inside of another thing."""
    value, _ = _given(node, scope, 1, 1)
    if value.type == JSON:
        raise refuse(node, "json_parse takes a varchar.")
    nested = unanswered(
        "json_parse of objects inside of others is not translated: take the parts by json_extract", types.VARCHAR
    )
    keys = "list_sort(json_keys(n.j))"
    plain = f"len(list_filter({keys}, lambda k: NOT regexp_full_match(k, '{KEY}'))) = 0"
    once = f"len(list_distinct({keys})) = len({keys})"
    entry = "'\"' || k || '\":' || CAST(json_extract(n.j, '$.\"' || k || '\"') AS VARCHAR)"
    joined = f"'{{' || array_to_string(list_transform({keys}, lambda k: {entry}), ',') || '}}'"
    braces = "length(n.t) - length(replace(n.t, '{', ''))"
    body = (
        f"CASE WHEN {_number(types.VARCHAR)} WHEN {braces} = 0 THEN CAST(json_extract(n.j, '$') AS VARCHAR) "
        f"WHEN {braces} = 1 AND json_type(n.j) = 'OBJECT' AND {plain} AND {once} THEN {joined} ELSE {nested} END"
    )
    wrong = fail("Cannot convert value to JSON", types.VARCHAR)
    return Value(_part(value, "$", body, node, broken=wrong), JSON)


def _format(node: Any, scope: Scope) -> Value:
    value, _ = _given(node, scope, 1, 1)
    if value.type not in (JSON, types.UNKNOWN):
        raise refuse(node, "json_format takes json: give json_parse(x).")
    return Value(f"CAST({value.sql} AS VARCHAR)", types.VARCHAR)


def _array_length(node: Any, scope: Scope) -> Value:
    value, _ = _given(node, scope, 1, 1)
    body = "CASE WHEN json_type(n.j) = 'ARRAY' THEN CAST(json_array_length(n.j) AS BIGINT) END"
    return Value(_part(value, "$", body, node), types.BIGINT)


def _is_scalar(node: Any, scope: Scope) -> Value:
    value, _ = _given(node, scope, 1, 1)
    wrong = fail("Invalid JSON value", types.VARCHAR)
    return Value(_part(value, "$", "json_type(n.j) NOT IN ('ARRAY', 'OBJECT')", node, broken=wrong), types.BOOLEAN)


def cast(value: Value, kind: Type, node: Any) -> Value:
    """json cast to a varchar, number or boolean: of a scalar of that kind; null is NULL."""
    odd = unanswered(f"this JSON cast to {kind} is not translated", kind)
    number = "json_type(n.j) IN ('BIGINT', 'UBIGINT', 'HUGEINT')"
    tests = {"varchar": f"json_type(n.j) = 'VARCHAR' OR json_type(n.j) = 'BOOLEAN' OR {number}",
             "boolean": "json_type(n.j) = 'BOOLEAN'",
             "double": f"json_type(n.j) = 'DOUBLE' OR {number}"}  # fmt: skip
    if kind.name not in tests and not kind.integral:
        raise refuse(node, f"json is cast to varchar, whole numbers, double and boolean only, not to {kind}.")
    body = (
        f"CASE WHEN json_type(n.j) = 'NULL' THEN NULL WHEN {tests.get(kind.name, number)} "
        f"THEN CAST(json_extract_string(n.j, '$') AS {kind.local}) ELSE {odd} END"
    )
    return Value(_part(value, "$", body, node), kind)


HANDLERS: dict[str, Handler] = {
    "json_extract": _extract, "json_extract_scalar": _extract_scalar, "json_parse": _parse, "json_format": _format,
    "json_array_length": _array_length, "is_json_scalar": _is_scalar,
}  # fmt: skip
