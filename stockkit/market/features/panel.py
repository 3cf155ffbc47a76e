"""Sorted bars as contiguous arrays, handed out a few symbols at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.market import schema
from stockkit.market.features.feature import COLUMNS, Arrays

AT_ONCE = 40_000  # rows of several symbols computed together: few calls, and still within the processor's cache


@dataclass(frozen=True)
class Panel:
    """Bars of all symbols as contiguous arrays, sorted by symbol then date.

    Attributes:
        arrays: the rows at hand.
        edges: where each symbol starts, and the end of the last.
        starts: the first row of each symbol that is wanted; the rows before it are context.
    """

    arrays: Arrays
    edges: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, bars: pd.DataFrame, *, since: pd.Timestamp | None, calendar: str) -> Panel:
        """Sorted bars as contiguous arrays; rows before `since` are context."""
        edges = schema.symbol_edges(bars["symbol"])
        day = bars["date"].to_numpy().astype("datetime64[D]").astype("int64")
        columns: dict[str, Any] = {name: np.ascontiguousarray(bars[name].to_numpy(dtype="float64")) for name in COLUMNS}
        starts = edges[:-1]
        if since is not None:
            late = day >= since.to_datetime64().astype("datetime64[D]").astype("int64")
            starts = edges[1:] - np.diff(np.r_[0, np.cumsum(late)][edges])
        return cls(Arrays(**columns, day=day, calendar=calendar), edges, starts)

    @property
    def counts(self) -> np.ndarray:
        """How many rows of each symbol are wanted."""
        return self.edges[1:] - self.starts

    def within_reach(self, look_back: int) -> Panel:
        """Only as much context as `look_back` needs."""
        return self.cut(np.maximum(self.edges[:-1], self.starts - look_back))

    def cut(self, firsts: np.ndarray) -> Panel:
        """Only the rows of each symbol from `firsts` on."""
        if np.array_equal(firsts, self.edges[:-1]):
            return self
        edges = np.r_[0, np.cumsum(self.edges[1:] - firsts)]
        return Panel(self.arrays.take(self.rows_from(firsts)), edges, edges[:-1] + self.starts - firsts)

    def rows_from(self, firsts: np.ndarray) -> np.ndarray | slice:
        """The rows of each symbol from `firsts` on; all of them as a slice."""
        if np.array_equal(firsts, self.edges[:-1]):
            return slice(None)
        lengths = self.edges[1:] - firsts
        return np.arange(lengths.sum()) + np.repeat(firsts - np.r_[0, np.cumsum(lengths)[:-1]], lengths)

    def parts(self, rows: int = AT_ONCE) -> Iterator[Part]:
        """The symbols, as many at a time as have about `rows` rows."""
        ends = np.r_[0, np.cumsum(self.counts)]
        whole = np.array_equal(self.starts, self.edges[:-1])
        first = 0
        for k, last in enumerate(self.edges[1:], 1):
            if last - self.edges[first] >= rows or k == len(self.edges) - 1:
                here = slice(int(self.edges[first]), int(last))
                wanted = slice(None) if whole else _late(self.edges[first : k + 1], self.starts[first:k])
                edges = [int(edge) - here.start for edge in self.edges[first : k + 1]]
                there = slice(int(ends[first]), int(ends[k]))
                yield Part(self.arrays.take(here, edges), here, there, wanted)
                first = k

    def wanted(self) -> np.ndarray | slice:
        """Which rows are wanted: all of them as a slice, else as booleans."""
        whole = np.array_equal(self.starts, self.edges[:-1])
        return slice(None) if whole else _late(self.edges, self.starts)


@dataclass(frozen=True)
class Part:
    """A few symbols of a panel: their arrays, which of its rows they are, which of the output, and which are wanted."""

    arrays: Arrays
    here: slice
    there: slice
    wanted: np.ndarray | slice


def _late(edges: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Whether each row lies at or after its symbol's start."""
    return np.arange(edges[0], edges[-1]) >= np.repeat(starts, np.diff(edges))
