"""Ticks and crossings on Spark Structured Streaming, a symbol a group: the steps of one process, on many machines.

Each batch goes through `ticks.transform` and, by symbol in the order of (partition, offset), through
`signals.SymbolState`, whose dump is the group's state: a value of `transformWithStateInPandas` in RocksDB on Spark 4,
of `applyInPandasWithState` on Spark 3.5. The driver adds what came of it to the Delta tables `ticks`, `signals` and
`dead_letters`, in one commit a batch and table that carries the batch's number under the name of the query, which
its checkpoint keeps. A batch that Spark runs again after a crash is worked out again, for the states come of that, and
added to those tables alone that lack it. What a record becomes depends on nothing but its bytes and its arrival.

Run here: ``local[2]``, files, a lake in a folder, drivers killed and crashed between two commits. Not run: Kafka as a
source (its connector is a jar that was not to be had; only its columns' contract is tested), a cluster, Glue, EMR.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from stockkit.errors import ParamError, SparkError
from stockkit.lake.commits import Rows
from stockkit.lake.contracts import TABLES
from stockkit.lake.tables import Lake
from stockkit.market import ticks
from stockkit.market.signals import Rule, SymbolState
from stockkit.market.ticks import Reject, Tick
from stockkit.stream import archive
from stockkit.stream.archive import text_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
QUERY = "sql.streaming.queryId"  # the local property under which Spark keeps the name of the query of a batch
RECORD = "`partition` string, `offset` long, arrival long, body binary"
READ = f"symbol string, price long, size long, event_time long, source string, sequence long, {RECORD}, " \
       "reason string, detail string"  # fmt: skip
STEPPED = f"{READ}, number long, id string, side string, fast double, slow double"
STATE = "body string"
NO_TICK = ("", 0, 0, 0, "", 0)
FILES = "path string, modificationTime timestamp, length long, content binary"
COLUMNS: Mapping[str, list[str]] = {
    kinds: [column.split()[0].strip("`") for column in kinds.split(", ")] for kinds in (RECORD, READ, STEPPED)
}


@dataclass(frozen=True)
class Settings:
    """What a query does.

    Attributes:
        source: ``files:FOLDER`` of JSON lines, or ``kafka:TOPIC``; see `parsed`.
        checkpoint: the folder that makes it go on after an end: offsets, states, its name. Of one query alone.
        rule: which averages are compared. symbols: those that are listened to; any when empty.
        brokers: of Kafka, as ``host:port,…``.
        limit: files, or records of Kafka, in a batch at most.
        seconds: from batch to batch; None to read what is there, in batches, and end.

    Raises:
        ParamError: neither files nor Kafka, or a limit below 1.
    """

    source: str
    checkpoint: str
    rule: Rule = field(default_factory=Rule)
    symbols: frozenset[str] = frozenset()
    brokers: str = ""
    limit: int = 1_000
    seconds: float | None = None

    def __post_init__(self) -> None:
        kind, _, place = self.source.partition(":")
        if not place or kind not in ("files", "kafka") or (kind == "kafka" and not self.brokers):
            raise ParamError(f"source {self.source!r}: name files:FOLDER, or kafka:TOPIC and the brokers.")
        if self.limit < 1 or (self.seconds or 1) < 0:
            raise ParamError(f"limit={self.limit}, seconds={self.seconds}: a batch has at least 1, every 0 s or more.")


def run(spark: SparkSession, lake: Lake, settings: Settings) -> None:
    """Read ticks and write ticks, signals and dead letters until the query is stopped, or the source is read.

    Args:
        spark: a session; its workers can import stockkit.
        lake: written by the driver.
        settings: of which source, checkpoint and rule stay the same from start to start.

    Raises:
        SparkError: the query failed; started again, it goes on where it was.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    spark.conf.set("spark.sql.streaming.stateStore.providerClass", ROCKSDB)
    try:
        stepped = steps(parsed(spark, settings), settings.rule)
        writer = stepped.writeStream.foreachBatch(sink(lake)).outputMode("update")
        writer = writer.option("checkpointLocation", settings.checkpoint).queryName("signals")
        every = (
            {"availableNow": True} if settings.seconds is None else {"processingTime": f"{settings.seconds} seconds"}
        )
        writer.trigger(**every).start().awaitTermination()
    except (PySparkException, Py4JError) as error:
        raise SparkError(f"the query stopped: {_reason(error)} Started again with the same checkpoint, "
                         "it goes on after its last whole batch.") from error  # fmt: skip


