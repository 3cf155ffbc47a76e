"""Aggregates: Athena's result types, its NULLs, and NULLS LAST wherever nothing else is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stockkit.athena import intervals, operators, types
from stockkit.athena.reads import only
from stockkit.athena.types import Type
from stockkit.athena.values import Scope, Value, coerced, condition, fail, hoisted, let, quoted, refuse, unanswered

# what gives NULL in Athena where the result is not finite
MOMENTS = {"corr": 2, "covar_pop": 2, "covar_samp": 2, "regr_slope": 2, "regr_intercept": 2, "stddev": 1,
           "stddev_samp": 1, "stddev_pop": 1, "variance": 1, "var_samp": 1, "var_pop": 1}  # fmt: skip
FINITE = ("corr", "regr_slope", "regr_intercept")
BITS = {"bitwise_and_agg": "bit_and", "bitwise_or_agg": "bit_or", "bitwise_xor_agg": "bit_xor"}
MOST = 10_000  # the most values that Athena keeps for max(x, n)
_SUM = "list_sum(list_transform(n.d, lambda d: pow(d, {})))"
SHAPES = {  # of the deviations n.d; Trino's CentralMomentsAggregation
    "skewness": (3, f"sqrt(n.k) * {_SUM.format(3)} / pow({_SUM.format(2)}, 1.5)"),
    "kurtosis": (
        4,
        f"(n.k - 1) * n.k * (n.k + 1) / ((n.k - 2) * (n.k - 3)) * {_SUM.format(4)} / pow({_SUM.format(2)}, 2)"
        " - 3 * (n.k - 1) * (n.k - 1) / ((n.k - 2) * (n.k - 3))",
    ),
}
NAMES = (*MOMENTS, *BITS, *SHAPES,
         "count", "count_if", "sum", "avg", "min", "max", "min_by", "max_by", "arbitrary", "any_value",
         "array_agg", "map_agg", "histogram", "bool_and", "bool_or", "every", "approx_percentile", "approx_distinct",
         "geometric_mean", "grouping")  # fmt: skip


def aggregate(node: Any, scope: Scope, *, test: str = "", over: str | None = None) -> Value:
    """An aggregate; `test` is its FILTER, `over` its window, which its SQL has the slot ``\\0`` for after each call."""
    name, written, outer = node.name.lower(), list(node.expressions), scope
    scope = replace(scope, hoisted=None)
    order, distinct = "", False
    if written and type(written[-1]).__name__ == "Order":
        order = order_by(written[-1].expressions, scope)
        written[-1] = written[-1].this
        if name != "array_agg":
            raise refuse(node, "ORDER BY inside an aggregate is translated for array_agg and listagg only.")
    if written and type(written[0]).__name__ == "Distinct":
        written, distinct = written[0].expressions, True
    if over is not None and order:
        raise refuse(node, "Window function with ORDER BY is not supported.")
    if over is not None and distinct and name == "array_agg":
        raise refuse(node, "array_agg of DISTINCT values in a window has no order that both engines share.")
    if distinct and (len(written) != 1 or name not in ("count", "sum", "avg", "array_agg", "min", "max")):
        raise refuse(node, f"{name} of DISTINCT values is not translated.")
    result = _translated(name, written, ("DISTINCT " if distinct else "", order), node, scope)
    if over is not None and name == "sum":
        result = _row_by_row(result, scope.value(written[0]), "DISTINCT " if distinct else "")
    tail = (f" FILTER (WHERE {test})" if test else "") + ("" if over is None else f" OVER ({over})")
    filled = Value(result.sql.replace("\0", tail), result.type, nan=result.nan)
    return hoisted(filled, outer)


def _translated(name: str, written: list[Any], extra: tuple[str, str], node: Any, scope: Scope) -> Value:
    distinct, order = extra
    if name == "count":
        return _count(written, distinct, node, scope)
    values = [scope.value(argument) for argument in written]
    if name in MOMENTS and len(values) == MOMENTS[name]:
        return _moment(name, [coerced(value, types.DOUBLE, node).sql for value in values])
    if name == "grouping":
        return Value(f"CAST(grouping({', '.join(value.sql for value in values)}) AS BIGINT)", types.BIGINT)
    if name in ("min_by", "max_by", "map_agg", "approx_percentile"):
        steps = {"map_agg": _map_agg, "approx_percentile": _percentile}
        return steps[name](values, node) if name in steps else _by(name, values, node)
    if name in ("min", "max") and len(values) == 2:
        return _largest(name, values, node)
    if len(values) != 1:
        raise refuse(node, f"Unexpected number of arguments for {name}.")
    return _of_one(name, values[0], distinct, order, node)


def _of_one(name: str, value: Value, distinct: str, order: str, node: Any) -> Value:
    kind, sql = value.type, value.sql
    if name == "count_if":
        return Value(f"count(CASE WHEN {coerced(value, types.BOOLEAN, node).sql} THEN 1 END)\0", types.BIGINT)
    if name in ("bool_and", "every", "bool_or"):
        local = "bool_or" if name == "bool_or" else "bool_and"
        return Value(f"{local}({coerced(value, types.BOOLEAN, node).sql})\0", types.BOOLEAN)
    if name == "approx_distinct":
        return Value(f"count(DISTINCT {sql})\0", types.BIGINT)
    if name in ("arbitrary", "any_value"):
        return Value(f"any_value({sql})\0", kind, nan=value.nan)
    if name == "array_agg":
        return Value(f"list({distinct}{sql}{order})\0", types.array(kind), nan=value.nan)
    if name == "histogram":
        result = Type("map", (kind, types.BIGINT))
        return Value(f"CAST(histogram({sql})\0 AS {result.local})", result)
    if name in ("min", "max"):
        return _extreme(name, value, distinct, node)
    if name in SHAPES:
        return _shape(name, value, node)
    if name in BITS:
        return Value(f"{BITS[name]}({coerced(value, types.BIGINT, node).sql})\0", types.BIGINT)
    if name == "geometric_mean":
        return Value(f"exp(avg(ln({coerced(value, types.DOUBLE, node).sql}))\0)", types.DOUBLE, nan=True)
    return _total(name, value, distinct, node)


def _total(name: str, value: Value, distinct: str, node: Any) -> Value:
    kind, sql = value.type, value.sql
    if kind.name == "decimal":
        total, count = types.decimal(38, kind.args[1]), f"count({distinct}{sql})\0"
        summed = f"CAST(sum({distinct}{sql})\0 AS {total.local})"
        if name == "sum":
            return Value(summed, total)
        mean = operators.quotient(operators.unscaled(Value(summed, total)), count, kind)
        return Value(f"CASE WHEN {count} > 0 THEN {mean} END", kind)
    if kind.name == "interval":
        return intervals.total(name, value, distinct)
    if not kind.number:
        raise refuse(node, f"Unexpected parameters ({kind}) for function {name}.")
    if name == "sum" and kind.integral:
        return Value(f"CAST(sum({distinct}{sql})\0 AS BIGINT)", types.BIGINT)
    result = kind if kind.floating else types.DOUBLE
    return Value(f"CAST({name}({distinct}{sql})\0 AS {result.local})", result, nan=True)


def _row_by_row(total: Value, value: Value, distinct: str) -> Value:
    """The sum of a window, which Athena adds row by row: it fails where a part of it is beyond a bigint."""
    if value.type != types.BIGINT:
        return total
    parts = f"sum({distinct}abs(CAST({value.sql} AS HUGEINT)))\0"
    message = fail("bigint overflow in the sum of a window", types.BIGINT)
    return replace(total, sql=f"CASE WHEN {parts} > {2**63 - 1} THEN {message} ELSE {total.sql} END")


def _largest(name: str, values: list[Value], node: Any) -> Value:
    """max(x, n) and min(x, n): the n largest or smallest, without NULLs, NULL where there is none."""
    value, number = values
    _extreme(name, value, "", node)
    if not isinstance(number.const, int) or isinstance(number.const, bool) or not 1 <= number.const <= MOST:
        raise refuse(node, f"n must be a known whole number from 1 to {MOST}.")
    kind = types.array(value.type)
    return Value(_without_nan(name, value, f"{name}({value.sql}, {number.const})\0", kind), kind)


def _extreme(name: str, value: Value, distinct: str, node: Any) -> Value:
    kind = value.type
    if not (kind.number or kind.moment or kind.name in ("varchar", "boolean", "interval")):
        raise refuse(node, f"{kind} has no {name}.")
    return Value(_without_nan(name, value, f"{name}({distinct}{value.sql})\0", kind), kind)


def _without_nan(name: str, value: Value, sql: str, kind: Type) -> str:
    """The engines order NaN differently: where one may occur, an aggregate that meets it fails."""
    if not (value.nan and value.type.floating):
        return sql
    message = unanswered(f"{name} over NaN is not translated: leave it out with is_nan(x)", kind)
    return f"CASE WHEN bool_or(isnan({value.sql}))\0 THEN {message} ELSE {sql} END"


def _count(written: list[Any], distinct: str, node: Any, scope: Scope) -> Value:
    if not written or (len(written) == 1 and type(written[0]).__name__ == "Star"):
        return Value("count(*)\0", types.BIGINT)
    if len(written) != 1:
        raise refuse(node, "count takes one argument.")
    return Value(f"count({distinct}{scope.value(written[0]).sql})\0", types.BIGINT)


def _moment(name: str, sides: list[str]) -> Value:
    sql = f"{name}({', '.join(sides)})\0"
    if name not in FINITE:
        return Value(sql, types.DOUBLE, nan=True)
    return Value(f"CASE WHEN isfinite({sql}) THEN {sql} END", types.DOUBLE)


def _by(name: str, values: list[Value], node: Any) -> Value:
    local = "arg_max" if name == "max_by" else "arg_min"
    if len(values) == 2:
        value, key = values
        sql = f"{local}_null({value.sql}, {key.sql})\0"
        return Value(_without_nan(name, key, sql, value.type), value.type, nan=value.nan)
    if len(values) == 3 and isinstance(values[2].const, int) and values[2].const > 0:
        value, key, number = values
        kind = types.array(value.type)
        sql = f"list_transform({local}({{'v': {value.sql}}}, {key.sql}, {number.const})\0, lambda s: s.v)"
        return Value(_without_nan(name, key, sql, kind), kind, nan=value.nan)
    raise refuse(node, f"expected {name}(x, y) or {name}(x, y, n) with n known and above 0.")


def _map_agg(values: list[Value], node: Any) -> Value:
    if len(values) != 2:
        raise refuse(node, "expected map_agg(key, value).")
    key, value = values
    entry = f"CASE WHEN {key.sql} IS NOT NULL THEN {{'k': {key.sql}, 'v': {value.sql}}} END"
    entries = f"list_filter(list({entry})\0, lambda e: e IS NOT NULL)"
    filled = f"list_transform([{entries}], lambda es: CASE WHEN len(es) > 0 THEN map_from_entries(es) END)[1]"
    return Value(filled, Type("map", (key.type, value.type)), nan=value.nan)


def _percentile(values: list[Value], node: Any) -> Value:
    """The element floor(share * n) of the n values in order, the last for 1, as Athena's digest of few."""
    if len(values) != 2 or not values[0].type.number or values[0].type.name == "decimal":
        raise refuse(
            node, "translated is approx_percentile(number, share) and approx_percentile(number, array of shares)."
        )
    value, share = values
    bad = fail("Percentile must be between 0 and 1", value.type)
    place = "CAST(least(floor({share} * len(es)), len(es) - 1) AS BIGINT) + 1"
    element = f"CASE WHEN {{share}} BETWEEN 0 AND 1 THEN es[{place}] ELSE {bad} END"
    if share.type.name == "array":
        shares, kind = coerced(share, types.array(types.DOUBLE), node).sql, types.array(value.type)
        taken = f"list_transform({shares}, lambda share: {element.format(share='share')})"
    elif not isinstance(share.const, int | float) or not 0 <= share.const <= 1:
        raise refuse(node, "the share must be a number from 0 to 1, known before the query runs.")
    else:
        taken, kind = element.format(share=f"CAST({float(share.const)!r} AS DOUBLE)"), value.type
    sorted_ = f"list_sort(list_filter(list({value.sql})\0, lambda e: e IS NOT NULL))"
    sql = f"list_transform([{sorted_}], lambda es: CASE WHEN len(es) > 0 THEN {taken} END)[1]"
    return Value(_without_nan("approx_percentile", value, sql, kind), kind)


