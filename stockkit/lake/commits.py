"""One commit to a Delta table, tried again when another writer was faster.

A change is worked out from the table as it is now and committed against exactly that version; if somebody else
committed rows that it depends on meanwhile, it is worked out anew. So two writers of different symbols both
succeed, of two writers of the same symbol the later one replaces its rows wholly, and nothing is lost or doubled.
"""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from stockkit.aws_errors import lake_error, shortened, way_out
from stockkit.errors import LakeError
from stockkit.files import Files
from stockkit.local_files import WAY_OUT
from stockkit.market import schema
from stockkit.provenance import run_id, step

log = logging.getLogger(__name__)
_mark: ContextVar[str] = ContextVar("mark", default="")  # of the commit that is being tried

ATTEMPTS = 20
FIRST_WAIT, LONGEST_WAIT = 0.02, 1.0  # seconds
APPENDER = "stockkit-append"
MARK = "stockkit.commit"
CHUNK = 2**14  # rows handed over at a time, so that few wait in memory


@dataclass(frozen=True)
class TableLocation:
    """Where a table is: its files and its key below them."""

    name: str
    files: Files

    def __str__(self) -> str:
        return f"table {self.name!r} in {self.files}"

    @property
    def key(self) -> str:
        """The table's folder."""
        return f"tables/{self.name}"

    def log(self, version: int) -> str:
        """The key of the file that a commit is in."""
        return f"{self.key}/_delta_log/{version:020}.json"

    def open(self, version: int | None = None) -> Any | None:
        """The Delta table as it is now, or in an earlier version; None where there is no table.

        Raises:
            LakeError: it cannot be read, or has no such version (any more).
        """
        import deltalake

        if not self.files.has_folder(f"{self.key}/_delta_log"):
            return None
        try:
            return deltalake.DeltaTable(self.files.uri(self.key), version, storage_options=self.files.options())
        except (OSError, deltalake.exceptions.DeltaError) as error:
            if version is None and isinstance(error, deltalake.exceptions.TableNotFoundError):
                return None  # a first write that was cut off before its commit
            raise self.unreadable(error) from error

    def unreadable(self, error: Exception) -> LakeError:
        """What to say where it cannot be read, with the way out."""
        out = way_out(str(error), "`stockkit lake verify` names what is missing or damaged.")
        return lake_error(str(error), f"{self} cannot be read: {shortened(error)}. {out}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn an error of the files or of S3 into one with the way out."""
        import deltalake
        import pyarrow as pa

        try:
            yield
        except (OSError, deltalake.exceptions.DeltaError, pa.ArrowException) as error:
            raise self.unreadable(error) from error


@dataclass(frozen=True)
class Rows:
    """What to commit: Arrow rows that replace those of `symbols` or of `where`, or are added when both are None.

    Attributes:
        rows: a table, or a reader that makes them while they are written. notes: kept with the commit.
        reshape: the symbols are all that the table has: its columns become those of the rows.
        configuration: properties of the Delta table, where this commit makes it.
        where: SQL of the rows that are replaced. partition: the column that this commit partitions a new table by.
        transactions: by application, how far it is with this commit; committed with the rows or not at all.
    """

    rows: Any
    symbols: Sequence[str] | None
    notes: Mapping[str, str] = field(default_factory=dict)
    reshape: bool = False
    configuration: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    partition: str = "symbol"
    transactions: Mapping[str, int] = field(default_factory=dict)


def commit(location: TableLocation, work_out: Callable[[Any | None], Rows | None]) -> Any:
    """Commit what `work_out` makes of the table as it is now (None: nothing to do); return the table as that left it.

    Raises:
        LakeError: it cannot be written, or other writers were faster every time; the table is as they left it.
    """

    def once(now: Any | None) -> None:
        if (todo := work_out(now)) is not None:
            _write(location, now, todo)

    return attempt(location, once)


def attempt(location: TableLocation, once: Callable[[Any | None], Any]) -> Any:
    """Call `once` with the table as it is now, anew after each conflict; return the table as that left it.

    Another writer may have committed since: the version returned is that of the commit made here, or the one that
    was looked at where there was nothing to commit.
    """
    import deltalake

    for number in range(1, ATTEMPTS + 1):
        now = location.open()
        version = now.version() if now is not None else None
        mark = uuid.uuid4().hex
        _mark.set(mark)
        try:
            once(now)
            return _left(location, version, mark)
        except (OSError, deltalake.exceptions.DeltaError) as error:
            if not _moved(location, version):
                raise lake_error(
                    str(error),
                    f"cannot write {location}; it is as it was before. "
                    f"{shortened(error)}. {way_out(str(error), WAY_OUT)}",
                ) from error
            log.warning(
                "event=conflict table=%s version=%s attempt=%d/%d: another writer was faster, working it out anew",
                location.name, version, number, ATTEMPTS,
            )  # fmt: skip
            time.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2**number) * random.random())
    raise LakeError(
        f"{location}: other writers were faster {ATTEMPTS} times; nothing of this write "
        "was stored. Run it again, or let fewer writers work on the same table."
    )


