"""What SHOW TABLES, SHOW COLUMNS, DESCRIBE and information_schema say of a lake, as Athena says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from stockkit.athena import parser
from stockkit.athena.types import from_arrow
from stockkit.errors import LakeError, QueryError
from stockkit.imports import pandas as pd
from stockkit.lake import frames
from stockkit.lake.catalogue import glue
from stockkit.lake.sql.scan import Relation

CATALOG, DATABASE = "awsdatacatalog", "stock_data"  # Athena's catalogue; the database of a lake that names none
COLUMNS = ("table_catalog", "table_schema", "table_name", "column_name", "ordinal_position", "column_default",
           "is_nullable", "data_type")  # fmt: skip
TABLES = ("table_catalog", "table_schema", "table_name", "table_type")
SCHEMATA = ("catalog_name", "schema_name")
NAME = r'(?:"?\w+"?\.)?"?(\w+)"?'
SHOW_TABLES = re.compile(r"SHOW\s+TABLES(?:\s+(?:IN|FROM)\s+\w+)?(?:\s+(?:LIKE\s+)?'([^']*)')?", re.IGNORECASE)
SHOW_COLUMNS = re.compile(rf"SHOW\s+COLUMNS\s+(?:IN|FROM)\s+{NAME}", re.IGNORECASE)
DESCRIBE = re.compile(rf"DESC(?:RIBE)?\s+(?:FORMATTED\s+|EXTENDED\s+)?{NAME}", re.IGNORECASE)


def answer(text: str, tables: Callable[[], Sequence[str]], delta: Callable[[str], Any]) -> pd.DataFrame | None:
    """The answer to SHOW TABLES, SHOW COLUMNS or DESCRIBE, under Athena's column names; None for anything else.

    Args:
        text: the statement. tables: lists the lake's. delta: opens one.

    Raises:
        LakeError: no such table. QueryError: a pattern that cannot be read.
    """
    plain = text.strip().removesuffix(";").strip()
    if shown := SHOW_TABLES.fullmatch(plain):
        return _texts(tab_name=[name for name in tables() if _matches(name, shown.group(1))])
    if shown := SHOW_COLUMNS.fullmatch(plain):
        return _texts(field=[field.name for field in frames.columns(delta(shown.group(1).lower()))])
    if shown := DESCRIBE.fullmatch(plain):
        fields = frames.columns(delta(shown.group(1).lower()))
        return _texts(col_name=[field.name for field in fields], data_type=[_kind(field.type) for field in fields],
                      comment=["" for _ in fields])  # fmt: skip
    return None


def information(
    read: Sequence[str], tables: Callable[[], Sequence[str]], delta: Callable[[str], Any], database: str | None
) -> dict[str, Relation]:
    """The rows of those tables of information_schema that are among the `read` ones, under Trino's columns.

    Args:
        read: what a statement reads. tables, delta: as for `answer`. database: the lake's, ``stock_data`` where None.

    Raises:
        LakeError: a table cannot be opened.
    """
    place = (CATALOG, database or DATABASE)
    makers: dict[str, Callable[[], Relation]] = {
        "columns": lambda: _rows(COLUMNS, [(*place, *row) for name in tables() for row in _columns(name, delta(name))]),
        "tables": lambda: _rows(TABLES, [(*place, name, "BASE TABLE") for name in tables()]),
        "schemata": lambda: _rows(SCHEMATA, [place, (CATALOG, parser.INFORMATION)]),
    }
    return {key: make() for name, make in makers.items() if (key := f"{parser.INFORMATION}.{name}") in read}


def _columns(table: str, delta: Any) -> list[tuple[Any, ...]]:
    """The rows of information_schema.columns of a table, from its name on."""
    return [
        (table, field.name.lower(), number, None, "YES" if field.nullable else "NO", _trino_kind(field.type))
        for number, field in enumerate(frames.columns(delta), 1)
    ]


def _trino_kind(arrow: Any) -> str:
    """A type as `typeof` names it; the local name of one that lake.sql does not read."""
    try:
        return str(from_arrow(arrow, "")).replace(", ", ",")
    except QueryError:
        return str(arrow)


def _rows(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Relation:
    import pyarrow as pa

    kinds = (pa.int64() if name == "ordinal_position" else pa.string() for name in names)
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    made = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)
    return Relation(schema, "", (), (), rows=made)


def _matches(name: str, pattern: str | None) -> bool:
    """Whether a table's name fits Hive's pattern, in which * and % stand for anything and | for or."""
    if pattern is None:
        return True
    if not re.fullmatch(r"[\w*%|.]+", pattern):
        raise QueryError(f"SHOW TABLES {pattern!r}: write a name, with * for anything and | for or.")
    anything = "|".join(re.escape(part).replace(r"\*", ".*").replace("%", ".*") for part in pattern.lower().split("|"))
    return re.fullmatch(anything, name) is not None


def _kind(arrow: Any) -> str:
    try:
        return glue.glue_type(arrow)
    except LakeError:
        return str(arrow)


def _texts(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype="string")
