"""Where bars come from: the bundled sample, or a folder of ``SYMBOL.csv`` files.

A source answers with bytes and says what time it is for it: the sample stands still, so that two runs on
it give the same bytes; every other source lives now.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from stockkit.errors import ParamError, SourceError
from stockkit.market import schema

SAMPLE_FETCHED_AT = "2026-11-21T00:00:00Z"
ACTIONS_FILE = "actions.csv"


@dataclass(frozen=True)
class Folder:
    """A folder of daily bars, ``SYMBOL.csv`` each, and perhaps an ``actions.csv`` with splits and dividends.

    Args:
        name: how the raw zone files its answers.
        path: the folder.
        frozen_at: the time that the source says it is (ISO 8601, UTC); None for the real clock.
    """

    name: str
    path: Path
    frozen_at: str | None = None

    def now(self) -> pd.Timestamp:
        """The time of this source's clock, UTC."""
        return pd.Timestamp(self.frozen_at) if self.frozen_at else pd.Timestamp(datetime.now(UTC)).floor("s")

    def file(self, symbol: str) -> str:
        """The name of the symbol's file, for messages."""
        return f"{schema.check_symbol(symbol)}.csv"

    def fetch(self, symbol: str) -> bytes:
        """The bytes of one symbol's bars.

        Raises:
            SourceError: there is no such file, or it cannot be read; names the nearest symbol that there is.
        """
        try:
            return (self.path / self.file(symbol)).read_bytes()
        except FileNotFoundError:
            known = self.symbols()
            near = get_close_matches(symbol, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" It has {', '.join(known[:12]) or 'no CSV files'}."
            place = "the sample" if self.frozen_at else str(self.path)
            raise SourceError(f"{symbol} is not in the source: {place} has no {self.file(symbol)}.{hint}") from None
        except OSError as error:
            raise SourceError(f"{symbol} ({self.file(symbol)}) cannot be read: {error.strerror}.") from error

    def actions(self) -> bytes | None:
        """The bytes of the corporate actions, or None where the source has none."""
        path = self.path / ACTIONS_FILE
        return path.read_bytes() if path.is_file() else None

    def symbols(self) -> list[str]:
        """The symbols that the folder has a file for, ascending."""
        stems = (path.stem for path in self.path.glob("*.csv") if path.name != ACTIONS_FILE)
        return sorted(stem for stem in stems if schema.SYMBOL.fullmatch(stem))


def open_source(name: str, *, root: Path) -> Folder:
    """Open the source that a `source` parameter names: ``sample`` or ``folder:PATH`` (relative to `root`).

    Raises:
        ParamError: no such kind of source, or no such folder.
    """
    if name == "sample":
        return Folder("sample", _folder(root / "data" / "sample"), frozen_at=SAMPLE_FETCHED_AT)
    kind, _, rest = name.partition(":")
    if kind != "folder" or not rest:
        raise ParamError(
            f"source {name!r} is not known: use 'sample', or 'folder:PATH' for a folder of SYMBOL.csv files."
        )
    path = _folder(root / Path(rest).expanduser())
    return Folder(f"folder-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}", path)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise ParamError(f"the source folder {path} does not exist or is no folder.")
    return path.resolve()
