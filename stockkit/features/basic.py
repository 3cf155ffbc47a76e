# ruff: noqa: E501 - a table: a feature a line
"""The group `basic`: the indicators that every chart program has, most of them free of the price's scale.

TA-Lib computes those that smooth over all history, symbol by symbol; the windowed ones are sums and extremes over
the window's own rows (`windows`), so that a new day needs no more than its look-back.

The group `lags`: what a feature of `basic` was some sessions ago, for models that have no memory of their own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from stockkit.features.feature import Arrays, Feature
from stockkit.features.windows import change, deviation, deviations, highest, lagged, lowest, mean, ratio, total
from stockkit.imports import numpy as np


def _talib() -> Any:
    import talib

    return talib


def _macd(close: np.ndarray) -> np.ndarray:
    return _talib().MACD(close)[2]


def _bollinger(a: Arrays) -> np.ndarray:
    centre, squares = deviations(a.close, 20)
    return ratio(a.close - centre, 4 * np.sqrt(squares / 20)) + 0.5


def _cci(a: Arrays) -> np.ndarray:
    typical = (a.high + a.low + a.close) / 3
    centre = mean(typical, 20)
    away, aside = np.zeros(len(typical)), np.empty(len(typical))
    for lag in range(20):
        rows = aside[lag:]
        np.subtract(typical[: len(rows)], centre[lag:], out=rows)
        np.abs(rows, out=rows)
        away[lag:] += rows
    return ratio(typical - centre, 0.015 / 20 * away)


def _mfi(a: Arrays) -> np.ndarray:
    typical = (a.high + a.low + a.close) / 3
    flow = typical * a.volume
    move, tie = change(typical, 1), 1e-12 * typical  # a split must not make a rise out of a tie by rounding
    up, both = total(flow * (move > tie), 14), total(flow * (np.abs(move) > tie), 14)
    return 100 * ratio(up, both)


def _obv_share(a: Arrays) -> np.ndarray:
    return ratio(total(np.sign(change(a.close, 1)) * a.volume, 20), total(a.volume, 20))


def _volume_z(a: Arrays) -> np.ndarray:
    centre, squares = deviations(a.volume, 20)
    return ratio(a.volume - centre, np.sqrt(squares / 20))


def _position(a: Arrays) -> np.ndarray:
    low, high = lowest(a.low, 252), highest(a.high, 252)
    return ratio(a.close - low, high - low)


_feature = partial(Feature, group="basic")
FEATURES = (
    _feature("ret_1", lambda a: change(a.log_close, 1), 1, "log return", "change since the last session", "ln(C/C[-1])"),
    _feature("ret_5", lambda a: change(a.log_close, 5), 5, "log return", "change over a week", "ln(C/C[-5])"),
    _feature("ret_21", lambda a: change(a.log_close, 21), 21, "log return", "change over a month", "ln(C/C[-21])"),
    _feature("gap", lambda a: np.log(a.open / lagged(a.close, 1)), 1, "log return", "open against the last close", "ln(O/C[-1])"),
    _feature("range", lambda a: np.log(a.high / a.low), 0, "log return", "height of the day's bar", "Parkinson 1980, ln(H/L)"),
    _feature("sma_5", lambda a: mean(a.close, 5), 4, "price", "mean close of a week", "simple moving average"),
    _feature("sma_20", lambda a: mean(a.close, 20), 19, "price", "mean close of a month", "simple moving average"),
    _feature("to_sma_20", lambda a: a.close / mean(a.close, 20) - 1, 19, "ratio", "distance from the month's mean", "C/SMA 20"),
    _feature("to_sma_50", lambda a: a.close / mean(a.close, 50) - 1, 49, "ratio", "distance from the quarter's mean", "C/SMA 50"),
    _feature("to_sma_200", lambda a: a.close / mean(a.close, 200) - 1, 199, "ratio", "distance from the year's mean", "C/SMA 200"),
    _feature("to_ema_20", lambda a: a.close / a.by_symbol(_talib().EMA, a.close, timeperiod=20) - 1, 19, "ratio", "distance from the smoothed close", "TA-Lib EMA", smoothed=True),
    _feature("macd_hist", lambda a: a.by_symbol(_macd, a.close) / a.close, 33, "ratio", "MACD less its signal, over close", "Appel 1979, TA-Lib MACD 12/26/9", smoothed=True),
    _feature("rsi_14", lambda a: a.by_symbol(_talib().RSI, a.close, timeperiod=14), 14, "0 to 100", "share of gains in recent moves", "Wilder 1978, TA-Lib RSI", smoothed=True),
    _feature("bollinger_20", _bollinger, 19, "ratio", "place between the bands, 0 low to 1 high", "Bollinger 2001, %b of 20 sessions and 2 deviations"),
    _feature("natr_14", lambda a: a.by_symbol(_talib().NATR, a.high, a.low, a.close, timeperiod=14), 14, "percent", "average true range over close", "Wilder 1978, TA-Lib NATR", smoothed=True),
    _feature("adx_14", lambda a: a.by_symbol(_talib().ADX, a.high, a.low, a.close, timeperiod=14), 27, "0 to 100", "strength of trend", "Wilder 1978, TA-Lib ADX", smoothed=True),
    _feature("cci_20", _cci, 19, "index", "distance from the typical price", "Lambert 1980, as TA-Lib CCI"),
    _feature("mfi_14", _mfi, 14, "0 to 100", "volume-weighted RSI", "Quong and Soudack 1989, as TA-Lib MFI"),
    _feature("obv_20", _obv_share, 20, "ratio", "volume on up days less down days, as a share", "Granville 1963, over 20 sessions"),
    _feature("vol_20", lambda a: deviation(change(a.log_close, 1), 20, ddof=1), 20, "log return", "daily volatility over a month", "sample standard deviation"),
    _feature("vol_60", lambda a: deviation(change(a.log_close, 1), 60, ddof=1), 60, "log return", "daily volatility over a quarter", "sample standard deviation"),
    _feature("volume_z_20", _volume_z, 19, "standard deviations", "volume against its month", "z-score"),
    _feature("pos_252", _position, 251, "ratio", "place in the 52-week range, 0 low to 1 high", "George and Hwang 2004"),
)  # fmt: skip
BY_NAME = {feature.name: feature for feature in FEATURES}

LAGS = {"ret_1": (1, 2, 3, 4, 5, 10, 21), "range": (1, 2, 5), "volume_z_20": (1, 5)}
LAG_SOURCES = {"range": "lag of Parkinson 1980"}


def _lag(base: Feature, lag: int) -> Feature:
    ago = "one session ago" if lag == 1 else f"{lag} sessions ago"
    return Feature(f"{base.name}_lag_{lag}", lambda a: lagged(base.function(a), lag), base.look_back + lag, base.unit,
                   f"{base.name} {ago}", LAG_SOURCES.get(base.name, "lag"), "lags")  # fmt: skip


LAGGED = tuple(_lag(BY_NAME[name], lag) for name, lags in LAGS.items() for lag in lags)
