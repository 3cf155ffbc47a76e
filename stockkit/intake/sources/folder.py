"""A folder of price files as a source: a file a symbol, or files that hold many, as CSV or Parquet."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from stockkit.errors import ParamError, SourceError, did_you_mean
from stockkit.imports import pandas as pd
from stockkit.intake.sources.source import Opening, Source
from stockkit.market import schema
from stockkit.market.answers import headers, layouts, text
from stockkit.market.symbols import is_symbol

ACTIONS_FILE = "actions.csv"
TEXTS, PARQUET = (".csv", ".txt", ".tsv"), ".parquet"
GLANCE = 1 << 16  # bytes of a file in which its header is looked for
SAMPLE_FETCHED_AT = "2026-11-21T00:00:00Z"  # a fixed clock: two runs on the sample give the same bytes


@dataclass(frozen=True)
class PriceFolder(Source):
    """A folder of daily bars: ``SYMBOL.csv`` each, or files with a column of symbols; and perhaps an ``actions.csv``.

    Args:
        name: how the raw zone files its answers.
        path: the folder, or one file.
        frozen_at: the time that the source says it is (ISO 8601, UTC); None for the real clock.
        concurrency: how many files may be read at once.
    """

    remote: ClassVar[bool] = False

    name: str
    path: Path
    frozen_at: str | None = None
    concurrency: int = 4

    def now(self) -> pd.Timestamp:
        """The time of this source's clock, UTC."""
        return pd.Timestamp(self.frozen_at) if self.frozen_at else super().now()

    def file(self, symbol: str) -> str:
        """The name of the symbol's file, for messages."""
        plain = f"{schema.check_symbol(symbol)}.csv"
        if self.path.is_file():
            return self.path.name
        if (self.path / plain).is_file():
            return plain
        named = self._named(symbol) or self._holding(symbol)
        return named[0].name if len(named) == 1 else plain

    def fetch(self, symbol: str, *, compact: bool = False) -> bytes:
        """The bytes of one symbol's bars, always all of them; of a file with many symbols the header and its lines.

        A Parquet file's rows come as CSV, numbers to the last digit.

        Raises:
            SourceError: there is no such file or several, or it cannot be read; names the nearest symbol that there is.
        """
        try:
            plain = self.path / f"{schema.check_symbol(symbol)}.csv"
            named = [plain] if plain.is_file() else self._named(symbol)
            if len(named) > 1:
                raise SourceError(f"{symbol}: {_listed(named)} are all of this symbol: keep one of them.")
            return _body_of(named[0], symbol) if named else self._among(symbol)
        except OSError as error:
            raise SourceError(f"{symbol} ({self.file(symbol)}) cannot be read: {error.strerror or error}.") from error

    def actions(self) -> bytes | None:
        """The bytes of the corporate actions, or None where the source has none."""
        folder = self.path.parent if self.path.is_file() else self.path
        path = folder / ACTIONS_FILE
        if not path.is_file():
            next(folder.iterdir(), None)  # so that whoever notes what is read knows when there is one later
            return None
        return path.read_bytes()

    def symbols(self) -> list[str]:
        """The symbols that the folder has a file or rows for, ascending."""
        stems = {path.stem.upper() for path in self._files() if path.suffix.lower() != ".txt" or _is_table(path)}
        inside = {name for path in self._files() for name in _symbols_in(path)}
        return sorted(name for name in stems | inside if is_symbol(name))

    def _files(self) -> list[Path]:
        """The files of bars: of the folder itself, and of its hive partitions as Spark writes them."""
        if self.path.is_file():
            return [self.path]
        if (self.path / "_delta_log").is_dir():
            raise SourceError(f"{self.path} is a Delta table, whose files hold rows of the past as well: export it.")
        paths = [*self.path.iterdir(), *self.path.glob(f"*=*/*{PARQUET}")]
        kinds = (*TEXTS, PARQUET)
        return sorted(path for path in paths if path.suffix.lower() in kinds and path.is_file()
                      and path.name.lower() != ACTIONS_FILE and path.name[0] not in "._")  # fmt: skip

    def _named(self, symbol: str) -> list[Path]:
        return [path for path in self._files() if path.stem.upper() == symbol.upper()]

    def _holding(self, symbol: str) -> list[Path]:
        return [path for path in self._files() if any(headers.same_symbol(symbol, name) for name in _symbols_in(path))]

    def _among(self, symbol: str) -> bytes:
        """The rows of one symbol in files of many."""
        holding = self._holding(symbol)
        if holding and all(path.suffix.lower() == PARQUET for path in holding):
            return _csv(pd.concat([_rows_of(path, symbol) for path in holding]))
        if len(holding) > 1:
            raise SourceError(f"{symbol}: {_listed(holding)} all have rows of it: put them into one file.")
        if holding:
            return _body_of(holding[0], symbol)
        known = self.symbols()
        names = known or [path.name for path in self._files()]
        hint = did_you_mean(symbol, known, f"It has {', '.join(names[:12]) or 'no files of bars'}.")
        place = "the sample" if self.frozen_at else str(self.path)
        raise SourceError(f"{symbol} is not in the source: {place} has no {symbol}.csv.{hint}")


def open_sample(opening: Opening) -> PriceFolder:
    """The bundled sample, a folder of the workbook."""
    return PriceFolder("sample", _existing(opening.root / "data" / "sample"), frozen_at=SAMPLE_FETCHED_AT)


