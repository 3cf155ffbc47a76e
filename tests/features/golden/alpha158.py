"""Makes alpha158.npz, what pyqlib itself answers; the README beside says how to run this and what it holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).with_name("alpha158.npz")
COLUMNS = ("open", "high", "low", "close", "volume")
REAL = {"AAPL": ("2020-05-01", 150), "NVDA": ("2021-03-01", 150)}  # each has a split: 2020-08-31, 2021-07-20


def real() -> dict[str, pd.DataFrame]:
    """The first 150 split-adjusted sessions from a day on, of two symbols of the sample; taken as whole histories."""
    import tempfile

    from stockkit.files import Folder
    from stockkit.intake import ingest
    from stockkit.lake.tables import Lake

    with tempfile.TemporaryDirectory() as folder:
        root = Path(__file__).resolve().parents[3]
        prices = ingest.clean_all(ingest.fetch(Lake(Folder(Path(folder)), root), "sample", list(REAL))).prices
    later = {
        symbol: prices[(prices["symbol"] == symbol) & (prices["date"] >= day)] for symbol, (day, _) in REAL.items()
    }
    return {symbol: bars.head(REAL[symbol][1])[list(COLUMNS)].astype("float64") for symbol, bars in later.items()}


def nasty() -> pd.DataFrame:
    """Bars that break formulas: no volume, no move, ties, days with one price, a jump, for 65 sessions nothing new."""
    rng = np.random.default_rng(158)
    close = np.concatenate([
        np.full(9, 10.0),  # flat from the start
        rng.choice([9.9, 10.0, 10.1], 30),  # ties
        11.0 * 1.1 ** np.arange(4),  # limit days
        15 * np.exp(np.cumsum(rng.normal(0, 0.03, 37))).round(4),
        np.full(65, 7.5),
        7.5 + rng.choice([0, 0.01], 15),  # hardly a move
        7.5 * np.exp(np.cumsum(rng.normal(0, 0.02, 20))),
    ])  # fmt: skip
    n = len(close)
    wide = np.where(rng.random(n) < 0.4, 0.0, rng.choice([0.05, 0.1], n))  # high = low where 0
    opened = np.where(wide > 0, close + rng.choice([-0.04, 0, 0.03], n), close)
    volume = rng.choice([0, 0, 100, 100, 300, 2_000_000, 123_457], n).astype("float64")
    volume[:7], volume[50:58], volume[100:150] = 0, 0, 5000
    return pd.DataFrame({"open": opened, "high": np.maximum(opened, close) + wide,
                         "low": np.minimum(opened, close) - wide, "close": close, "volume": volume})  # fmt: skip


def still() -> pd.DataFrame:
    """Closes and volumes whose standard deviation is on either side of 2e-5, where Qlib stops to correlate."""
    close = 10 + np.concatenate([np.tile([0, 1e-5, 2e-5, 0, 1e-5], 6), np.tile([0, 1e-4, -2e-4, 3e-4], 6),
                                 np.tile([0, 1e-2, 3e-2], 8)])  # fmt: skip
    n = len(close)
    volume = 2_000_000 + np.where(np.arange(n) % 20 < 12, [0.0, 20.0] * (n // 2), [4000.0, 900.0] * (n // 2))
    return pd.DataFrame({"open": close, "high": close + 0.01, "low": close - 0.02, "close": close, "volume": volume})


def answered(bars: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """What Qlib's expression engine makes of float64 bars in memory, in float64, one column a feature."""
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data.base import Expression
    from qlib.data.ops import Operators, OpsList
    from qlib.utils import parse_field

    class Feature(Expression):  # takes the place of Qlib's own, which reads float32 files
        def __init__(self, name: str) -> None:
            self.name = name

        def __str__(self) -> str:
            return "$" + self.name

        def _load_internal(self, *_: object) -> pd.Series:
            return bars[self.name].copy()

        def get_longest_back_rolling(self) -> int:
            return 0

        def get_extended_window_size(self) -> tuple[int, int]:
            return 0, 0

    bars = bars.reset_index(drop=True).assign(vwap=(bars["high"] + bars["low"] + bars["close"]).to_numpy() / 3)
    Operators.reset()
    Operators.register([one for one in OpsList if one.__name__ != "Feature"] + [Feature])
    fields, names = Alpha158DL.get_feature_config()
    loaded = [
        eval(parse_field(field), {"Operators": Operators}).load(symbol, 0, len(bars) - 1, "day") for field in fields
    ]
    return pd.DataFrame(dict(zip((name.lower() for name in names), loaded, strict=True))).astype("float64")


def main(step: str) -> None:
    """`bars` keeps the bars, with stockkit; `values` adds Qlib's answers, with pyqlib."""
    if step == "bars":
        kept = {**real(), "NASTY": nasty(), "STILL": still()}
        np.savez_compressed(DATA, **{f"{symbol}_bars": bars.to_numpy() for symbol, bars in kept.items()})
        return
    kept = {name: values for name, values in np.load(DATA).items() if name.endswith("_bars")}
    for name in list(kept):
        values = answered(pd.DataFrame(kept[name], columns=list(COLUMNS)), name)
        kept[name.replace("_bars", "_values")] = values.to_numpy().T
        kept["names"] = np.array(values.columns, dtype="U")
    np.savez_compressed(DATA, **kept)


if __name__ == "__main__":
    main(sys.argv[1])
