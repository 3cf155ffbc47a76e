"""What followed each crossing of two averages: a position taken at the first price after the signal was known.

A buy says up, a sell says down. The signal's own price is never traded at, for it was there before the signal was;
the position is closed one horizon after it was taken. `crossing_scores` judges what these outcomes come to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.market import schema
from stockkit.market.signals import BUY, FOUR_HOURS

MINUTE = 60_000_000  # microseconds
BASIS_POINTS = 1e4
TICKS, MINUTES, BARS = "ticks", "minutes", "bars"
OUTCOMES: dict[str, str] = {
    "symbol": "string",
    "side": "string",
    "event_time": "datetime64[ns, UTC]",
    "horizon": "int64",
    "entry_time": "datetime64[ns, UTC]",
    "exit_time": "datetime64[ns, UTC]",
    "entry": "float64",
    "exit": "float64",
    "return_bp": "float64",
}
GAINS: dict[str, str] = {
    "symbol": "string",
    "horizon": "int64",
    "block": "datetime64[ns, UTC]",
    "gain_bp": "float64",
}


@dataclass(frozen=True, eq=False)
class Followed:
    """What followed signals.

    Attributes:
        outcomes: a row a signal and horizon, columns of `OUTCOMES`: return_bp is the log return from entry to exit in
            the signal's direction, in basis points before costs; NaN where there is no such entry or exit.
        gains: the same returns by the time in which they were earned, columns of `GAINS`: a row a symbol, horizon and
            block of time in which a position was held. A block begins at `block` and is as long as a position is
            usually held; opposite positions of one symbol cancel out in it, as they do in its price.
    """

    outcomes: pd.DataFrame
    gains: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Path:
    """The prices of one symbol at which a position can be taken, in the order in which they were known.

    Attributes:
        known: (n,) int64, ascending: where a price stands in the order that signals refer to.
        time: (n,) int64, microseconds since 1970 UTC, never descending.
        price: (n,) in the currency.
    """

    known: np.ndarray
    time: np.ndarray
    price: np.ndarray


def after_ticks(
    signals: pd.DataFrame,
    ticks: pd.DataFrame,
    *,
    horizons: Sequence[int],
    unit: str = MINUTES,
    gap: int = FOUR_HOURS,
) -> Followed:
    """What followed signals of a stream, from the first tick after each.

    A tick that arrived after a newer one of its symbol is an old price: nobody trades at it, so it is passed over. A
    signal of a minute was known when the tick arrived that closed the minute, which is later than the minute's end.

    Args:
        signals: symbol, number, side and event_time, as in the table `signals`; those of minutes (number 0) also
            partition and offset.
        ticks: symbol, number, event_time and price, as in the table `ticks`, of minutes also partition and offset; in
            any order.
        horizons: how long a position is kept, in `unit`: "minutes", to the first tick then or later, or "ticks".
        gap: microseconds without a tick that end a session, 0 for none: a signal whose position would outlast its
            session has no outcome.

    Raises:
        ForecastError: a horizon below 1, none, or another unit.
    """
    _check(horizons, unit, (MINUTES, TICKS))
    ordered = ticks.sort_values(["symbol", "number"], ignore_index=True)
    paths = {symbol: _newest(path) for symbol, path in _paths(ordered, "number", "event_time", "price")}
    number = signals["number"].to_numpy(dtype="int64")
    known = 1 + (number if (number > 0).all() else np.where(number > 0, number, _arrived(signals, ticks)))
    return _followed(signals, known, paths, horizons, MINUTE if unit == MINUTES else 0, gap)


def after_bars(
    signals: pd.DataFrame, bars: pd.DataFrame, *, horizons: Sequence[int], begins: str, gap: int = 0
) -> Followed:
    """What followed signals of bars, from the open of the first bar that begins when the signal's has ended, or later.

    Args:
        signals: symbol, side and event_time, the end of the signal's bar.
        bars: symbol, open, and the column `begins` with the start of each bar ("minute", "date"); in any order.
        horizons: how many bars later a position is closed, at the open.
        gap: microseconds between two bars that end a session, 0 for none; see `after_ticks`.

    Raises:
        ForecastError: a horizon below 1, or none.
    """
    _check(horizons, BARS, (BARS,))
    priced = bars[bars["open"] > 0].sort_values(["symbol", begins], ignore_index=True)
    ordered = priced.assign(begins=pd.to_datetime(priced[begins], utc=True))
    paths = dict(_paths(ordered.assign(known=_microseconds(ordered["begins"])), "known", "begins", "open"))
    return _followed(signals, _microseconds(signals["event_time"]), paths, horizons, 0, gap)


def _arrived(signals: pd.DataFrame, ticks: pd.DataFrame) -> np.ndarray:
    """The number of the symbol's last tick in the partition when each signal was raised; of none the last of all."""
    parts = [rows[["symbol", "partition"]].astype(str) for rows in (signals, ticks)]
    places = np.unique(pd.concat([signals["offset"], ticks["offset"]]).astype(str))  # texts sort as offsets do
    left, right = (part.assign(place=np.searchsorted(places, rows["offset"].astype(str)))
                   for part, rows in zip(parts, (signals, ticks), strict=True))  # fmt: skip
    left, right = left.assign(row=np.arange(len(left))), right.assign(number=ticks["number"])
    found = pd.merge_asof(left.sort_values("place"), right.sort_values("place"), on="place", by=["symbol", "partition"])
    number = found.sort_values("row")["number"]
    return number.fillna(ticks["number"].max()).to_numpy(dtype="int64")


