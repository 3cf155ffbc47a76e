# ruff: noqa: E501 - the catalogue is a table: a feature a line
"""The catalogue of features: each a function of one symbol's arrays, with its look-back, unit and source.

A feature at row t uses rows up to and including t, never a later one. `look_back` is the number of
sessions before t that it needs; rows before that are NaN. TA-Lib computes the indicators; the smoothed
ones (EMA, MACD, RSI, ATR, ADX) go on weighing all earlier rows, ever less.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ParamError
from stockkit.market import schema


@dataclass(frozen=True)
class Arrays:
    """One symbol's bars in time order, as contiguous float64 arrays of equal length."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


@dataclass(frozen=True)
class Feature:
    """A named feature: what it computes, what it needs, what its unit is, where it comes from."""

    name: str
    function: Callable[[Arrays], np.ndarray]
    look_back: int
    unit: str
    meaning: str
    source: str

    @property
    def scale_free(self) -> bool:
        """Whether the value stays the same when every price is multiplied by a constant (a split)."""
        return self.unit not in ("price", "shares")


def _talib() -> Any:
    import talib

    return talib


def _log_return(x: np.ndarray, lag: int) -> np.ndarray:
    out = np.full(len(x), np.nan)
    out[lag:] = np.log(x[lag:] / x[:-lag])
    return out


def _sma(x: np.ndarray, n: int) -> np.ndarray:
    return _talib().SMA(x, n)


def _volatility(a: Arrays, n: int) -> np.ndarray:
    out = np.full(len(a.close), np.nan)
    returns = _log_return(a.close, 1)[1:]
    if len(returns):
        out[1:] = _talib().STDDEV(returns, n) * np.sqrt(n / (n - 1))
    return out


def _bollinger(a: Arrays) -> np.ndarray:
    upper, _, lower = _talib().BBANDS(a.close, 20, 2.0, 2.0)
    return _ratio(a.close - lower, upper - lower)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is zero (a flat market has no position in its range)."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)


def _obv_share(a: Arrays) -> np.ndarray:
    flow = np.sign(np.diff(a.close, prepend=a.close[:1])) * a.volume
    return _ratio(_talib().SUM(flow, 20), _talib().SUM(a.volume, 20))


def _volume_z(a: Arrays) -> np.ndarray:
    return _ratio(a.volume - _sma(a.volume, 20), _talib().STDDEV(a.volume, 20))


def _position(a: Arrays) -> np.ndarray:
    low, high = _talib().MIN(a.low, 252), _talib().MAX(a.high, 252)
    return _ratio(a.close - low, high - low)


def _gap(a: Arrays) -> np.ndarray:
    out = np.full(len(a.close), np.nan)
    out[1:] = np.log(a.open[1:] / a.close[:-1])
    return out