def parsed(spark: SparkSession, settings: Settings) -> DataFrame:
    """The tick of each record of a source, as `READ`; what is none has a reason, and no symbol.

    Files are read whole, in order of their times of change, and of their names within a batch: a file has to be moved
    into the folder when it is complete, and named in ascending order. A line is a record, its offset the line's number.
    """
    kind, _, place = settings.source.partition(":")
    symbols = settings.symbols
    if kind == "files":
        read = spark.readStream.format("binaryFile").schema(FILES).option("maxFilesPerTrigger", settings.limit)
        return read.load(place).mapInPandas(lambda frames: _read(_lines(frames), symbols), READ)
    read = spark.readStream.format("kafka").option("kafka.bootstrap.servers", settings.brokers)
    read = read.option("subscribe", place).option("startingOffsets", "earliest")
    records = records_of_kafka(read.option("maxOffsetsPerTrigger", settings.limit).load())
    return records.mapInPandas(lambda frames: _read(frames, symbols), READ)


def records_of_kafka(frame: DataFrame) -> DataFrame:
    """`RECORD` of what Spark's Kafka source gives: ``topic, partition, offset, timestamp, value``."""
    return frame.selectExpr(
        "concat('kafka:', topic, '/', `partition`) AS `partition`", "`offset`", "unix_micros(timestamp) AS arrival",
        "value AS body",
    )  # fmt: skip