def filtered(node: Any, scope: Scope) -> Value:
    """aggregate FILTER (WHERE condition)."""
    test = condition(node.expression.this, replace(scope, hoisted=None))
    if type(node.this).__name__ == "GroupConcat":
        return listagg(node.this, scope, test=test)
    if type(node.this).__name__ != "Anonymous" or node.this.name.lower() not in NAMES:
        raise refuse(node, "FILTER stands after an aggregate.")
    return aggregate(node.this, scope, test=test)


def listagg(node: Any, scope: Scope, *, test: str = "", over: str | None = None) -> Value:
    """listagg([DISTINCT] text, separator) WITHIN GROUP (ORDER BY …) [FILTER (WHERE …)]."""
    outer, scope = scope, replace(scope, hoisted=None)
    only(node, "this", "separator")
    if type(node.this).__name__ != "Order":
        raise refuse(node, "write WITHIN GROUP (ORDER BY …): without it the answer is in any order.")
    inner, distinct = node.this.this, ""
    if type(inner).__name__ == "Distinct":
        if len(inner.expressions) != 1:
            raise refuse(node, "listagg takes one text and a separator.")
        inner, distinct = inner.expressions[0], "DISTINCT "
    value = coerced(scope.value(inner), types.VARCHAR, node).sql
    if distinct and any(scope.value(key.this).sql != value for key in node.this.expressions):
        raise refuse(node, "For aggregate function with DISTINCT, ORDER BY expressions must appear in arguments.")
    separator = scope.value(node.args["separator"]).const if node.args.get("separator") else ""
    if not isinstance(separator, str):
        raise refuse(node, "the separator must be a known text.")
    tail = (f" FILTER (WHERE {test})" if test else "") + ("" if over is None else f" OVER ({over})")
    sql = f"string_agg({distinct}{value}, {quoted(separator)}{order_by(node.this.expressions, scope)}){tail}"
    return hoisted(Value(sql, types.VARCHAR), outer)


