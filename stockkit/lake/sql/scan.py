"""One SELECT in Athena's dialect, answered by DuckDB over the tables' Parquet files.

The statement is translated by `stockkit.athena`, which refuses what it cannot translate faithfully, and
run with its parameters bound. The engine may read the files of the tables asked for and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from stockkit import athena
from stockkit.athena.types import Type
from stockkit.athena.values import identifier, quoted
from stockkit.errors import QueryError
from stockkit.imports import pandas as pd
from stockkit.lake import commits, frames
from stockkit.lake.commits import TableLocation
from stockkit.lake.sql import duckdb_engine

PANDAS = {"bigint": "int64", "integer": "int32", "smallint": "int16", "tinyint": "int8", "boolean": "bool",
          "double": "float64", "real": "float32"}  # fmt: skip
LIMITS = duckdb_engine.Limits()
HANDED = "rows of {}"  # the engine's name for rows that are handed to it; no table of the lake is called so
WITH_NULLS = {"int64": "Int64", "int32": "Int32", "int16": "Int16", "int8": "Int8", "bool": "boolean"}


@dataclass(frozen=True)
class NamedQuery:
    """A named SELECT, with the grain of its answer stated in a comment."""

    name: str
    text: str

    def _repr_markdown_(self) -> str:
        return f"```sql\n{self.text.strip()}\n```"


@dataclass(frozen=True)
class Relation:
    """One version of a table: its pyarrow schema, its folder and Parquet files, and the columns kept in their paths.

    `alike`: every file is known to have every column, so that they need not be looked into one by one. `rows`: a
    pyarrow dataset to read instead of the files, for those that the engine cannot reach.
    """

    schema: Any
    folder: str
    paths: Sequence[str]
    partitions: Sequence[str] = ("symbol",)
    alike: bool = False
    rows: Any = None


@dataclass(frozen=True)
class DuckDB:
    """The SQL engine of this machine, which reads a table's files in any version."""

    database: ClassVar[None] = None

    def answer(
        self,
        statement: athena.Statement,
        parameters: Mapping[str, Any],
        tables: Mapping[str, tuple[TableLocation, Any]],
        listed: Mapping[str, Relation],
        limits: duckdb_engine.Limits,
    ) -> pd.DataFrame:
        """Answer a SELECT; see `run`.

        Args:
            statement, parameters, limits: as for `run`. tables: where each table is that it reads, and the Delta table.
            listed: those of information_schema.
        """
        symbols = symbols_kept(statement, parameters)
        relations = {name: relation(*table, symbols) for name, table in tables.items()}
        return run(statement, {**relations, **listed}, parameters, limits)


def symbols_kept(statement: athena.Statement, parameters: Mapping[str, Any]) -> set[str] | None:
    """The symbols whose rows a SELECT from one table keeps, by ``symbol = …`` in its WHERE; None where it may keep any.

    The engine would find out by itself, after a look at every file of the table.
    """
    nodes = [(type(node).__name__, node) for node in statement.tree.walk()]
    tables = [node for kind, node in nodes if kind == "Table"]
    where, kinds = statement.tree.args.get("where"), [kind for kind, _ in nodes]
    renamed = any(kind == "TableAlias" and node.args.get("columns") for kind, node in nodes)
    joined = {"Join", "Lateral", "Unnest"} & {*kinds} or kinds.count("Select") != 1 or len(tables) != 1
    if where is None or joined or renamed:
        return None
    condition = where.this.unnest()
    terms = condition.flatten() if type(condition).__name__ == "And" else [condition]
    kept = [named for term in terms if (named := _named(term, tables[0].alias_or_name, parameters)) is not None]
    return set.intersection(*kept) if kept else None


