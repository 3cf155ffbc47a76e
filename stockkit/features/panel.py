"""Sorted bars as contiguous arrays, handed out a few symbols at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.features.feature import COLUMNS, MEMORY, RESTART, Arrays

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
    def of(cls, bars: pd.DataFrame, edges: np.ndarray, *, since: pd.Timestamp | None, calendar: str) -> Panel:
        """Sorted bars, whose symbols start at `edges`, as contiguous arrays; rows before `since` are context."""
        columns: dict[str, Any] = {name: np.ascontiguousarray(bars[name].to_numpy(dtype="float64")) for name in COLUMNS}
        date, starts = bars["date"].to_numpy(), edges[:-1]
        if since is not None:
            day = since.to_datetime64()
            found = [first + date[first:last].searchsorted(day) for first, last in itertools.pairwise(edges)]
            starts = np.array(found, dtype="int64")
        return cls(Arrays(**columns, date=date, calendar=calendar), edges, starts)

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
        first = 0
        for k, last in enumerate(self.edges[1:], 1):
            if last - self.edges[first] >= rows or k == len(self.edges) - 1:
                here = slice(int(self.edges[first]), int(last))
                wanted = _wanted(self.edges[first : k + 1], self.starts[first:k])
                edges = [int(edge) - here.start for edge in self.edges[first : k + 1]]
                there = slice(int(ends[first]), int(ends[k]))
                yield Part(self.arrays.take(here, edges), here, there, wanted)
                first = k

    def from_restarts(self) -> Iterator[Part]:
        """Each symbol with as much context as functions that smooth over all history need; see `Arrays.each`."""
        ends = np.r_[0, np.cumsum(self.counts)]
        for j, (first, last) in enumerate(itertools.pairwise(self.edges)):
            position = self.starts[j] - first
            lead = MEMORY if position >= RESTART else 0
            start = first + position // RESTART * RESTART - lead
            arrays = self.arrays.take(slice(int(start), int(last)), (0, int(last - start)), lead)
            wanted = slice(int(self.starts[j] - start), None)
            yield Part(arrays, slice(int(start), int(last)), slice(int(ends[j]), int(ends[j + 1])), wanted)

    def wanted(self) -> np.ndarray | slice:
        """Which rows are wanted: all of them as a slice, else as booleans."""
        return _wanted(self.edges, self.starts)


@dataclass(frozen=True)
class Part:
    """A few symbols of a panel: their arrays, which of its rows they are, which of the output, and which are wanted."""

    arrays: Arrays
    here: slice
    there: slice
    wanted: np.ndarray | slice


def _wanted(edges: np.ndarray, starts: np.ndarray) -> np.ndarray | slice:
    """Which rows lie at or after their symbol's start."""
    if np.array_equal(starts, edges[:-1]):
        return slice(None)
    return np.arange(edges[0], edges[-1]) >= np.repeat(starts, np.diff(edges))
