"""Whole queries: SELECT, set operations and WITH (also RECURSIVE); for their ends see `stockkit.athena.endings`.

Every column gets a name of its own in the local engine, so that no name can be resolved there in another way
than it was here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stockkit.athena import endings, intervals, sources, types
from stockkit.athena.endings import Item
from stockkit.athena.expressions import expression
from stockkit.athena.reads import only
from stockkit.athena.values import Column, Context, Query, Scope, Value, coerced, condition, fail, refuse

SET_OPERATIONS = {"Union": "UNION", "Intersect": "INTERSECT", "Except": "EXCEPT"}
DEPTH = 10  # Trino's max_recursion_depth
AROUND = ("with_", *endings.CLAUSES)  # what queries of several kinds have


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
        only(node, "this", *AROUND)
        answer = endings.ended(node, query(node.this, scope), scope)
    elif name == "Values":
        answer = endings.ended(node, sources.values(node, scope), scope)
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
    only(node, "expressions", "from_", "joins", "where", "group", "having", "distinct", *AROUND)
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
    ties = endings.ties(node)
    if ties is not None and distinct is None:
        keys = endings.tie_keys(node, items, scope, False)
        parts[0] += "".join(f", {sql} AS {name}" for sql, name, _ in keys)
        return endings.with_ties(Query(" ".join(part for part in parts if part), columns), keys, ties, scope)
    if ties is None:
        parts += endings.clauses(node, items, scope, distinct is not None)
    answer = Query(" ".join(part for part in parts if part), columns)
    return answer if ties is None else endings.ended(node, answer, scope)


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
            return endings.ordinal(entry, items).value.sql
        return scope.value(entry).sql

    return f"GROUP BY {', '.join(key(entry) for entry in node.expressions)}"


def _set_operation(node: Any, scope: Scope) -> Query:
    only(node, "this", "expression", "distinct", *AROUND)
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
    return endings.ended(node, Query(sql, columns), scope)


def _taken_for(side: Query, kinds: list[types.Type], names: list[str], node: Any, scope: Scope) -> str:
    pairs = zip(side.columns, kinds, names, strict=True)
    columns = ", ".join(f"{coerced(column.value, kind, node).sql} AS {name}" for column, kind, name in pairs)
    return f"(SELECT {columns} FROM ({side.sql}) AS {scope.context.fresh('s')})"
