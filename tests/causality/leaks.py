"""A corpus of leaks and their clean look-alikes: what notebooks do to bars, each in one readable function.

Every function takes daily bars sorted by symbol and date and returns one value a row. `LEAKS` see the future or the
other symbols; each of `CLEAN` is the same idea done right, as near to its leak as it can be.
"""
# ruff: noqa: E501 - the corpus is a table: a case a line

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import signal
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

Case = tuple[str, str, Callable[[pd.DataFrame], Any]]


def by_symbol(b: pd.DataFrame, function: Callable[[pd.Series], Any], column: str = "close") -> pd.Series:
    """`function` of each symbol's own series."""
    return b.groupby("symbol")[column].transform(function)


def rows_by_symbol(b: pd.DataFrame, function: Callable[[pd.DataFrame], Any]) -> pd.Series:
    """`function` of each symbol's own rows."""
    parts = [pd.Series(np.asarray(function(part)), part.index) for _, part in b.groupby("symbol")]
    return pd.concat(parts).reindex(b.index)


def returns(b: pd.DataFrame) -> pd.Series:
    return by_symbol(b, lambda s: s.pct_change())


def gaps(b: pd.DataFrame) -> pd.Series:
    """The close, missing on every fifth row of a symbol."""
    return b["close"].where(b.groupby("symbol").cumcount() % 5 != 3)


def weekly(b: pd.DataFrame, label: str) -> pd.Series:
    """Each week's last close, put at the week's first or last day and carried on from there."""

    def one(part: pd.DataFrame) -> np.ndarray:
        s = part.set_index("date")["close"]
        bar = s.resample("W-SUN", label=label).last()
        return bar.reindex(s.index.union(bar.index)).ffill().reindex(s.index).to_numpy()

    return rows_by_symbol(b, one)


def merged(b: pd.DataFrame, direction: str) -> pd.Series:
    """The month's first close, known on that day, joined to each day."""

    def one(part: pd.DataFrame) -> np.ndarray:
        monthly = part.drop_duplicates(subset="month")[["date", "close"]]
        return pd.merge_asof(part[["date"]], monthly, on="date", direction=direction)["close"].to_numpy()

    return rows_by_symbol(b.assign(month=b["date"].dt.to_period("M")), one)


def pivots(s: pd.Series, wait: int) -> pd.Series:
    """1 on a low that is the least of the two rows before and after it; `wait` rows later."""
    low = s.eq(s.rolling(5, center=True).min())
    return low.shift(wait).fillna(False).astype("float64")


def zigzag(s: pd.Series, *, confirmed: bool) -> np.ndarray:
    """The last turning point of 5 per cent; known when the price has turned, or put at the turn itself."""
    x, out = s.to_numpy(), np.full(len(s), np.nan)
    top = at = bottom = 0
    for t in range(len(x)):
        top = t if x[t] > x[top] else top
        bottom = t if x[t] < x[bottom] else bottom
        if x[t] < x[top] * 0.95 or x[t] > x[bottom] * 1.05:
            at = top if x[t] < x[top] * 0.95 else bottom
            out[t if confirmed else at] = x[at]
            top = bottom = t
    return out


def as_traded(part: pd.DataFrame, *, from_the_end: bool) -> np.ndarray:
    """Closes as traded put on one scale, where a fall of more than 60 per cent is a split of 4 for 1."""
    raw = part["close_raw"].to_numpy()
    jumped = np.append(1.0, np.where(raw[1:] / raw[:-1] < 0.4, 4.0, 1.0))
    return raw / (jumped.prod() / jumped.cumprod()) if from_the_end else raw * jumped.cumprod()


def scaled(x: np.ndarray) -> np.ndarray:
    return StandardScaler().fit_transform(x.reshape(-1, 1)).ravel()


