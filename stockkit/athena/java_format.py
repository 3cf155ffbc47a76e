"""format() in Java's spelling, and regular expressions where both engines read them alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from stockkit.athena import casts, types
from stockkit.athena.values import Scope, Value, coerced, refuse, text, unanswered

SPEC = re.compile(
    r"%(?:(?P<literal>[%n])|(?P<flags>[-,+0]*)(?P<width>[1-9][0-9]*)?(?:\.(?P<digits>[0-9]+))?(?P<kind>[sdfxX]))"
)


def java_format(pattern: Any, values: list[Value], node: Any) -> Value:
    """format(pattern, …): %s %d %f %x with the flags - , + 0, a width and a number of decimals."""
    if not isinstance(pattern, str):
        raise refuse(node, "the pattern must be a text known before the query runs.")
    parts, place, left = [], 0, list(values)
    for found in SPEC.finditer(pattern):
        _no_percent(pattern[place : found.start()], node)
        parts.append(text(pattern[place : found.start()]))
        place = found.end()
        if found["literal"]:
            parts.append(text("%") if found["literal"] == "%" else "chr(10)")
        elif not left:
            raise refuse(node, "the pattern asks for more values than are given.")
        else:
            parts.append(_spelled(found, left.pop(0), node))
    _no_percent(pattern[place:], node)
    parts.append(text(pattern[place:]))
    kept = [part for part in parts if part != "''"] or ["''"]
    return Value(f"({' || '.join(kept)})", types.VARCHAR)


def _no_percent(rest: str, node: Any) -> None:
    if "%" in rest:
        raise refuse(node, f"{rest[rest.index('%') :][:6]!r} in the pattern is not translated: use %s %d %.2f %x %%.")


def _spelled(found: re.Match[str], value: Value, node: Any) -> str:
    flags, kind = found["flags"], found["kind"]
    if kind == "s":
        body, sign = _as_text(found, value, node), "''"
    elif kind in "xX" and value.type.whole and not set(flags) - {"-", "0"}:
        body, sign = f"printf('%{kind}', {value.sql})", "''"
        message = unanswered("%x of a negative number is not translated", types.VARCHAR)
        body = f"CASE WHEN {value.sql} < 0 THEN {message} ELSE {body} END"
    elif kind == "d" and value.type.whole and not found["digits"]:
        body = f"CAST(abs(CAST({value.sql} AS HUGEINT)) AS VARCHAR)"
        sign = _sign(value, flags)
    elif kind == "f" and value.type.name in ("double", "decimal"):
        body, sign = _fixed(value, int(found["digits"] or 6)), _sign(value, flags)
    else:
        raise refuse(node, f"%{kind} does not take {value.type} here; use %d for whole numbers and %.2f for others.")
    if "," in flags:
        body = _grouped(body)
    padded = _padded(body, sign, flags, int(found["width"] or 0))
    absent = unanswered("format of NULL: use coalesce", types.VARCHAR)
    return f"CASE WHEN {value.sql} IS NULL THEN {absent} ELSE {padded} END"


def _as_text(found: re.Match[str], value: Value, node: Any) -> str:
    simple = value.type.whole or value.type.name in ("varchar", "boolean", "date", "decimal")
    if not simple or found["digits"] or set(found["flags"]) - {"-"}:
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
    return f"CASE WHEN {value.sql} < 0 THEN '-' ELSE {text('+' if '+' in flags else '')} END"


def _grouped(body: str) -> str:
    whole = f"format('{{:,}}', CAST(string_split({body}, '.')[1] AS HUGEINT))"
    return f"({whole} || coalesce('.' || string_split({body}, '.')[2], ''))"


def _padded(body: str, sign: str, flags: str, width: int) -> str:
    plain = f"({sign} || {body})"
    if not width:
        return plain
    missing = f"greatest(0, {width} - length({plain}))"
    if "-" in flags:
        return f"({plain} || repeat(' ', {missing}))"
    return f"({sign} || repeat('0', {missing}) || {body})" if "0" in flags else f"(repeat(' ', {missing}) || {plain})"


ATOM = re.compile(
    r"\\[dDwWsS]|\\[.^$|?*+()\[\]{}\\/\-]|\\[tn]"  # classes, and what is escaped
    r"|\[\^?(?:\\[dDwWsS\-.\]\[\\^]|[^\[\]\\&])+\]"  # sets
    r"|\((?!\?)|\(\?:|\)|[*+?](?:\?)?(?![*+?])|\{[0-9]+(?:,[0-9]*)?\}\??(?![*+?])"  # groups and quantifiers
    r"|[.^$|]|[^\\\[\](){}*+?.^$|]",
    re.DOTALL,
)


def checked_pattern(value: Value, node: Any) -> str:
    """A regular expression that Java's and RE2's grammar read alike.

    Raises:
        QueryError: it is not known before the run, or has look-around, back references, possessive quantifiers.
    """
    pattern = value.const
    if not isinstance(pattern, str):
        raise refuse(node, "the pattern must be a text known before the query runs.")
    body = pattern.removeprefix("(?i)")
    if "".join(ATOM.findall(body)) != body:
        raise refuse(node, f"the pattern {pattern!r} uses what the engines read differently; keep to plain groups,"
                           " classes, alternatives and quantifiers.")  # fmt: skip
    try:
        re.compile(pattern)
    except re.error as error:
        raise refuse(node, f"{pattern!r} is no regular expression: {error}.") from error
    return pattern


def _parts(node: Any, scope: Scope, low: int, high: int) -> tuple[str, str, list[Value]]:
    from stockkit.athena import calls

    value, given, *rest = calls.arguments(node, scope, low, high)
    pattern = checked_pattern(given, node)
    return _guarded(coerced(value, types.VARCHAR, node).sql, pattern), pattern, rest


def _guarded(sql: str, pattern: str) -> str:
    """The text to search, failing where the engines read the pattern alike for plain texts only.

    To Athena `$` also stands before a last line end, and its classes know letters beyond ASCII.
    """
    tests = []
    if "$" in pattern.replace("\\$", ""):
        tests.append(f"contains({sql}, chr(10))")
    if pattern.startswith("(?i)") or re.search(r"\\[dDwWsS]", pattern):
        tests.append(f"strlen({sql}) <> length({sql})")
    if re.search(r"\\[sS]", pattern):
        tests.append(f"contains({sql}, chr(11))")
    if not tests:
        return sql
    message = unanswered(
        "this pattern is not translated for texts with line ends or letters beyond ASCII", types.VARCHAR
    )
    return f"CASE WHEN {' OR '.join(tests)} THEN {message} ELSE {sql} END"


def _regexp_like(node: Any, scope: Scope) -> Value:
    sql, pattern, _ = _parts(node, scope, 2, 2)
    return Value(f"regexp_matches({sql}, {text(pattern)})", types.BOOLEAN)


def _group(rest: list[Value], pattern: str, node: Any) -> int:
    """The group asked for; one that need not take part in a match is NULL in Athena only."""
    number = rest[0].const if rest else 0
    if not isinstance(number, int) or not 0 <= number <= re.compile(pattern).groups:
        raise refuse(node, "the group must be a whole number of a group of the pattern.")
    if number and re.search(r"\||\)[?*]|\)\{0", pattern):
        raise refuse(node, "a group that may be absent from a match is not translated.")
    return number


def _regexp_extract(node: Any, scope: Scope) -> Value:
    sql, pattern, rest = _parts(node, scope, 2, 3)
    taken = f"regexp_extract({sql}, {text(pattern)}, {_group(rest, pattern, node)})"
    return Value(f"CASE WHEN regexp_matches({sql}, {text(pattern)}) THEN {taken} END", types.VARCHAR)


def _regexp_extract_all(node: Any, scope: Scope) -> Value:
    sql, pattern, rest = _parts(node, scope, 2, 3)
    _no_empty_match(pattern, node)
    taken = f"regexp_extract_all({sql}, {text(pattern)}, {_group(rest, pattern, node)})"
    return Value(taken, types.array(types.VARCHAR))


def _regexp_replace(node: Any, scope: Scope) -> Value:
    sql, pattern, rest = _parts(node, scope, 2, 3)
    _no_empty_match(pattern, node)
    new = rest[0].const if rest else ""
    if not isinstance(new, str) or "\\" in new or re.search(r"\$(?![0-9])|\$[0-9]{2}", new):
        raise refuse(node, "the replacement must be a known text with $1 to $9 for groups, without backslashes.")
    if any(int(found) > re.compile(pattern).groups for found in re.findall(r"\$([0-9])", new)):
        raise refuse(node, "the replacement names a group that the pattern lacks.")
    replacement = re.sub(r"\$([0-9])", r"\\\1", new)
    return Value(f"regexp_replace({sql}, {text(pattern)}, {text(replacement)}, 'g')", types.VARCHAR)


def _regexp_split(node: Any, scope: Scope) -> Value:
    sql, pattern, _ = _parts(node, scope, 2, 2)
    _no_empty_match(pattern, node)
    return Value(f"string_split_regex({sql}, {text(pattern)})", types.array(types.VARCHAR))


def _regexp_count(node: Any, scope: Scope) -> Value:
    sql, pattern, _ = _parts(node, scope, 2, 2)
    _no_empty_match(pattern, node)
    return Value(f"CAST(len(regexp_extract_all({sql}, {text(pattern)})) AS BIGINT)", types.BIGINT)


def _regexp_position(node: Any, scope: Scope) -> Value:
    """The place of the nth match from a start on: behind the parts before it and the matches between them."""
    sql, pattern, rest = _parts(node, scope, 2, 4)
    _no_empty_match(pattern, node)
    start, nth = ([one.const for one in rest] + [1, 1])[:2] if len(rest) < 2 else [one.const for one in rest]
    if any(not isinstance(one, int) or isinstance(one, bool) or one < 1 for one in (start, nth)):
        raise refuse(node, "start position and occurrence must be known whole numbers from 1.")
    parts = f"string_split_regex(substr(n.t, {start}), {text(pattern)})"
    matches = f"regexp_extract_all(substr(n.t, {start}), {text(pattern)})"
    before = f"list_sum(list_transform({parts}[1:{nth}] || {matches}[1:{nth - 1}], lambda part: length(part)))"
    place = f"CASE WHEN len({matches}) < {nth} THEN -1 ELSE {before} + {start} END"
    cases = f"CASE WHEN n.t IS NULL THEN NULL WHEN length(n.t) < {start} THEN -1 ELSE {place} END"
    return Value(f"CAST(list_transform([{{'t': {sql}}}], lambda n: {cases})[1] AS INTEGER)", types.INTEGER)


def _no_empty_match(pattern: str, node: Any) -> None:
    if re.search(pattern, "") or re.search(r"\^|\$", pattern.replace("[^", "").replace("\\$", "").replace("\\^", "")):
        raise refuse(node, "a pattern that is anchored or matches an empty text is not translated here.")


HANDLERS: dict[str, Callable[[Any, Scope], Value]] = {
    "regexp_like": _regexp_like, "regexp_extract": _regexp_extract, "regexp_extract_all": _regexp_extract_all,
    "regexp_replace": _regexp_replace, "regexp_split": _regexp_split, "regexp_count": _regexp_count,
    "regexp_position": _regexp_position,
}  # fmt: skip
