"""What has changed in a table of bars since an earlier version of it, symbol by symbol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import LakeError
from stockkit.lake import frames
from stockkit.lake.commits import TableLocation
from stockkit.lake.data_files import added
from stockkit.market import schema

BARS, PRICES = list(schema.BARS), ["open", "high", "low", "close"]


def first_changes(
    location: TableLocation, now: Any, version: int, symbols: Sequence[str]
) -> dict[str, pd.Timestamp | None]:
    """The first session from which a symbol's bars differ from those of an earlier version of the table.

    Args:
        location: where the table is. now: the table as it is. version: the earlier one. symbols: whom to compare.

    Returns:
        A session for each symbol that changed; None where nothing of it is the same or the version can no longer be
        read.
    """
    try:
        before = location.open(version)
        with location.reading():
            files, earlier = _files(now), _files(before)
            moved = [symbol for symbol in symbols if files.get(symbol) != earlier.get(symbol)]
            rows = [bars(table, moved) for table in (before, now)]
    except LakeError:
        return dict.fromkeys(symbols, None)  # that version was vacuumed away
    old, new = (dict(iter(table.groupby("symbol", sort=False))) for table in rows)
    none = schema.empty(schema.BARS)
    first = {symbol: _first_change(old.get(symbol, none), new.get(symbol, none)) for symbol in moved}
    return {symbol: session for symbol, session in first.items() if session is not pd.NaT}


def bars(delta: Any, symbols: Sequence[str]) -> pd.DataFrame:
    """The bars of some symbols, as `schema.BARS`, sorted; a row that is no return's (a price below zero) has none."""
    if not symbols:
        return schema.empty(schema.BARS)
    rows = frames.of_symbols(delta, symbols, BARS)
    sorted_rows = frames.by_key(frames.to_pandas(rows), ("symbol", "date"))
    negative = (sorted_rows[PRICES] <= 0).any(axis=1)
    sorted_rows.loc[negative, PRICES] = np.nan
    return sorted_rows


def _files(delta: Any) -> dict[str, set[str]]:
    """The files of each symbol."""
    files: dict[str, set[str]] = {}
    for symbol, path in added(delta):
        files.setdefault(symbol, set()).add(path)
    return files


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
