"""Arrays, maps and rows in Athena's answers: unloaded as Parquet, and given as lists and dicts as they are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stockkit import athena
from stockkit.errors import QueryError
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd
from stockkit.lake.sql import scan

KINDS = ("array", "map", "row")


def shape(
    statement: athena.Statement, schemas: Mapping[str, Any], parameters: Mapping[str, Any]
) -> athena.Translation | None:
    """Names and types of a statement's answer; None where it is not translated here."""
    try:
        return athena.translate(statement, schemas, parameters, dict.fromkeys(schemas, "SELECT 1"))
    except QueryError:
        return None


def is_nested(translated: athena.Translation) -> bool:
    """Whether an answer has an array, map or row."""
    return any(kind.name in KINDS for kind in translated.types)


def empty(translated: athena.Translation | None) -> pd.DataFrame:
    """The answer without rows."""
    return pd.DataFrame(columns=list(translated.names) if translated else [], dtype="object")


def restored(answer: pd.DataFrame, statement: athena.Statement, translated: athena.Translation) -> pd.DataFrame:
    """An unloaded answer under its names, with lists and dicts, in the order that the statement asks for.

    Raises:
        QueryError: it is ordered by what the answer does not hold: an unloaded answer comes in any order.
    """
    frame = answer.copy()
    frame.columns = pd.Index(translated.names)
    for by, descending, nulls_first in reversed(_order(statement, translated)):
        place = "first" if nulls_first else "last"
        frame = frame.sort_values(by, ascending=not descending, kind="stable", na_position=place)
    frame = frame.reset_index(drop=True)
    for k, kind in enumerate(translated.types):
        if kind.name in KINDS:
            cells = [scan.plain_object(_listed(cell), kind) for cell in frame.iloc[:, k]]
            frame.isetitem(k, pd.Series(cells, dtype="object"))
    return frame


def _order(statement: athena.Statement, translated: athena.Translation) -> list[tuple[str, bool, bool]]:
    order = statement.tree.args.get("order")
    keys = []
    for key in order.expressions if order is not None else ():
        name = key.this.name.lower() if type(key.this).__name__ in ("Column", "Literal") else ""
        name = translated.names[int(name) - 1] if name.isdigit() and 0 < int(name) <= len(translated.names) else name
        if name not in translated.names or translated.types[translated.names.index(name)].name in KINDS:
            raise QueryError(
                f"ORDER BY {key.this.sql(dialect='trino')[:80]}: an answer with arrays, maps or rows comes from Athena "
                "in any order and is put in order here: order it by columns that it has, which are none of these."
            )
        keys.append((name, bool(key.args.get("desc")), bool(key.args.get("nulls_first"))))
    return keys


def _listed(cell: Any) -> Any:
    """numpy's arrays as lists, all through a value; instants as datetime."""
    if isinstance(cell, np.ndarray):
        cell = cell.astype("datetime64[us]") if cell.dtype.kind == "M" else cell
        return [_listed(item) for item in cell.tolist()]
    if isinstance(cell, dict):
        return {key: _listed(item) for key, item in cell.items()}
    if isinstance(cell, list | tuple):
        return [_listed(item) for item in cell]
    return cell


def refuse_text(client: Any, query_id: str) -> None:
    """Refuse a plain answer in which arrays, maps or rows are text.

    Raises:
        QueryError: names the column and the way out.
    """
    metadata = client.get_query_results(QueryExecutionId=query_id, MaxResults=1)["ResultSet"]["ResultSetMetadata"]
    for column in metadata["ColumnInfo"]:
        if column["Type"] in KINDS:
            raise QueryError(
                f"column {column['Name']!r} of the answer is of type {column['Type']}, which Athena gives as text "
                f"where the statement is not typed here: write json_format(CAST({column['Name']} AS JSON))."
            )
