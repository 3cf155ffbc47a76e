"""Looking after tables: what happened to them, tidying their files, and proof that they are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from stockkit.errors import LakeError, SchemaError
from stockkit.files import Files
from stockkit.imports import pandas as pd
from stockkit.lake import commits, frames, raw
from stockkit.lake.commits import TableLocation
from stockkit.lake.contracts import TABLES, Table, key_of
from stockkit.market import schema

WEEK = 168.0  # hours; Delta's own default
SHORTEST = 1.0  # hours: files of a write that is not committed yet look unused
SORTED_IN_MEMORY = 256 * 2**20  # bytes; ten million ticks then take 400 MB; what is more goes through files
HISTORY = {
    "version": "int64",
    "timestamp": "datetime64[ns, UTC]",
    "operation": "string",
    "run": "string",
    "rows_added": "Int64",
    "rows_removed": "Int64",
    "files_added": "Int64",
    "files_removed": "Int64",
}
METRICS = {
    "rows_added": ("num_added_rows", "num_inserted_rows"),
    "rows_removed": ("num_deleted_rows",),
    "files_added": ("num_added_files", "numFilesAdded"),
    "files_removed": ("num_removed_files", "numFilesRemoved"),
}
PROBLEMS = ["table", "problem", "file", "detail"]


def history(location: TableLocation, delta: Any) -> pd.DataFrame:
    """Every commit of a table, newest first.

    Columns: version, timestamp (UTC), operation, run (the id of the run that made it), and the rows and files
    added and removed; NA where the log does not tell, as with the rows that a replacement removed.
    """
    rows = [
        {
            "version": commit["version"],
            "timestamp": pd.Timestamp(commit["timestamp"], unit="ms", tz="UTC"),
            "operation": commit.get("operation"),
            "run": commit.get("run"),
            **{column: _metric(commit.get("operationMetrics") or {}, names) for column, names in METRICS.items()},
        }
        for commit in commits.history(location, delta)
    ]
    return pd.DataFrame(rows, columns=list(HISTORY)).astype(HISTORY)


def _metric(metrics: Mapping[str, Any], names: Sequence[str]) -> Any:
    count = next((metrics[name] for name in names if metrics.get(name) is not None), None)
    return pd.NA if count is None else int(count)


def vacuum(location: TableLocation, *, keep: float, dry_run: bool) -> list[str]:
    """Delete the files that no version of the last `keep` hours uses; return their names.

    Versions older than that can no longer be read. With `dry_run` nothing is deleted. Deleting adds commits
    (its start and end) to the table's history.

    Raises:
        LakeError: `keep` is under an hour, which would take the files of a write that is going on.
    """
    if keep < SHORTEST:
        raise LakeError(f"vacuum: keep must be at least {SHORTEST:g} hour, found {keep:g}: a write may be going on.")
    names: list[str] = []

    def once(now: Any) -> None:
        names[:] = now.vacuum(
            retention_hours=int(keep),
            dry_run=dry_run,
            enforce_retention_duration=False,
            full=True,  # also what no version ever named: files of a write that was cut off
            commit_properties=commits.properties(),
        )

    commits.attempt(location, once)
    return sorted(names)


def optimize(location: TableLocation, *, fewest: int = 2) -> dict[str, int]:
    """Put the small files of each partition into one; the rows stay as they are. Return files added and removed.

    A table of the workbook that is not partitioned by symbol has its rows sorted by the first column of its key, so
    that those of one symbol are found without a look at the others; one partition a commit.

    Args:
        location: the table. fewest: files from which on such a partition is looked at.
    """
    described = TABLES.get(location.name)
    if described is None or described.partition == "symbol":
        return _optimized(location, lambda now, properties: now.optimize.compact(commit_properties=properties))
    total = {"files_added": 0, "files_removed": 0}
    for value in _partitions_of(location, described.partition, fewest):
        done = _optimized(location, partial(_sorted_into_one, described, value))
        total = {name: count + done[name] for name, count in total.items()}
    return total


def _partitions_of(location: TableLocation, column: str, fewest: int) -> list[str]:
    """The partitions of a table that have so many files or more."""
    counts = commits.logged_files(location.open())[f"partition.{column}"].value_counts().to_pylist()
    return sorted(str(count["values"]) for count in counts if count["counts"] >= fewest)


def _sorted_into_one(described: Table, value: str, now: Any, properties: Any) -> dict[str, Any]:
    return now.optimize.z_order(
        [described.key[0]], partition_filters=[(described.partition, "=", value)], commit_properties=properties,
        max_spill_size=SORTED_IN_MEMORY,
    )  # fmt: skip


def _optimized(location: TableLocation, put_together: Callable[[Any, Any], dict[str, Any]]) -> dict[str, int]:
    """The files added and removed by one commit, tried again where another writer was faster."""
    done: dict[str, Any] = {}

    def once(now: Any) -> None:
        done.update(put_together(now, commits.properties()))

    commits.attempt(location, once)
    return {"files_added": int(done["numFilesAdded"]), "files_removed": int(done["numFilesRemoved"])}


def verify(files: Files, locations: Sequence[TableLocation]) -> pd.DataFrame:
    """Check that a lake's raw zone and tables are whole; one row a problem, none when all is well.

    Every raw file has the bytes that the hash in its name was made of, and nothing else lies among them. Every data
    file that a table's log names exists, has the size that the log says and as many readable rows; rows keep the
    table's contract; no key is there twice; `prices` has only symbols that the raw zone knows.
    """
    problems = [("raw", fault.problem, fault.file, fault.detail) for fault in raw.verify(files)]
    problems += [(location.name, *fault) for location in locations for fault in _faults(location)]
    return pd.DataFrame(problems, columns=PROBLEMS, dtype="string")


def _faults(location: TableLocation) -> Iterator[tuple[str, str, str]]:
    try:
        delta = location.open()
    except LakeError as error:
        yield "log unreadable", "", str(error)
        return
    if delta is None:
        yield "log unreadable", "", "there is no commit in it"
        return
    broken = False
    for name, size, rows in _data_files(delta):
        fault = _file_fault(location, name, size, rows)
        if fault:
            broken = True
            yield fault[0], name, fault[1]
    if not broken:
        yield from _row_faults(location, frames.to_pandas(delta.to_pyarrow_table()))


def _data_files(delta: Any) -> list[tuple[str, int, int | None]]:
    """The data files that the log names: path below the table, bytes, rows."""
    files = commits.logged_files(delta)
    return sorted(zip(*(files[name].to_pylist() for name in ("path", "size_bytes", "num_records")), strict=True))


def _file_fault(location: TableLocation, name: str, size: int, rows: int | None) -> tuple[str, str] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    body = location.files.read(f"{location.key}/{name}")
    if body is None:
        return "file missing", "the log names it and it is not there"
    if len(body) != size:
        return "wrong size", f"{len(body)} bytes, the log says {size}"
    try:
        count = pq.read_table(pa.BufferReader(body)).num_rows
    except (OSError, pa.ArrowException) as error:
        return "file unreadable", str(error)[:200]
    return ("wrong rows", f"{count} rows, the log says {rows}") if rows is not None and count != rows else None


def _row_faults(location: TableLocation, frame: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    contract = TABLES[location.name].contract if location.name in TABLES else {}
    key = [name for name in key_of(location.name) if name in frame]  # the contract tells of those that are missing
    frame = frames.by_key(frame, key)
    try:
        schema.check_frame(frame, contract, what=location.name)
        if location.name == "prices":
            schema.check_bars(frame, contract=schema.PRICES, signed=True, what=location.name)
    except SchemaError as error:
        yield "contract broken", "", str(error)
    twice = frame[frame.duplicated(key)] if location.name in TABLES else frame[:0]  # of others the key is not known
    if len(twice):
        yield "key twice", "", f"{len(twice)} rows, first {twice.iloc[0][key].to_dict()}"
    if location.name == "prices":
        yield from _unknown_symbols(location.files, set(frame["symbol"].unique()))


def _unknown_symbols(files: Files, symbols: set[str]) -> Iterator[tuple[str, str, str]]:
    known = {symbol for sourced in raw.holdings(files).values() for symbol in sourced}
    for symbol in sorted(symbols - known):
        yield "no raw answer", "", f"{symbol} has prices and the raw zone has no answer of any source"
