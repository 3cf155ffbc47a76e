"""What has changed in a table of bars since an earlier version of it, symbol by symbol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stockkit.lake import data_files, frames
from stockkit.lake.tables import Lake
from stockkit.market import schema

BARS = list(schema.BARS)
PRICES = ("open", "high", "low", "close")


def since(lake: Lake, now: Any, version: int, symbols: Sequence[str]) -> dict[str, pd.Timestamp | None]:
    """The first session from which a symbol's bars differ from those of a version.

    Args:
        lake: where the table is. now: the Delta table as it is. version: the earlier one. symbols: whom to compare.

    Returns:
        A session a symbol that changed; None where nothing of it is the same or the version can no longer be read.
    """
    import deltalake

    try:
        before = deltalake.DeltaTable(now.table_uri, version=version, storage_options=lake.files.options())
        then, files = _files(before), _files(now)
        moved = [symbol for symbol in symbols if then.get(symbol) != files.get(symbol)]
        return _first_changes(bars(before, moved), bars(now, moved), moved)
    except (OSError, deltalake.exceptions.DeltaError):
        return dict.fromkeys(symbols, None)  # that version was vacuumed away


def bars(delta: Any, symbols: Sequence[str]) -> pd.DataFrame:
    """The bars of some symbols, as `schema.BARS`, sorted; a row that is no return's (a price below zero) has none."""
    if not symbols:
        return schema.empty(schema.BARS)
    rows = delta.to_pyarrow_table(filters=[("symbol", "in", list(symbols))], columns=BARS)
    found = frames.by_key(frames.to_pandas(rows), ("symbol", "date"))
    negative = (found[list(PRICES)] <= 0).any(axis=1)
    found.loc[negative, list(PRICES)] = np.nan
    return found


def _files(delta: Any) -> dict[str, set[str]]:
    """The files of each symbol."""
    found: dict[str, set[str]] = {}
    for symbol, path in data_files.added(delta):
        found.setdefault(symbol, set()).add(path)
    return found


def _first_changes(old: pd.DataFrame, new: pd.DataFrame, symbols: Sequence[str]) -> dict[str, pd.Timestamp | None]:
    before, after = (dict(iter(rows.groupby("symbol", sort=False))) for rows in (old, new))
    none = schema.empty(schema.BARS)
    found = {symbol: _first_change(before.get(symbol, none), after.get(symbol, none)) for symbol in symbols}
    return {symbol: first for symbol, first in found.items() if first is not pd.NaT}


def _first_change(old: pd.DataFrame, new: pd.DataFrame) -> pd.Timestamp | None:
    """The first session that differs between two histories of a symbol; None for the first of all, NaT for none."""
    n = min(len(old), len(new))
    same = np.ones(n, bool)
    for column in BARS[1:]:
        then, now = old[column].to_numpy()[:n], new[column].to_numpy()[:n]
        same &= (then == now) | (pd.isna(then) & pd.isna(now))  # an unknown volume stays unknown
    first = int(same.argmin()) if not same.all() else n
    if first == 0:
        return None
    if first == len(old) == len(new):
        return pd.NaT
    return min(rows["date"].iloc[first] for rows in (old, new) if first < len(rows))
