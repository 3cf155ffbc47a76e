"""Ingest against bare downloads with pyarrow's CSV reader, from a server on this machine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from benchmarks.measure import best, peak, say
from benchmarks.source import serving
from stockkit.files import Folder
from stockkit.intake import ingest
from stockkit.lake.tables import Lake

AT_ONCE = 4  # as many as the source asks for at once


def bare(url: str, symbols: Sequence[str]) -> pa.Table:
    """The same downloads, four at a time, each parsed by pyarrow as it comes; nothing is kept or checked."""
    with httpx.Client() as http, ThreadPoolExecutor(AT_ONCE) as pool:
        return pa.concat_tables(pool.map(lambda s: _read(http.get(url, params={"symbol": s}).content), symbols))


def _read(body: bytes) -> pa.Table:
    return csv.read_csv(pa.BufferReader(body))


def ours(lake: Lake, symbols: Sequence[str]) -> pd.DataFrame:
    """From the source to trusted bars: answers kept and synced to disk, every rule applied, splits adjusted."""
    return ingest.clean_all(ingest.fetch(lake, "alphavantage", symbols)).prices


def settings(url: str) -> dict[str, str]:
    """The environment of an Alpha Vantage without limits at `url`."""
    return {
        "STOCKKIT_ALPHAVANTAGE_URL": url,
        "STOCKKIT_SECRET_ALPHAVANTAGE": "benchmark",
        "STOCKKIT_ALPHAVANTAGE_PER_DAY": "0",
        "STOCKKIT_ALPHAVANTAGE_PER_SECOND": "0",
    }


def ingest_and_write(folder: Path, symbols: Sequence[str]) -> None:
    """Ingest and write, as notebook 01 does; for its memory."""
    lake = Lake(Folder(folder / "whole"), folder)
    lake.write("prices", ours(lake, symbols), symbols=symbols)


def main(bars: pd.DataFrame, folder: Path) -> None:
    """Print one line a server; writes below `folder`."""
    symbols = sorted(bars["symbol"].unique())
    fresh = (folder / f"ingest{k}" for k in itertools.count())
    for after, runs in ((0.0, 3), (0.02, 2)):
        with serving(bars, after=after) as url:
            os.environ.update(settings(url))
            seconds = best(
                lambda: ours(Lake(Folder(next(fresh)), folder), symbols), lambda: bare(url, symbols), runs=runs
            )
            say(f"ingest / downloads + pyarrow, answers after {after * 1000:.0f} ms", *seconds, "<= 1.3")
    with serving(bars) as url:
        os.environ.update(settings(url))
        peak("ingest and table write", ingest_and_write, folder, symbols, limit="<= 1.5")