def _check(horizons: Sequence[int], unit: str, units: Sequence[str]) -> None:
    if unit not in units:
        raise ForecastError(f"unit {unit!r}: give {' or '.join(map(repr, units))}.")
    if not horizons or min(horizons) < 1:
        raise ForecastError(f"horizons {list(horizons)}: give one or more, each 1 or more {unit}.")


def _microseconds(column: pd.Series) -> np.ndarray:
    return column.dt.as_unit("us").astype("int64").to_numpy()


def _instants(moments: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(moments.astype("datetime64[us]")).tz_localize("UTC")


def _paths(ordered: pd.DataFrame, known: str, time: str, price: str) -> Iterator[tuple[str, Path]]:
    moments, prices = _microseconds(ordered[time]), ordered[price].to_numpy(dtype="float64")
    places = ordered[known].to_numpy(dtype="int64")
    for first, stop in itertools.pairwise(schema.symbol_edges(ordered["symbol"])):
        rows = slice(int(first), int(stop))
        yield str(ordered["symbol"].iloc[rows.start]), Path(places[rows], moments[rows], prices[rows])


def _newest(path: Path) -> Path:
    """A path without the prices that came after a newer one."""
    on_time = path.time == np.maximum.accumulate(path.time)
    return Path(path.known[on_time], path.time[on_time], path.price[on_time])


@dataclass(frozen=True, eq=False)
class _Trades:
    """The positions of one symbol's signals at one horizon.

    Attributes:
        signals: (k,) rows of the symbol's signals.
        entry, leave: (k,) rows of the path. entered, closed: (k,) whether there is such a row, in the same session.
    """

    signals: pd.DataFrame
    horizon: int
    path: Path
    entry: np.ndarray
    leave: np.ndarray
    entered: np.ndarray
    closed: np.ndarray

    @property
    def durations(self) -> np.ndarray:
        """How long each closed position was held, in microseconds."""
        return (self.path.time[self.leave] - self.path.time[self.entry])[self.closed]

    def outcomes(self) -> pd.DataFrame:
        time, price = _instants(self.path.time), self.path.price
        about = self.signals[["symbol", "side", "event_time"]]
        entry, leave = (np.where(known, price[at], np.nan) for at, known in self._ends)
        return about.assign(
            horizon=self.horizon,
            entry_time=time[self.entry].where(self.entered),
            exit_time=time[self.leave].where(self.closed),
            entry=entry,
            exit=leave,
            return_bp=BASIS_POINTS * self._direction * np.log(leave / entry),
        )

    def gains(self, block: int) -> pd.DataFrame:
        """What was earned from each price to the next, summed by blocks of `block` microseconds."""
        moves, path = self._direction[self.closed], self.path
        change, count = np.zeros((2, len(path.time)))
        for at, sign in ((self.entry, 1), (self.leave, -1)):
            np.add.at(change, at[self.closed], sign * moves)
            np.add.at(count, at[self.closed], sign)
        active = np.flatnonzero(np.cumsum(count)[:-1] > 0.5)
        gain = BASIS_POINTS * np.cumsum(change)[active] * np.log(path.price[active + 1] / path.price[active])
        blocks, place = np.unique(path.time[active + 1] // block, return_inverse=True)
        return pd.DataFrame({
            "symbol": str(self.signals["symbol"].iloc[0]),
            "horizon": self.horizon,
            "block": _instants(blocks * block),
            "gain_bp": np.bincount(place, gain, minlength=len(blocks)),
        })  # fmt: skip

    @property
    def _ends(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return (self.entry, self.entered), (self.leave, self.closed)

    @property
    def _direction(self) -> np.ndarray:
        return np.where(self.signals["side"] == BUY, 1.0, -1.0)


def _followed(
    signals: pd.DataFrame, known: np.ndarray, paths: dict[str, Path], horizons: Sequence[int], step: int, gap: int
) -> Followed:
    """What followed each signal whose price can be had from `known` on; a horizon is `step` microseconds, or a row."""
    outcomes, gains = [], []
    of_symbol = signals.groupby("symbol", sort=True).indices
    for horizon in sorted(set(horizons)):
        trades = [
            _trades(signals.iloc[rows], paths[str(symbol)], known[rows], horizon, step, gap)
            for symbol, rows in of_symbol.items()
            if str(symbol) in paths
        ]
        lengths = np.concatenate([trade.durations for trade in trades] or [np.empty(0)])
        block = max(int(np.median(lengths)), 1) if len(lengths) else 1
        outcomes += [trade.outcomes() for trade in trades]
        gains += [trade.gains(block) for trade in trades]
    return Followed(schema.stack(outcomes, OUTCOMES), schema.stack(gains, GAINS))


def _trades(signals: pd.DataFrame, path: Path, known: np.ndarray, horizon: int, step: int, gap: int) -> _Trades:
    last = len(path.time) - 1
    entry = np.searchsorted(path.known, known)
    entered, entry = entry <= last, np.minimum(entry, last)
    leave = np.searchsorted(path.time, path.time[entry] + horizon * step) if step else entry + horizon
    inside, leave = leave <= last, np.minimum(leave, last)
    pauses = np.diff(path.time, prepend=path.time[:1]) > gap
    session = np.cumsum(pauses) if gap else np.zeros(len(path.time))
    closed = entered & inside & (session[leave] == session[entry])
    return _Trades(signals, horizon, path, entry, leave, entered, closed)
