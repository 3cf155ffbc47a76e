"""format() in Java's spelling."""

from __future__ import annotations

import re
from typing import Any

from stockkit.athena import casts, types
from stockkit.athena.values import Handler, Scope, Value, arguments, known_pattern, quoted, refuse, unanswered

SPEC = re.compile(
    r"%(?:(?P<literal>[%n])|(?P<flags>[-,+0]*)(?P<width>[1-9][0-9]*)?(?:\.(?P<digits>[0-9]+))?(?P<kind>[sdfxX]))"
)


def _format(node: Any, scope: Scope) -> Value:
    """format(pattern, …): %s %d %f %x with the flags - , + 0, a width and a number of decimals."""
    given, *values = arguments(node, scope, 1, 99)
    pattern = known_pattern(given, node)
    parts, place = [], 0
    for spec in SPEC.finditer(pattern):
        _no_percent(pattern[place : spec.start()], node)
        parts.append(quoted(pattern[place : spec.start()]))
        place = spec.end()
        if spec["literal"]:
            parts.append(quoted("%") if spec["literal"] == "%" else "chr(10)")
        elif not values:
            raise refuse(node, "the pattern asks for more values than are given.")
        else:
            parts.append(_spelled(spec, values.pop(0), node))
    _no_percent(pattern[place:], node)
    parts.append(quoted(pattern[place:]))
    kept = [part for part in parts if part != "''"] or ["''"]
    return Value(f"({' || '.join(kept)})", types.VARCHAR)


def _no_percent(rest: str, node: Any) -> None:
    if "%" in rest:
        raise refuse(node, f"{rest[rest.index('%') :][:6]!r} in the pattern is not translated: use %s %d %.2f %x %%.")


def _spelled(spec: re.Match[str], value: Value, node: Any) -> str:
    flags, kind = spec["flags"], spec["kind"]
    if kind == "s":
        body, sign = _as_text(spec, value, node), "''"
    elif kind in "xX" and value.type.integral and not set(flags) - {"-", "0"}:
        body, sign = f"printf('%{kind}', {value.sql})", "''"
        message = unanswered("%x of a negative number is not translated", types.VARCHAR)
        body = f"CASE WHEN {value.sql} < 0 THEN {message} ELSE {body} END"
    elif kind == "d" and value.type.integral and not spec["digits"]:
        body = f"CAST(abs(CAST({value.sql} AS HUGEINT)) AS VARCHAR)"
        sign = _sign(value, flags)
    elif kind == "f" and value.type.name in ("double", "decimal"):
        body, sign = _fixed(value, int(spec["digits"] or 6)), _sign(value, flags)
    else:
        raise refuse(node, f"%{kind} does not take {value.type} here; use %d for whole numbers and %.2f for others.")
    if "," in flags:
        body = _grouped(body)
    padded = _padded(body, sign, flags, int(spec["width"] or 0))
    absent = unanswered("format of NULL: use coalesce", types.VARCHAR)
    return f"CASE WHEN {value.sql} IS NULL THEN {absent} ELSE {padded} END"


def _as_text(spec: re.Match[str], value: Value, node: Any) -> str:
    simple = value.type.integral or value.type.name in ("varchar", "boolean", "date", "decimal")
    if not simple or spec["digits"] or set(spec["flags"]) - {"-"}:
        raise refuse(node, f"%s of {value.type} is spelled by Java: use %.2f, date_format or CAST.")
    return casts.cast(value, types.VARCHAR, node).sql


def _fixed(value: Value, digits: int) -> str:
    """Decimals as Java rounds them: the shortest digits that mean the number, halves up."""
    kind = types.decimal(38, digits).local
    if value.type.name == "decimal":
        return f"CAST(abs(CAST({value.sql} AS {kind})) AS VARCHAR)"
    body = f"CAST(abs(CAST(CAST({value.sql} AS VARCHAR) AS {kind})) AS VARCHAR)"
    message = unanswered("format of NaN or Infinity is not translated", types.VARCHAR)
    return f"CASE WHEN isfinite({value.sql}) THEN {body} ELSE {message} END"


def _sign(value: Value, flags: str) -> str:
    return f"CASE WHEN {value.sql} < 0 THEN '-' ELSE {quoted('+' if '+' in flags else '')} END"


def _grouped(body: str) -> str:
    integral = f"format('{{:,}}', CAST(string_split({body}, '.')[1] AS HUGEINT))"
    return f"({integral} || coalesce('.' || string_split({body}, '.')[2], ''))"


def _padded(body: str, sign: str, flags: str, width: int) -> str:
    plain = f"({sign} || {body})"
    if not width:
        return plain
    missing = f"greatest(0, {width} - length({plain}))"
    if "-" in flags:
        return f"({plain} || repeat(' ', {missing}))"
    return f"({sign} || repeat('0', {missing}) || {body})" if "0" in flags else f"(repeat(' ', {missing}) || {plain})"


HANDLERS: dict[str, Handler] = {"format": _format}
