"""Athena's SQL for DuckDB: parsed as Trino's grammar, typed, and translated node by node from a list of what is known.

What is not on the list is refused with a reason before anything runs, so that no statement is answered in
another way than Athena answers it. Decided here, where the engines leave room: the session's zone is UTC;
`approx_distinct` is exact, and so is `approx_percentile`, the element floor(q n) (Athena's are estimates of large
groups); sums and means of doubles may differ in the last digits, because both engines add in any order;
`arbitrary` and ties of `max_by` are as free as in Athena; functions of the clock or of chance are refused, because
the same statement should give the same answer tomorrow.

A few refusals depend on the data and so come while the query runs: an extreme over NaN, a map with a key twice, and
regular expressions with classes over letters beyond ASCII or with `$` over texts with line ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stockkit.athena.parameters import every
from stockkit.athena.parser import Statement, parse
from stockkit.athena.parser.depth import deeply
from stockkit.athena.queries import statement
from stockkit.athena.types import Type, from_arrow
from stockkit.errors import QueryError


@dataclass(frozen=True)
class Translation:
    """SQL for the local engine, the values to bind, and the names and types of Athena's answer.

    `written`: how the statement calls the columns that the engine's errors call otherwise.
    """

    sql: str
    bound: Mapping[str, Any]
    names: tuple[str, ...]
    types: tuple[Type, ...]
    written: Mapping[str, str] = field(default_factory=dict)


def translate(
    text: str | Statement, schemas: Mapping[str, Any], parameters: Mapping[str, Any], scans: Mapping[str, str]
) -> Translation:
    """Translate one SELECT.

    Args:
        text: the statement, with ``:name`` for each parameter, or what `parse` made of it.
        schemas: the pyarrow schema of each table that it reads.
        parameters: the values.
        scans: the query that reads each table, in the local engine's SQL.

    Raises:
        QueryError: it is no SELECT, or it holds something that is not translated.
    """
    tree = parse(text).tree
    parameters = every(parameters)
    check_parameters(tree, parameters)
    kinds = {
        table: {name: from_arrow(schema.field(name).type, f"{table}.{name}") for name in schema.names}
        for table, schema in schemas.items()
    }
    query, context = deeply(lambda: statement(tree, kinds, parameters, scans))
    names = tuple(column.name or f"_col{k}" for k, column in enumerate(query.columns))
    kinds_of = tuple(column.value.type for column in query.columns)
    return Translation(query.sql, context.bound, names, kinds_of, context.written)


def check_parameters(tree: Any, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that are missing, too many, or lists where there can be none."""
    from sqlglot import exp

    placeholders = list(tree.find_all(exp.Placeholder))
    wanted = {place.name for place in placeholders}
    if wanted != set(parameters):
        missing, spare = sorted(wanted - set(parameters)), sorted(set(parameters) - wanted)
        fault = f"needs a value for :{missing[0]}" if missing else f"has no place for the parameter {spare[0]!r}"
        raise QueryError(f"the query {fault}.")
    for place in placeholders:
        value = parameters[place.name]
        if isinstance(value, list | tuple) and (not value or not isinstance(place.parent, exp.In)):
            raise QueryError(
                f"the list given for :{place.name} must not be empty and stands only in IN (:{place.name})."
            )


__all__ = ["Statement", "Translation", "check_parameters", "parse", "translate"]
