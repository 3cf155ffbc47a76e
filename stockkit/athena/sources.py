"""What stands in FROM: tables, subqueries, VALUES, UNNEST and joins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stockkit.athena import types
from stockkit.athena.operators import comparison
from stockkit.athena.parser import table_key
from stockkit.athena.reads import only
from stockkit.athena.types import field
from stockkit.athena.values import Column, Query, Relation, Scope, Value, condition, identifier, quoted, refuse, unified


def from_clause(node: Any, scope: Scope) -> tuple[Scope, str]:
    """The scope of a SELECT, and its FROM."""
    start = node.args.get("from_")
    if start is None:
        return scope, ""
    only(start, "this")
    relation, sql = _source(start.this, scope)
    scope = replace(scope, relations=(relation,))
    commas = False
    for join in node.args.get("joins") or ():
        plain = not any(join.args.get(part) for part in ("on", "using", "kind", "side", "method"))
        if commas and join.side in ("RIGHT", "FULL"):
            raise refuse(join, "a comma before it: write CROSS JOIN and parentheses for what is meant.")
        commas = commas or plain
        scope, sql = _join(join, scope, sql)
    return scope, f"FROM {sql}"


def _join(join: Any, scope: Scope, sql: str) -> tuple[Scope, str]:
    only(join, "this", "on", "using", "kind", "side")
    side, kind = join.side, join.args.get("kind") or ""
    if kind not in ("", "INNER", "OUTER", "CROSS") or side not in ("", "LEFT", "RIGHT", "FULL"):
        raise refuse(join, f"{side} {kind} JOIN is not translated.")
    relation, right = _source(join.this, scope)
    wider = replace(scope, relations=(*scope.relations, relation))
    lateral = type(join.this).__name__ in ("Unnest", "Lateral")
    if kind == "CROSS" or (not side and not join.args.get("on") and not join.args.get("using")):
        return wider, f"{sql} CROSS JOIN {right}"
    if lateral and (side != "LEFT" or join.args.get("on") is None or join.args["on"].sql().upper() != "TRUE"):
        raise refuse(join, "UNNEST and LATERAL are joined by CROSS JOIN or LEFT JOIN … ON TRUE.")
    words = f"{side} JOIN" if side else "JOIN"
    if join.args.get("using"):
        return _using(join, scope, relation, f"{sql} {words} {right}")
    if not join.args.get("on"):
        raise refuse(join, "the join has no ON and no USING.")
    return wider, f"{sql} {words} {right} ON {condition(join.args['on'], wider)}"


def _using(join: Any, scope: Scope, relation: Relation, sql: str) -> tuple[Scope, str]:
    """A join USING columns: each of them is there once, before the others."""
    tests, shared = [], []
    names = [column.name.lower() for column in join.args["using"]]
    if len(set(names)) < len(names):
        raise refuse(join, "USING names a column more than once.")
    for name in names:
        left, right = scope.column(name), replace(scope, parent=None, relations=(relation,)).column(name)
        if left is None or right is None:
            raise refuse(join, f"USING: column {name!r} is not on both sides.")
        tests.append(comparison("=", left, right, join).sql)
        one, other = unified([left, right], join)
        merged = f"coalesce({one.sql}, {other.sql})" if join.side in ("RIGHT", "FULL") else one.sql
        shared.append(Column(name, Value(merged, one.type, nan=left.nan or right.nan)))
    rest = [
        replace(r, columns=tuple(c for c in r.columns if c.name not in names)) for r in (*scope.relations, relation)
    ]
    return replace(scope, relations=(Relation(None, tuple(shared)), *rest)), f"{sql} ON {' AND '.join(tests)}"


def _source(node: Any, scope: Scope) -> tuple[Relation, str]:
    name = type(node).__name__
    if name == "Table":
        return _table(node, scope)
    if name == "Subquery":
        only(node, "this", "alias", "with_")
        query = scope.context.query(node.this, replace(scope, relations=()))
        return _derived(query, node, scope)
    if name == "Lateral":
        return _lateral(node, scope)
    if name == "Values":
        return _derived(values(node, scope), node, scope)
    if name == "Unnest":
        return _unnest(node, scope)
    raise refuse(node, f"{name.upper()} in FROM is not translated; use Athena for it.")


def _table(node: Any, scope: Scope) -> tuple[Relation, str]:
    only(node, "this", "alias", "db", "catalog")
    name, local = node.name.lower(), scope.context.fresh("t")
    cte = None if node.db else scope.cte(name)
    if cte is not None:
        relation = _relation(cte.columns, node, local, name, scope)
        return relation, f"{cte.sql} AS {local}"
    key = table_key(node)
    kinds = scope.context.schemas[key]
    columns = tuple(
        Column(column.lower(), Value(identifier(column), kind, nan=_may_be_nan(kind))) for column, kind in kinds.items()
    )
    return _relation(columns, node, local, name, scope), f"({scope.context.scans[key]}) AS {local}"


def _may_be_nan(kind: types.Type) -> bool:
    """Whether a value of this type is, or holds, a floating number, which may be NaN."""
    return kind.floating or any(_may_be_nan(part) for part in kind.args if isinstance(part, types.Type))


def _lateral(node: Any, scope: Scope) -> tuple[Relation, str]:
    """LATERAL (SELECT …), which may name the columns of what stands before it."""
    if type(node.this).__name__ != "Subquery":
        raise refuse(node, "LATERAL takes a subquery.")
    only(node.this, "this", "with_")
    query = scope.context.query(node.this, scope)
    relation, sql = _derived(query, node, scope)
    return relation, f"LATERAL {sql}"


def _derived(query: Query, node: Any, scope: Scope) -> tuple[Relation, str]:
    local = scope.context.fresh("t")
    return _relation(query.columns, node, local, None, scope), f"({query.sql}) AS {local}"


def _relation(columns: tuple[Column, ...], node: Any, local: str, name: str | None, scope: Scope) -> Relation:
    alias = node.args.get("alias")
    columns = renamed(columns, alias, node) if alias is not None else columns
    placed = tuple(Column(c.name, replace(c.value, sql=f"{local}.{c.value.sql}")) for c in columns)
    called = alias.name.lower() if alias is not None and alias.name else name
    scope.context.written.update({column.value.sql: column.name for column in columns if column.name})
    return Relation(called, placed)


def renamed(columns: tuple[Column, ...], alias: Any, node: Any) -> tuple[Column, ...]:
    """The columns under the names of ``AS t (a, b)``."""
    names = [column.name.lower() for column in alias.args.get("columns") or ()]
    seen = [column for column in columns if column.value.sql != "depth"]
    if not names:
        return columns
    if len(names) != len(seen):
        raise refuse(node, f"the alias lists {len(names)} columns, the relation has {len(seen)}.")
    return tuple(Column(name, c.value) for name, c in zip(names, seen, strict=True)) + columns[len(seen) :]


def values(node: Any, scope: Scope) -> Query:
    """VALUES (…), (…): each column of one type."""
    only(node, "expressions", "alias", "with_", "order", "limit", "offset")
    rows = [row.expressions if type(row).__name__ == "Tuple" else [row] for row in node.expressions]
    if len({len(row) for row in rows}) != 1:
        raise refuse(node, "Values rows have mismatched sizes.")
    table = [[scope.value(cell) for cell in row] for row in rows]
    if any(len(row) == 1 and row[0].type.name == "row" for row in table):
        raise refuse(node, "a row in VALUES stands for its columns: write them in parentheses, (1, 2).")
    columns = [unified(list(column), node) for column in zip(*table, strict=True)]
    lines = ", ".join(f"({', '.join(cell.sql for cell in row)})" for row in zip(*columns, strict=True))
    local = scope.context.fresh("s")
    names = [scope.context.fresh("c") for _ in columns]
    kept = tuple(
        Column(None, Value(name, column[0].type, nan=any(cell.nan for cell in column)))
        for name, column in zip(names, columns, strict=True)
    )
    return Query(f"SELECT * FROM (VALUES {lines}) AS {local}({', '.join(names)})", kept)


def _unnest(node: Any, scope: Scope) -> tuple[Relation, str]:
    """UNNEST(arrays and maps): one row an element, short ones filled with NULL."""
    only(node, "expressions", "alias", "offset")
    given = [scope.value(argument) for argument in node.expressions]
    lists: list[Value] = []
    for value in given:
        if value.type.name == "map":
            parts = zip(("map_keys", "map_values"), value.type.args, strict=True)
            lists += [Value(f"{name}({value.sql})", types.array(kind), nan=True) for name, kind in parts]
        elif value.type.name == "array" and value.type.args[0].name == "row":
            lists += _fields(value)
        elif value.type.name == "array":
            lists.append(value)
        else:
            raise refuse(node, f"Cannot unnest {value.type}.")
    names = [scope.context.fresh("c") for _ in lists]
    cells = [f"unnest({array.sql}) AS {name}" for array, name in zip(lists, names, strict=True)]
    columns = [Column(None, Value(n, array.type.args[0], nan=array.nan)) for array, n in zip(lists, names, strict=True)]
    if node.args.get("offset"):
        longest = f"greatest({', '.join(f'len({array.sql})' for array in lists)})"
        place = scope.context.fresh("c")
        cells.append(f"unnest(generate_series(1, {longest})) AS {place}")
        columns.append(Column(None, Value(place, types.BIGINT)))
    return _aliased(node, tuple(columns), f"SELECT {', '.join(cells)}", scope)


def _fields(value: Value) -> list[Value]:
    kind = value.type.args[0]
    taken = (f"list_transform({value.sql}, lambda r: r[{quoted(field(kind, k))}])" for k in range(len(kind.args)))
    return [Value(sql, types.array(element), nan=True) for sql, element in zip(taken, kind.args, strict=True)]


def _aliased(node: Any, columns: tuple[Column, ...], sql: str, scope: Scope) -> tuple[Relation, str]:
    alias, local = node.args.get("alias"), scope.context.fresh("t")
    names = [column.name.lower() for column in (alias.args.get("columns") or ())] if alias is not None else []
    offset = node.args.get("offset")
    if names and getattr(offset, "name", None) and len(names) == len(columns) - 1:
        names.append(offset.name.lower())
    if names and len(names) != len(columns):
        raise refuse(node, f"the alias lists {len(names)} columns, UNNEST gives {len(columns)}.")
    named = [
        Column(names[k] if names else None, replace(c.value, sql=f"{local}.{c.value.sql}"))
        for k, c in enumerate(columns)
    ]
    relation = Relation(alias.name.lower() if alias is not None and alias.name else None, tuple(named))
    return relation, f"LATERAL ({sql}) AS {local}"
