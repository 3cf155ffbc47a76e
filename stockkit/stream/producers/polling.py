"""Live quotes: a source is asked for every symbol at an interval, and what is new is sent.

A quote's `sequence` is its time in microseconds, so that the same quote, asked for by another process or after a
restart, counts once. A source that does not answer for a symbol is asked again in the next round; one whose allowance
is spent, when its next day starts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from stockkit.errors import BudgetSpent, ParamError, SourceError, StreamError
from stockkit.intake.sources import open_source
from stockkit.intake.sources.source import Quote, Source
from stockkit.lake.tables import workbook_root
from stockkit.market.ticks import SCALE, Tick, encode
from stockkit.stream.bus.protocol import Message
from stockkit.stream.producers.batch import Batch, Settings

log = logging.getLogger(__name__)


def poll(settings: Settings, source: str) -> Iterator[Batch]:
    """The quotes of a source, a batch a round, until `settings.stop` is set.

    Args:
        settings: symbols, interval, calendar; the lake's folder holds the count of requests.
        source: as `intake.sources.open_source` takes it.

    Raises:
        ParamError: no symbols, no key, no such extra. StreamError, with the first round: no symbol has a quote.
    """
    if not settings.symbols:
        raise ParamError(f"{source} needs symbols: name those whose quotes it is to be asked for, as in AAPL,META.")
    lake = settings.lake
    folder, client = (lake.folder, lake.secrets_client) if lake is not None else (None, None)
    opened = open_source(source, root=settings.root or workbook_root(), lake=folder, secrets_client=client)
    return rounds(opened, settings)


def rounds(source: Source, settings: Settings) -> Iterator[Batch]:
    """As `poll`, of a source that is open."""
    newest: dict[str, Quote] = {}
    known: set[str] = set()
    while not settings.stop.is_set():
        started = source.now()
        answers = _ask(source, settings)
        troubles = [answer for answer in answers if isinstance(answer, SourceError)]
        quotes = [answer for answer in answers if isinstance(answer, Quote)]
        new = [quote for quote in quotes if _is_new(quote, newest.get(quote.symbol))]
        newest |= {quote.symbol: quote for quote in new}
        if new:
            yield Batch([None] * len(new), [_message(quote, source.name) for quote in new])
        known = _tell(troubles, known, bool(newest))
        _wait(source, settings, troubles, (source.now() - started).total_seconds())


def _ask(source: Source, settings: Settings) -> list[Quote | SourceError | None]:
    """One round: a quote or an error a symbol; None where it was stopped before."""

    def one(symbol: str) -> Quote | SourceError | None:
        try:
            return None if settings.stop.is_set() else source.quote(symbol, calendar=settings.calendar)
        except SourceError as error:
            return error

    with ThreadPoolExecutor(max(1, source.concurrency), thread_name_prefix="quotes") as threads:
        return list(threads.map(one, settings.symbols))


def _is_new(quote: Quote, before: Quote | None) -> bool:
    return before is None or (quote.mark != before.mark and quote.time > before.time)


def _message(quote: Quote, source: str) -> Message:
    tick = Tick(quote.symbol, round(quote.price * SCALE), quote.size, quote.time, source, quote.time)
    return Message(quote.symbol, encode(tick))


def _tell(troubles: Sequence[SourceError], known: set[str], any_quote: bool) -> set[str]:
    """Log what went wrong in a round and was not `told` of the one before; return what went wrong.

    Raises:
        StreamError: there was no quote of any symbol yet, and it is not for want of allowance.
    """
    if troubles and not any_quote and not any(isinstance(error, BudgetSpent) for error in troubles):
        raise StreamError(f"no quote of any symbol was to be had: {troubles[0]}")
    texts = dict.fromkeys(str(error) for error in troubles)
    for text in texts:
        if text not in known:
            log.warning("quotes=missing %s", text)
    return set(texts)


def _wait(source: Source, settings: Settings, troubles: Sequence[SourceError], taken: float) -> None:
    """Wait for the next round, or for the day on which the source has an allowance again."""
    seconds = settings.interval - taken
    again = source.resets_at()
    if again is not None and any(isinstance(error, BudgetSpent) for error in troubles):
        seconds = (again - source.now()).total_seconds()
    settings.stop.wait(max(0.0, seconds))
