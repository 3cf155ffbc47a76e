"""The lake against bare deltalake, bare DuckDB, and bare downloads with pyarrow's CSV reader."""

from __future__ import annotations

import itertools
import resource
from pathlib import Path

import deltalake
import duckdb
import pandas as pd
import pyarrow as pa

from benchmarks.measure import best, say
from stockkit.lake.tables import Lake

QUESTION = """
SELECT symbol, date_trunc('month', date) AS month_start, max_by(close, date) AS close
FROM bars GROUP BY symbol, date_trunc('month', date)
"""
IN_DUCKDB = QUESTION.replace("max_by", "arg_max")


def main(bars: pd.DataFrame, folder: Path) -> None:
    """Print one line a comparison; writes below `folder`."""
    names = sorted(bars["symbol"].unique())
    plain = pa.Table.from_pandas(bars, preserve_index=False)
    fresh = (folder / f"lake{k}" for k in itertools.count())

    def ours_write() -> None:
        Lake(next(fresh), folder).write("bars", bars, symbols=names)

    def bare_write() -> None:
        deltalake.write_deltalake(str(next(fresh)), plain, partition_by=["symbol"])

    say("table write / bare write_deltalake", *best(ours_write, bare_write, runs=3), "<= 1.5")
    lake = Lake(folder / "lake", folder)
    lake.write("bars", bars, symbols=names)
    six = names[:6]
    few = bars[bars["symbol"].isin(six)]
    turn = itertools.count(1)
    say("replacing 6 symbols / rewriting all",
        *best(lambda: lake.write("bars", few.assign(volume=next(turn)), symbols=six),
              lambda: lake.write("bars", bars.assign(volume=next(turn)), symbols=names), runs=2), "<= 0.1")  # fmt: skip
    files = deltalake.DeltaTable(str(lake.path / "tables" / "bars")).file_uris()

    def bare() -> pd.DataFrame:
        source = f"read_parquet({files!r}, hive_partitioning = true)"
        return duckdb.connect().execute(IN_DUCKDB.replace("bars", source)).df()

    ours, theirs = best(lambda: lake.sql(QUESTION), bare)
    say("lake.sql less 20 ms / the same statement in bare DuckDB", ours - 0.02, theirs, "<= 1.2")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of all of it: {peak:.2f} GB")