def _named(term: Any, table: str, parameters: Mapping[str, Any]) -> set[str] | None:
    """The symbols of ``symbol = …`` or ``symbol IN (…)``; None where it is something else."""
    column, kind = term.this, type(term).__name__
    if kind not in ("EQ", "In") or type(column).__name__ != "Column" or column.name.lower() != "symbol":
        return None
    if column.table.lower() not in ("", table.lower()):
        return None
    symbols: list[Any] = []
    for item in term.expressions if kind == "In" else [term.expression]:
        value = parameters.get(item.name) if type(item).__name__ == "Placeholder" else item.this
        is_text = type(item).__name__ == "Placeholder" or (type(item).__name__ == "Literal" and item.is_string)
        symbols += value if isinstance(value, list) else [value if is_text else None]
    return set(symbols) if symbols and all(isinstance(symbol, str) for symbol in symbols) else None


def relation(location: TableLocation, delta: Any, symbols: Collection[str] | None = None) -> Relation:
    """What `run` reads of a table: its files where they are near, else a dataset that fetches what is asked.

    Args:
        location: where it is. delta: the opened table. symbols: no other's rows are wanted; None for all.
    """
    schema, partitions = frames.columns(delta), delta.metadata().partition_columns
    if location.files.path is None:
        return Relation(schema, delta.table_uri, (), partitions, rows=delta.to_pyarrow_dataset())
    folder, actions = location.files.uri(location.key), commits.logged_files(delta)
    if symbols is not None and partitions == ["symbol"] and len(actions):
        wanted = [symbol in symbols for symbol in actions["partition.symbol"].to_pylist()]
        actions = actions.filter(wanted)
    paths = [f"{folder}/{path}" for path in actions["path"].to_pylist()]
    counts = [f"null_count.{name}" for name in schema.names if name not in partitions]
    alike = all(name in actions.column_names and not actions[name].null_count for name in counts)
    return Relation(schema, folder, paths, partitions, alike)


def run(
    text: str | athena.Statement,
    relations: Mapping[str, Relation],
    parameters: Mapping[str, Any],
    limits: duckdb_engine.Limits = LIMITS,
) -> pd.DataFrame:
    """Run a SELECT.

    Args:
        text: Athena SQL; ``:name`` stands for a bound parameter, which is always data, never SQL. A list fits
            where ``IN (:name)`` stands. Or what `athena.parse` made of it.
        relations: the files of each table that it reads.
        parameters: a value for every ``:name``.
        limits: what it may take.

    Raises:
        QueryError: not a SELECT, cannot be translated faithfully, a parameter is missing, it fails, or takes too much.
    """
    answer, translated = rows(text, relations, parameters, limits)
    return as_frame(answer, translated)


def rows(
    text: str | athena.Statement,
    relations: Mapping[str, Relation],
    parameters: Mapping[str, Any],
    limits: duckdb_engine.Limits = LIMITS,
) -> tuple[Any, athena.Translation]:
    """The answer to a SELECT as a pyarrow table, which tells NULL from NaN, and its translation; else as `run`."""
    import duckdb

    schemas = {name: relation.schema for name, relation in relations.items()}
    markers = {f"files_{k}": name for k, name in enumerate(relations)}
    queries = {name: _scan_sql(name, relations[name], marker) for marker, name in markers.items()}
    statement = athena.parse(text)
    translated = athena.translate(statement, schemas, parameters, queries)
    paths = {marker: list(relations[name].paths) for marker, name in markers.items() if f"${marker}," in translated.sql}
    handed = {HANDED.format(name): relation.rows for name, relation in relations.items() if relation.rows is not None}
    try:
        return duckdb_engine.answer(
            _home(relations), translated.sql, {**translated.bound, **paths}, handed, limits
        ), translated
    except duckdb.Error as error:
        raise QueryError(
            f"the query failed: {duckdb_engine.reason(error, translated.written)}\n  {statement.beginning}"
        ) from error


def _home(relations: Mapping[str, Relation]) -> str:
    """The folder that has the tables asked for, empty where their rows are handed over."""
    near = {relation.folder.rstrip("/").rpartition("/")[0] for relation in relations.values() if relation.rows is None}
    return min(near, default="")


