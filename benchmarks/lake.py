"""The lake against bare deltalake and bare DuckDB."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import deltalake
import duckdb
import pandas as pd
import pyarrow as pa

from benchmarks.measure import best, peak, say
from stockkit.files import Folder
from stockkit.lake.tables import Lake

# each question in Athena's words and hand-written in DuckDB's
QUESTIONS = {
    "an aggregate over all rows": (
        "SELECT symbol, date_trunc('month', date) AS month_start, max_by(close, date) AS close, sum(volume) AS volume"
        " FROM bars GROUP BY symbol, date_trunc('month', date)",
        "SELECT symbol, date_trunc('month', date) AS month_start, arg_max(close, date) AS close, sum(volume) AS volume"
        " FROM bars GROUP BY symbol, date_trunc('month', date)",
    ),
    "windows over all rows": (
        "SELECT symbol, date, close / lag(close) OVER w - 1 AS change, max(high) OVER"
        " (w ROWS BETWEEN 251 PRECEDING AND CURRENT ROW) AS high_52w FROM bars"
        " WINDOW w AS (PARTITION BY symbol ORDER BY date)",
        "SELECT symbol, date, close / lag(close) OVER w - 1 AS change, max(high) OVER"
        " (w ROWS BETWEEN 251 PRECEDING AND CURRENT ROW) AS high_52w FROM bars"
        " WINDOW w AS (PARTITION BY symbol ORDER BY date)",
    ),
    "the rows of one symbol": (
        "SELECT date, close, volume FROM bars WHERE symbol = 'S0007' ORDER BY date",
        "SELECT date, close, volume FROM bars WHERE symbol = 'S0007' ORDER BY date",
    ),
}


def ask(path: Path, text: str) -> pd.DataFrame:
    """Open a lake and ask it; for its memory."""
    return Lake(Folder(path), path.parent).sql(text)


def main(bars: pd.DataFrame, folder: Path) -> None:
    """Print one line a comparison; writes below `folder`."""
    names = sorted(bars["symbol"].unique())
    plain = pa.Table.from_pandas(bars, preserve_index=False)
    fresh = (folder / f"lake{k}" for k in itertools.count())

    def ours_write() -> None:
        Lake(Folder(next(fresh)), folder).write("bars", bars, symbols=names)

    def bare_write() -> None:
        deltalake.write_deltalake(str(next(fresh)), plain, partition_by=["symbol"])

    say("table write / bare write_deltalake", *best(ours_write, bare_write, runs=3), "<= 1.5")
    lake = Lake(Folder(folder / "lake"), folder)
    lake.write("bars", bars, symbols=names)
    six = names[:6]
    few = bars[bars["symbol"].isin(six)]
    turn = itertools.count(1)
    say("replacing 6 symbols / rewriting all",
        *best(lambda: lake.write("bars", few.assign(volume=next(turn)), symbols=six),
              lambda: lake.write("bars", bars.assign(volume=next(turn)), symbols=names), runs=2), "<= 0.1")  # fmt: skip
    files = deltalake.DeltaTable(str(lake.folder / "tables" / "bars")).file_uris()

    source = f"read_parquet({files!r}, hive_partitioning = true)"

    warm = duckdb.connect()

    def bare(text: str) -> pd.DataFrame:
        return warm.execute(text.replace("FROM bars", f"FROM {source}")).df()

    for what, (asked, by_hand) in QUESTIONS.items():
        ours, theirs = best(partial(lake.sql, asked), partial(bare, by_hand))
        say(f"lake.sql less 5 ms / warm bare DuckDB: {what}", ours - 0.005, theirs, "<= 1.3")
        peak(f"lake.sql, {what}", ask, lake.folder, asked, limit="<= 1.5")
