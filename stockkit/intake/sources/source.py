"""What gives daily bars: the protocol of a source, and asking one for many symbols at once."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar, NamedTuple

from stockkit.errors import ParamError, SourceError
from stockkit.imports import pandas as pd
from stockkit.market import sessions

KEEPING = 4  # threads that store and read answers, so that those who ask do not wait for the disk


@dataclass(frozen=True)
class Opening:
    """What a source is opened with.

    Args:
        name: the `source` parameter, as in ``folder:prices``.
        root: the workbook's folder.
        lake: the local folder that holds the counts of requests.
        secrets_client: boto3's Secrets Manager client, for keys that are not in the environment.
    """

    name: str
    root: Path
    lake: Path
    secrets_client: Any = None

    @property
    def argument(self) -> str:
        """What stands behind the colon of the name."""
        return self.name.partition(":")[2]


class Quote(NamedTuple):
    """What a source says that a symbol is worth now.

    Attributes:
        price: in the currency. size: shares of the last trade, 0 where they are not told.
        time: when that was, microseconds since 1970 UTC.
        mark: what differs where the quote is a new one; two quotes with the same mark are one.
    """

    symbol: str
    price: float
    size: int
    time: int
    mark: tuple[Any, ...]


class Source(ABC):
    """What gives daily bars.

    `name` is how the raw zone files its answers (letters, digits and ``-``), `concurrency` how many symbols may be
    asked for at once, at least 1. A source has its own `file` and `fetch`; the rest has defaults: the machine's clock,
    no list of corporate actions, no allowance of requests.
    """

    name: str
    concurrency: int
    remote: ClassVar[bool] = True  # it may answer otherwise at any time; False where it has but files of this machine

    @abstractmethod
    def file(self, symbol: str) -> str:
        """What an answer is called in messages."""

    @abstractmethod
    def fetch(self, symbol: str, *, compact: bool = False) -> bytes:
        """One symbol's bars as CSV, as traded; with `compact` at least the last 100 rows, where it can.

        Splits and dividends may stand in columns beside the bars (see `market.corporate_actions.read_events`).

        Raises:
            SourceError: there is no whole and usable answer; says why.
        """

    def now(self) -> pd.Timestamp:
        """The time of this source's clock, UTC, in whole seconds."""
        sys.audit("stockkit.clock")  # see stockkit.workbook.cache.trace
        return pd.Timestamp(datetime.now(UTC)).floor("s")

    def actions(self) -> bytes | None:
        """Its corporate actions in one CSV for all symbols (see `market.corporate_actions.parse`), or None."""
        return None

    def quote(self, symbol: str, *, calendar: str = sessions.DEFAULT) -> Quote:
        """What a symbol is worth now, where the source tells it; `calendar` is its exchange.

        Raises:
            ParamError: it does not. SourceError: there is no usable answer; says why.
        """
        raise ParamError(f"the source {self.name} has daily bars alone, and no live quotes.")

    def plan(self, symbols: Sequence[str], oldest: Mapping[str, pd.Timestamp | None]) -> tuple[list[str], list[str]]:
        """The symbols to ask for now, in order, and those that must wait for `resets_at`.

        `oldest` is each symbol's newest session or time of fetching; None or absent where there is none yet.
        """
        return list(symbols), []

    def resets_at(self) -> pd.Timestamp | None:
        """When the symbols that wait can be asked for, UTC; None for a source without an allowance."""
        return None


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
        source: the source to ask.
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
