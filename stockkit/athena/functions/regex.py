"""Regular expressions, where both engines read them alike."""

from __future__ import annotations

import re
from typing import Any

from stockkit.athena import types
from stockkit.athena.values import (
    Handler,
    Scope,
    Value,
    arguments,
    coerced,
    known_pattern,
    let,
    quoted,
    refuse,
    unanswered,
)

ATOM = re.compile(
    r"\\[dDwWsS]|\\[.^$|?*+()\[\]{}\\/\-]|\\[tn]"  # classes, and what is escaped
    r"|\[\^?(?:\\[dDwWsS\-.\]\[\\^]|[^\[\]\\&])+\]"  # sets
    r"|\((?!\?)|\(\?:|\)|[*+?](?:\?)?(?![*+?])|\{[0-9]+(?:,[0-9]*)?\}\??(?![*+?])"  # groups and quantifiers
    r"|[.^$|]|[^\\\[\](){}*+?.^$|]",
    re.DOTALL,
)


def _checked_pattern(value: Value, node: Any) -> str:
    """A regular expression that Java's and RE2's grammar read alike.

    Raises:
        QueryError: it is not known before the run, or has look-around, back references, possessive quantifiers.
    """
    pattern = known_pattern(value, node)
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
    value, given, *rest = arguments(node, scope, low, high)
    pattern = _checked_pattern(given, node)
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
    return Value(f"regexp_matches({sql}, {quoted(pattern)})", types.BOOLEAN)


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
    taken = f"regexp_extract({sql}, {quoted(pattern)}, {_group(rest, pattern, node)})"
    return Value(f"CASE WHEN regexp_matches({sql}, {quoted(pattern)}) THEN {taken} END", types.VARCHAR)


def _regexp_extract_all(node: Any, scope: Scope) -> Value:
    sql, pattern, rest = _parts(node, scope, 2, 3)
    _no_empty_match(pattern, node)
    taken = f"regexp_extract_all({sql}, {quoted(pattern)}, {_group(rest, pattern, node)})"
    return Value(taken, types.array(types.VARCHAR))


def _regexp_replace(node: Any, scope: Scope) -> Value:
    sql, pattern, rest = _parts(node, scope, 2, 3)
    _no_empty_match(pattern, node)
    new = rest[0].const if rest else ""
    if not isinstance(new, str) or "\\" in new or re.search(r"\$(?![0-9])|\$[0-9]{2}", new):
        raise refuse(node, "the replacement must be a known text with $1 to $9 for groups, without backslashes.")
    if any(int(group) > re.compile(pattern).groups for group in re.findall(r"\$([0-9])", new)):
        raise refuse(node, "the replacement names a group that the pattern lacks.")
    replacement = re.sub(r"\$([0-9])", r"\\\1", new)
    return Value(f"regexp_replace({sql}, {quoted(pattern)}, {quoted(replacement)}, 'g')", types.VARCHAR)


def _regexp_split(node: Any, scope: Scope) -> Value:
    sql, pattern, _ = _parts(node, scope, 2, 2)
    _no_empty_match(pattern, node)
    return Value(f"string_split_regex({sql}, {quoted(pattern)})", types.array(types.VARCHAR))


def _regexp_count(node: Any, scope: Scope) -> Value:
    sql, pattern, _ = _parts(node, scope, 2, 2)
    _no_empty_match(pattern, node)
    return Value(f"CAST(len(regexp_extract_all({sql}, {quoted(pattern)})) AS BIGINT)", types.BIGINT)


def _regexp_position(node: Any, scope: Scope) -> Value:
    """The place of the nth match from a start on: behind the parts before it and the matches between them."""
    sql, pattern, rest = _parts(node, scope, 2, 4)
    _no_empty_match(pattern, node)
    start, nth = ([value.const for value in rest] + [1, 1])[:2]
    if any(not isinstance(number, int) or isinstance(number, bool) or number < 1 for number in (start, nth)):
        raise refuse(node, "start position and occurrence must be known whole numbers from 1.")
    parts = f"string_split_regex(substr(n.t, {start}), {quoted(pattern)})"
    matches = f"regexp_extract_all(substr(n.t, {start}), {quoted(pattern)})"
    before = f"list_sum(list_transform({parts}[1:{nth}] || {matches}[1:{nth - 1}], lambda part: length(part)))"
    place = f"CASE WHEN len({matches}) < {nth} THEN -1 ELSE {before} + {start} END"
    cases = f"CASE WHEN n.t IS NULL THEN NULL WHEN length(n.t) < {start} THEN -1 ELSE {place} END"
    return Value(f"CAST({let(cases, t=sql)} AS INTEGER)", types.INTEGER)


def _no_empty_match(pattern: str, node: Any) -> None:
    if re.search(pattern, "") or re.search(r"\^|\$", pattern.replace("[^", "").replace("\\$", "").replace("\\^", "")):
        raise refuse(node, "a pattern that is anchored or matches an empty text is not translated here.")


HANDLERS: dict[str, Handler] = {
    "regexp_like": _regexp_like, "regexp_extract": _regexp_extract, "regexp_extract_all": _regexp_extract_all,
    "regexp_replace": _regexp_replace, "regexp_split": _regexp_split, "regexp_count": _regexp_count,
    "regexp_position": _regexp_position,
}  # fmt: skip