def _scan_sql(name: str, relation: Relation, marker: str) -> str:
    """The query that reads a table, in the engine's SQL; its list of files is bound, which is faster than written."""
    from stockkit.athena.types import from_arrow

    if relation.rows is not None:
        columns = ", ".join(_handed(field) for field in relation.schema)
        return f"SELECT {columns} FROM {identifier(HANDED.format(name))}"
    if not relation.paths:
        kinds = {field.name: from_arrow(field.type, f"{name}.{field.name}").local for field in relation.schema}
        columns = ", ".join(f"CAST(NULL AS {kind}) AS {identifier(column)}" for column, kind in kinds.items())
        return f"SELECT {columns} WHERE FALSE"
    columns = ", ".join(_source(field.name, relation.partitions) for field in relation.schema)
    hive = ", hive_partitioning = false"
    if relation.partitions:
        kinds = {name: from_arrow(relation.schema.field(name).type, f"{name}").local for name in relation.partitions}
        typed = ", ".join(f"{quoted(column)}: {kind}" for column, kind in kinds.items())
        hive = f", hive_partitioning = true, hive_types = {{{typed}}}"
    # extremes in a file's statistics leave NaN out: without can_have_nan filters are folded as if there were none
    options = f"union_by_name = {str(not relation.alike).lower()}, can_have_nan = true{hive}"
    return f"SELECT {columns} FROM read_parquet(${marker}, {options})"


def _source(name: str, partitions: Sequence[str]) -> str:
    """A column of the files; a partition's is wrapped, as DuckDB 2.0.0 fails on two windows over a bare one."""
    return _wrapped(name) if name in partitions else identifier(name)


def _handed(field: Any) -> str:
    """A column of rows handed over; a floating one is wrapped, or Arrow would drop rows by extremes without NaN."""
    import pyarrow as pa

    return _wrapped(field.name) if pa.types.is_floating(field.type) else identifier(field.name)


def _wrapped(name: str) -> str:
    """A column through which no filter is pushed down to where it is read."""
    column = identifier(name)
    return f"CASE WHEN {column} IS NOT NULL THEN {column} END AS {column}"


def as_frame(answer: Any, translated: athena.Translation) -> pd.DataFrame:
    """The answer under Athena's names and types: dates as datetime64[ns], text as string, decimals as Decimal."""
    columns = [_series(answer.column(k), kind) for k, kind in enumerate(translated.types)]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame()
    frame.columns = pd.Index(translated.names)
    return frame


def _series(column: Any, kind: Type) -> pd.Series[Any]:
    import pyarrow as pa

    if kind.moment:
        zone = kind.args[1] if kind.name == "zoned" else None
        try:
            return column.cast(pa.timestamp("ns", zone)).to_pandas()
        except pa.ArrowInvalid as error:
            raise QueryError(
                f"a {kind} of the answer is outside of 1677 to 2262, which is all that pandas holds."
            ) from error
    if kind.name == "varchar":
        return column.to_pandas().astype("string")
    if kind.name in PANDAS:
        dtype = PANDAS[kind.name]
        if column.null_count and dtype in WITH_NULLS:
            return pd.Series(pd.api.types.pandas_dtype(WITH_NULLS[dtype]).__from_arrow__(column))
        return column.to_pandas().astype(dtype)
    return pd.Series([plain_object(value, kind) for value in column.to_pylist()], dtype="object")


def plain_object(value: Any, kind: Type) -> Any:
    """Arrays as lists, maps as dicts, rows as dicts of their fields."""
    if value is None or not kind.args:
        return value
    if kind.name == "array":
        return [plain_object(item, kind.args[0]) for item in value]
    if kind.name == "map":
        pairs = value.items() if isinstance(value, dict) else value
        return {plain_object(key, kind.args[0]): plain_object(item, kind.args[1]) for key, item in pairs}
    if kind.name == "row":
        return {name: plain_object(item, field) for (name, item), field in zip(value.items(), kind.args, strict=True)}
    return value
