"""What the translator passes around: typed pieces of SQL, the columns in reach, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stockkit.athena import types
from stockkit.athena.reads import shown
from stockkit.athena.types import Type
from stockkit.errors import QueryError, did_you_mean

NOTHING = object()  # the value of what is not known before it runs
LONG = 1000  # characters of an argument that is bound to a name where it is needed more than once


@dataclass(frozen=True)
class Value:
    """A translated expression: its SQL for the local engine and its type in Athena.

    `const` is its value where the text or a parameter says it. `nan`: it may be NaN, which Athena compares
    with nothing, and the local engine takes for the largest number.
    """

    sql: str
    type: Type
    const: Any = NOTHING
    nan: bool = False


@dataclass(frozen=True)
class Column:
    """A column that a relation offers; without a name it can only be selected by `*`."""

    name: str | None
    value: Value


@dataclass(frozen=True)
class Relation:
    """A table, subquery or UNNEST in FROM."""

    alias: str | None
    columns: tuple[Column, ...]


@dataclass
class Context:
    """One translation: what is bound, and the translators that call each other.

    `written`: how the statement calls the columns that the local engine knows by other names.
    """

    schemas: Mapping[str, Mapping[str, Type]]
    parameters: Mapping[str, Any]
    scans: Mapping[str, str]
    expression: Callable[[Any, Scope], Value]
    query: Callable[[Any, Scope], Query]
    bound: dict[str, Any] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    counter: int = 0

    def fresh(self, letter: str) -> str:
        """A name that stands nowhere else in the statement."""
        self.counter += 1
        return f"{letter}{self.counter}"


@dataclass(frozen=True)
class Query:
    """A translated query and the columns of its answer, under their names in the local engine."""

    sql: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Scope:
    """The names in reach of an expression, innermost first."""

    context: Context
    parent: Scope | None = None
    relations: tuple[Relation, ...] = ()
    ctes: Mapping[str, Query] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)
    hoisted: list[str] | None = None
    hoist_name: str = ""
    depth: int = 0

    def value(self, node: Any) -> Value:
        """Translate an expression."""
        return self.context.expression(node, self)

    def inside(self, variables: Mapping[str, Value]) -> Scope:
        """The scope of a lambda's body."""
        return replace(self, variables={**self.variables, **variables}, depth=self.depth + len(variables))

    def cte(self, name: str) -> Query | None:
        """The query that a WITH gave this name."""
        if name in self.ctes:
            return self.ctes[name]
        return self.parent.cte(name) if self.parent else None

    def column(self, name: str, table: str = "") -> Value | None:
        """The column of this name, here or further out.

        Raises:
            QueryError: more than one relation has it.
        """
        near = [r for r in self.relations if not table or r.alias == table]
        values = [c.value for r in near for c in r.columns if c.name == name]
        if len(values) > 1:
            raise QueryError(f"column {name!r} is ambiguous: write the table before it, as in t.{name}.")
        if values:
            return values[0]
        return self.parent.column(name, table) if self.parent else None

    def nearest(self, name: str) -> str:
        """A hint at the column that was perhaps meant."""
        names = [c.name for r in self.relations for c in r.columns if c.name]
        return did_you_mean(name, names, f"In reach: {', '.join(dict.fromkeys(names)) or 'nothing'}.")


Handler = Callable[[Any, Scope], Value]  # translates a node


def refuse(node: Any, reason: str) -> QueryError:
    """The error for a part of a statement that is not answered here."""
    return QueryError(f"{shown(node) if hasattr(node, 'sql') else node}: {reason}")


def null(kind: Type = types.UNKNOWN) -> Value:
    """A NULL of a type."""
    return Value(f"CAST(NULL AS {kind.local})", kind, None)


def once(values: list[Value], make: Callable[[list[Value]], str]) -> str:
    """The SQL that `make` makes of values; where one is long, which nesting would double each time, they stand once.

    They are worked out as the one element of a list, whose fields a lambda takes. All of them that are not known:
    an aggregate, a window or a subquery cannot stand in a lambda.
    """
    if all(len(value.sql) <= LONG for value in values):
        return make(values)
    fields, named = [], []
    for k, value in enumerate(values):
        named.append(value if value.const is not NOTHING else replace(value, sql=f"bound.a{k}"))
        fields += [] if value.const is not NOTHING else [f"'a{k}': {value.sql}"]
    return f"list_transform([{{{', '.join(fields)}}}], lambda bound: {make(named)})[1]" if fields else make(values)


def fail(message: str, kind: Type) -> str:
    """SQL that fails with a message when it is evaluated, and fits where `kind` is expected.

    A cast that cannot succeed: `error()` counts as volatile, which TRY does not take.
    """
    return f"CAST(CAST({quoted('!' + message)} AS BIGINT) AS VARCHAR)::{kind.local}"


def unanswered(message: str, kind: Type) -> str:
    """SQL that stops the run where Athena has an answer that is not given here; TRY must not make a NULL of it.

    A time zone that cannot be: the one failure with a message of ours that the local engine's TRY lets through.
    """
    return f"CAST(timezone({quoted('!' + message)}, TIMESTAMP '2000-01-01') AS VARCHAR)::{kind.local}"


