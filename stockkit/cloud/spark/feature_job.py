"""Features on Spark: the function of the notebook, a symbol a group, into the same Delta table in one commit.

Spark reads the Parquet files that the table's log names, with its own reader and no Delta library in Java; each
group computes its symbol's features and stores them in a file of its own; the driver commits all files at once.
So a run that is killed leaves the table as it was, and two runs at once never mix. Works on Spark 3.5 and 4.
Run here: ``local[2]`` on a lake in a folder, and its workers and commit on an S3 server. Not run: Spark's reader on
S3 (``s3a://``, needs Hadoop's S3 connector, which Glue and EMR bring), Glue, EMR.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from stockkit import features
from stockkit.cloud.spark.plugin import Plugin
from stockkit.cloud.spark.sql import read
from stockkit.errors import LakeError, ParamError, SparkError, StockkitError, did_you_mean
from stockkit.lake import data_files
from stockkit.lake.commits import TableLocation
from stockkit.lake.feature_table import arrow_schema
from stockkit.lake.tables import Lake, open_lake
from stockkit.market import schema, sessions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

ANSWER = "symbol string, digest string, path string, size long, stats string, error string"
ROUNDS = 3  # tasks a core, so that one slow symbol holds up few others


def features_to_lake(
    spark: SparkSession,
    lake: Lake,
    names: Sequence[str] | None = None,
    symbols: Sequence[str] | None = None,
    *,
    source: str = "prices",
    table: str = "features",
    dtype: str = "float64",
    calendar: str = sessions.DEFAULT,
    plugin: Plugin | None = None,
) -> int:
    """Compute features of the lake's bars on Spark and replace the symbols' rows in one commit.

    The rows are those of ``features.compute(lake.read(source, symbols=symbols), names)``. Symbols whose rows an
    earlier run stored with the same bytes stay as they are; if all do, there is no new version.

    Args:
        spark: a session; its workers can import stockkit.
        lake: workers on other machines must reach it under the same address, and with their own AWS role.
        names: of the catalogue; the default of `features.names` when None.
        symbols: whose rows to replace; all that `source` has when None.
        source, table: the tables read and written.
        dtype: "float64" or "float32"; of a table that is there already, its own.
        calendar: the exchange, for the group `calendar`.
        plugin: a module of registered features, which each worker executes as well.

    Returns:
        The version of `table`.

    Raises:
        ParamError: an unknown feature. LakeError: no bars, an unknown symbol, or it cannot be written.
        SparkError: a worker failed.
    """
    if plugin:
        plugin.load()
    address = str(lake.folder.absolute() if lake.folder else lake.files)
    work = Work(address, table, tuple(_checked_names(names, dtype)), dtype, calendar, plugin)
    chosen = symbols_of(lake, source, symbols)
    bars = read(spark, lake, source, symbols=chosen).select(*schema.BARS)
    return write_features(bars, lake, work, chosen)


def write_features(bars: DataFrame, lake: Lake, work: Work, symbols: Sequence[str]) -> int:
    """Do the work on a Spark frame of bars, as `schema.BARS`, wherever it is from; else as `features_to_lake`."""
    done = dict[str, data_files.DataFile]()

    def make(stored: Mapping[str, str]) -> list[data_files.DataFile]:
        # an entry without a file leans on what the table held then: another writer may have replaced it meanwhile
        open_ = [s for s in symbols if s not in done or (not done[s].path and done[s].digest != stored.get(s))]
        done.update(_run(replace(work, stored=dict(stored)), bars, open_) if open_ else {})
        return [done[symbol] for symbol in symbols]

    version = lake.replace(work.table, arrow_schema(work.names, work.dtype), make)
    counts = len(symbols), len(work.names)
    log.info("event=features table=%s version=%d symbols=%d features=%d", work.table, version, *counts)
    return version


@dataclass(frozen=True)
class Work:
    """What a worker needs to know: the lake's address, the table, the features, and what the table holds."""

    lake: str
    table: str
    names: tuple[str, ...]
    dtype: str = "float64"
    calendar: str = sessions.DEFAULT
    plugin: Plugin | None = None
    stored: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> None:
        """Make this process know the plugin's features."""
        if self.plugin:
            self.plugin.load()

    def run(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Compute and store one symbol's features; one row as `ANSWER`, with the error where there is one."""
        symbol = str(bars["symbol"].iloc[0])
        try:
            self.load()
            rows = features.compute(as_bars(bars), list(self.names), dtype=self.dtype, calendar=self.calendar)
            location = TableLocation(self.table, open_lake(self.lake).files)
            file = data_files.write(location, symbol, rows, stored=self.stored.get(symbol))
        except StockkitError as error:
            return pd.DataFrame([(symbol, "", "", 0, "", str(error))], columns=_FIELDS)
        return pd.DataFrame([(*astuple(file), "")], columns=_FIELDS)


_FIELDS = [column.split()[0] for column in ANSWER.split(", ")]


def as_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """What Spark hands to a group, with the dtypes of `schema.BARS`; other columns (comparisons of a day) stay."""
    cast = schema.cast(bars, schema.BARS)
    more = [name for name in bars.columns if name not in schema.BARS]
    return cast.assign(**{name: bars[name].to_numpy(dtype="float64") for name in more})


def _run(work: Work, bars: DataFrame, symbols: Sequence[str]) -> dict[str, data_files.DataFile]:
    """Run the work of some symbols on Spark; a part each, or the first error."""
    from pyspark.sql import functions

    spark = bars.sparkSession
    tasks = max(1, min(len(symbols), ROUNDS * spark.sparkContext.defaultParallelism))
    asked = _compared(bars, work).where(functions.col("symbol").isin(list(symbols)))
    rows = _collected(asked.repartition(tasks, "symbol").groupBy("symbol").applyInPandas(_function(work.run), ANSWER))
    if failed := sorted((row["symbol"], row["error"]) for row in rows if row["error"]):
        raise SparkError(f"features of {failed[0][0]} (and {len(failed) - 1} more symbols) failed: {failed[0][1]}")
    done = {row["symbol"]: data_files.DataFile(*row[:-1]) for row in rows}
    if set(done) != set(symbols):
        odd = sorted(set(done) ^ set(symbols))[0]
        raise SparkError(f"Spark was asked for {len(symbols)} symbols and returned {len(done)}; {odd!r} is in one "
                         "of them only. Nothing was committed.")  # fmt: skip
    return done


def _function(run: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A plain function: Spark 3.5 looks at its arguments, and cannot do so with a bound method of a dataclass."""
    return lambda rows: run(rows)


def _compared(bars: DataFrame, work: Work) -> DataFrame:
    """Bars with what features of the group `cross` need of a day's other symbols; as they are where none is wanted.

    First by symbol what is compared, then by month, with all symbols of its days, the comparison.
    """
    across = [name for name in work.names if features.CATALOGUE[name].within]
    if not across:
        return bars
    bases = features.bases(across)
    labels = list(features.compare(features.compute(schema.empty(schema.BARS), bases), across))

    def with_bases(rows: pd.DataFrame) -> pd.DataFrame:
        work.load()
        rows = rows.sort_values("date", ignore_index=True)
        return rows.assign(**{f"base {k}": column for k, (_, column) in
                              enumerate(features.compute(as_bars(rows), bases)[bases].items())})  # fmt: skip

    def with_labels(rows: pd.DataFrame) -> pd.DataFrame:
        work.load()
        names = {f"base {k}": name for k, name in enumerate(bases)}
        table = rows[["date", *names]].rename(columns=names).astype({"date": "datetime64[ns]"})
        compared = features.compare(table, across)[labels]
        return pd.concat([rows.drop(columns=list(names)), compared], axis=1)

    columns = ", ".join(f"{name} {kind}" for name, kind in bars.dtypes)
    first = columns + "".join(f", `base {k}` double" for k in range(len(bases)))
    second = columns + "".join(f", `{label}` double" for label in labels)
    based = bars.groupBy("symbol").applyInPandas(with_bases, first)
    month = based.selectExpr("*", "trunc(date, 'MM') AS month").groupBy("month")
    return month.applyInPandas(lambda rows: with_labels(rows.drop(columns="month")), second)


def _collected(frame: DataFrame) -> list[Any]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        return frame.collect()
    except (PySparkException, Py4JError) as error:
        lines = [line.strip() for line in str(error).splitlines()] or ["no reason given"]
        python = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        raise SparkError(f"Spark failed, nothing was committed: {(python or lines)[-1][:500]}") from error


def _checked_names(names: Sequence[str] | None, dtype: str) -> list[str]:
    known = [feature.name for feature in features.check_names(names, dtype)]
    if not known:
        raise ParamError("no feature is named: name at least one, as in ret_1.")
    return known


def symbols_of(lake: Lake, source: str, symbols: Sequence[str] | None = None) -> list[str]:
    """The symbols to compute: those named, or all that `source` holds; every one has bars.

    Raises:
        LakeError: no such table, it has no rows, or none of a symbol; names the nearest. SymbolError: no symbol.
    """
    asked = None if symbols is None else schema.check_symbols(symbols)
    stored = sorted(lake.data_files(source).files)
    if not stored:
        raise LakeError(f"table {source!r} in {lake.files} has no rows: `stockkit run params/sample.yaml` fills it.")
    for symbol in asked or ():
        if symbol not in stored:
            hint = did_you_mean(symbol, stored, f"It has {', '.join(stored[:5])}.")
            raise LakeError(f"{symbol!r} has no rows in table {source!r} of {lake.files}.{hint}")
    return stored if asked is None else asked
