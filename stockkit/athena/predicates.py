"""Predicates of three values: IS [NOT] TRUE, FALSE and UNKNOWN, and comparisons with ANY or ALL rows of a subquery."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stockkit.athena import operators, types
from stockkit.athena.values import Query, Scope, Value, coerced, refuse

ANY = "CASE WHEN bool_or({0}) THEN TRUE WHEN bool_or({0} IS NULL) THEN NULL ELSE FALSE END"
ALL = "CASE WHEN bool_or(NOT {0}) THEN FALSE WHEN bool_or({0} IS NULL) THEN NULL ELSE TRUE END"

WORDS = {"ALL": "ALL", "ANY": "ANY", "SOME": "ANY"}


def truth(node: Any, scope: Scope) -> Value:
    """x IS TRUE, IS FALSE and IS UNKNOWN, which are never NULL."""
    value = scope.value(node.this)
    if value.type not in (types.BOOLEAN, types.UNKNOWN):
        raise refuse(node, f"IS TRUE, FALSE and UNKNOWN take a boolean, this is {value.type}.")
    wanted = str(bool(node.expression.this)).upper() if type(node.expression).__name__ == "Boolean" else "NULL"
    return Value(f"({coerced(value, types.BOOLEAN).sql} IS NOT DISTINCT FROM {wanted})", types.BOOLEAN)


def tests_truth(node: Any) -> bool:
    """Whether an IS asks for TRUE, FALSE or UNKNOWN, which the parser takes for a name."""
    right = node.expression
    unknown = type(right).__name__ == "Column" and right.name.upper() == "UNKNOWN" and not right.this.args.get("quoted")
    return type(right).__name__ == "Boolean" or (unknown and not right.table)


def quantified(node: Any) -> Any:
    """The ANY, SOME or ALL after a comparison, with its subquery, None where there is none."""
    right = node.expression
    if type(right).__name__ in ("Any", "All"):
        return type(right).__name__.upper(), right.this
    if type(right).__name__ == "Anonymous" and right.name.upper() in WORDS and len(right.expressions) == 1:
        return WORDS[right.name.upper()], right.expressions[0]
    return None


def over_rows(node: Any, scope: Scope) -> Value:
    """x = ANY (SELECT …), x > ALL (VALUES …): over no rows ANY is false and ALL is true."""
    from stockkit.athena import expressions

    word, subquery = quantified(node)
    symbol = operators.COMPARISONS[type(node).__name__]
    if type(subquery).__name__ not in ("Subquery", "Select", "Union", "Intersect", "Except", "Values"):
        raise refuse(node, f"{word} takes a subquery: use any_match or all_match for arrays.")
    left = scope.value(node.this)
    found = expressions.one_column(subquery, scope)
    test = operators.comparison(symbol, left, found.columns[0].value, node).sql
    return _asked(test, ANY if word == "ANY" else ALL, found, scope)


def row_in(node: Any, left: Value, found: Query, scope: Scope) -> Value:
    """(a, b) IN (SELECT c, d …)."""
    if left.type.name != "row" or len(left.type.args) != len(found.columns):
        raise refuse(node, f"the subquery gives {len(found.columns)} columns for {left.type}.")
    kind = replace(left.type, args=tuple(c.value.type for c in found.columns), names=(None,) * len(found.columns))
    parts = (f"'{types.field(kind, k)}': {column.value.sql}" for k, column in enumerate(found.columns))
    right = Value(f"{{{', '.join(parts)}}}", kind, nan=True)
    return _asked(operators.comparison("=", left, right, node).sql, ANY, found, scope)


def _asked(test: str, question: str, found: Query, scope: Scope) -> Value:
    from stockkit.athena import expressions

    outer, inner = scope.context.fresh("s"), scope.context.fresh("s")
    tests = f"SELECT ({test}) AS b FROM ({found.sql}) AS {inner}"
    sql = f"(SELECT {question.format(f'{outer}.b')} FROM ({tests}) AS {outer})"
    return expressions.hoisted(Value(sql, types.BOOLEAN), scope)
