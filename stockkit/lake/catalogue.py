"""What SHOW TABLES, SHOW COLUMNS and DESCRIBE say of a lake: the same here and for a lake on Athena."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from stockkit.errors import LakeError, QueryError
from stockkit.lake import glue

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
    said = text.strip().removesuffix(";").strip()
    if found := SHOW_TABLES.fullmatch(said):
        return _texts(tab_name=[name for name in tables() if _matches(name, found.group(1))])
    if found := SHOW_COLUMNS.fullmatch(said):
        return _texts(field=[field.name for field in _fields(delta(found.group(1).lower()))])
    if found := DESCRIBE.fullmatch(said):
        fields = _fields(delta(found.group(1).lower()))
        return _texts(col_name=[one.name for one in fields], data_type=[_kind(one.type) for one in fields],
                      comment=["" for _ in fields])  # fmt: skip
    return None


def _matches(name: str, pattern: str | None) -> bool:
    """Whether a table's name fits Hive's pattern, in which * and % stand for anything and | for or."""
    if pattern is None:
        return True
    if not re.fullmatch(r"[\w*%|.]+", pattern):
        raise QueryError(f"SHOW TABLES {pattern!r}: write a name, with * for anything and | for or.")
    anything = "|".join(re.escape(part).replace(r"\*", ".*").replace("%", ".*") for part in pattern.lower().split("|"))
    return re.fullmatch(anything, name) is not None


def _fields(delta: Any) -> list[Any]:
    import pyarrow as pa

    return list(pa.schema(delta.schema().to_arrow()))


def _kind(arrow: Any) -> str:
    try:
        return glue.glue_type(arrow)
    except LakeError:
        return str(arrow)


def _texts(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype="string")