def order_by(keys: list[Any], scope: Scope) -> str:
    """ORDER BY with NULLs last unless said otherwise."""
    parts = [f"{orderable(scope.value(key.this), key).sql} {direction(key)}" for key in keys]
    return f" ORDER BY {', '.join(parts)}" if parts else ""


def orderable(value: Value, node: Any) -> Value:
    """A value by which rows can be ordered."""
    if value.type.name in ("map", "json"):
        raise refuse(node, f"{value.type} is not orderable, and therefore cannot be used in ORDER BY.")
    if value.type.name in ("array", "row"):  # a NULL or NaN inside is ordered otherwise, or fails
        raise refuse(node, f"ORDER BY {value.type} is not translated: order by its parts.")
    return value


def direction(key: Any) -> str:
    """ASC or DESC and where the NULLs go."""
    only(key, "this", "desc", "nulls_first")
    return f"{'DESC' if key.args.get('desc') else 'ASC'} NULLS {'FIRST' if key.args.get('nulls_first') else 'LAST'}"


def _shape(name: str, value: Value, node: Any) -> Value:
    """skewness and kurtosis of central moments, NULL for fewer than 3 and 4 values."""
    least, formula = SHAPES[name]
    values = f"list_filter(list({coerced(value, types.DOUBLE, node).sql})\0, lambda d: d IS NOT NULL)"
    result = f"CASE WHEN n.k >= {least} THEN {formula} END"
    deviations = let(result, k="CAST(len(n.x) AS DOUBLE)", d="list_transform(n.x, lambda d: d - n.m)")
    return Value(let(let(deviations, x="n.x", m="list_avg(n.x)"), x=values), types.DOUBLE, nan=True)