def new_row(values: list[Value]) -> Value:
    """A row of values, without names."""
    kind = Type("row", tuple(value.type for value in values), (None,) * len(values))
    parts = (f"'{types.field(kind, k)}': {value.sql}" for k, value in enumerate(values))
    return Value(f"{{{', '.join(parts)}}}", kind, nan=True)


def row_field(row: Value, place: int) -> Value:
    """The field of a row at a place."""
    return Value(f"({row.sql})[{quoted(types.field(row.type, place))}]", row.type.args[place], nan=True)


def coerced(value: Value, kind: Type, node: Any = None) -> Value:
    """A value taken for a wider type, as Athena does without being asked.

    Raises:
        QueryError: it may not stand for that type.
    """
    if value.type == kind:
        return value
    if not types.takes(kind, value.type):
        raise refuse(node or value.type, f"expected {kind}, found {value.type}. CAST it to say what is meant.")
    if kind.name == value.type.name and kind.name in ("timestamp", "zoned"):
        return replace(value, type=kind)
    if kind.name == "zoned":
        return Value(f"(CAST({value.sql} AS TIMESTAMP) AT TIME ZONE 'UTC')", kind)
    sql = value.sql
    if kind.number and isinstance(value.const, int) and not isinstance(value.const, bool) and "$" not in sql:
        sql = str(value.const)
    return replace(value, sql=f"CAST({sql} AS {kind.local})", type=kind)


def unified(values: list[Value], node: Any) -> list[Value]:
    """Values taken for their common type.

    Raises:
        QueryError: they have none.
    """
    kind = types.UNKNOWN
    for value in values:
        wider = types.common(kind, value.type)
        if wider is None:
            raise refuse(node, f"all must be of one type, found {kind} and {value.type}. CAST one of them.")
        kind = wider
    return [coerced(value, kind, node) for value in values]


def let(body: str, **parts: str) -> str:
    """SQL whose parts are worked out once, and go by n.<name> in its body."""
    fields = ", ".join(f"'{name}': {sql}" for name, sql in parts.items())
    return f"list_transform([{{{fields}}}], lambda n: {body})[1]"


def known_pattern(value: Value, node: Any) -> str:
    """A pattern, which must be known before the query runs."""
    if not isinstance(value.const, str):
        raise refuse(node, "the pattern must be a text known before the query runs.")
    return value.const


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name in quotes."""
    return '"' + name.replace('"', '""') + '"'


def arguments(node: Any, scope: Scope, low: int, high: int) -> list[Value]:
    """The translated arguments of a call, where their number fits."""
    if not low <= len(node.expressions) <= high:
        raise refuse(node, f"expected {low}{f' to {high}' if high > low else ''} arguments.")
    return [scope.value(argument) for argument in node.expressions]


def on_values(translate: Callable[..., Value], low: int, high: int = 0) -> Handler:
    """The handler of a function that needs the values of its `low` to `high` arguments, and the node for errors."""
    return lambda node, scope: translate(*arguments(node, scope, low, high or low), node)


def condition(node: Any, scope: Scope) -> str:
    """The SQL of an expression that must be boolean."""
    value = scope.value(node)
    if value.type not in (types.BOOLEAN, types.UNKNOWN):
        raise refuse(node, f"a condition must be boolean, this is {value.type}.")
    return coerced(value, types.BOOLEAN).sql


def one_column(node: Any, scope: Scope) -> Query:
    """A subquery that must give one column."""
    query = scope.context.query(node, scope)
    if len(query.columns) != 1:
        raise refuse(node, f"the subquery must give one column, it gives {len(query.columns)}.")
    return query


def tried(translate: Callable[[Scope], Value], scope: Scope) -> Value:
    """An expression that is NULL where it would fail.

    The local engine's TRY takes no aggregates, windows and subqueries: they are computed outside of it and
    handed in.
    """
    name, outer = f"h{scope.depth}", scope
    inner = replace(scope, hoisted=[], hoist_name=name, depth=scope.depth + 1)
    value = translate(inner)
    assert inner.hoisted is not None
    parts = ", ".join(f"'a{k}': {sql}" for k, sql in enumerate(inner.hoisted))
    given = f"{{{parts}}}" if parts else "0"
    # in a lambda also where nothing is handed in: the local engine computes what occurs twice outside of a TRY
    tried_value = Value(f"list_transform([{given}], lambda {name}: TRY({value.sql}))[1]", value.type, nan=value.nan)
    return hoisted(tried_value, outer) if inner.hoisted else tried_value


def hoisted(value: Value, scope: Scope) -> Value:
    """An aggregate, window or subquery: as it is, or as the variable that a TRY around it is given."""
    if scope.hoisted is None:
        return value
    scope.hoisted.append(value.sql)
    return replace(value, sql=f"{scope.hoist_name}.a{len(scope.hoisted) - 1}", const=NOTHING)
