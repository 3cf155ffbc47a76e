"""Data files that others write, as Spark's workers do, and the one commit that makes them a table's rows.

A worker stores a symbol's rows under a name that nobody else uses; no reader sees it until the driver commits all
of them at once. Files of a run that was cut off before belong to no version, and `Lake.vacuum` deletes them.
The name carries a digest of the file's bytes, so that the log alone tells which symbols have not changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from stockkit.errors import LakeError
from stockkit.imports import pandas as pd
from stockkit.lake import commits, frames
from stockkit.lake.commits import TableLocation
from stockkit.market import schema

DIGEST = 20  # hex digits
NAME = re.compile(rf"part-([0-9a-f]{{{DIGEST}}})-[0-9a-f]{{32}}\.snappy\.parquet")
Make = Callable[[Mapping[str, str]], Sequence["DataFile"]]


@dataclass(frozen=True)
class DataFile:
    """One symbol's rows in a data file: its path below the table's folder, empty where the table holds it already.

    `size` in bytes; `stats` is the JSON that a Delta log keeps of a file: rows, and each column's extremes and NULLs.
    """

    symbol: str
    digest: str
    path: str = ""
    size: int = 0
    stats: str = "{}"


@dataclass(frozen=True)
class TableFiles:
    """What one version of a table consists of: its folder, its pyarrow schema, and each symbol's files, as URIs."""

    folder: str
    schema: Any
    files: Mapping[str, Sequence[str]]


def write(location: TableLocation, symbol: str, rows: pd.DataFrame, *, stored: str | None = None) -> DataFile:
    """Store one symbol's rows in a file of its own, which no reader sees before it is committed.

    Args:
        location: the table.
        symbol: whose rows they are; becomes a folder's name, so it is checked.
        rows: as for `Lake.write`, of this symbol alone.
        stored: the digest of what the table holds; equal bytes are not stored again.

    Raises:
        SymbolError: no symbol. LakeError: it cannot be stored.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, sink = frames.to_arrow(rows.drop(columns="symbol")), pa.BufferOutputStream()
    pq.write_table(table, sink, compression="snappy", use_dictionary=False, store_schema=False)
    body = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(body).hexdigest()[:DIGEST]
    if digest == stored:
        return DataFile(symbol, digest)
    path = f"symbol={quote(schema.check_symbol(symbol), safe='')}/part-{digest}-{uuid.uuid4().hex}.snappy.parquet"
    location.files.put(f"{location.key}/{path}", body)
    return DataFile(symbol, digest, path, len(body), json.dumps(_stats(table)))


def files_of_table(location: TableLocation, delta: Any, symbols: Sequence[str] | None = None) -> TableFiles:
    """The files of an opened table; only those of `symbols` where they are given."""
    wanted = None if symbols is None else set(symbols)
    folder, files = location.files.uri(location.key), dict[str, list[str]]()  # deltalake's own spells a blank as %20
    for symbol, path in added(delta):
        if wanted is None or symbol in wanted:
            files.setdefault(symbol, []).append(f"{folder}/{path}")
    return TableFiles(folder, frames.columns(delta), files)


def replace_files(location: TableLocation, columns: Any, make: Make) -> Any:
    """Replace the rows of the symbols that `make` returns files of, in one commit; return the table then.

    Args:
        location: the table; made where there is none.
        columns: the pyarrow schema of the rows, symbol included; columns that the table lacks are added to it.
        make: gets the digest that the table holds of each symbol (of those that `write` stored), returns a file a
            symbol. Called anew after a conflict; files that it made before may be returned again.

    Raises:
        LakeError: it cannot be committed, or a column has another type in the table; the table is as it was.
    """

    def once(now: Any | None) -> None:
        stored = _digests(now)
        files = [file for file in make(stored) if now is None or stored.get(file.symbol) != file.digest]
        if files:
            _commit(location, now, files, columns)

    return commits.attempt(location, once)


def _commit(location: TableLocation, now: Any | None, files: Sequence[DataFile], columns: Any) -> None:
    import deltalake
    from deltalake import transaction

    moment = int(time.time() * 1000)
    actions = [transaction.AddAction(file.path, file.size, {"symbol": file.symbol}, moment, True, file.stats)
               for file in files]  # fmt: skip
    # never tried again by deltalake: what this commit removes was worked out from this very version
    properties = commits.properties(first=True, notes={"operationMetrics": _metrics(now, files)})
    if now is None:
        transaction.create_table_with_add_actions(
            location.files.uri(location.key), deltalake.Schema.from_arrow(columns), actions, mode="error",
            partition_by=["symbol"], storage_options=location.files.options(), commit_properties=properties,
        )  # fmt: skip
        return
    replaced = [("symbol", "in", [file.symbol for file in files])]
    shape = deltalake.Schema.from_arrow(_widened(location, now, columns))
    now.create_write_transaction(actions, "overwrite", shape, ["symbol"], replaced, commit_properties=properties)


def _metrics(now: Any | None, files: Sequence[DataFile]) -> dict[str, int]:
    """What the table's history tells of a commit, under deltalake's names."""
    symbols = {file.symbol for file in files}
    return {
        "num_added_rows": sum(json.loads(file.stats)["numRecords"] for file in files),
        "num_added_files": len(files),
        "num_removed_files": sum(symbol in symbols for symbol, _ in added(now)),
    }


def _widened(location: TableLocation, now: Any, columns: Any) -> Any:
    """The table's schema and the columns it lacks; an overwrite that left a column out would take it from all rows."""
    import pyarrow as pa

    stored = frames.columns(now)
    if retyped := frames.retyped(columns, stored):
        kind, given = (shape.field(retyped[0]).type for shape in (stored, columns))
        raise LakeError(
            f"{location} has the column {retyped[0]!r} as {kind}, found {given}: "
            "write into another table, or delete this one and make it anew."
        )
    return pa.schema([*stored, *(column for column in columns if column.name not in stored.names)])


def _digests(now: Any | None) -> dict[str, str]:
    """The digest of each symbol that one file of `write` holds; a file of another writer tells none."""
    digests = dict[str, list[str]]()
    for symbol, path in added(now):
        name = NAME.fullmatch(path.rpartition("/")[2])
        digests.setdefault(symbol, []).append(name.group(1) if name else "")
    return {symbol: known[0] for symbol, known in digests.items() if len(known) == 1 and known[0]}


def added(delta: Any | None) -> list[tuple[str, str]]:
    """Symbol and path of each file, ascending."""
    if delta is None:
        return []
    files = commits.logged_files(delta)
    return sorted(zip(files["partition.symbol"].to_pylist(), files["path"].to_pylist(), strict=True))


def _stats(table: Any) -> dict[str, Any]:
    """What a Delta log tells of a file. Extremes that JSON cannot say (infinities) are left out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    least, most = dict[str, Any](), dict[str, Any]()
    for field, column in zip(table.schema, table.columns, strict=True):
        low, high = (extreme.as_py() for extreme in pc.min_max(column).values())
        if low is not None and pa.types.is_date(field.type):
            least[field.name], most[field.name] = str(low), str(high)
        elif low is not None and pa.types.is_floating(field.type) and math.isfinite(low) and math.isfinite(high):
            least[field.name], most[field.name] = low, high
    nulls = {field.name: column.null_count for field, column in zip(table.schema, table.columns, strict=True)}
    return {"numRecords": table.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}