def open_folder(opening: Opening) -> PriceFolder:
    """The folder or file of ``folder:PATH``, relative to the workbook's folder.

    Raises:
        ParamError: it does not exist.
    """
    path = _existing(opening.root / Path(opening.argument).expanduser())
    return PriceFolder(f"folder-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}", path)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ParamError(f"the source folder {path} does not exist.")
    return path.resolve()


def _is_table(path: Path) -> bool:
    """Whether a text file begins with a header of bars."""
    with path.open("rb") as file:
        return bool(headers.headers(text.lines_of(_decoded(file.read(GLANCE)))))


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:6])


def _body_of(path: Path, symbol: str) -> bytes:
    """What a file says of one symbol: all of it, verbatim, unless it holds several."""
    if path.suffix.lower() == PARQUET:
        return _csv(_rows_of(path, symbol))
    parts = _split.__wrapped__(path, *_state(path)) if path.stem.upper() == symbol else _split(path, *_state(path))
    return next((body for name, body in parts.items() if headers.same_symbol(name, symbol)), b"") or path.read_bytes()


def _symbols_in(path: Path) -> list[str]:
    """The symbols of a file that names them in a column or its header; none of one that does not."""
    if path.suffix.lower() == PARQUET:
        return list(_frames(path, *_state(path)))
    return list(_split(path, *_state(path)))


def _state(path: Path) -> tuple[int, int]:
    """What changes with a file's bytes, for the caches."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=600)
def _split(path: Path, changed: int, size: int) -> dict[str, bytes]:
    """The header and lines of each symbol that a text file names; nothing for a file of one that it does not name."""
    with path.open("rb") as file:
        body = file.read(GLANCE)
        try:
            recognised = headers.headers(text.lines_of(_decoded(body)))
            if not recognised or ("symbol" not in recognised[0].places and not recognised[0].tickers):
                return {}
            body += file.read()
            lines = text.lines_of(text.decode(body, path.name))
        except SourceError:
            return {}
    if recognised[0].tickers:
        return {_symbol(header.tickers[0]): body for header in recognised}
    header, parts = recognised[0], dict[str, list[str]]()
    for line in lines[header.rows :]:
        fields = text.fields_of(line, header.delimiter) if len(line) <= text.LONGEST else []
        if len(fields) > header.places["symbol"] and not text.is_empty(line):
            parts.setdefault(_symbol(fields[header.places["symbol"]]), []).append(line)
    if len(parts) == 1:
        return dict.fromkeys(parts, body)
    top = lines[: header.rows]
    return {name: ("\n".join([*top, *rows]) + "\n").encode() for name, rows in parts.items()}


def _decoded(body: bytes) -> str:
    """A file's beginning as text; it may end within a character."""
    for cut in range(4):
        try:
            return text.decode(body[: len(body) - cut], "")
        except SourceError:
            continue
    return ""


def _symbol(name: str) -> str:
    """A symbol as it stands in a file, in the spelling of symbols."""
    return name.strip().upper().replace("/", ".").replace("_", "-")


def _rows_of(path: Path, symbol: str) -> pd.DataFrame:
    parts = _frames(path, *_state(path))
    if not parts:
        return _parquet(path)
    rows = next((frame for name, frame in parts.items() if headers.same_symbol(name, symbol)), None)
    if rows is None:
        raise SourceError(f"{symbol} ({path.name}): the file has rows of {', '.join(list(parts)[:6])} only.")
    return rows


@lru_cache(maxsize=600)
def _frames(path: Path, changed: int, size: int) -> dict[str, pd.DataFrame]:
    """The rows of each symbol that a Parquet file or its partition names; nothing for a file of one."""
    partition = path.parent.name.partition("=")
    if partition[1] and layouts.normal(partition[0]) in layouts.SYMBOLS:
        return {_symbol(partition[2]): _parquet(path)}
    frame = _parquet(path)
    if isinstance(frame.columns, pd.MultiIndex):
        levels = [frame.columns.get_level_values(k) for k in range(frame.columns.nlevels)]
        return {_symbol(str(name)): frame for level in levels if "Close" not in level for name in level.unique()}
    column = next((name for name in frame.columns if layouts.normal(str(name)) in layouts.SYMBOLS), None)
    if column is None:
        return {}
    return {_symbol(str(name)): rows for name, rows in frame.groupby(column, sort=False, observed=True)}


def _parquet(path: Path) -> pd.DataFrame:
    """The rows of a Parquet file, an index that is more than numbers as a column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        frame = pq.ParquetFile(path).read().to_pandas()
    except (pa.ArrowException, ValueError) as error:
        raise SourceError(f"{path.name} cannot be read as Parquet: {str(error)[:200]}.") from error
    plain = isinstance(frame.index, pd.RangeIndex) or isinstance(frame.columns, pd.MultiIndex)
    return frame if plain else frame.reset_index()


def _csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV: days as YYYY-MM-DD, instants with their zone, numbers to the last digit, NaN empty."""
    out = io.StringIO()
    download = isinstance(frame.columns, pd.MultiIndex)  # of yfinance: its index are the days
    table = frame if download else frame.assign(**dict(_whole_numbers(frame)))
    table.to_csv(out, index=download, lineterminator="\n")
    return out.getvalue().encode()


def _whole_numbers(frame: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """Columns of whole numbers that a missing one had made floats, as whole numbers again."""
    for name in frame.columns:
        column = frame[name]
        if layouts.normal(str(name)) in ("volume", "vol", "adjvolume") and column.dtype.kind == "f":
            known = column.dropna()
            if (known % 1 == 0).all() and (known.abs() < 2**53).all():
                yield str(name), column.astype("Int64")
