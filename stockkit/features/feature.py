"""What a feature is: a function of bars in time order, with its look-back, its unit and where it comes from."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from stockkit.imports import numpy as np
from stockkit.market import schema

MEMORY = 512  # sessions: Wilder's average of 14 gives what is older a weight under (13/14)**512 = 3e-17
RESTART = 2048
COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Arrays:
    """One symbol's bars in time order, as contiguous float64 arrays of equal length.

    A built-in feature may get several symbols one after the other; `edges` then has the rows at which each starts
    and the last one ends. What a window says of rows that lie less than its look-back after an edge is thrown away
    by whoever asked, so only a function without a window (a smoothed average) has to look at the edges.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    date: np.ndarray = field(default_factory=lambda: np.zeros(0, "datetime64[ns]"))
    edges: Sequence[int] = ()
    calendar: str = ""
    lead: int = 0  # rows at the start that are there only for `by_symbol`

    @cached_property
    def log_close(self) -> np.ndarray:
        """The natural logarithm of the close."""
        return np.log(self.close)

    @cached_property
    def day(self) -> np.ndarray:
        """The sessions as days since 1970-01-01."""
        return schema.day_numbers(self.date)

    def take(self, rows: slice | np.ndarray, edges: Sequence[int] = (), lead: int = 0) -> Arrays:
        """Some of the rows, which `edges` divide into symbols."""
        columns = {name: getattr(self, name)[rows] for name in (*COLUMNS, "date")}
        return replace(self, **columns, edges=edges, lead=lead)

    def by_symbol(self, function: Callable[..., np.ndarray], *columns: np.ndarray, **options: Any) -> np.ndarray:
        """What a function that smooths over all history makes of each symbol's columns alone, one after the other.

        It is started anew every `RESTART` rows of a symbol, `MEMORY` rows ahead of those that are kept: what is older
        weighs less than a rounding. So a new day needs no more rows than both together, and has the same bits.
        """
        edges = self.edges or (0, len(self.close))
        out = np.full(len(self.close), np.nan)
        for first, last in itertools.pairwise(edges):
            for kept in range(first + self.lead, last, RESTART):
                start, end = max(first, kept - MEMORY), min(kept + RESTART, last)
                out[kept:end] = function(*(column[start:end] for column in columns), **options)[kept - start :]
        return out


@dataclass(frozen=True)
class Feature:
    """A named feature: what it computes, what it needs, what its unit is, where it comes from.

    `look_back` is the number of sessions before the current one that a value needs; earlier rows are NaN. A
    `smoothed` feature goes on weighing all earlier rows, ever less. A feature of the group "cross" compares a symbol
    with the others of its day: `within` names what of them it needs, e.g. ("rank", "ret_5"), and its function
    gets that as a second array.
    """

    name: str
    function: Callable[..., np.ndarray]
    look_back: int
    unit: str
    meaning: str
    source: str
    group: str = "user"
    smoothed: bool = False
    within: tuple[str, str] | None = None

    @property
    def scale_free(self) -> bool:
        """Whether the value stays the same when every price is multiplied by a constant (a split)."""
        return self.unit not in ("price", "shares")
