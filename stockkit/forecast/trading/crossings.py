"""What followed each crossing of two averages: a position taken at the first price after the signal was known.

A buy says up, a sell says down. The signal's own price is never traded at, for it was there before the signal was;
the position is closed one horizon after it was taken. `crossing_scores` judges what these outcomes come to.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """The prices at which positions can be taken, symbol by symbol, in the order in which they were known.

    Attributes:
        symbols: (s,) names; the prices of the k-th are rows edges[k] to edges[k + 1].
        known: (n,) int64, ascending by symbol: where a price stands in the order that signals refer to.
        time: (n,) int64, microseconds since 1970 UTC, never descending by symbol.
        price: (n,) in the currency.
    """

    symbols: pd.Index
    edges: np.ndarray
    known: np.ndarray
    time: np.ndarray
    price: np.ndarray

    def rows(self, ascending: np.ndarray, symbol: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """The first row of each symbol (its place in `symbols`) where `ascending` (n,) is not below what is wanted.

        One past the symbol's last row where there is none, or no such symbol (−1).
        """
        out = np.zeros(len(symbol), dtype="int64")
        order = np.argsort(symbol, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(symbol[order])) + 1):
            if len(rows) and symbol[rows[0]] >= 0:
                first, stop = self.edges[symbol[rows[0]] : symbol[rows[0]] + 2]
                out[rows] = first + np.searchsorted(ascending[first:stop], wanted[rows])
        return out


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
    newest = ordered["event_time"].groupby(ordered["symbol"]).cummax()
    path = _path(ordered[ordered["event_time"] == newest], "number", "event_time", "price")
    number = signals["number"].to_numpy(dtype="int64")
    known = 1 + (number if (number > 0).all() else np.where(number > 0, number, _arrived(signals, ticks)))
    return _followed(signals, known, path, horizons, MINUTE if unit == MINUTES else 0, gap)


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
    path = _path(ordered.assign(known=_microseconds(ordered["begins"])), "known", "begins", "open")
    return _followed(signals, _microseconds(signals["event_time"]), path, horizons, 0, gap)


def _arrived(signals: pd.DataFrame, ticks: pd.DataFrame) -> np.ndarray:
    """The number of the symbol's last tick in the partition when each signal was raised; of none the last of all."""
    parts = [rows[["symbol", "partition"]].astype(str) for rows in (signals, ticks)]
    places = np.unique(pd.concat([signals["offset"], ticks["offset"]]).astype(str))  # texts sort as offsets do
    left, right = (part.assign(place=np.searchsorted(places, rows["offset"].astype(str)))
                   for part, rows in zip(parts, (signals, ticks), strict=True))  # fmt: skip
    left, right = left.assign(row=np.arange(len(left))), right.assign(number=ticks["number"])
    nearest = pd.merge_asof(
        left.sort_values("place"), right.sort_values("place"), on="place", by=["symbol", "partition"]
    )
    number = nearest.sort_values("row")["number"]
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


def _path(ordered: pd.DataFrame, known: str, time: str, price: str) -> Path:
    """The path of a frame that is sorted by symbol, then `known`."""
    edges = schema.symbol_edges(ordered["symbol"]) if len(ordered) else np.zeros(1, dtype="int64")
    symbols = pd.Index(ordered["symbol"].iloc[edges[:-1]].astype(object))
    columns = ordered[known].to_numpy("int64"), _microseconds(ordered[time]), ordered[price].to_numpy("float64")
    return Path(symbols, edges, *columns)


@dataclass(frozen=True, eq=False)
class _Trades:
    """The position of each signal at one horizon.

    Attributes:
        symbol: (k,) places in the path's symbols. direction: (k,) 1 for a buy, −1 for a sell.
        entry, leave: (k,) rows of the path. entered, closed: (k,) whether there is such a row, in the same session.
    """

    path: Path
    horizon: int
    symbol: np.ndarray
    direction: np.ndarray
    entry: np.ndarray
    leave: np.ndarray
    entered: np.ndarray
    closed: np.ndarray

    @property
    def durations(self) -> np.ndarray:
        """How long each closed position was held, in microseconds."""
        return (self.path.time[self.leave] - self.path.time[self.entry])[self.closed]

    def outcomes(self, signals: pd.DataFrame) -> pd.DataFrame:
        """`signals` with what followed each."""
        time, price = _instants(self.path.time), self.path.price
        entry = np.where(self.entered, price[self.entry], np.nan)
        leave = np.where(self.closed, price[self.leave], np.nan)
        return signals[["symbol", "side", "event_time"]].assign(
            horizon=self.horizon,
            entry_time=time[self.entry].where(self.entered),
            exit_time=time[self.leave].where(self.closed),
            entry=entry,
            exit=leave,
            return_bp=BASIS_POINTS * self.direction * np.log(leave / entry),
        )

    def gains(self, block: int) -> pd.DataFrame:
        """What was earned from each price to the next, summed by symbol and blocks of `block` microseconds."""
        path, moves = self.path, self.direction[self.closed]
        change, count = np.zeros((2, len(path.time)))
        for at, sign in ((self.entry, 1), (self.leave, -1)):
            np.add.at(change, at[self.closed], sign * moves)
            np.add.at(count, at[self.closed], sign)
        open_rows = np.flatnonzero(np.cumsum(count) > 0.5)  # never the last row of a symbol: all is closed there
        gain = BASIS_POINTS * np.cumsum(change)[open_rows] * np.log(path.price[open_rows + 1] / path.price[open_rows])
        symbol = np.searchsorted(path.edges, open_rows, side="right") - 1
        rows = pd.DataFrame({"symbol": symbol, "block": path.time[open_rows + 1] // block, "gain_bp": gain})
        sums = rows.groupby(["symbol", "block"], as_index=False)["gain_bp"].sum()
        return sums.assign(
            symbol=path.symbols[sums["symbol"]], horizon=self.horizon, block=_instants(sums["block"].to_numpy() * block)
        )


def _followed(
    signals: pd.DataFrame, known: np.ndarray, path: Path, horizons: Sequence[int], step: int, gap: int
) -> Followed:
    """What followed each signal whose price can be had from `known` on; a horizon is `step` microseconds, or a row."""
    outcomes, gains = [], []
    if len(path.time):
        for horizon in sorted(set(horizons)):
            trades = _trades(signals, path, known, horizon, step, gap)
            block = max(int(np.median(trades.durations)), 1) if trades.closed.any() else 1
            outcomes.append(trades.outcomes(signals))
            gains.append(trades.gains(block))
    return Followed(schema.stack(outcomes, OUTCOMES), schema.stack(gains, GAINS))


def _trades(signals: pd.DataFrame, path: Path, known: np.ndarray, horizon: int, step: int, gap: int) -> _Trades:
    symbol = path.symbols.get_indexer(signals["symbol"].astype(object))
    last = path.edges[symbol + 1] - 1
    entry = path.rows(path.known, symbol, known)
    entered = (symbol >= 0) & (entry <= last)
    entry = np.where(entered, entry, 0)
    leave = path.rows(path.time, symbol, path.time[entry] + horizon * step) if step else entry + horizon
    inside = entered & (leave <= last)
    leave = np.where(inside, leave, 0)
    session = np.cumsum(np.diff(path.time, prepend=path.time[0]) > gap) if gap else np.zeros(len(path.time))
    closed = inside & (session[leave] == session[entry])
    direction = np.where(signals["side"] == BUY, 1.0, -1.0)
    return _Trades(path, horizon, symbol, direction, entry, leave, entered, closed)