def _left(location: TableLocation, before: int | None, mark: str) -> Any:
    """The table at the version that the commit with this mark made; at the one before where there is none."""
    after = location.open()
    if after is None or after.version() == before:
        return after
    newer = range(after.version(), -1 if before is None else before, -1)
    # not of history(), which misnumbers commits while others commit
    version = next(
        (number for number in newer if mark.encode() in (location.files.read(location.log(number)) or b"")), before
    )
    if version is not None and version != after.version():
        after.load_as_version(version)
    return after


def history(location: TableLocation, delta: Any) -> list[dict[str, Any]]:
    """The commits of an opened table up to its version, newest first, each under its true `version`.

    deltalake lists what others committed since the table was opened, too, and counts back from the version opened.
    """
    listed = delta.history()
    lines = (location.files.read(location.log(delta.version())) or b"").splitlines()
    infos = [info for line in lines if (info := json.loads(line).get("commitInfo"))]
    newer = next((k for k, commit in enumerate(listed) if infos and _signature(commit) == _signature(infos[0])), 0)
    return [{**commit, "version": delta.version() - k} for k, commit in enumerate(listed[newer:])]


def logged_files(delta: Any) -> Any:
    """The data files that an opened table consists of, by its log: a pyarrow table, one row a file.

    Columns: path (below the table's folder), size_bytes, num_records, and for each column partition.x, or min.x,
    max.x and null_count.x where a file has them.
    """
    import pyarrow as pa

    files = pa.table(delta.get_add_actions(flatten=True))
    paths = pa.array([unquote(path) for path in files["path"].to_pylist()], pa.string())  # the log holds them as URIs
    return files.set_column(files.column_names.index("path"), "path", paths)


def set_properties(delta: Any, properties: Mapping[str, str]) -> None:
    """Give an opened table these properties, in a commit, where it lacks them and no other writer is faster."""
    import deltalake

    if not delta.metadata().configuration.items() >= properties.items():
        with suppress(deltalake.exceptions.CommitFailedError):
            delta.alter.set_table_properties(dict(properties))


def _signature(commit: Mapping[str, Any]) -> list[Any]:
    """What tells a commit from others."""
    return [commit.get(name) for name in (MARK, "timestamp", "operation")]


def _moved(location: TableLocation, version: int | None) -> bool:
    """Whether somebody committed since `version`."""
    later = location.open()
    return later is not None and (version is None or later.version() > version)


def _write(location: TableLocation, now: Any | None, todo: Rows) -> None:
    import deltalake
    import pyarrow as pa

    named = ", ".join(f"'{schema.check_symbol(symbol)}'" for symbol in todo.symbols or ())
    where = todo.where if todo.symbols is None else f"symbol IN ({named})"
    mode = "error" if now is None else "append" if where is None else "overwrite"
    rows = todo.rows
    if isinstance(rows, pa.Table):
        rows = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=CHUNK))
    deltalake.write_deltalake(
        location.files.uri(location.key) if now is None else now,
        rows,
        mode=mode,
        partition_by=[todo.partition],
        predicate=where if mode == "overwrite" and not todo.reshape else None,
        schema_mode=None if now is None else "overwrite" if todo.reshape else "merge",
        storage_options=location.files.options() if now is None else None,
        configuration=dict(todo.configuration) if now is None else None,
        commit_properties=properties(
            now if mode == "append" else None, first=now is None, notes=todo.notes, transactions=todo.transactions
        ),
        # a price hardly ever repeats: a dictionary of them takes time, twice the memory and a fifth more disk
        writer_properties=deltalake.WriterProperties(
            compression="SNAPPY", default_column_properties=deltalake.ColumnProperties(dictionary_enabled=False)
        ),
    )


def properties(
    appending_to: Any | None = None,
    *,
    first: bool = False,
    notes: Mapping[str, Any] | None = None,
    transactions: Mapping[str, int] | None = None,
) -> Any:
    """A commit's run id and notes; an append also takes a turn, so that two appends never both see the table as it was.

    The `first` commit of a table is never tried again by deltalake, which would add its rows to the table that
    another writer made meanwhile.
    """
    import deltalake

    turns = [deltalake.Transaction(APPENDER, appending_to.version() + 1)] if appending_to else []
    turns += [deltalake.Transaction(name, version) for name, version in (transactions or {}).items()]
    return deltalake.CommitProperties(
        custom_metadata={"run": run_id(), **({"step": step()} if step() else {}), MARK: _mark.get(), **(notes or {})},
        app_transactions=turns or None,
        max_commit_retries=0 if first else None,
    )
