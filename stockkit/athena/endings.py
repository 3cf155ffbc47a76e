"""How a query ends: ORDER BY, LIMIT, OFFSET and FETCH, also WITH TIES."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from stockkit.athena.functions import aggregates
from stockkit.athena.reads import only
from stockkit.athena.values import Column, Query, Relation, Scope, Value, refuse

CLAUSES = ("order", "limit", "offset")


@dataclass(frozen=True)
class Item:
    """An entry of a SELECT list: its output name, its value, and its name in the local engine."""

    name: str | None
    value: Value
    local: str


def ended(node: Any, answer: Query, scope: Scope) -> Query:
    """A query in parentheses, or a set operation, with ORDER BY and LIMIT of its own, where it has any."""
    if not any(node.args.get(clause) for clause in CLAUSES):
        return answer
    local = scope.context.fresh("s")
    items = [Item(c.name, Value(c.value.sql, c.value.type), c.value.sql) for c in answer.columns]
    relation = Relation(None, tuple(Column(c.name, c.value) for c in answer.columns))
    inner, clause = replace(scope, relations=(relation,)), ties(node)
    if clause is not None:
        keys = tie_keys(node, items, inner, True)
        named = f"SELECT *, {', '.join(f'{sql} AS {name}' for sql, name, _ in keys)} FROM ({answer.sql}) AS {local}"
        return with_ties(Query(named, answer.columns), keys, clause, scope)
    ending = clauses(node, items, inner, True)
    return Query(f"SELECT * FROM ({answer.sql}) AS {local} {' '.join(ending)}", answer.columns)


def clauses(node: Any, items: list[Item], scope: Scope, outputs_only: bool) -> list[str]:
    """ORDER BY, LIMIT and OFFSET of a query; with `outputs_only` it is ordered by columns of its answer alone."""
    parts = []
    if node.args.get("order"):
        only(node.args["order"], "expressions")
        keys = (_order_key(key, items, scope, outputs_only) for key in node.args["order"].expressions)
        parts.append(f"ORDER BY {', '.join(keys)}")
    for word in ("limit", "offset"):
        clause = node.args.get(word)
        if type(clause).__name__ == "Fetch":
            parts.append(f"LIMIT {_count(clause, clause.args.get('count'), scope)}")
            continue
        if clause is not None and not (type(clause.expression).__name__ == "Var" and clause.expression.name == "ALL"):
            only(clause, "expression")
            parts.append(f"{word.upper()} {_count(clause, clause.expression, scope)}")
    return parts


def _count(clause: Any, node: Any, scope: Scope) -> int:
    """The known number of a LIMIT, OFFSET or FETCH; FETCH FIRST ROW is of one."""
    number = scope.value(node).const if node is not None else 1
    least = 1 if type(clause).__name__ == "Fetch" else 0
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise refuse(clause, f"a whole number from {least} is expected.")
    return number


def ties(node: Any) -> Any:
    """The FETCH … WITH TIES of a query, None where it has none."""
    clause = node.args.get("limit")
    if type(clause).__name__ != "Fetch" or not clause.args["limit_options"].args.get("with_ties"):
        return None
    if not node.args.get("order") or node.args.get("offset"):
        raise refuse(clause, "WITH TIES needs an ORDER BY, and is not translated after an OFFSET.")
    return clause


def tie_keys(node: Any, items: list[Item], scope: Scope, outputs_only: bool) -> list[tuple[str, str, str]]:
    """What ORDER BY orders by: its SQL, a new name for it, and the direction."""
    keys = []
    for key in node.args["order"].expressions:
        sql, _ = _order_value(key, items, scope, outputs_only)
        keys.append((sql, scope.context.fresh("c"), aggregates.direction(key)))
    return keys


def with_ties(answer: Query, keys: list[tuple[str, str, str]], clause: Any, scope: Scope) -> Query:
    """The first rows, and those that are ordered like the last of them; `answer` gives the keys under their names."""
    inner, outer, place = (scope.context.fresh(letter) for letter in "ssc")
    order = ", ".join(f"{name} {way}" for _, name, way in keys)
    ranked = f"SELECT *, rank() OVER (ORDER BY {order}) AS {place} FROM ({answer.sql}) AS {inner}"
    columns = ", ".join(column.value.sql for column in answer.columns)
    limit = _count(clause, clause.args.get("count"), scope)
    sql = f"SELECT {columns} FROM ({ranked}) AS {outer} WHERE {place} <= {limit} ORDER BY {place}"
    return Query(sql, answer.columns)


def _order_key(key: Any, items: list[Item], scope: Scope, outputs_only: bool) -> str:
    sql, local = _order_value(key, items, scope, outputs_only)
    return f"{local or sql} {aggregates.direction(key)}"


def _order_value(key: Any, items: list[Item], scope: Scope, outputs_only: bool) -> tuple[str, str | None]:
    """What a key of ORDER BY stands for: its SQL, and the name of the column of the answer that it is."""
    node = key.this
    if type(node).__name__ == "Literal":
        item = ordinal(node, items)
        aggregates.orderable(item.value, node)
        return item.value.sql, item.local
    named = {(item.name, item.value.sql): item.value for item in items if item.name}
    answer = Relation(None, tuple(Column(name, value) for (name, _), value in named.items()))
    value = Scope(scope.context, scope, (answer,)).value(node)
    sql = aggregates.orderable(value, node).sql  # names of the answer go before those of FROM
    same = [item.local for item in items if item.value.sql == sql]
    if outputs_only and not same:
        raise refuse(node, "after DISTINCT or a set operation ORDER BY takes columns of the answer only.")
    return sql, same[0] if same else None


def ordinal(node: Any, items: list[Item]) -> Item:
    """The entry of a SELECT list that a position stands for, in ORDER BY or GROUP BY."""
    if node.is_string or not node.this.isdigit() or not 1 <= int(node.this) <= len(items):
        raise refuse(node, f"the position must be a whole number from 1 to {len(items)}.")
    return items[int(node.this) - 1]
