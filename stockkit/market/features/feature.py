"""What a feature is: a function of bars in time order, with its look-back, its unit and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

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
    day: np.ndarray = field(default_factory=lambda: np.zeros(0, "int64"))  # days since 1970-01-01
    edges: Sequence[int] = ()
    calendar: str = ""

    @cached_property
    def log_close(self) -> np.ndarray:
        """The natural logarithm of the close."""
        return np.log(self.close)

    def take(self, rows: slice | np.ndarray, edges: Sequence[int] = ()) -> Arrays:
        """Some of the rows, which `edges` divide into symbols."""
        columns = {name: getattr(self, name)[rows] for name in (*COLUMNS, "day")}
        return replace(self, **columns, edges=edges)

    def each(self, function: Callable[..., np.ndarray], *columns: np.ndarray, **options: Any) -> np.ndarray:
        """What `function` makes of the columns of each symbol alone, one after the other."""
        if len(self.edges) <= 2:
            return function(*columns, **options)
        out = np.empty(len(self.close))
        for first, last in zip(self.edges[:-1], self.edges[1:], strict=True):
            out[first:last] = function(*(column[first:last] for column in columns), **options)
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