CATALOGUE: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("ret_1", lambda a: _log_return(a.close, 1), 1, "log return", "change since the last session", "ln(C/C[-1])"),
        Feature("ret_5", lambda a: _log_return(a.close, 5), 5, "log return", "change over a week", "ln(C/C[-5])"),
        Feature("ret_21", lambda a: _log_return(a.close, 21), 21, "log return", "change over a month", "ln(C/C[-21])"),
        Feature("gap", _gap, 1, "log return", "open against the last close", "ln(O/C[-1])"),
        Feature("range", lambda a: np.log(a.high / a.low), 0, "log return", "height of the day's bar", "Parkinson 1980, ln(H/L)"),
        Feature("sma_5", lambda a: _sma(a.close, 5), 4, "price", "mean close of a week", "TA-Lib SMA"),
        Feature("sma_20", lambda a: _sma(a.close, 20), 19, "price", "mean close of a month", "TA-Lib SMA"),
        Feature("to_sma_20", lambda a: a.close / _sma(a.close, 20) - 1, 19, "ratio", "distance from the month's mean", "TA-Lib SMA"),
        Feature("to_sma_50", lambda a: a.close / _sma(a.close, 50) - 1, 49, "ratio", "distance from the quarter's mean", "TA-Lib SMA"),
        Feature("to_sma_200", lambda a: a.close / _sma(a.close, 200) - 1, 199, "ratio", "distance from the year's mean", "TA-Lib SMA"),
        Feature("to_ema_20", lambda a: a.close / _talib().EMA(a.close, 20) - 1, 19, "ratio", "distance from the smoothed close", "TA-Lib EMA"),
        Feature("macd_hist", lambda a: _talib().MACD(a.close)[2] / a.close, 33, "ratio", "MACD less its signal, over close", "Appel 1979, TA-Lib MACD 12/26/9"),
        Feature("rsi_14", lambda a: _talib().RSI(a.close, 14), 14, "0 to 100", "share of gains in recent moves", "Wilder 1978, TA-Lib RSI"),
        Feature("bollinger_20", _bollinger, 19, "ratio", "place between the bands, 0 low to 1 high", "Bollinger 2001, TA-Lib BBANDS"),
        Feature("natr_14", lambda a: _talib().NATR(a.high, a.low, a.close, 14), 14, "percent", "average true range over close", "Wilder 1978, TA-Lib NATR"),
        Feature("adx_14", lambda a: _talib().ADX(a.high, a.low, a.close, 14), 27, "0 to 100", "strength of trend", "Wilder 1978, TA-Lib ADX"),
        Feature("cci_20", lambda a: _talib().CCI(a.high, a.low, a.close, 20), 19, "index", "distance from the typical price", "Lambert 1980, TA-Lib CCI"),
        Feature("mfi_14", lambda a: _talib().MFI(a.high, a.low, a.close, a.volume, 14), 14, "0 to 100", "volume-weighted RSI", "TA-Lib MFI"),
        Feature("obv_20", _obv_share, 19, "ratio", "volume on up days less down days, as a share", "Granville 1963, over 20 sessions"),
        Feature("vol_20", lambda a: _volatility(a, 20), 20, "log return", "daily volatility over a month", "sample standard deviation"),
        Feature("vol_60", lambda a: _volatility(a, 60), 60, "log return", "daily volatility over a quarter", "sample standard deviation"),
        Feature("volume_z_20", _volume_z, 19, "standard deviations", "volume against its month", "z-score"),
        Feature("pos_252", _position, 251, "ratio", "place in the 52-week range, 0 low to 1 high", "George and Hwang 2004"),
    )
}  # fmt: skip


def names(*, scale_free: bool = False) -> list[str]:
    """The names in the catalogue, in its order; only those that a split leaves unchanged if `scale_free`."""
    return [name for name, feature in CATALOGUE.items() if feature.scale_free or not scale_free]


def catalogue() -> pd.DataFrame:
    """The catalogue as a table: name, look_back (sessions), unit, meaning, source."""
    return pd.DataFrame(
        [(f.name, f.look_back, f.unit, f.meaning, f.source) for f in CATALOGUE.values()],
        columns=["name", "look_back", "unit", "meaning", "source"],
    ).set_index("name")


def _pick(wanted: Sequence[str] | None) -> list[Feature]:
    for name in wanted or ():
        if name not in CATALOGUE:
            near = get_close_matches(name, CATALOGUE, n=1)
            raise ParamError(f"{name!r} is no feature." + (f" Did you mean {near[0]!r}?" if near else ""))
    return [CATALOGUE[name] for name in (wanted or CATALOGUE)]


def compute(bars: pd.DataFrame, wanted: Sequence[str] | None = None) -> pd.DataFrame:
    """Compute features of daily bars, symbol by symbol.

    Args:
        bars: as `schema.BARS` (more columns are allowed), rows in any order; left untouched.
        wanted: names from the catalogue; all of them by default.

    Returns:
        symbol, date and one float64 column a feature, sorted by symbol then date; NaN within the look-back.

    Raises:
        ParamError: an unknown name. SchemaError: bars that break their contract.
    """
    chosen = _pick(wanted)
    bars = bars.sort_values(["symbol", "date"], ignore_index=True)
    schema.check_bars(bars)
    columns = [np.ascontiguousarray(bars[c].to_numpy(dtype="float64")) for c in Arrays.__annotations__]
    codes = pd.factorize(bars["symbol"])[0]
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1), len(bars)]
    block = np.full((len(chosen), len(bars)), np.nan)
    for first, last in itertools.pairwise(edges):
        if last > first:
            arrays = Arrays(*(column[first:last] for column in columns))
            for k, feature in enumerate(chosen):
                block[k, first:last] = feature.function(arrays)
    values = pd.DataFrame(block.T, columns=[feature.name for feature in chosen], copy=False)
    return pd.concat([bars[["symbol", "date"]], values], axis=1)
