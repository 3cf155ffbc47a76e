"""Run every benchmark: `python -m benchmarks [SYMBOLS] [SESSIONS]`.

Each line is a ratio of the best of five runs, measured in turn within one process on the same simulated bars:
under 1 means that stockkit is faster. Only the ratios mean anything; seconds depend on the machine.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import deltalake
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import talib

from stockkit.lake.tables import Lake
from stockkit.market import features, simulate


def ratio(ours: Callable[[], object], theirs: Callable[[], object], runs: int = 5) -> float:
    """Best time of `ours` over best time of `theirs`, measured alternately."""
    best = [float("inf"), float("inf")]
    for _ in range(runs):
        for k, work in enumerate((ours, theirs)):
            start = time.perf_counter()
            work()
            best[k] = min(best[k], time.perf_counter() - start)
    return best[0] / best[1]


def bare_talib(bars: pd.DataFrame) -> list[np.ndarray]:
    """The three indicators below in the plainest loop over symbols that TA-Lib's own users write."""
    out = []
    for _, own in bars.groupby("symbol", sort=False):
        high, low, close = (own[c].to_numpy() for c in ("high", "low", "close"))
        out += [talib.SMA(close, 20), talib.RSI(close, 14), talib.NATR(high, low, close, 14)]
    return out


def pandas_rolling(bars: pd.DataFrame) -> pd.DataFrame:
    """Two rolling features as pandas users write them."""
    close = bars.groupby("symbol", sort=False)["close"]
    return pd.DataFrame({"sma": close.rolling(20).mean(), "max": close.rolling(252).max()})


QUESTION = """
SELECT symbol, date_trunc('month', date) AS month_start, max_by(close, date) AS close
FROM prices GROUP BY symbol, date_trunc('month', date)
"""
IN_DUCKDB = QUESTION.replace("max_by", "arg_max")


def main(symbols: int = 100, sessions: int = 2520) -> None:
    """Print one line a comparison."""
    rng = np.random.default_rng(1)
    bars = simulate.bars([f"S{k:04}" for k in range(symbols)], count=sessions, rng=rng)
    print(f"{len(bars):,} simulated bars, {symbols} symbols; Python {platform.python_version()}")

    def say(what: str, value: float) -> None:
        print(f"{what:<78} {value:6.2f}", flush=True)

    say("3 features: stockkit / TA-Lib in a groupby loop",
        ratio(lambda: features.compute(bars, ["sma_20", "rsi_14", "natr_14"]), lambda: bare_talib(bars)))  # fmt: skip
    say("2 rolling features: stockkit / pandas groupby-rolling",
        ratio(lambda: features.compute(bars, ["to_sma_20", "pos_252"]), lambda: pandas_rolling(bars)))  # fmt: skip
    names = sorted(set(bars["symbol"]))
    with tempfile.TemporaryDirectory() as folder:
        plain = pa.Table.from_pandas(bars, preserve_index=False)
        counter = iter(range(1000))

        def fresh() -> str:
            return f"{folder}/{next(counter)}"

        say("table write: stockkit / bare write_deltalake",
            ratio(lambda: Lake(Path(fresh()), Path()).write("bars", bars, symbols=names),
                  lambda: deltalake.write_deltalake(fresh(), plain, partition_by=["symbol"])))  # fmt: skip
        lake = Lake(Path(fresh()), Path())
        lake.write("prices_like", bars, symbols=names)
        table = deltalake.DeltaTable(str(lake.path / "tables" / "prices_like"))

        def bare_duckdb() -> pd.DataFrame:
            connection = duckdb.connect()
            connection.register("prices", table.to_pyarrow_dataset())
            return connection.execute(IN_DUCKDB).df()

        say("lake.sql / the same statement in bare DuckDB",
            ratio(lambda: lake.sql(QUESTION.replace("prices", "prices_like")), bare_duckdb))  # fmt: skip


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
