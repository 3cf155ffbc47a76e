"""The registry of sources: the bundled sample, a folder of files, Alpha Vantage, Yahoo.

A new source is a class in a file of its own and an entry here; parameters, checks and the doctor read `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockkit.errors import ParamError, did_you_mean
from stockkit.intake.sources.folder import open_folder, open_sample
from stockkit.intake.sources.source import Opening, Source


@dataclass(frozen=True)
class Entry:
    """A source and what it needs.

    Args:
        open: opens it; raises a ParamError where something is absent.
        complete: whether each of its answers has a symbol's whole history.
        extra: the extra of stockkit to install, as in ``pip install 'stockkit[EXTRA]'``; "" for none.
        package: the package which that extra brings.
        key: the environment variable of its key; "" for none.
    """

    open: Callable[[Opening], Source]
    complete: bool = False
    extra: str = ""
    package: str = ""
    key: str = ""


def _alphavantage(opening: Opening) -> Source:
    from stockkit.intake.sources.alphavantage import open_alphavantage  # brings the HTTP client

    return open_alphavantage(opening)


def _yahoo(opening: Opening) -> Source:
    from stockkit.intake.sources.yahoo import Yahoo

    return Yahoo()


ALPHAVANTAGE = Entry(_alphavantage, key="STOCKKIT_SECRET_ALPHAVANTAGE")
SOURCES: Mapping[str, Entry] = {
    "sample": Entry(open_sample, complete=True),
    "folder:PATH": Entry(open_folder, complete=True),
    "alphavantage": ALPHAVANTAGE,
    "alphavantage:adjusted": ALPHAVANTAGE,
    "yfinance": Entry(_yahoo, extra="yfinance", package="yfinance"),
}
NAMES = tuple(SOURCES)


def open_source(name: str, *, root: Path, lake: Path | None = None, secrets_client: Any = None) -> Source:
    """Open the source that a `source` parameter names, one of `NAMES`.

    Args:
        name: ``folder:PATH`` is relative to `root`; ``alphavantage`` is set up by the environment (see
            `intake.sources.alphavantage.open_alphavantage`).
        root: the workbook's folder.
        lake: the local folder that holds the counts of requests; `root`/data/lake when None.
        secrets_client: boto3's Secrets Manager client, for keys that are not in the environment.

    Raises:
        ParamError: no such kind of source, no such folder, no key, no yfinance.
    """
    opening = Opening(name, root, lake or root / "data" / "lake", secrets_client)
    entry = SOURCES.get(name) or (SOURCES.get(f"{_kind(name)}:PATH") if opening.argument else None)
    if entry is None:
        raise ParamError(
            f"source {name!r} is not known: use one of {', '.join(NAMES)}, where PATH is a folder of "
            f"SYMBOL.csv files, or one file with a column of symbols.{did_you_mean(name, NAMES)}"
        )
    return entry.open(opening)


def is_complete(filed_as: str) -> bool:
    """Whether each answer of a source has a symbol's whole history, by the name under which the raw zone files it."""
    kind = filed_as.partition("-")[0]
    return any(entry.complete for name, entry in SOURCES.items() if _kind(name) == kind)


def _kind(name: str) -> str:
    return name.partition(":")[0]
