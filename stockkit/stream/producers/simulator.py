"""The market simulator: seeded ticks that agree with the real bar of each symbol and day.

A tick depends on seed, symbol, day and how many there are, so that a second run adds nothing: `source` is
``simulator-SEED``, and `sequence` counts a symbol's ticks within a day. Records that are no ticks come in addition.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stockkit.market import sessions
from stockkit.market.ticks import SCALE, Tick
from stockkit.stream.bus.protocol import Message
from stockkit.stream.producers import bars, intraday
from stockkit.stream.producers.batch import MOST, Batch, Settings, encode_all
from stockkit.stream.producers.corruptions import CORRUPTIONS
from stockkit.stream.producers.intraday import CORRUPT, Arrivals, Day, Rates

AT_ONCE = 100_000  # records of a batch, about
FOREVER = np.iinfo("int64").max


def simulate(settings: Settings) -> Iterator[Batch]:
    """The records of every symbol and day, in order of arrival.

    Memory holds a block of each symbol's ticks and about `AT_ONCE` records, however many ticks there are.

    Raises:
        ParamError, LakeError: as `bars.of_days`.
    """
    wanted = bars.of_days(settings)  # at once, so that what is wrong is known before anything is sent
    return (batch for day, of_day in wanted.groupby("date") for batch in _day(settings, of_day, day))


def _day(settings: Settings, of_day: pd.DataFrame, session: Any) -> Iterator[Batch]:
    """The records of one day."""
    hours = sessions.hours(session, settings.calendar)
    symbols = list(of_day["symbol"])
    feeds = [_Feed(settings, bar, hours) for bar in of_day.itertuples()]
    first = int(session.toordinal()) * MOST
    for until in _slices(hours, len(symbols) * settings.ticks):
        taken = [feed.take(until) for feed in feeds]
        who = np.repeat(np.arange(len(taken)), [len(arrivals.due) for arrivals in taken])
        together = Arrivals(*(np.concatenate(columns) for columns in zip(*taken, strict=True)))
        order = np.lexsort((together.kind, together.number, who, together.due))
        sorted_ = Arrivals(*(column[order] for column in together))
        yield Batch(sorted_.due.tolist(), _messages(sorted_, [symbols[k] for k in who[order]], settings.seed, first))


def _slices(hours: Sequence[tuple[int, int]], records: int) -> list[int]:
    """Moments up to which records are handed out together, the last one after all of them."""
    count = -(-records // AT_ONCE)
    return [*np.linspace(hours[0][0], hours[-1][1], count + 1)[1:-1].astype("int64").tolist(), FOREVER]


class _Feed:
    """One symbol's records of one day, made as far as they are asked for."""

    def __init__(self, settings: Settings, bar: Any, hours: Sequence[tuple[int, int]]) -> None:
        seed = [settings.seed, zlib.crc32(bar.symbol.encode()), bar.date.toordinal()]
        self._rng = np.random.default_rng([*seed, 1])  # of arrivals: however they are, the ticks are the same
        self._rates: Rates = settings
        shares = 0 if pd.isna(bar.volume) else round(bar.volume / settings.one_in)
        open_, high, low, close = (round(price * SCALE) for price in (bar.open, bar.high, bar.low, bar.close))
        day = Day(open_, high, low, close, shares, hours)
        self._pieces = intraday.path(day, settings.ticks, self._rates, np.random.default_rng([*seed, 0]))
        self._corruptions = len(CORRUPTIONS) - (not settings.symbols)  # unknown is a symbol only where some are named
        self._waiting = Arrivals(*(np.zeros(0, "int64") for _ in Arrivals._fields))
        self._made_until = 0

    def take(self, until: int) -> Arrivals:
        """The records due before a moment that were not yet taken."""
        made = [self._waiting]
        while self._made_until < until:
            piece = next(self._pieces, None)
            if piece is None:
                self._made_until = FOREVER
                break
            made.append(intraday.arrive(piece, self._rates, self._corruptions, self._rng))
            self._made_until = int(piece.time[-1])
        together = Arrivals(*(np.concatenate(columns) for columns in zip(*made, strict=True)))
        due = together.due < until
        self._waiting = Arrivals(*(column[~due] for column in together))
        return Arrivals(*(column[due] for column in together))


def _messages(arrivals: Arrivals, symbols: Sequence[str], seed: int, first: int) -> list[Message]:
    """Records as they are sent; the good ones are those of `ticks.encode`."""
    source, sequences = f"simulator-{seed}", (first + arrivals.number).tolist()
    prices, sizes, times = (arrivals.price / SCALE).tolist(), arrivals.size.tolist(), arrivals.time.tolist()
    messages = encode_all(symbols, prices, sizes, times, [source] * len(symbols), sequences)
    for at in np.flatnonzero(arrivals.kind >= CORRUPT).tolist():
        tick = Tick(symbols[at], int(arrivals.price[at]), sizes[at], times[at], source, sequences[at])
        messages[at] = Message(symbols[at], CORRUPTIONS[arrivals.kind[at] - CORRUPT].broken(tick))
    return messages
