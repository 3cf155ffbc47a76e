"""Aggregates of several steps: the n largest, the shape of a distribution, and bits.

Each call of an aggregate in the SQL carries the slot ``\\0``, which becomes its FILTER and its window.
"""

from __future__ import annotations

from typing import Any

from stockkit.athena import types
from stockkit.athena.values import Value, coerced, refuse

BITS = {"bitwise_and_agg": "bit_and", "bitwise_or_agg": "bit_or", "bitwise_xor_agg": "bit_xor"}
SHAPES = ("skewness", "kurtosis")
MOST = 10_000  # the most values that Athena keeps for max(x, n)

_SUM = "list_sum(list_transform(n.d, lambda d: pow(d, {})))"
_SHAPES = {  # of the deviations n.d; Trino's CentralMomentsAggregation
    "skewness": (3, f"sqrt(n.k) * {_SUM.format(3)} / pow({_SUM.format(2)}, 1.5)"),
    "kurtosis": (
        4,
        f"(n.k - 1) * n.k * (n.k + 1) / ((n.k - 2) * (n.k - 3)) * {_SUM.format(4)} / pow({_SUM.format(2)}, 2)"
        " - 3 * (n.k - 1) * (n.k - 1) / ((n.k - 2) * (n.k - 3))",
    ),
}


def largest(name: str, value: Value, number: Value, node: Any) -> Value:
    """max(x, n) and min(x, n): the n largest or smallest, without NULLs, NULL where there is none."""
    if not isinstance(number.const, int) or isinstance(number.const, bool) or not 1 <= number.const <= MOST:
        raise refuse(node, f"n must be a known whole number from 1 to {MOST}.")
    return Value(f"{name}({value.sql}, {number.const})\0", types.array(value.type))


def shape(name: str, value: Value, node: Any) -> Value:
    """skewness and kurtosis of central moments, NULL for fewer than 3 and 4 values."""
    least, formula = _SHAPES[name]
    values = f"list_filter(list({coerced(value, types.DOUBLE, node).sql})\0, lambda d: d IS NOT NULL)"
    deviations = "{'k': CAST(len(n.x) AS DOUBLE), 'd': list_transform(n.x, lambda d: d - n.m)}"
    result = f"CASE WHEN n.k >= {least} THEN {formula} END"
    steps = (f"[{{'x': {values}}}]", "[{'x': n.x, 'm': list_avg(n.x)}]", f"[{deviations}]")
    sql = result
    for step in reversed(steps):
        sql = f"list_transform({step}, lambda n: {sql})[1]"
    return Value(sql, types.DOUBLE, nan=True)


def bits(name: str, value: Value, node: Any) -> Value:
    """The bits that all, any or an odd number of the values have."""
    return Value(f"{BITS[name]}({coerced(value, types.BIGINT, node).sql})\0", types.BIGINT)
