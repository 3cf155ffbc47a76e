"""What is in a file that packs it: gzip, bzip2, xz, zip (and what is made of it, as .npz and .xlsx), Parquet."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

STREAMS: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
LARGEST = 2_000_000_000  # bytes that are unpacked of a file
PART = 4_000_000  # bytes that are read at once


def unpacked(path: Path) -> Iterator[bytes]:
    """What a file packs, in parts; nothing for one that packs nothing.

    Raises:
        OSError: it cannot be unpacked, or has too much in it.
    """
    with open(path, "rb") as file:
        start = file.read(6)
    readings: Iterator[bytes] = iter(())
    if opened := next((opened for magic, opened in STREAMS.items() if start.startswith(magic)), None):
        readings = _stream(lambda: opened(path))
    elif start.startswith(ZIP):
        readings = _members(path)
    elif start.startswith(PARQUET):
        readings = _columns(path)
    yield from _bounded(readings)


def _bounded(readings: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    with _explained():
        for part in readings:
            size += len(part)
            if size > LARGEST:
                raise OSError(f"it unpacks to more than {LARGEST:,} bytes")
            yield part


def _stream(opened: Callable[[], IO[bytes]]) -> Iterator[bytes]:
    with opened() as file:
        while part := file.read(PART):
            yield part


def _members(path: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            yield from _stream(lambda member=member: archive.open(member))  # type: ignore[misc]


def _columns(path: Path) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    yield repr(file.schema_arrow.metadata).encode()
    for batch in file.iter_batches():
        for column in batch.columns:
            column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            yield from (buffer.to_pybytes() for buffer in column.buffers()[1:] if buffer)


@contextmanager
def _explained() -> Iterator[None]:
    """Every way in which a broken file cannot be unpacked as one error."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"it cannot be unpacked: {error}") from error
