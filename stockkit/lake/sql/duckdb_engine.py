"""The SQL engine of this machine: DuckDB, locked down to the tables of one lake, and limits on what a statement takes.

A lake's connection is kept, so that a statement does not pay for a new one; each statement gets a cursor of its
own, and threads may ask at once. It runs in a thread of its own, so that Ctrl-C and the time limit are heeded at once.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillRunning
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from stockkit.athena.values import quoted
from stockkit.errors import QueryError

SECONDS, GIGABYTES, ROWS = 300.0, 4.0, 10_000_000
GB = 10**9
SLACK = GB  # beyond the engine's own count: what it does not count, and the answer
SPILL = 20 * GB  # the most that is written to disk where memory does not suffice
GRACE, BEAT = 1.5, 0.05  # seconds that an interrupted statement gets to end; between two interrupts
BATCH = 2**16
KEPT = 8  # connections


@dataclass(frozen=True)
class Limits:
    """What one statement may take: seconds, gigabytes of memory, and rows of its answer.

    Without a number the memory is 4 GB, or half of the machine's where that is less.

    Raises:
        QueryError: a limit that is not above zero.
    """

    seconds: float = SECONDS
    gigabytes: float | None = None
    rows: int = ROWS

    def __post_init__(self) -> None:
        for name, unit in (("seconds", "time_limit"), ("gigabytes", "memory_limit"), ("rows", "row_limit")):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise QueryError(f"{unit} must be above zero, found {value!r}.")

    @property
    def memory(self) -> int:
        """The memory in bytes."""
        if self.gigabytes is not None:
            return int(self.gigabytes * GB)
        return min(int(GIGABYTES * GB), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)


def connection(folder: str, memory: int) -> Any:
    """The connection that may read below `folder` (nothing at all where it is empty), the same each time."""
    return _kept(folder, memory, os.getpid())


@lru_cache(maxsize=KEPT)
def _kept(folder: str, memory: int, process: int) -> Any:
    """A connection of this process: one that was open when it was forked off is not used."""
    import duckdb

    opened = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
                                    "python_enable_replacements": "false"})  # fmt: skip
    spill = Path(tempfile.gettempdir()) / f"stockkit-sql-{process}-{uuid.uuid4().hex[:8]}"  # made when it is needed
    weakref.finalize(opened, shutil.rmtree, spill, ignore_errors=True)
    room = min(SPILL, shutil.disk_usage(tempfile.gettempdir()).free // 2)
    allowed = quoted(folder.rstrip("/") + "/") if folder else ""
    for setting in ("GLOBAL TimeZone = 'UTC'", f"memory_limit = '{memory}B'", f"temp_directory = {quoted(str(spill))}",
                    f"max_temp_directory_size = '{room}B'", "parquet_metadata_cache = true",
                    f"allowed_directories = [{allowed}]", "enable_external_access = false",
                    "lock_configuration = true"):  # fmt: skip
        opened.execute(f"SET {setting}").fetchall()
    return opened


def answer(folder: str, sql: str, bound: Mapping[str, Any], handed: Mapping[str, Any], limits: Limits) -> Any:
    """The rows of a SELECT in the engine's own SQL, as a pyarrow table.

    Args:
        folder: below which it may read. sql: the statement. bound: its parameters. handed: rows by name. limits: its.

    Raises:
        QueryError: a limit was reached. duckdb.Error: it failed otherwise.
    """
    import duckdb

    cursor = connection(folder, limits.memory).cursor()

    def work() -> Any:
        try:
            with ceiling(limits.memory + SLACK):
                for name, rows in handed.items():
                    cursor.register(name, rows)
                return _rows(cursor.sql(sql, params=dict(bound) or None).to_arrow_reader(BATCH), limits)
        finally:
            cursor.close()

    try:
        return in_time(work, cursor.interrupt, limits.seconds)
    except (MemoryError, duckdb.OutOfMemoryException) as error:
        raise QueryError(
            f"the query needs more than the {limits.memory / GB:g} GB of memory that it may take: ask for fewer rows "
            "or shorter arrays, or give a larger memory_limit (in GB)."
        ) from error


def _rows(batches: Any, limits: Limits) -> Any:
    import pyarrow as pa

    read, count = [], 0
    for batch in batches:
        read.append(batch)
        count += len(batch)
        if count > limits.rows:
            raise QueryError(
                f"the answer has more than {limits.rows:,} rows: aggregate or LIMIT it, or give a larger row_limit."
            )
    return pa.Table.from_batches(read, batches.schema)


def in_time(work: Callable[[], Any], interrupt: Callable[[], None], seconds: float) -> Any:
    """The result of `work`, run in a thread that is interrupted at Ctrl-C and after some seconds.

    Raises:
        QueryError: it took longer.
    """
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="stockkit-sql", daemon=True).start()
    try:
        return done.result(seconds)
    except StillRunning:
        if done.done():
            raise
        _stop(done, interrupt)
        raise QueryError(
            f"the query took longer than {seconds:g} s and was stopped: ask for less, or give a larger time_limit."
        ) from None
    except KeyboardInterrupt:
        _stop(done, interrupt)
        raise


def _stop(done: Future[Any], interrupt: Callable[[], None]) -> None:
    """Interrupt until it has ended, for a while; one that does not heed it is left to end by itself."""
    end = time.monotonic() + GRACE
    while not done.done() and time.monotonic() < end:
        interrupt()
        try:
            done.exception(BEAT)
        except StillRunning:
            continue


_granted: list[int] = []  # what the statements of this moment may take
_before: list[tuple[int, int]] = []
_ceiling = threading.Lock()


@contextmanager
def ceiling(size: int) -> Iterator[None]:
    """Let the process take `size` bytes more than it has, and no more; Linux only.

    The engine counts its tables, and not the arrays that a function makes: an allocation that fails is all that
    stops those.
    """
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError):
        yield
        return

    def change(by: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if not _granted:
            _before[:] = [(soft, hard)]
            soft = used
        limits = [limit for limit in (soft + by, hard, _before[0][0]) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))

    with _ceiling:
        change(size)
        _granted.append(size)
    try:
        yield
    finally:
        with _ceiling:
            _granted.remove(size)
            resource.setrlimit(resource.RLIMIT_DATA, _before[0]) if not _granted else change(-size)


def reason(error: Exception, written: Mapping[str, str]) -> str:
    """What went wrong, in Athena's words where they are known, and columns as the statement has `written` them."""
    text = str(error)
    column = re.search(r'column "?([^"]+)"? must appear in the GROUP BY', text)
    if column:
        name = written.get(column.group(1), column.group(1))
        return f"'{name}' must be an aggregate expression or appear in GROUP BY clause"
    words = re.search(r"string '!(.*?)' to INT|TimeZone '!(.*?)'!", text)
    if words:
        return words.group(1) or words.group(2)
    if "ivision by zero" in text:
        return "Division by zero"
    if "Max expression depth" in text:
        return "the statement is nested deeper than the engine takes: give its inner parts names with WITH"
    return text.splitlines()[0][:300]
