"""Windows: functions OVER (PARTITION BY … ORDER BY … frame), as Athena has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stockkit.athena import intervals, types
from stockkit.athena.functions.aggregates import NAMES, aggregate, listagg, order_by
from stockkit.athena.reads import only
from stockkit.athena.types import Type
from stockkit.athena.values import Scope, Value, coerced, hoisted, refuse

RANKS = {"row_number": "bigint", "rank": "bigint", "dense_rank": "bigint", "percent_rank": "double",
         "cume_dist": "double"}  # fmt: skip

VALUES = ("lag", "lead", "first_value", "last_value", "nth_value")


def windowed(node: Any, scope: Scope) -> Value:
    """function OVER (PARTITION BY … ORDER BY … frame)."""
    only(node, "this", "partition_by", "order", "spec", "over")
    if node.args["over"] != "OVER":
        raise refuse(node, f"{node.args['over']} is not translated.")
    return hoisted(_window(node, replace(scope, hoisted=None)), scope)


def _window(node: Any, scope: Scope) -> Value:
    inner, nulls = node.this, ""
    if type(inner).__name__ in ("IgnoreNulls", "RespectNulls"):
        nulls = " IGNORE NULLS" if type(inner).__name__ == "IgnoreNulls" else ""
        inner = inner.this
    if type(inner).__name__ == "Filter":
        raise refuse(node, "FILTER is not supported for window functions: write sum(CASE WHEN … THEN x END) OVER (…).")
    if type(inner).__name__ == "GroupConcat":
        return listagg(inner, scope, over=_over(node, scope))
    if type(inner).__name__ != "Anonymous":
        raise refuse(node, "this is no window function that is translated.")
    name, over = inner.name.lower(), _over(node, scope)
    if node.args.get("spec") and (name in RANKS or name in ("lag", "lead", "ntile")):
        raise refuse(node, f"Cannot specify window frame for {name} function.")
    if name in ("lag", "lead") and not node.args.get("order"):
        raise refuse(node, f"{name} function requires an ORDER BY window clause.")
    if name in VALUES:
        return _value_window(name, inner, nulls, over, scope)
    if nulls:
        raise refuse(node, f"IGNORE NULLS does not go with {name}.")
    if name in RANKS and not inner.expressions:
        kind = Type(RANKS[name])
        return Value(f"CAST({name}() OVER ({over}) AS {kind.local})", kind)
    if name == "ntile" and len(inner.expressions) == 1:
        number = coerced(scope.value(inner.expressions[0]), types.BIGINT, node).sql
        return Value(f"ntile({number}) OVER ({over})", types.BIGINT)
    if name not in NAMES or name == "grouping":
        raise refuse(node, f"{name} is no window function that is translated.")
    return aggregate(inner, scope, over=over)


def _value_window(name: str, inner: Any, nulls: str, over: str, scope: Scope) -> Value:
    limits = {"lag": (1, 3), "lead": (1, 3), "nth_value": (2, 2)}.get(name, (1, 1))
    if not limits[0] <= len(inner.expressions) <= limits[1]:
        raise refuse(inner, "Unexpected number of arguments.")
    values = [scope.value(argument) for argument in inner.expressions]
    least = 1 if name == "nth_value" else 0
    if len(values) > 1 and not (isinstance(values[1].const, int) and values[1].const >= least):
        raise refuse(inner, f"the offset must be a known whole number from {least}.")
    if len(values) == 3:
        values[2] = coerced(values[2], values[0].type, inner)
    given = ", ".join(value.sql for value in values)
    nan = values[0].nan or (len(values) == 3 and values[2].nan)
    return Value(f"{name}({given}{nulls}) OVER ({over})", values[0].type, nan=nan)


def _over(node: Any, scope: Scope) -> str:
    parts = []
    if node.args.get("partition_by"):
        keys = dict.fromkeys(scope.value(key).sql for key in node.args["partition_by"])  # a key twice misleads DuckDB
        parts.append(f"PARTITION BY {', '.join(keys)}")
    if node.args.get("order"):
        parts.append(order_by(node.args["order"].expressions, scope).strip())
    if node.args.get("spec"):
        ordered = node.args["order"].expressions if node.args.get("order") else []
        parts.append(_frame(node.args["spec"], [scope.value(key.this) for key in ordered], scope))
    return " ".join(parts)


def _frame(spec: Any, keys: list[Value], scope: Scope) -> str:
    only(spec, "kind", "start", "start_side", "end", "end_side")
    kind = spec.args["kind"].upper()
    ends = [_bound(spec, side, kind, keys, scope) for side in ("start", "end") if spec.args.get(side)]
    return f"{kind} BETWEEN {ends[0]} AND {ends[1]}" if len(ends) == 2 else f"{kind} {ends[0]}"


def _bound(spec: Any, side: str, kind: str, keys: list[Value], scope: Scope) -> str:
    given, way = spec.args[side], spec.args.get(f"{side}_side") or ""
    if given == "CURRENT ROW":
        return "CURRENT ROW"
    if given == "UNBOUNDED":
        return f"UNBOUNDED {way}"
    if kind == "RANGE":
        if len(keys) != 1:
            raise refuse(spec, "a RANGE frame with an offset needs ORDER BY of exactly one value.")
        return f"{intervals.frame_offset(scope.value(given), keys[0], spec)} {way}"
    number = scope.value(given).const
    if not isinstance(number, int) or number < 0:
        raise refuse(spec, "the offset of ROWS and GROUPS must be a known whole number.")
    return f"{number} {way}"
