"""Crossings of two moving averages in a stored series, all at once: the reference for `market.signals`, tick by tick.

The averages are compared as integers, so that the crossings are those of `signals.Crossing` bit for bit, whatever the
prices: at the same tick, to the same side, with the same averages.

Example:
    >>> import numpy as np
    >>> from stockkit.market.signals import Rule
    >>> crossed = crossings(np.array([3, 2, 2, 4, 4, 5, 1]), np.arange(7), Rule(fast=1, slow=2, gap=0))
    >>> crossed.at.tolist(), crossed.side.tolist()
    ([3, 6], ['buy', 'sell'])
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stockkit.errors import ParamError
from stockkit.market import schema
from stockkit.market.signals import BUY, SELL, Rule, Split
from stockkit.market.ticks import SCALE

TICK, MINUTE, DAY = "tick", "1m", "1d"
LINES: dict[str, str] = {
    "symbol": "string",
    "event_time": "datetime64[ns, UTC]",
    "price": "float64",
    "number": "int64",
    "fast": "float64",
    "slow": "float64",
    "side": "string",
}
SIGNALS: dict[str, str] = {**LINES, "interval": "string"}
INT64, FLOAT64 = 2**63, 2**53  # up to where they hold every integer


@dataclass(frozen=True, eq=False)
class SeriesCrossings:
    """The crossings of one series.

    Attributes:
        at: (k,) rows at which the averages cross.
        side: (k,) "buy" or "sell".
        fast, slow: (n,) both averages at every row, in the currency; NaN in the warm-up.
    """

    at: np.ndarray
    side: np.ndarray
    fast: np.ndarray
    slow: np.ndarray


def crossings(price: np.ndarray, time: np.ndarray, rule: Rule, splits: Sequence[Split] = ()) -> SeriesCrossings:
    """Where two averages of a series cross.

    Args:
        price: (n,) int64, millionths of the currency, in the order that defines the averages.
        time: (n,) int64, of each price, microseconds since 1970 UTC; a late one may lie before those above it.
        rule: windows and the pause after which the warm-up starts anew; its `splits` are not looked at.
        splits: of this series, ascending by time.
    """
    newest = np.maximum.accumulate(time)
    starts = np.zeros(len(time), dtype=bool)
    starts[1:] = (time[1:] - newest[:-1] > rule.gap) & (rule.gap > 0)
    segment = np.cumsum(starts)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(time)), 0))
    warm = np.arange(len(time)) - first >= rule.slow - 1
    fast, slow = _sums(price, time, rule, splits)
    difference = fast * rule.slow - slow * rule.fast
    sign = np.where(warm, (difference > 0).astype("int8") - (difference < 0).astype("int8"), 0)
    sided = np.flatnonzero(sign)  # equal averages keep the side
    turned = (sign[sided[1:]] != sign[sided[:-1]]) & (segment[sided[1:]] == segment[sided[:-1]])
    at = sided[1:][turned]
    averages = (_average(total, width, warm) for total, width in ((fast, rule.fast), (slow, rule.slow)))
    return SeriesCrossings(at, np.where(sign[at] > 0, BUY, SELL), *averages)


def _sums(price: np.ndarray, time: np.ndarray, rule: Rule, splits: Sequence[Split]) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the last `fast` and `slow` prices at each row, in the units of the newest event so far."""
    units = price.astype("int64" if _largest(price, rule, splits) < INT64 else object)
    after = np.searchsorted([split.time for split in splits], time, side="right")  # splits that a price knows
    passed = np.maximum.accumulate(after)
    for k in np.flatnonzero(after < passed):
        units[k] = _restated(units[k : k + 1], splits[after[k] : passed[k]])[0]
    fast, slow = np.zeros_like(units), np.zeros_like(units)
    for start, stop in itertools.pairwise([0, *(np.flatnonzero(np.diff(passed)) + 1), len(units)]):
        low = max(start - rule.slow + 1, 0)
        if start:
            units[low:start] = _restated(units[low:start], splits[passed[start - 1] : passed[start]])
        fast[start:stop] = _rolling(units[low:stop], rule.fast)[start - low :]
        slow[start:stop] = _rolling(units[low:stop], rule.slow)[start - low :]
    return fast, slow


def _largest(price: np.ndarray, rule: Rule, splits: Sequence[Split]) -> int:
    """A bound of every product on the way."""
    largest = int(price.max(initial=1)) * rule.slow * rule.fast
    for split in splits:
        largest *= max(split.numerator, split.denominator)
    return largest


def _restated(prices: np.ndarray, splits: Sequence[Split]) -> list[int]:
    out = [int(price) for price in prices]
    for split in splits:
        out = [split.restate(price) for price in out]
    return out


def _rolling(values: np.ndarray, width: int) -> np.ndarray:
    """The sum of the last `width` values; of all so far in the first rows."""
    total = np.cumsum(values)  # beyond an int64 it wraps, and the difference is right all the same
    total[width:] -= total[:-width].copy()
    return total