def first_component(part: pd.DataFrame, rows: int | None) -> np.ndarray:
    """The first component of five lagged returns, fitted on the first `rows` rows, or on all."""
    r = part["close"].pct_change()
    lags = pd.concat([r.shift(k) for k in range(5)], axis=1).fillna(0.0).to_numpy()
    if rows and len(lags) <= rows:
        return np.full(len(lags), np.nan)
    out = (
        lags @ PCA(1, svd_solver="full").fit(lags[:rows]).components_[0]
        if len(lags) > 5
        else np.full(len(lags), np.nan)
    )
    out[: rows or 0] = np.nan
    return out


def low_pass(x: pd.Series) -> np.ndarray:
    spectrum = np.fft.rfft(x.to_numpy())
    spectrum[10:] = 0
    return np.fft.irfft(spectrum, len(x)) if len(x) > 1 else x.to_numpy()


def windowed(x: pd.Series, length: int, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`function` of all trailing windows, shape (rows, length), one value each; NaN where a window is not full."""
    out = np.full(len(x), np.nan)
    if len(x) >= length:
        out[length - 1 :] = function(np.lib.stride_tricks.sliding_window_view(x.to_numpy(), length))
    return out


def trailing_savgol(x: pd.Series) -> np.ndarray:
    return windowed(x, 11, lambda w: w @ signal.savgol_coeffs(11, 2, pos=10, use="dot"))


def butter(x: pd.Series, *, both_ways: bool) -> np.ndarray:
    b, a = signal.butter(2, 0.1)
    if both_ways:
        return signal.filtfilt(b, a, x.to_numpy(), padlen=min(9, len(x) - 1))
    return signal.lfilter(b, a, x.to_numpy())


def weekday_mean(b: pd.DataFrame, *, expanding: bool) -> pd.Series:
    """Target encoding: the mean return of the weekday."""
    keys = [b["symbol"], b["date"].dt.weekday]
    r = returns(b)
    if expanding:
        return r.groupby(keys).transform(lambda s: s.shift(1).expanding().mean())
    return r.groupby(keys).transform("mean")


def fridays(b: pd.DataFrame, value: pd.Series, otherwise: pd.Series) -> pd.Series:
    return value.where(b["date"].dt.weekday == 4, otherwise)


def last_of_month(b: pd.DataFrame) -> pd.Series:
    keys = [b["symbol"], b["date"].dt.to_period("M")]
    return (b.groupby(keys).cumcount(ascending=False) == 0).astype("float64")


def first_of_month(b: pd.DataFrame) -> pd.Series:
    return (b.groupby([b["symbol"], b["date"].dt.to_period("M")]).cumcount() == 0).astype("float64")


LEAKS: list[Case] = [
    ("tomorrow's close", "shift", lambda b: by_symbol(b, lambda s: s.shift(-1)) / b["close"]),
    ("pct_change of the wrong sign", "shift", lambda b: by_symbol(b, lambda s: s.pct_change(-1))),
    ("next day's open gap", "shift", lambda b: by_symbol(b, lambda s: s.shift(-1), "open") / b["close"] - 1),
    ("diff backwards", "shift", lambda b: by_symbol(b, lambda s: s.diff(-1)) / b["close"]),
    ("chikou span", "shift", lambda b: by_symbol(b, lambda s: s.shift(-26)) / b["close"]),
    ("np.roll by minus one", "shift", lambda b: by_symbol(b, lambda s: np.roll(s.to_numpy(), -1)) / b["close"]),
    ("on Fridays only", "rare", lambda b: fridays(b, by_symbol(b, lambda s: s.shift(-1)), b["close"])),
    ("in December only", "rare", lambda b: by_symbol(b, lambda s: s.shift(-1)).where(b["date"].dt.month == 12, b["close"])),
    ("flag of tomorrow's jump", "rare", lambda b: (by_symbol(b, lambda s: s.shift(-1)) / b["close"] > 1.08).astype("float64")),
    ("flag of tomorrow's crash", "corrupt only", lambda b: (by_symbol(b, lambda s: s.shift(-1)) < 0.5 * b["close"]) + returns(b)),
    ("tomorrow's close where it is there", "corrupt only", lambda b: by_symbol(b, lambda s: s.shift(-1)).notna() * 0 + by_symbol(b, lambda s: s.shift(-1)).fillna(b["close"]).gt(5 * b["close"]) + returns(b)),
    ("centred window", "window", lambda b: by_symbol(b, lambda s: s.rolling(5, center=True).mean()) / b["close"]),
    ("forward window", "window", lambda b: by_symbol(b, lambda s: s.rolling(pd.api.indexers.FixedForwardWindowIndexer(window_size=5)).max()) / b["close"]),
    ("rolling on reversed rows", "window", lambda b: by_symbol(b, lambda s: s[::-1].rolling(20).mean()[::-1]) / b["close"]),
    ("expanding on reversed rows", "window", lambda b: by_symbol(b, lambda s: s[::-1].expanding().mean()[::-1]) / b["close"]),
    ("ewm on reversed rows", "window", lambda b: by_symbol(b, lambda s: s[::-1].ewm(span=10).mean()[::-1]) / b["close"]),
    ("cumulative maximum from the end", "window", lambda b: by_symbol(b, lambda s: s[::-1].cummax()[::-1]) / b["close"]),
    ("np.gradient", "window", lambda b: by_symbol(b, lambda s: np.gradient(s.to_numpy()) if len(s) > 1 else s * np.nan)),
    ("convolution, mode same", "window", lambda b: by_symbol(b, lambda s: np.convolve(s.to_numpy(), np.ones(5) / 5)[2:-2])),
    ("global z-score", "global", lambda b: by_symbol(b, lambda s: (s - s.mean()) / s.std())),
    ("global min-max", "global", lambda b: by_symbol(b, lambda s: (s - s.min()) / (s.max() - s.min()))),
    ("global rank", "global", lambda b: by_symbol(b, lambda s: s.rank(pct=True))),
    ("bins of all quantiles", "global", lambda b: by_symbol(b, lambda s: np.floor(s.rank(pct=True, method="first") * 4.999))),
    ("qcut", "global", lambda b: pd.qcut(returns(b), 4).astype(str)),
    ("winsorized at all quantiles", "global", lambda b: returns(b).clip(*returns(b).quantile([0.05, 0.95]))),
    ("mean of the group", "global", lambda b: b["close"] / b.groupby("symbol")["close"].transform("mean")),
    ("detrended over all", "global", lambda b: by_symbol(b, lambda s: signal.detrend(s.to_numpy()))),
    ("scaler fitted on all", "global", lambda b: by_symbol(b, lambda s: scaled(s.to_numpy()))),
    ("PCA fitted on all", "global", lambda b: rows_by_symbol(b, lambda part: first_component(part, None))),
    ("FFT low pass", "global", lambda b: by_symbol(b, low_pass)),
    ("against the last close", "global", lambda b: b["close"] / by_symbol(b, lambda s: s.iloc[-1])),
    ("share of all rows", "cut only", lambda b: b.groupby("symbol").cumcount() / by_symbol(b, len)),
    ("savgol", "window", lambda b: by_symbol(b, lambda s: signal.savgol_filter(s, 11, 2) if len(s) > 11 else s * np.nan)),
    ("filtfilt", "window", lambda b: by_symbol(b, lambda s: butter(s, both_ways=True))),
    ("back-filled", "filling", lambda b: gaps(b).groupby(b["symbol"]).bfill() / b["close"]),
    ("interpolated", "filling", lambda b: gaps(b).groupby(b["symbol"]).transform(lambda s: s.interpolate()) / b["close"]),
    ("filled with the mean of all", "filling", lambda b: gaps(b).fillna(gaps(b).groupby(b["symbol"]).transform("mean")) / b["close"]),
    ("target encoding over all rows", "target", lambda b: weekday_mean(b, expanding=False)),
    ("weekly bar at the week's start", "calendar", lambda b: weekly(b, "left") / b["close"]),
    ("month's last close on all its days", "calendar", lambda b: b["close"] / b.groupby(["symbol", b["date"].dt.to_period("M")])["close"].transform("last")),
    ("last session of the month", "cut only", last_of_month),
    ("merge_asof forward", "join", lambda b: merged(b, "forward") / b["close"]),
    ("pivot lows at the low", "extrema", lambda b: by_symbol(b, lambda s: pivots(s, 0))),
    ("zigzag at the turn", "extrema", lambda b: by_symbol(b, lambda s: zigzag(s, confirmed=False))),
    ("adjusted for later splits", "adjustment", lambda b: rows_by_symbol(b, lambda part: as_traded(part, from_the_end=True))),
    ("shift across symbols", "symbols", lambda b: b["close"].shift(1) / b["close"]),
    ("rolling across symbols", "symbols", lambda b: b["close"].rolling(20).mean() / b["close"]),
    ("position in the whole frame", "symbols", lambda b: pd.Series(np.arange(len(b)) % 7, b.index)),
    ("rank among the day's symbols, undeclared", "symbols", lambda b: b.groupby("date")["volume"].rank(pct=True)),
]  # fmt: skip

CLEAN: list[Case] = [
    ("yesterday's close", "shift", lambda b: by_symbol(b, lambda s: s.shift(1)) / b["close"]),
    ("pct_change", "shift", lambda b: by_symbol(b, lambda s: s.pct_change(1))),
    ("today's open gap", "shift", lambda b: b["open"] / by_symbol(b, lambda s: s.shift(1)) - 1),
    ("diff", "shift", lambda b: by_symbol(b, lambda s: s.diff(1)) / b["close"]),
    ("close 26 sessions ago", "shift", lambda b: by_symbol(b, lambda s: s.shift(26)) / b["close"]),
    ("np.roll, first row emptied", "shift", lambda b: by_symbol(b, lambda s: np.append(np.nan, np.roll(s.to_numpy(), 1)[1:])) / b["close"]),
    ("on Fridays yesterday's", "rare", lambda b: fridays(b, by_symbol(b, lambda s: s.shift(1)), b["close"])),
    ("in December yesterday's", "rare", lambda b: by_symbol(b, lambda s: s.shift(1)).where(b["date"].dt.month == 12, b["close"])),
    ("flag of today's jump", "rare", lambda b: (b["close"] / by_symbol(b, lambda s: s.shift(1)) > 1.08).astype("float64")),
    ("flag of today's crash", "rare", lambda b: (b["close"] < 0.5 * by_symbol(b, lambda s: s.shift(1))) + returns(b)),
    ("yesterday's close where it is there", "rare", lambda b: by_symbol(b, lambda s: s.shift(1)).fillna(b["close"]).gt(5 * b["close"]) + returns(b)),
    ("trailing window", "window", lambda b: by_symbol(b, lambda s: s.rolling(5).mean()) / b["close"]),
    ("trailing maximum", "window", lambda b: by_symbol(b, lambda s: s.rolling(5).max()) / b["close"]),
    ("rolling, groupby's own", "window", lambda b: b.groupby("symbol")["close"].rolling(20).mean()),
    ("expanding mean", "window", lambda b: by_symbol(b, lambda s: s.expanding().mean()) / b["close"]),
    ("ewm", "window", lambda b: by_symbol(b, lambda s: s.ewm(span=10).mean()) / b["close"]),
    ("cumulative maximum", "window", lambda b: by_symbol(b, lambda s: s.cummax()) / b["close"]),
    ("slope of the last two rows", "window", lambda b: by_symbol(b, lambda s: s.diff(2) / 2)),
    ("convolution, first rows only", "window", lambda b: by_symbol(b, lambda s: np.convolve(s.to_numpy(), np.ones(5) / 5)[: len(s)])),
    ("expanding z-score", "global", lambda b: by_symbol(b, lambda s: (s - s.expanding().mean()) / s.expanding().std())),
    ("trailing min-max", "global", lambda b: by_symbol(b, lambda s: (s - s.rolling(60).min()) / (s.rolling(60).max() - s.rolling(60).min()))),
    ("expanding rank", "global", lambda b: by_symbol(b, lambda s: s.expanding().rank(pct=True))),
    ("bins of expanding quantiles", "global", lambda b: by_symbol(b, lambda s: np.floor(s.expanding().rank(pct=True) * 4.999))),
    ("fixed bins", "global", lambda b: pd.cut(returns(b), [-np.inf, -0.01, 0, 0.01, np.inf]).astype(str)),
    ("winsorized at past quantiles", "global", lambda b: by_symbol(b.assign(r=returns(b)), lambda s: s.clip(s.shift(1).expanding(20).quantile(0.05), s.shift(1).expanding(20).quantile(0.95)), "r")),
    ("mean of the group so far", "global", lambda b: b["close"] / by_symbol(b, lambda s: s.expanding().mean())),
    ("distance from the trailing line", "global", lambda b: by_symbol(b, lambda s: windowed(s, 10, lambda w: signal.detrend(w)[:, -1]))),
    ("scaler fitted on the first 100 rows", "global", lambda b: by_symbol(b, lambda s: (s - s.iloc[:100].mean()) / s.iloc[:100].std() if len(s) >= 100 else s * np.nan).where(b.groupby("symbol").cumcount() >= 99)),
    ("PCA fitted on the first 100 rows", "global", lambda b: rows_by_symbol(b, lambda part: first_component(part, 100))),
    ("FFT of the trailing window", "global", lambda b: by_symbol(b, lambda s: windowed(s, 32, lambda w: abs(np.fft.rfft(w)[:, 2]))) / b["close"]),
    ("against the first close", "global", lambda b: b["close"] / by_symbol(b, lambda s: s.iloc[0])),
    ("rows so far", "global", lambda b: b.groupby("symbol").cumcount()),
    ("trailing savgol", "window", lambda b: by_symbol(b, trailing_savgol)),
    ("lfilter", "window", lambda b: by_symbol(b, lambda s: butter(s, both_ways=False))),
    ("forward-filled", "filling", lambda b: gaps(b).groupby(b["symbol"]).ffill() / b["close"]),
    ("carried on with a decay", "filling", lambda b: gaps(b).groupby(b["symbol"]).transform(lambda s: s.ewm(alpha=0.5).mean()) / b["close"]),
    ("filled with the mean so far", "filling", lambda b: gaps(b).fillna(gaps(b).groupby(b["symbol"]).transform(lambda s: s.expanding().mean())) / b["close"]),
    ("target encoding of earlier rows", "target", lambda b: weekday_mean(b, expanding=True)),
    ("weekly bar at the week's end", "calendar", lambda b: weekly(b, "right") / b["close"]),
    ("last month's last close", "calendar", lambda b: b["close"] / by_symbol(b, lambda s: s.shift(1)).where(first_of_month(b) == 1).groupby(b["symbol"]).ffill()),
    ("first session of the month", "calendar", first_of_month),
    ("merge_asof backward", "join", lambda b: merged(b, "backward") / b["close"]),
    ("pivot lows two rows later", "extrema", lambda b: by_symbol(b, lambda s: pivots(s, 2))),
    ("zigzag when confirmed", "extrema", lambda b: by_symbol(b, lambda s: zigzag(s, confirmed=True))),
    ("adjusted for earlier splits", "adjustment", lambda b: rows_by_symbol(b, lambda part: as_traded(part, from_the_end=False))),
    ("shift within the symbol", "symbols", lambda b: b["close"].shift(1).where(b["symbol"] == b["symbol"].shift(1)) / b["close"]),
    ("rolling within the symbol", "symbols", lambda b: by_symbol(b, lambda s: s.rolling(20).mean()) / b["close"]),
    ("position within the symbol", "symbols", lambda b: b.groupby("symbol").cumcount() % 7),
    ("rank among the last days' volumes", "symbols", lambda b: by_symbol(b, lambda s: s.rolling(20).rank(pct=True), "volume")),
]  # fmt: skip
