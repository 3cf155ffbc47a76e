"""Stored ticks once more, in the order in which they arrived, at the pace of their event times.

``replay:PATH`` is a file of records, one a line, perhaps gzipped; ``replay:lake`` the lake's `ticks`. Lines that are no
ticks are sent as they are: the pipeline judges.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from stockkit.errors import ParamError, StreamError
from stockkit.lake import commits
from stockkit.lake.tables import Lake, workbook_root
from stockkit.market import ticks
from stockkit.market.ticks import GZIP, MAX_SEQUENCE, SCALE, Tick
from stockkit.stream.bus.protocol import Message
from stockkit.stream.producers.batch import Batch, Settings, encode_all

LAKE = "lake"
AT_ONCE = 1_000  # records of a batch
LONGEST = 100_000  # bytes of a line that are sent: it is rejected anyway, and no bus takes one of any length
NOBODY = "unreadable"  # the key of a line that is no tick
COLUMNS = ["symbol", "price", "size", "event_time", "source", "sequence", "number", "arrival"]


def replay(settings: Settings, what: str) -> Iterator[Batch]:
    """The stored ticks of a file, or of the lake's table: of the symbols, and for the table of the days, of `settings`.

    Raises:
        ParamError: there is no such file. LakeError: there is no table. StreamError, when that far is sent: the file
            cannot be read any further.
    """
    if what == LAKE:
        if settings.lake is None:
            raise ParamError("replay:lake needs a lake: name the one that has the ticks.")
        return _of_lake(settings.lake, settings)
    path = (settings.root or workbook_root()) / Path(what).expanduser()
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
    except OSError as error:
        raise ParamError(f"replay:{what}: {path} cannot be read: {error.strerror}.") from None
    return _of_file(path, packed, frozenset(settings.symbols))


def _of_file(path: Path, packed: bool, symbols: frozenset[str]) -> Iterator[Batch]:
    newest: int | None = None
    for lines in _batches(path, packed):
        read = ticks.transform(lines, now=MAX_SEQUENCE)
        due: list[int | None] = []
        messages: list[Message] = []
        for tick, line in zip(read, lines, strict=True):
            if not isinstance(tick, Tick):
                key = NOBODY
            elif symbols and tick.symbol not in symbols:
                continue
            else:
                key, newest = tick.symbol, max(newest or 0, tick.event_time)
            due.append(newest)
            messages.append(Message(key, line))
        yield Batch(due, messages)


def _batches(path: Path, packed: bool) -> Iterator[list[bytes]]:
    """The lines of a file that are not empty, some at a time.

    Raises:
        StreamError: after the lines that could be read: the others cannot.
    """
    lines: list[bytes] = []
    number = 0
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            for line in _lines(file):
                number += 1
                if line:
                    lines.append(line)
                if len(lines) == AT_ONCE:
                    yield lines
                    lines = []
    except (OSError, EOFError, zlib.error) as error:
        if lines:
            yield lines
        raise StreamError(
            f"{path} cannot be read behind line {number:,} ({str(error) or type(error).__name__}): it is cut off or "
            "damaged. What stands before is sent; get the file anew for the rest."
        ) from error
    if lines:
        yield lines


def _lines(file: gzip.GzipFile | IO[bytes]) -> Iterator[bytes]:
    """Lines without their ends, at most `LONGEST` bytes of each."""
    while line := file.readline(LONGEST):
        end = line
        while len(end) == LONGEST and not end.endswith(b"\n"):  # the rest of a longer one
            end = file.readline(LONGEST)
        yield line.rstrip(b"\r\n")


def _of_lake(lake: Lake, settings: Settings) -> Iterator[Batch]:
    delta = lake.delta("ticks")
    days = sorted(set(commits.logged_files(delta)["partition.date"].to_pylist()))
    span = settings.span()
    wanted = days[-1:] if span is None else [day for day in days if span[0].date() <= day <= span[1].date()]
    if not wanted:
        raise ParamError(f"replay:lake: the lake has no ticks of {settings.day}; it has {_shown(days)}.")
    return (batch for day in wanted for batch in _of_day(delta, day, settings))


def _shown(days: list[Any]) -> str:
    return f"those from {days[0]} to {days[-1]}" if days else "none at all"


def _of_day(delta: Any, day: Any, settings: Settings) -> Iterator[Batch]:
    """A day's ticks in the order of their arrival; those of a symbol in the order of their numbers."""
    import pyarrow as pa

    table = _rows(delta, day, settings.symbols)
    frame = table.drop_columns(["event_time"]).to_pandas()
    arrival = frame["arrival"].groupby(frame["symbol"], sort=False).cummax()
    order = np.argsort(arrival.to_numpy(), kind="stable")
    times = table["event_time"].cast(pa.int64()).to_numpy()
    prices = (frame["price"] * SCALE).round().to_numpy() / SCALE
    symbols, sizes, sources, sequences = (frame[name].to_numpy() for name in ("symbol", "size", "source", "sequence"))
    due = np.maximum.accumulate(times[order])
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        columns = (column[rows].tolist() for column in (symbols, prices, sizes, times, sources, sequences))
        yield Batch(due[start : start + AT_ONCE].tolist(), encode_all(*columns))


def _rows(delta: Any, day: Any, symbols: Sequence[str]) -> Any:
    """The ticks of a day, of some symbols or all when empty, by symbol and number."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    chosen = ds.field("date") == pa.scalar(day)
    if symbols:
        chosen &= ds.field("symbol").isin(pa.array(list(symbols), pa.string()))
    table = delta.to_pyarrow_dataset().to_table(filter=chosen, columns=COLUMNS)
    return table.sort_by([("symbol", "ascending"), ("number", "ascending")])
