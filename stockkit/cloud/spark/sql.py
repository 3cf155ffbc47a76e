"""The lake's tables in Spark SQL, with Hive's words: read by Spark's own Parquet reader from the files of the log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stockkit.errors import LakeError, SparkError
from stockkit.lake.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TYPES = {"string": "string", "large_string": "string", "date32[day]": "date", "double": "double", "int64": "long",
         "int32": "int", "bool": "boolean", "timestamp[us, tz=UTC]": "timestamp"}  # fmt: skip


def read(spark: SparkSession, lake: Lake, table: str, *, symbols: Sequence[str] | None = None) -> DataFrame:
    """A table as a Spark frame, read by Spark from the files of the version that is now the last.

    Args:
        spark: as `stockkit.cloud.spark.session.session` makes one.
        lake: where the table is; on S3 its files are read as ``s3a://``.
        table: its name.
        symbols: only these.

    Returns:
        The table's columns under their names; symbol is text, whatever it looks like.

    Raises:
        LakeError: no such table, or a column of a type that Spark is not told of.
    """
    live = lake.data_files(table, symbols=symbols)
    kinds = ", ".join(f"`{column.name}` {_kind(table, column)}" for column in live.schema)
    paths = [_pattern(uri) for symbol in sorted(live.files) for uri in live.files[symbol]]
    if not paths:
        return spark.createDataFrame([], kinds)
    # with a schema, a partition's value is taken as the text it is: without one 1E5 is a number and TRUE a boolean
    frame = spark.read.schema(kinds).option("basePath", _uri(live.folder)).parquet(*paths)
    return frame.select(*(f"`{column.name}`" for column in live.schema))


def views(spark: SparkSession, lake: Lake, *tables: str) -> None:
    """Make tables known to Spark SQL under their names, as they are now, for this session alone."""
    for table in tables:
        read(spark, lake, table).createOrReplaceTempView(table)


def ask(spark: SparkSession, lake: Lake, name: str) -> pd.DataFrame:
    """Answer the question kept in ``sql/hive/<name>.sql`` over the lake's tables.

    Raises:
        LakeError: no such question; names the nearest. SparkError: Spark refuses it.
    """
    from pyspark.errors import PySparkException

    text = lake.question(name, dialect="hive").text
    views(spark, lake, *(table for table in lake.tables() if re.search(rf"\b{table}\b", text)))
    try:
        return spark.sql(text).toPandas()
    except PySparkException as error:
        raise SparkError(f"question {name!r}: {str(error).splitlines()[0][:300]}") from error


def _kind(table: str, column: Any) -> str:
    if str(column.type) not in TYPES:
        raise LakeError(f"table {table!r}: Spark is not told how to read the column {column.name!r} ({column.type}).")
    return TYPES[str(column.type)]


def _uri(place: str) -> str:
    """A file's address as Spark spells it. Hadoop takes a % as it is, so nothing is escaped."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return f"file://{Path(place).absolute()}"
    return f"s3a://{rest}" if scheme == "s3" else place


def _pattern(place: str) -> str:
    """`_uri`, its brackets and stars escaped: Spark takes the paths that it is given for patterns."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", _uri(place))
