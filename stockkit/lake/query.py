"""One SELECT in Athena's dialect, answered by DuckDB over the tables' Parquet files.

The statement is parsed as Athena, resolved and typed against the tables' schemas (sqlglot), translated, and
run with its parameters bound. Where DuckDB would silently answer otherwise than Athena the statement is
refused with the reason. Nothing but a SELECT over the lake's own tables gets through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import QueryError

CATALOGS = ("", "awsdatacatalog")


@dataclass(frozen=True)
class Question:
    """A named SELECT, with the grain of its answer stated in a comment."""

    name: str
    text: str

    def _repr_markdown_(self) -> str:
        return f"```sql\n{self.text.strip()}\n```"


def tables(text: str) -> list[str]:
    """The tables of the lake that a statement reads, ascending.

    Raises:
        QueryError: it is not exactly one SELECT over plain tables.
    """
    return sorted(_table_names(_parse(text)))


def run(text: str, datasets: Mapping[str, Any], parameters: Mapping[str, Any]) -> pd.DataFrame:
    """Run a SELECT.

    Args:
        text: Athena SQL; ``:name`` stands for a bound parameter, which is always data, never SQL. A list fits
            where ``IN (:name)`` stands.
        datasets: a pyarrow dataset for each table that `tables` names.
        parameters: a value for every ``:name``.

    Raises:
        QueryError: not a SELECT, cannot be translated faithfully, a parameter is missing, or it fails.
    """
    import duckdb

    parsed = _parse(text)
    _check_parameters(parsed, parameters)
    bound = _spread_lists(parsed, parameters)
    statement = _translate(parsed, datasets)
    connection = duckdb.connect(config={"enable_external_access": "false", "autoinstall_known_extensions": "false"})
    try:
        for name, dataset in datasets.items():
            connection.register(name, dataset)
        answer = connection.execute(statement, bound or None)
        whole = [column[0] for column in answer.description if str(column[1]) == "HUGEINT"]
        return _plain(answer.df(), whole)
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {str(error).splitlines()[0][:300]}\n  {text.strip()[:300]}") from error
    finally:
        connection.close()


def _parse(text: str) -> Any:
    import sqlglot
    from sqlglot import exp

    try:
        statements = [one for one in sqlglot.parse(text, read="athena") if one is not None]
    except sqlglot.errors.SqlglotError as error:
        raise QueryError(f"this is no Athena SQL: {str(error).splitlines()[0]}\n  {text.strip()[:300]}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        what = (
            "an empty text" if not statements else f"{len(statements)} statement(s), {statements[0].key.upper()} first"
        )
        raise QueryError(f"expected one SELECT, found {what}: the lake answers questions, nothing else.")
    return statements[0]


def _table_names(statement: Any) -> set[str]:
    from sqlglot import exp

    defined = {cte.alias_or_name.lower() for cte in statement.find_all(exp.CTE)}
    names = set()
    for table in statement.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier) or table.catalog.lower() not in CATALOGS:
            raise QueryError(
                f"{table.sql(dialect='athena')!r} is no table of the lake: functions and files are not read."
            )
        if table.db or table.name.lower() not in defined:
            names.add(table.name.lower())
    return names


def _translate(statement: Any, datasets: Mapping[str, Any]) -> str:
    from sqlglot import errors, exp
    from sqlglot.optimizer.annotate_types import annotate_types
    from sqlglot.optimizer.qualify import qualify

    for table in statement.find_all(exp.Table):  # "AwsDataCatalog"."stock_data"."prices" is prices
        table.set("catalog", None)
        table.set("db", None)
    schema: dict[str, object] = {
        name: {f.name: _sql_type(f.type) for f in dataset.schema} for name, dataset in datasets.items()
    }
    try:
        typed = annotate_types(qualify(statement, schema=schema, dialect="athena"), schema=schema, dialect="athena")
        _refuse_what_differs(typed)
        return typed.sql(dialect="duckdb", unsupported_level=errors.ErrorLevel.RAISE)
    except errors.SqlglotError as error:
        raise QueryError(f"the query cannot be answered: {str(error).splitlines()[0][:300]}") from error


def _refuse_what_differs(typed: Any) -> None:
    """Stop at the constructs that DuckDB would silently answer in another way than Athena."""
    from sqlglot import exp

    for difference in typed.find_all(exp.DateDiff):
        if str(difference.args.get("unit") or "day").lower() not in ("day", "hour", "minute", "second", "millisecond"):
            raise QueryError(
                f"{difference.sql(dialect='athena')}: Athena counts whole units, the local engine boundaries. "
                "Use date_diff('day', …)."
            )
    for division in typed.find_all(exp.Div, exp.Mod):
        sides = (division.left, division.right)
        if any(map(_is_decimal, sides)) and not any(_is_double(side) for side in sides):
            shown = division.sql(dialect="athena")
            raise QueryError(f"{shown}: Athena keeps a decimal's scale, the local engine does not. CAST to double.")


def _is_decimal(side: Any) -> bool:
    """Whether Athena takes an operand for a DECIMAL: a decimal column or cast, or a literal such as 1.5."""
    from sqlglot import exp

    if isinstance(side, exp.Literal):
        return not side.is_string and "." in side.this and "e" not in side.this.lower()
    return side.is_type("decimal")


def _is_double(side: Any) -> bool:
    return not _is_decimal(side) and side.is_type("double", "float")


def _sql_type(arrow: Any) -> str:
    import pyarrow as pa

    if pa.types.is_timestamp(arrow):
        return "TIMESTAMP WITH TIME ZONE"
    kinds = {"string": "VARCHAR", "large_string": "VARCHAR", "date32[day]": "DATE", "double": "DOUBLE",
             "float": "REAL", "int64": "BIGINT", "int32": "INTEGER", "bool": "BOOLEAN"}  # fmt: skip
    return kinds.get(str(arrow), str(arrow).upper())


def _check_parameters(statement: Any, parameters: Mapping[str, Any]) -> None:
    from sqlglot import exp

    wanted = {placeholder.name for placeholder in statement.find_all(exp.Placeholder)}
    if wanted != set(parameters):
        missing, spare = sorted(wanted - set(parameters)), sorted(set(parameters) - wanted)
        fault = f"needs a value for :{missing[0]}" if missing else f"has no place for the parameter {spare[0]!r}"
        raise QueryError(f"the query {fault}.")


def _spread_lists(statement: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``IN (:name)`` with a list into as many placeholders, in place; return what is to be bound."""
    from sqlglot import exp

    bound: dict[str, Any] = {}
    for name, value in parameters.items():
        if not isinstance(value, list | tuple):
            bound[name] = value
            continue
        bound |= {f"{name}_{k}": item for k, item in enumerate(value)}
        for placeholder in [p for p in statement.find_all(exp.Placeholder) if p.name == name]:
            if not isinstance(placeholder.parent, exp.In) or not value:
                raise QueryError(f"the list given for :{name} must not be empty and stands only in IN (:{name}).")
            placeholder.replace(exp.Placeholder(this=f"{name}_0"))
        for membership in statement.find_all(exp.In):
            if [p.name for p in membership.expressions] == [f"{name}_0"]:
                membership.set("expressions", [exp.Placeholder(this=f"{name}_{k}") for k in range(len(value))])
    return bound


def _plain(frame: pd.DataFrame, whole: Sequence[str]) -> pd.DataFrame:
    """Dates as datetime64[ns], text as string, and sums and counts (`whole`) as Athena's bigint."""
    for name in whole:
        frame[name] = frame[name].astype("Int64" if frame[name].isna().any() else "int64")
    for name, dtype in frame.dtypes.items():
        if pd.api.types.is_datetime64_any_dtype(dtype):
            frame[name] = frame[name].dt.as_unit("ns")
        elif (
            isinstance(dtype, np.dtypes.ObjectDType) and pd.api.types.infer_dtype(frame[name], skipna=True) == "string"
        ):
            frame[name] = frame[name].astype("string")
    return frame