def _average(total: np.ndarray, width: int, warm: np.ndarray) -> np.ndarray:
    """Sums as averages in the currency, rounded once, as Python divides integers; NaN where it is not warm."""
    exact = total if total.max(initial=0) < FLOAT64 else total.astype(object)
    return np.where(warm, (exact / (width * SCALE)).astype("float64"), np.nan)


def of_ticks(ticks: pd.DataFrame, rule: Rule, *, interval: str = TICK) -> pd.DataFrame:
    """The crossings of the table `ticks`, as the table `signals` has them: rows of `SIGNALS`, by symbol, in order.

    Args:
        ticks: symbol, number (the place in the symbol's order of arrival), event_time and price; of minutes also late,
            whether the minute was closed already. In any order.
        rule: windows, pause and splits.
        interval: what the windows count: "tick", or "1m": the last price of each minute, of the ticks in time.

    Raises:
        ParamError: another interval.
    """
    return _signals(averages(ticks, rule, interval=interval), interval)


def averages(ticks: pd.DataFrame, rule: Rule, *, interval: str = TICK) -> pd.DataFrame:
    """What the windows count, by symbol and in order, with the columns fast and slow and the side of a crossing there.

    Args:
        ticks, rule, interval: as for `of_ticks`.

    Returns:
        Rows of `LINES`; event_time is the tick's, or the end of the minute; averages are in the currency, NaN in the
        warm-up; side is missing where nothing crosses.
    """
    if interval not in (TICK, MINUTE):
        raise ParamError(f"interval {interval!r}: windows count '{TICK}' or '{MINUTE}'.")
    if interval == TICK:
        return _lines(ticks.sort_values(["symbol", "number"]), rule)
    known = ticks[~ticks["late"].astype(bool)].sort_values(["symbol", "event_time", "number"])
    ends = known["event_time"].dt.floor("min") + pd.Timedelta(MINUTE)
    closes = known.assign(event_time=ends).groupby(["symbol", "event_time"], sort=True)["price"].last().reset_index()
    return _lines(closes.assign(number=closes.groupby("symbol").cumcount() + 1), rule)


def of_sessions(prices: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """The crossings of daily closes: rows of `SIGNALS` with the interval "1d"; event_time ends the day of the session.

    Args:
        prices: symbol, date and close; in any order.
        rule: windows and pause, which should be 0: a night is no gap of days.
    """
    ordered = prices.sort_values(["symbol", "date"], ignore_index=True)
    ends = pd.to_datetime(ordered["date"], utc=True) + pd.Timedelta(DAY)
    closes = pd.DataFrame({"symbol": ordered["symbol"], "event_time": ends, "price": ordered["close"], "number": 0})
    return _signals(_lines(closes, rule), DAY)


def of_rule(signals: pd.DataFrame, rule: Rule, *, interval: str = TICK) -> pd.DataFrame:
    """The rows of the table `signals` that come from these windows of this interval."""
    return signals[signals["id"].str.startswith(f"{interval}:{rule.fast}/{rule.slow}:")]


def differences(stored: pd.DataFrame, recomputed: pd.DataFrame) -> pd.DataFrame:
    """The signals that are stored and do not come out, or come out and are not stored: bit for bit, each once.

    Args:
        stored: as from `of_rule`.
        recomputed: as from `of_ticks`, by the same rule and interval.

    Returns:
        Rows of `SIGNALS`, and `more`: how many more there are of it stored than come out, below 0 for fewer.
    """
    counts = [schema.cast(rows, SIGNALS).value_counts(dropna=False) for rows in (stored, recomputed)]
    more = counts[0].sub(counts[1], fill_value=0).astype("int64")
    return more[more != 0].rename("more").reset_index()


def _signals(lines: pd.DataFrame, interval: str) -> pd.DataFrame:
    crossed = lines[lines["side"].notna()].assign(interval=interval)
    return schema.cast(crossed if interval == TICK else crossed.assign(number=0), SIGNALS)


def _lines(ordered: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """A frame of symbols in order, one after the other, with averages and sides."""
    side = np.full(len(ordered), None, dtype=object)
    fast, slow = np.full((2, len(ordered)), np.nan)
    for rows, series in _by_symbol(ordered, rule):
        fast[rows], slow[rows] = series.fast, series.slow
        side[rows.start + series.at] = series.side
    return schema.cast(ordered.assign(side=side, fast=fast, slow=slow), LINES)


def _by_symbol(ordered: pd.DataFrame, rule: Rule) -> list[tuple[slice, SeriesCrossings]]:
    """The rows of each symbol, and what is found in them."""
    millionths = np.rint(ordered["price"].to_numpy(dtype="float64") * SCALE).astype("int64")
    moments = ordered["event_time"].dt.as_unit("us").astype("int64").to_numpy()
    out = []
    for first, stop in itertools.pairwise(schema.symbol_edges(ordered["symbol"])):
        rows = slice(int(first), int(stop))
        splits = rule.splits.get(str(ordered["symbol"].iloc[first]), ())
        out.append((rows, crossings(millionths[rows], moments[rows], rule, splits)))
    return out
