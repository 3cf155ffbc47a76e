"""The 158 features of Alpha158 against the same in pandas, written as well as pandas allows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.measure import best, say
from stockkit.features import alpha158

SYMBOLS = 10  # of those handed in, for both sides: pandas needs a second for two of them


def by_pandas(bars: pd.DataFrame) -> pd.DataFrame:
    """All features, symbol by symbol, from pandas' compiled rolling functions; what is used twice is kept."""
    return pd.concat([pd.DataFrame(_one(rows)) for _, rows in bars.groupby("symbol", sort=False)], ignore_index=True)


def _one(bars: pd.DataFrame) -> dict[str, pd.Series]:
    o, h, low, c, v = (bars[name].astype("float64").reset_index(drop=True) for name in alpha158.COLUMNS)
    height, top, bottom = h - low + 1e-12, np.maximum(o, c), np.minimum(o, c)
    shift = 2 * c - h - low
    features = {
        "kmid": (c - o) / o, "klen": (h - low) / o, "kmid2": (c - o) / height, "kup": (h - top) / o,
        "kup2": (h - top) / height, "klow": (bottom - low) / o, "klow2": (bottom - low) / height, "ksft": shift / o,
        "ksft2": shift / height, "open0": o / c, "high0": h / c, "low0": low / c, "vwap0": (h + low + c) / 3 / c,
    }  # fmt: skip
    back, log_v, change = c.shift(1), np.log(v + 1), c / c.shift(1)
    moves, v_moves = c - back, v - v.shift(1)
    flow, v_change = (change - 1).abs() * v, np.log(v / v.shift(1) + 1)
    index = pd.Series(np.arange(len(c), dtype="float64"))
    for d in alpha158.WINDOWS:
        rolled, v_rolled = c.rolling(d, min_periods=1), v.rolling(d, min_periods=1)
        mean, std, fit = rolled.mean(), rolled.std(), rolled.corr(index)
        n = np.minimum(index + 1, d)
        slope = fit * std / np.sqrt(n * (n + 1) / 12)
        high, lowest = h.rolling(d, min_periods=1).max(), low.rolling(d, min_periods=1).min()
        at_high, at_low = _place(h, d), _place(-low, d)
        flown = flow.rolling(d, min_periods=1)
        features |= {
            f"roc{d}": c.shift(d) / c, f"ma{d}": mean / c, f"std{d}": std / c, f"beta{d}": slope / c,
            f"rsqr{d}": fit**2, f"resi{d}": (c - mean - slope * (n - 1) / 2) / c, f"max{d}": high / c,
            f"min{d}": lowest / c, f"qtlu{d}": rolled.quantile(0.8) / c, f"qtld{d}": rolled.quantile(0.2) / c,
            f"rank{d}": rolled.rank(pct=True), f"rsv{d}": (c - lowest) / (high - lowest + 1e-12),
            f"imax{d}": at_high / d, f"imin{d}": at_low / d, f"imxd{d}": (at_high - at_low) / d,
            f"corr{d}": rolled.corr(log_v), f"cord{d}": change.rolling(d, min_periods=1).corr(v_change),
            f"vma{d}": v_rolled.mean() / (v + 1e-12), f"vstd{d}": v_rolled.std() / (v + 1e-12),
            f"wvma{d}": flown.std() / (flown.mean() + 1e-12),
        }  # fmt: skip
        up, down = (x.rolling(d, min_periods=1).mean() for x in (c > back, c < back))
        features |= {f"cntp{d}": up, f"cntn{d}": down, f"cntd{d}": up - down}
        for prefix, x in (("", moves), ("v", v_moves)):
            gains, losses = (y.clip(lower=0).rolling(d, min_periods=1).sum() for y in (x, -x))
            moved = gains + losses + 1e-12
            features |= {f"{prefix}sump{d}": gains / moved, f"{prefix}sumn{d}": losses / moved,
                         f"{prefix}sumd{d}": (gains - losses) / moved}  # fmt: skip
    return {name: features[name] for name in alpha158.NAMES}


def _place(x: pd.Series, d: int) -> pd.Series:
    """The place of the highest in each full window, 1 for its first row; pandas has no rolling arg-max."""
    out = np.full(len(x), np.nan)
    if len(x) >= d:
        out[d - 1 :] = np.lib.stride_tricks.sliding_window_view(x.to_numpy(), d).argmax(axis=1) + 1
    return pd.Series(out)


def by_stockkit(bars: pd.DataFrame) -> pd.DataFrame:
    """The same frame from the kernels."""
    columns = {name: np.ascontiguousarray(bars[name].to_numpy("float64")) for name in alpha158.COLUMNS}
    edges = np.append(np.flatnonzero(~bars["symbol"].duplicated().to_numpy()), len(bars))
    block = np.empty((len(alpha158.NAMES), len(bars)))
    alpha158.fill(columns, edges, edges[:-1], alpha158.NAMES, block)
    return pd.DataFrame(block.T, columns=list(alpha158.NAMES), copy=False)


def main(bars: pd.DataFrame) -> None:
    """Print one line; both sides must agree on every full window first."""
    few = bars[bars["symbol"].isin(bars["symbol"].unique()[:SYMBOLS])].reset_index(drop=True)
    ours, theirs = by_stockkit(few), by_pandas(few)
    full = few.groupby("symbol").cumcount() >= max(alpha158.WINDOWS)
    pd.testing.assert_frame_equal(ours[full], theirs[full], rtol=1e-6, atol=1e-6)
    say(f"158 features of Alpha158 / pandas rolling, {SYMBOLS} symbols",
        *best(lambda: by_stockkit(few), lambda: by_pandas(few), runs=2), "<= 0.1")  # fmt: skip
