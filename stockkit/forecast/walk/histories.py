"""The histories of a panel's symbols: each one's series with its labels, and where each fold cuts it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models import volatility
from stockkit.forecast.models.protocol import STILL, Series, Training, target
from stockkit.forecast.walk.folds import NEWEST, Fold
from stockkit.market import schema

SHORTEST = 60  # sessions besides two horizons: with fewer, no symbol is forecast
STALE = np.timedelta64(7, "D")  # a symbol whose last session is older than the panel's by more is no longer traded


@dataclass(frozen=True, eq=False)
class SymbolHistory:
    """One symbol's part of a panel: its series, labels and usual volatility."""

    series: Series
    labels: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True)
class Cut:
    """Where a fold cuts one symbol: trained on the rows `first` to `known`, tested on `start` to `stop`."""

    first: int
    known: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Histories:
    """Of a panel: the symbols that can be forecast, the panel's distinct sessions, and why a symbol is left out."""

    by_symbol: dict[str, SymbolHistory]
    sessions: np.ndarray
    horizon: int
    skipped: dict[str, str]

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, features: Sequence[str], horizon: int) -> Histories:
        """Take a frame of symbol, date, close and features apart; what is wrong with one symbol only leaves it out.

        Raises:
            ForecastError: a column is missing, there are no rows, or they are not sorted by symbol and session.
        """
        frame = _conforming(frame, features)
        values = np.ascontiguousarray(frame[list(features)].to_numpy(dtype="float64", na_value=np.nan))
        values.setflags(write=False)  # a model that scales in place would spoil the next one's input
        close = frame["close"].to_numpy(dtype="float64", na_value=np.nan)
        date = frame["date"].to_numpy(dtype="datetime64[ns]")
        by_symbol, skipped = {}, {}
        for first, last in itertools.pairwise(schema.symbol_edges(frame["symbol"]).tolist()):
            symbol, rows = str(frame["symbol"].iloc[first]), slice(first, last)
            try:
                series = Series(symbol, date[rows], close[rows], values[rows], tuple(features))
                by_symbol[symbol] = _history(series, horizon)
            except ForecastError as error:
                skipped[symbol] = str(error)
        dates = [history.series.date for history in by_symbol.values()]
        sessions = np.unique(np.concatenate(dates)) if dates else date[:0]
        return cls(by_symbol, sessions, horizon, skipped)

    def cut(self, history: SymbolHistory, fold: Fold) -> Cut:
        """Where `fold` cuts a symbol; of the newest fold it tests the last row alone."""
        date = history.series.date
        bounds = (self.sessions[fold.train_start], self.sessions[fold.known_stop - 1], self.sessions[fold.test_start])
        first, start = np.searchsorted(date, bounds[0]), np.searchsorted(date, bounds[2])
        known = np.searchsorted(date, bounds[1], side="right")
        stop = np.searchsorted(date, self.sessions[fold.test_stop - 1], side="right")
        if fold.number == NEWEST:
            start = max(start, len(date) - 1)
        return Cut(int(first), int(known), int(start), int(stop))

    def training(self, some: Sequence[SymbolHistory], fold: Fold) -> Training:
        """What a fit of `fold` may know of some symbols, its labels only those that were realised by then."""
        cuts = [(history, self.cut(history, fold)) for history in some]
        series = tuple(history.series.until(cut.known).since(cut.first) for history, cut in cuts)
        return Training(series, self.horizon, self.sessions[fold.known_stop - 1])

    def traded(self) -> Histories:
        """Without the symbols whose last session is over a week before the panel's."""
        ends = {symbol: history.series.date[-1] for symbol, history in self.by_symbol.items()}
        old = {s: end for s, end in ends.items() if self.sessions[-1] - end > STALE}
        reasons = {s: f"its last session, {end:.10}, is over a week old" for s, end in old.items()}
        traded = {s: history for s, history in self.by_symbol.items() if s not in old}
        return replace(self, by_symbol=traded, skipped=self.skipped | reasons)


def _history(series: Series, horizon: int) -> SymbolHistory:
    labels = target(series, horizon)
    if len(series) < SHORTEST + 2 * horizon:
        raise ForecastError(f"{len(series)} sessions are too few: give {SHORTEST + 2 * horizon} at the least.")
    known = labels[np.isfinite(labels)]
    if not len(known) or np.ptp(known) <= STILL:
        raise ForecastError(
            f"the close never moves ({series.close[-1]:.6g}): the target is constant, so there is nothing to learn "
            f"and no scale to judge by. Check for a halted symbol or filled prices."
        )
    return SymbolHistory(series, labels, volatility.usual(series, horizon))


def _conforming(frame: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """A panel that is fit to use, its symbols, dates and closes as `schema.conform` makes them."""
    missing = [name for name in ("symbol", "date", "close", *features) if name not in frame.columns]
    if missing:
        raise ForecastError(f"the panel has no column {missing[0]!r}; it has {', '.join(map(str, frame.columns))}.")
    if frame.empty:
        raise ForecastError("the panel has no rows: ingest and compute features first.")
    frame = schema.conform(frame, schema.CLOSES, what="the panel")
    symbols, later = frame["symbol"].to_numpy(dtype=str), frame["date"].diff().gt(pd.Timedelta(0)).to_numpy()
    if not ((symbols[1:] > symbols[:-1]) | ((symbols[1:] == symbols[:-1]) & later[1:])).all():
        raise ForecastError("the panel is not sorted or repeats a session: sort_values(['symbol', 'date']) first.")
    return frame
