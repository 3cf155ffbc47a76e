"""Whole queries: SELECT, set operations, WITH (also RECURSIVE), ORDER BY and LIMIT.

Every column gets a name of its own in the local engine, so that no name can be resolved there in another way
than it was here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stockkit.athena import intervals, sources, types
from stockkit.athena.expressions import expression
from stockkit.athena.functions import aggregates
from stockkit.athena.reads import only
from stockkit.athena.values import Column, Context, Query, Relation, Scope, Value, coerced, condition, fail, refuse

SET_OPERATIONS = {"Union": "UNION", "Intersect": "INTERSECT", "Except": "EXCEPT"}
DEPTH = 10  # Trino's max_recursion_depth
ENDINGS = ("order", "limit", "offset", "with_")


@dataclass(frozen=True)
class Item:
    """An entry of a SELECT list: its output name, its value, and its name in the local engine."""

    name: str | None
    value: Value
    local: str


def statement(
    node: Any,
    schemas: Mapping[str, Mapping[str, types.Type]],
    parameters: Mapping[str, Any],
    scans: Mapping[str, str],
) -> tuple[Query, Context]:
    """Translate a parsed statement; return it with what is bound, and its columns as they are written."""
    context = Context(schemas, parameters, scans, expression, query)
    return _shown(query(node, Scope(context)), node), context


def _shown(answer: Query, node: Any) -> Query:
    """The answer with its intervals spelled out."""
    kinds = [column.value.type for column in answer.columns]
    if any("interval" in str(kind) and kind.name != "interval" for kind in kinds):
        raise refuse(node, "an interval inside an array, map or row is not shown: use date_diff.")
    if not any(kind.name == "interval" for kind in kinds):
        return answer
    names = [column.value.sql for column in answer.columns]
    cells = (intervals.spelled(n, k) if k.name == "interval" else n for n, k in zip(names, kinds, strict=True))
    selected = ", ".join(f"{cell} AS {name}" for cell, name in zip(cells, names, strict=True))
    return replace(answer, sql=f"SELECT {selected} FROM ({answer.sql}) AS s")


def query(node: Any, outer: Scope) -> Query:
    """Translate a query of any kind, inside the scope of the one around it."""
    name = type(node).__name__
    scope, prefix = _with(node, Scope(outer.context, outer))
    if name == "Select":
        answer = _select(node, scope)
    elif name in SET_OPERATIONS:
        answer = _set_operation(node, scope)
    elif name == "Subquery":
        only(node, "this", *ENDINGS)
        answer = query(node.this, scope)
        if any(node.args.get(part) for part in ENDINGS[:3]):
            answer = _ended(node, answer, scope)
    elif name == "Values":
        answer = sources.values(node, scope)
        if any(node.args.get(part) for part in ENDINGS[:3]):
            answer = _ended(node, answer, scope)
    else:
        raise refuse(node, f"{name.upper()} is not translated.")
    return replace(answer, sql=prefix + answer.sql)


def _with(node: Any, scope: Scope) -> tuple[Scope, str]:
    clause = node.args.get("with_")
    if clause is None:
        return scope, ""
    only(clause, "expressions", "recursive")
    parts = []
    for cte in clause.expressions:
        only(cte, "this", "alias")
        name, local = cte.alias.lower(), scope.context.fresh("w")
        if name in scope.ctes:
            raise refuse(cte, f"WITH query name {name!r} specified more than once.")
        if clause.args.get("recursive") and _reads(cte.this, name):
            steps = scope.context.fresh("w")
            answer = _recursive(cte, name, steps, scope)
            parts.append(f"{steps} AS ({answer.sql})")
            answer = replace(answer, sql=_all_within_depth(answer, steps))
        else:
            answer = query(cte.this, scope)
        columns = sources.renamed(answer.columns, cte.args["alias"], cte)
        reading = Query(local, tuple(Column(c.name, c.value) for c in columns))
        scope = replace(scope, ctes={**scope.ctes, name: reading})
        parts.append(f"{local} AS ({answer.sql})")
    word = "RECURSIVE " if clause.args.get("recursive") else ""
    return scope, f"WITH {word}{', '.join(parts)} "


def _reads(node: Any, name: str) -> bool:
    from sqlglot import exp

    return any(table.name.lower() == name and not table.db for table in node.find_all(exp.Table))


def _recursive(cte: Any, name: str, local: str, scope: Scope) -> Query:
    """A WITH RECURSIVE that counts its steps, because Athena gives up after ten of them."""
    node = cte.this
    if type(node).__name__ != "Union" or node.args.get("distinct") or type(node.expression).__name__ != "Select":
        raise refuse(cte, "a recursive WITH is: a query UNION ALL a SELECT that reads it once.")
    only(node, "this", "expression", "distinct")
    anchor = query(node.this, scope)
    columns = sources.renamed(anchor.columns, cte.args["alias"], cte)
    depth = Column(None, Value("depth", types.INTEGER))
    step_scope = replace(scope, ctes={**scope.ctes, name: Query(local, (*columns, depth))})
    step = _select(node.expression, step_scope, steps=local)
    if len(step.columns) != len(anchor.columns) + 1:
        raise refuse(cte, "both sides of UNION ALL must have as many columns.")
    pairs = zip(step.columns, (*columns, depth), strict=True)
    casts = ", ".join(coerced(one.value, other.value.type, cte).sql for one, other in pairs)
    inner = scope.context.fresh("s")
    sql = f"SELECT *, 0 AS depth FROM ({anchor.sql}) AS {inner} UNION ALL SELECT {casts} FROM ({step.sql}) AS {inner}"
    return Query(sql, anchor.columns)


def _select(node: Any, scope: Scope, steps: str = "") -> Query:
    only(node, "expressions", "from_", "joins", "where", "group", "having", "distinct", *ENDINGS)
    scope, from_sql = sources.from_clause(node, scope)
    _check_correlation(node, scope)
    items = _items(node, scope)
    if steps:
        items.append(_next_step(node, scope, steps))
    distinct = node.args.get("distinct")
    if distinct is not None:
        only(distinct)
    parts = [f"SELECT {'DISTINCT ' if distinct is not None else ''}"
             + ", ".join(f"{item.value.sql} AS {item.local}" for item in items), from_sql]  # fmt: skip
    tests = [f"{items[-1].value.sql} <= {DEPTH}"] if steps else []
    if node.args.get("where"):
        tests.append(condition(node.args["where"].this, scope))
    if tests:
        parts.append(f"WHERE {' AND '.join(tests)}")
    if node.args.get("group"):
        parts.append(_group(node.args["group"], items, scope))
    if node.args.get("having"):
        parts.append(f"HAVING {condition(node.args['having'].this, scope)}")
    columns = tuple(_plain(Column(item.name, replace(item.value, sql=item.local))) for item in items)
    ties = _ties(node)
    if ties is not None and distinct is None:
        keys = _tie_keys(node, items, scope, False)
        parts[0] += "".join(f", {sql} AS {name}" for sql, name, _ in keys)
        return _with_ties(Query(" ".join(part for part in parts if part), columns), keys, ties, scope)
    if ties is None:
        parts += _ending(node, items, scope, distinct is not None)
    answer = Query(" ".join(part for part in parts if part), columns)
    return answer if ties is None else _ended(node, answer, scope)


def _check_correlation(node: Any, scope: Scope) -> None:
    """Refuse a subquery with LIMIT that is tied to the query around it by more than equalities, as the engine does."""
    from sqlglot import exp

    if not node.args.get("where") or not (node.args.get("limit") or node.args.get("offset")):
        return
    here = replace(scope, parent=None)
    where = node.args["where"].this.unnest()
    for part in where.flatten() if isinstance(where, exp.And) else [where]:
        test = part.unnest()
        columns = [(column.name.lower(), column.table.lower()) for column in test.find_all(exp.Column)]
        outer = any(here.column(*names) is None and scope.column(*names) is not None for names in columns)
        if outer and not isinstance(test, exp.EQ):
            raise refuse(
                test,
                "the engine takes LIMIT in a subquery only where it is tied to the outer query by =. Use"
                " (SELECT max_by(value, date) … WHERE date <= …), or a join and row_number() OVER (PARTITION BY …"
                " ORDER BY …) = 1.",
            )


def _plain(column: Column) -> Column:
    return Column(column.name, Value(column.value.sql, column.value.type, nan=column.value.nan))


def _items(node: Any, scope: Scope) -> list[Item]:
    items: list[Item] = []
    for item in node.expressions:
        alias = item.alias.lower() if type(item).__name__ == "Alias" else None
        inner = item.this if alias is not None else item
        if type(inner).__name__ == "Star" or (type(inner).__name__ == "Column" and type(inner.this).__name__ == "Star"):
            items += _star(inner, scope)
            continue
        name = alias or (inner.name.lower() if type(inner).__name__ in ("Column", "Dot") else None)
        value = scope.value(inner)
        items.append(Item(name, value, scope.context.fresh("c")))
    return items


def _star(node: Any, scope: Scope) -> list[Item]:
    only(node, "this", "table")
    table = node.table.lower() if type(node).__name__ == "Column" else ""
    near = [relation for relation in scope.relations if not table or relation.alias == table]
    if not near:
        raise refuse(node, "there is no such table in FROM.")
    columns = [column for relation in near for column in relation.columns if column.value.sql.split(".")[-1] != "depth"]
    return [Item(column.name, column.value, scope.context.fresh("c")) for column in columns]


def _next_step(node: Any, scope: Scope, steps: str) -> Item:
    counters = [
        c.value for r in scope.relations for c in r.columns if c.name is None and c.value.sql.endswith(".depth")
    ]
    if len(counters) != 1:
        raise refuse(node, "a recursive step reads its own WITH exactly once, in FROM.")
    return Item(None, Value(f"({counters[0].sql} + 1)", types.INTEGER), scope.context.fresh("c"))


def _all_within_depth(answer: Query, steps: str) -> str:
    """The rows of all steps; fails where the last step that is allowed still gave one."""
    limit = fail(f"Recursion depth limit exceeded ({DEPTH})", types.BOOLEAN)
    test = f"(SELECT CASE WHEN max(depth) >= {DEPTH} THEN {limit} ELSE TRUE END FROM {steps})"
    return f"SELECT {', '.join(column.value.sql for column in answer.columns)} FROM {steps} WHERE {test}"


def _group(node: Any, items: list[Item], scope: Scope) -> str:
    only(node, "expressions")

    def key(entry: Any) -> str:
        kind = type(entry).__name__
        if kind in ("Rollup", "Cube", "GroupingSets"):
            only(entry, "expressions")
            word = "GROUPING SETS" if kind == "GroupingSets" else kind.upper()
            return f"{word} ({', '.join(key(inner) for inner in entry.expressions)})"
        if kind == "Tuple":
            return f"({', '.join(key(inner) for inner in entry.expressions)})"
        if kind == "Literal" and not entry.is_string:
            return _ordinal(entry, items).value.sql
        return scope.value(entry).sql

    return f"GROUP BY {', '.join(key(entry) for entry in node.expressions)}"


def _ordinal(node: Any, items: list[Item]) -> Item:
    if node.is_string or not node.this.isdigit() or not 1 <= int(node.this) <= len(items):
        raise refuse(node, f"the position must be a whole number from 1 to {len(items)}.")
    return items[int(node.this) - 1]


def _ending(node: Any, items: list[Item], scope: Scope, outputs_only: bool) -> list[str]:
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


def _ties(node: Any) -> Any:
    """The FETCH … WITH TIES of a query, None where it has none."""
    clause = node.args.get("limit")
    if type(clause).__name__ != "Fetch" or not clause.args["limit_options"].args.get("with_ties"):
        return None
    if not node.args.get("order") or node.args.get("offset"):
        raise refuse(clause, "WITH TIES needs an ORDER BY, and is not translated after an OFFSET.")
    return clause


def _tie_keys(node: Any, items: list[Item], scope: Scope, outputs_only: bool) -> list[tuple[str, str, str]]:
    """What ORDER BY orders by: its SQL, a new name for it, and the direction."""
    keys = []
    for key in node.args["order"].expressions:
        sql, _ = _order_value(key, items, scope, outputs_only)
        keys.append((sql, scope.context.fresh("c"), aggregates.direction(key)))
    return keys


def _with_ties(answer: Query, keys: list[tuple[str, str, str]], clause: Any, scope: Scope) -> Query:
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
        item = _ordinal(node, items)
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


def _set_operation(node: Any, scope: Scope) -> Query:
    only(node, "this", "expression", "distinct", *ENDINGS)
    word = SET_OPERATIONS[type(node).__name__]
    left, right = query(node.this, scope), query(node.expression, scope)
    if len(left.columns) != len(right.columns):
        raise refuse(node, f"{word}: the sides have {len(left.columns)} and {len(right.columns)} columns.")
    kinds = []
    for one, other in zip(left.columns, right.columns, strict=True):
        kind = types.common(one.value.type, other.value.type)
        if kind is None:
            raise refuse(node, f"{word}: column types {one.value.type} and {other.value.type} do not go together.")
        kinds.append(kind)
    names = [scope.context.fresh("c") for _ in kinds]
    sides = [_taken_for(side, kinds, names, node, scope) for side in (left, right)]
    sql = f"{sides[0]} {word}{'' if node.args.get('distinct') else ' ALL'} {sides[1]}"
    pairs = zip(left.columns, right.columns, kinds, names, strict=True)
    columns = tuple(Column(a.name, Value(n, k, nan=a.value.nan or b.value.nan)) for a, b, k, n in pairs)
    answer = Query(sql, columns)
    return _ended(node, answer, scope) if any(node.args.get(part) for part in ENDINGS[:3]) else answer


def _taken_for(side: Query, kinds: list[types.Type], names: list[str], node: Any, scope: Scope) -> str:
    pairs = zip(side.columns, kinds, names, strict=True)
    columns = ", ".join(f"{coerced(column.value, kind, node).sql} AS {name}" for column, kind, name in pairs)
    return f"(SELECT {columns} FROM ({side.sql}) AS {scope.context.fresh('s')})"


def _ended(node: Any, answer: Query, scope: Scope) -> Query:
    """A query in parentheses, or a set operation, with ORDER BY and LIMIT of its own."""
    local = scope.context.fresh("s")
    items = [Item(c.name, Value(c.value.sql, c.value.type), c.value.sql) for c in answer.columns]
    relation = Relation(None, tuple(Column(c.name, c.value) for c in answer.columns))
    inner, ties = replace(scope, relations=(relation,)), _ties(node)
    if ties is not None:
        keys = _tie_keys(node, items, inner, True)
        named = f"SELECT *, {', '.join(f'{sql} AS {name}' for sql, name, _ in keys)} FROM ({answer.sql}) AS {local}"
        return _with_ties(Query(named, answer.columns), keys, ties, scope)
    ending = _ending(node, items, inner, True)
    return Query(f"SELECT * FROM ({answer.sql}) AS {local} {' '.join(ending)}", answer.columns)
