"""Where bars come from: the bundled sample, a folder of files, Alpha Vantage, Yahoo.

A source answers with bytes and says what time it is for it: the sample stands still, so that two runs on
it give the same bytes; every other source lives now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import pandas as pd

from stockkit.errors import ParamError, SourceError
from stockkit.intake.folder import Folder

SAMPLE_FETCHED_AT = "2026-11-21T00:00:00Z"
KEEPING = 4  # threads that store and read answers, so that those who ask do not wait for the disk
NAMES = ("sample", "folder:PATH", "alphavantage", "alphavantage:adjusted", "yfinance")


class Source(Protocol):
    """What gives daily bars."""

    @property
    def name(self) -> str:
        """How the raw zone files its answers: letters, digits and ``-``."""

    @property
    def concurrency(self) -> int:
        """How many symbols may be asked for at once, at least 1."""

    def now(self) -> pd.Timestamp:
        """The time of this source's clock, UTC, in whole seconds."""

    def file(self, symbol: str) -> str:
        """What an answer is called in messages."""

    def fetch(self, symbol: str, *, compact: bool = False) -> bytes:
        """One symbol's bars as CSV, as traded; with `compact` at least the last 100 rows, where it can.

        Raises:
            SourceError: there is no whole and usable answer; says why.
        """

    def actions(self) -> bytes | None:
        """Its corporate actions in one CSV for all symbols (see `market.actions.parse`), or None."""

    def events(self, body: bytes, symbol: str) -> pd.DataFrame:
        """The corporate actions that one answer tells, as `market.actions.ACTIONS`; only of that answer's days."""

    def plan(self, symbols: Sequence[str], oldest: Mapping[str, pd.Timestamp | None]) -> tuple[list[str], list[str]]:
        """The symbols to ask for now, in order, and those that must wait for `resets_at`.

        `oldest` is each symbol's newest session or time of fetching; None or absent where there is none yet.
        """

    def resets_at(self) -> pd.Timestamp | None:
        """When the symbols that wait can be asked for, UTC; None for a source without a budget."""


def open_source(name: str, *, root: Path, lake: Path | None = None, secrets_client: Any = None) -> Source:
    """Open the source that a `source` parameter names, one of `NAMES`.

    Args:
        name: ``folder:PATH`` is relative to `root`; ``alphavantage`` is set up by the environment (see
            `lake.alphavantage.open_alphavantage`).
        root: the workbook's folder.
        lake: the local folder that holds the counts of requests; `root`/data/lake when None.
        secrets_client: boto3's Secrets Manager client, for keys that are not in the environment.

    Raises:
        ParamError: no such kind of source, no such folder, no key, no yfinance.
    """
    if name == "sample":
        return Folder("sample", _folder(root / "data" / "sample"), frozen_at=SAMPLE_FETCHED_AT)
    if name in ("alphavantage", "alphavantage:adjusted"):
        from stockkit.intake.alphavantage import open_alphavantage

        return open_alphavantage(name, lake=lake or root / "data" / "lake", secrets_client=secrets_client)
    if name == "yfinance":
        from stockkit.intake.yahoo import open_yahoo

        return open_yahoo()
    kind, _, rest = name.partition(":")
    if kind != "folder" or not rest:
        near = get_close_matches(name, NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ParamError(
            f"source {name!r} is not known: use one of {', '.join(NAMES)}, where PATH is a folder of "
            f"SYMBOL.csv files, or one file with a column of symbols.{hint}"
        )
    path = _folder(root / Path(rest).expanduser())
    return Folder(f"folder-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}", path)


def fetch_many(
    source: Source,
    symbols: Sequence[str],
    keep: Callable[[str, bytes], object],
    *,
    compact: Mapping[str, bool] | None = None,
    on_done: Callable[[str, int, int], None] | None = None,
) -> dict[str, SourceError]:
    """Ask a source for several symbols, `source.concurrency` at a time, and keep each answer as it comes.

    Args:
        source: whom to ask.
        symbols: for what, in the order of asking; those with the oldest data first.
        keep: called with the symbol and its bytes, in a thread of its own; may raise a `SourceError`.
        compact: the symbols of which the last rows are enough; an absent one means no.
        on_done: called in the caller's thread after each answer or failure with the symbol, how many are done,
            and how many there are.

    Returns:
        The symbols without a usable answer, each with its error, in the order of `symbols`. An error that is no
        `SourceError` is raised, and nothing more is asked for.
    """
    wanted = compact or {}
    failed: dict[str, SourceError] = {}
    asked: dict[Future[Any], str] = {}
    kept: dict[Future[Any], str] = {}
    finished: SimpleQueue[Future[Any]] = SimpleQueue()
    asking = ThreadPoolExecutor(max(1, source.concurrency), thread_name_prefix="fetch")
    keeping = ThreadPoolExecutor(KEEPING, thread_name_prefix="keep")
    try:
        for symbol in dict.fromkeys(symbols):
            asked[job := asking.submit(source.fetch, symbol, compact=wanted.get(symbol, False))] = symbol
            job.add_done_callback(finished.put)
        done = 0
        while done < len(asked):
            job = finished.get()
            symbol, error = asked.get(job) or kept[job], job.exception()
            if error is None and job in asked:
                kept[later := keeping.submit(keep, symbol, job.result())] = symbol
                later.add_done_callback(finished.put)
                continue
            if isinstance(error, SourceError):
                failed[symbol] = error
            elif error is not None:
                raise error
            done += 1
            if on_done:
                on_done(symbol, done, len(asked))
    finally:
        asking.shutdown(cancel_futures=True)
        keeping.shutdown()
    return {symbol: failed[symbol] for symbol in asked.values() if symbol in failed}


def _folder(path: Path) -> Path:
    if not path.exists():
        raise ParamError(f"the source folder {path} does not exist.")
    return path.resolve()