def _lines(files: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for frame in files:
        for path, changed, content in zip(frame["path"], frame["modificationTime"], frame["content"], strict=True):
            name, arrival = f"files:{path.rpartition('/')[2]}", changed.value // 1_000
            lines = enumerate(bytes(content).split(b"\n"), start=1)
            rows = [(name, number, arrival, line) for number, line in lines if line.strip()]
            yield pd.DataFrame(rows, columns=COLUMNS[RECORD])


def _read(records: Iterable[pd.DataFrame], symbols: frozenset[str]) -> Iterator[pd.DataFrame]:
    for rows in records:
        made = list[tuple[Any, ...]]()
        bodies, arrivals = [bytes(body) for body in rows["body"]], rows["arrival"].tolist()
        for place, tick in zip(rows.itertuples(index=False), _transform(bodies, arrivals, symbols), strict=True):
            fields = (
                (*NO_TICK, *place, tick.reason, tick.detail) if isinstance(tick, Reject) else (*tick, *place, "", "")
            )
            made.append(fields)
        yield pd.DataFrame(made, columns=COLUMNS[READ])


def _transform(bodies: list[bytes], arrivals: list[int], symbols: frozenset[str]) -> list[Tick | Reject]:
    """Read each record as of its arrival, whenever that is done: the clock of a second try is another one."""
    if not bodies:
        return []
    listened, made = symbols or None, list[Tick | Reject]()
    for tick, arrival in zip(ticks.transform(bodies, now=min(arrivals), symbols=listened), arrivals, strict=True):
        if isinstance(tick, Reject) and tick.reason == "from the future":
            [tick] = ticks.transform([tick.body], now=arrival, symbols=listened)
        made.append(tick)
    return made


def steps(frame: DataFrame, rule: Rule) -> DataFrame:
    """What became of each record, as `STEPPED`: a tick with its number and perhaps a signal, or a reason.

    A duplicate leaves no row.
    """
    grouped = frame.groupBy("symbol")
    if frame.sparkSession.version.startswith("3."):
        return grouped.applyInPandasWithState(_function(rule), STEPPED, STATE, "update", "NoTimeout")
    if importlib.util.find_spec("google.protobuf") is None:
        raise SparkError("Spark 4 keeps states of Python through the package protobuf: pip install protobuf")
    return grouped.transformWithStateInPandas(_processor(rule), STEPPED, "Update", "none")


def _function(rule: Rule) -> Callable[..., Iterator[pd.DataFrame]]:
    """The step as `applyInPandasWithState` calls it."""

    def step(key: tuple[str], frames: Iterable[pd.DataFrame], state: Any) -> Iterator[pd.DataFrame]:
        rows, body = advance(key[0], pd.concat(frames), rule, state.get[0] if state.exists else None)
        if body is not None:
            state.update((body,))
        yield rows

    return step


def _processor(rule: Rule) -> Any:
    """The step as `transformWithStateInPandas` calls it."""
    from pyspark.sql.streaming import StatefulProcessor, StatefulProcessorHandle

    class Step(StatefulProcessor):  # type: ignore[misc]
        def init(self, handle: StatefulProcessorHandle) -> None:
            self.state = handle.getValueState("state", STATE)

        def handleInputRows(self, key: tuple[str], rows: Iterable[pd.DataFrame], timerValues: Any) -> Any:
            before = self.state.get() if self.state.exists() else None
            stepped, body = advance(key[0], pd.concat(rows), rule, before and before[0])
            if body is not None:
                self.state.update((body,))
            yield stepped

        def close(self) -> None:
            pass

    return Step()


def advance(symbol: str, rows: pd.DataFrame, rule: Rule, body: str | None) -> tuple[pd.DataFrame, str | None]:
    """Take one symbol's records of a batch; return what became of them, and the state after them.

    Args:
        symbol: "" for the records that are no ticks, which pass and leave no state.
        rows: as `READ`, in any order.
        rule: of the averages.
        body: the state before, as `SymbolState.dump` gave it; None at first.
    """
    rows = rows.sort_values(["partition", "offset"])
    if not symbol:
        return rows.assign(number=0, id="", side="", fast=0.0, slow=0.0), None
    state = SymbolState(symbol, rule) if body is None else SymbolState.load(symbol, body, rule)
    made = [step for row in rows.itertuples(index=False, name=None) if (step := _stepped(state, row))]
    return pd.DataFrame(made, columns=COLUMNS[STEPPED]).astype(_KINDS), state.dump()


_KINDS = {name: kind for names, kind in (
    (("price", "size", "event_time", "sequence", "offset", "arrival", "number"), "int64"),
    (("fast", "slow"), "float64"),
) for name in names}  # fmt: skip


def _stepped(state: SymbolState, row: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """A row as `STEPPED`; None for a duplicate."""
    tick = Tick(*row[:6])
    verdict = state.accept(tick)
    if verdict == "duplicate":
        return None
    if verdict != "new":
        return (*row[:-2], verdict, f"sequence {tick.sequence} of {tick.source}", 0, "", "", 0.0, 0.0)
    signal = state.step(tick, f"{row[6]}:{text_of(row[7])}")
    crossed = (signal.id, signal.side, signal.fast, signal.slow) if signal else ("", "", 0.0, 0.0)
    return (*row[:9], b"", "", "", state.number, *crossed)


def sink(lake: Lake, clock: Callable[[], float] = time.time) -> Callable[[DataFrame, int], None]:
    """What Spark calls with each batch: it works the batch out, once, and adds to each table what it lacks."""

    def add(frame: DataFrame, number: int) -> None:
        name = f"spark/{frame.sparkSession.sparkContext.getLocalProperty(QUERY)}"
        rows = frame.toPandas()  # before all else: a batch that every table has already is worked out for its states
        made = rows_of_tables(rows, int(clock() * 1e6))
        for table, added in made.items():
            lake.commit(table, _once(table, added, name, number))
        counts = " ".join(f"{table}={added.num_rows}" for table, added in made.items())
        log.info("event=batch query=%s number=%d %s", name, number, counts)

    return add


def _once(table: str, rows: Any, name: str, number: int) -> Callable[[Any | None], Rows | None]:
    """What to commit to a table: the rows of a batch, unless it says that it has them."""

    def work_out(now: Any | None) -> Rows | None:
        last = None if now is None else now.transaction_version(name)
        if last is not None and last >= number:
            return None
        return Rows(rows, None, partition=TABLES[table].partition, transactions={name: number})

    return work_out


def rows_of_tables(rows: pd.DataFrame, made_at: int) -> dict[str, Any]:
    """What became of a batch's records (as `STEPPED`), as Arrow rows of the tables that get some.

    No tick is late: no minutes are closed here, and no bars are made.
    """
    import pyarrow as pa

    refused, signalled = rows["reason"] != "", rows["side"] != ""
    rows = rows.assign(offset=rows["offset"].map(text_of), late=False, interval="tick", made_at=made_at)
    parts = {"ticks": rows[~refused], "signals": rows[signalled], "dead_letters": rows[refused]}
    packed = {
        table: pa.Table.from_pandas(part[list(archive.NAMES[table])], preserve_index=False)
        for table, part in parts.items()
        if len(part)
    }
    return {table: archive.for_table(table, part) for table, part in packed.items()}


def _reason(error: Exception) -> str:
    """The line that says what happened, of Python where there is one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given."]
    python = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (python or lines)[-1][:500]
