"""Alpha158: the 158 features published with Qlib, each from one symbol's open, high, low, close and volume.

Yang, Liu, Zhou, Bian and Liu 2020, "Qlib: An AI-oriented Quantitative Investment Platform"; the definitions are those
of its handler Alpha158, version 0.9.7: nine shapes of the day's bar, four prices over the close, and 29 families over
windows of 5, 10, 20, 30 and 60 sessions. Two things to know:

- Daily bars have no volume-weighted price: `vwap0` is the typical price, (high + low + close) / 3, over the close.
- Qlib gives a value as soon as a window holds anything. `fill` does so too: rows before `look_back` are the same
  statistic of the history there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from stockkit.errors import ParamError, did_you_mean
from stockkit.features.feature import COLUMNS, Arrays, Feature
from stockkit.imports import numpy as np

WINDOWS = (5, 10, 20, 30, 60)
GROUP = "alpha158"
SHAPES: dict[str, str] = {
    "kmid": "close less open, over open",
    "klen": "height of the bar, over open",
    "kmid2": "close less open, over the bar's height",
    "kup": "upper shadow, over open",
    "kup2": "upper shadow, over the bar's height",
    "klow": "lower shadow, over open",
    "klow2": "lower shadow, over the bar's height",
    "ksft": "twice the close less high and low, over open",
    "ksft2": "twice the close less high and low, over the bar's height",
    "open0": "open over close",
    "high0": "high over close",
    "low0": "low over close",
    "vwap0": "typical price (high + low + close) / 3 over close, for want of a volume-weighted price",
}
# family: (what it means over {d} sessions, sessions that a full window needs beyond the d - 1 before, kernel group)
FAMILIES: dict[str, tuple[str, int, int]] = {
    "roc": ("close {d} sessions ago, over close", 1, 1),
    "ma": ("mean close of {d} sessions, over close", 0, 1),
    "std": ("standard deviation of {d} closes, over close", 0, 1),
    "beta": ("slope a session of the line through {d} closes, over close", 0, 1),
    "rsqr": ("R squared of the line through {d} closes", 0, 1),
    "resi": ("close less the line through {d} closes, over close", 0, 1),
    "max": ("highest high of {d} sessions, over close", 0, 2),
    "min": ("lowest low of {d} sessions, over close", 0, 2),
    "qtlu": ("80 % quantile of {d} closes, over close", 0, 3),
    "qtld": ("20 % quantile of {d} closes, over close", 0, 3),
    "rank": ("rank of the close among {d}, as a share; ties share the mean of their ranks", 0, 3),
    "rsv": ("place of the close between the lowest low and the highest high of {d} sessions", 0, 2),
    "imax": ("place of the highest high among {d} sessions, 1 for now", 0, 2),
    "imin": ("place of the lowest low among {d} sessions, 1 for now", 0, 2),
    "imxd": ("sessions from the lowest low to the highest high, over {d}", 0, 2),
    "corr": ("correlation of close and log volume over {d} sessions", 0, 5),
    "cord": ("correlation of the changes of close and volume over {d} sessions", 1, 4),
    "cntp": ("share of {d} sessions that closed higher", 1, 6),
    "cntn": ("share of {d} sessions that closed lower", 1, 6),
    "cntd": ("share of {d} sessions that closed higher less share that closed lower", 1, 6),
    "sump": ("gains of {d} sessions over all moves of the close", 1, 10),
    "sumn": ("losses of {d} sessions over all moves of the close", 1, 10),
    "sumd": ("gains less losses of {d} sessions over all moves of the close", 1, 10),
    "vma": ("mean volume of {d} sessions, over volume", 0, 7),
    "vstd": ("standard deviation of {d} volumes, over volume", 0, 7),
    "wvma": ("spread over mean of volume times the size of the return, {d} sessions", 1, 8),
    "vsump": ("rises of volume in {d} sessions over all its moves", 1, 9),
    "vsumn": ("falls of volume in {d} sessions over all its moves", 1, 9),
    "vsumd": ("rises less falls of volume in {d} sessions over all its moves", 1, 9),
}
GROUPS = 11  # of kernels that share their work; group 0 is the shapes
NAMES: tuple[str, ...] = (*SHAPES, *(f"{family}{d}" for family in FAMILIES for d in WINDOWS))


def _parts(name: str) -> tuple[str, int]:
    """The family and window of a name; the window of a shape is 0."""
    if name not in NAMES:
        raise ParamError(f"{name!r} is no feature of Alpha158.{did_you_mean(name, NAMES)}")
    family = name if name in SHAPES else name.rstrip("0123456789")
    return family, 0 if name in SHAPES else int(name[len(family) :])


def look_back(name: str) -> int:
    """The sessions before the current one that a full window needs: 0 for a shape, 4 for ma5, 5 for roc5.

    Raises:
        ParamError: no name of Alpha158.
    """
    family, d = _parts(name)
    return d - 1 + FAMILIES[family][1] if d else 0


def meaning(name: str) -> str:
    """What the feature says, in one line.

    Raises:
        ParamError: no name of Alpha158.
    """
    family, d = _parts(name)
    return FAMILIES[family][0].format(d=d) if d else SHAPES[family]


def source(name: str) -> str:
    """Where the formula comes from, as "Qlib Alpha158 MA5".

    Raises:
        ParamError: no name of Alpha158.
    """
    _parts(name)
    return f"Qlib Alpha158 {name.upper()}"


def fill(
    columns: Mapping[str, np.ndarray],
    edges: np.ndarray,
    starts: np.ndarray,
    names: Sequence[str],
    out: np.ndarray,
    *,
    threads: int = 1,
) -> None:
    """Compute features of all symbols into rows that the caller holds; the first call compiles for some seconds.

    A value hangs on the bars in its own window alone, to the last bit: a run that begins at a later row gives what the
    whole run gives, if each symbol's rows before `starts` hold its first bar or the longest look-back of `names`.

    Args:
        columns: open, high, low, close (listing currency), volume (shares): contiguous float64, n rows, one symbol
            after the other, each in time order, no NaN; prices above 0. More keys are ignored.
        edges: int64, k + 1 ascending rows; symbol i has the rows edges[i] to edges[i + 1].
        starts: int64, k rows; the first row of each symbol to compute. Rows before are context and left as they are.
        names: from `NAMES`, in the order of the rows of `out`.
        out: (len(names), n), C-contiguous, float64 or float32, written in place.
        threads: symbols are shared out among this many.

    Raises:
        ParamError: an unknown name, an array of the wrong kind or length, rows out of order.
    """
    shapes, slots, depths = _slots(names)
    bars = tuple(_column(columns, name) for name in COLUMNS)
    edges, starts = _rows(edges, starts, bars)
    _check_out(out, len(names), len(bars[0]))
    none = np.empty((0, 0), dtype="float32" if out.dtype == np.float64 else "float64")
    target = (out, none) if out.dtype == np.float64 else (none, out)
    if not len(starts) or not len(names):
        return
    from stockkit.features import families  # numba takes a moment to load

    def work(first: int, last: int) -> None:
        families.fill(bars, edges[first : last + 1], starts[first:last], shapes, slots, depths, target)

    cuts = _shared(edges, starts, threads)
    if len(cuts) == 2:
        work(0, len(starts))
        return
    with ThreadPoolExecutor(len(cuts) - 1) as pool:
        list(pool.map(work, cuts[:-1], cuts[1:]))


def _slots(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The row of `out` of each shape and of each family and window, -1 for none; how many windows a group needs."""
    shapes = np.full(len(SHAPES), -1)
    slots = np.full((len(FAMILIES), len(WINDOWS)), -1)
    depths = np.zeros(GROUPS, dtype="int64")
    for row, name in enumerate(names):
        family, d = _parts(name)
        if d:
            j, group = WINDOWS.index(d), FAMILIES[family][2]
            slots[list(FAMILIES).index(family), j] = row
            depths[group] = max(depths[group], j + 1)
        else:
            shapes[list(SHAPES).index(family)] = row
            depths[0] = 1
    return shapes, slots, depths


def _column(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    column = columns.get(name)
    if column is None or column.dtype != np.float64 or column.ndim != 1 or not column.flags.c_contiguous:
        kind = "nothing" if column is None else f"{column.dtype}, {column.ndim} dimensions, strides {column.strides}"
        raise ParamError(f"column {name!r} must be contiguous float64, found {kind}; see numpy.ascontiguousarray.")
    column = column.view()
    column.flags.writeable = False  # numba compiles anew for arrays that may be written
    return column


def _rows(edges: np.ndarray, starts: np.ndarray, bars: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Edges and starts as int64, checked: the kernels read rows without looking whether they are there."""
    edges, starts = np.ascontiguousarray(edges, "int64"), np.ascontiguousarray(starts, "int64")
    lengths = {len(column) for column in bars}
    if len(lengths) > 1:
        raise ParamError(f"columns differ in length: {sorted(lengths)} rows; hand in one value a bar in each.")
    if len(edges) != len(starts) + 1:
        raise ParamError(f"{len(starts)} starts need {len(starts) + 1} edges, found {len(edges)}.")
    inside = edges[0] >= 0 and edges[-1] <= len(bars[0])
    if not inside or (np.diff(edges) < 0).any() or (starts < edges[:-1]).any() or (starts > edges[1:]).any():
        raise ParamError(f"edges must ascend from 0 to at most {len(bars[0])} rows, and each start lie in its symbol.")
    return edges, starts


def _check_out(out: np.ndarray, features: int, rows: int) -> None:
    wanted = (features, rows)
    if out.shape != wanted or out.dtype not in (np.float64, np.float32) or not out.flags.c_contiguous:
        raise ParamError(f"out must be {wanted}, C-contiguous float64 or float32, found {out.shape} {out.dtype}.")


def _shared(edges: np.ndarray, starts: np.ndarray, threads: int) -> list[int]:
    """Where to cut the symbols so that each thread has about as many rows to compute."""
    if threads < 1:
        raise ParamError(f"threads must be at least 1, found {threads}.")
    rows = np.cumsum(edges[1:] - starts)
    cuts = np.searchsorted(rows, rows[-1] * np.arange(1, threads) / threads)
    return [0, *sorted({int(cut) for cut in cuts} - {0, len(starts)}), len(starts)]


def _alone(name: str) -> Callable[[Arrays], np.ndarray]:
    """The feature of one symbol, for those who ask for it by itself."""

    def function(a: Arrays) -> np.ndarray:
        n = len(a.close)
        out = np.empty((1, n))
        fill({column: getattr(a, column) for column in COLUMNS}, np.array([0, n]), np.zeros(1, "int64"), [name], out)
        return out[0]

    return function


def _unit(name: str) -> str:
    """A ratio; but where Qlib adds 1 or 1e-12 to a volume, that is a number of shares, and a split can be seen."""
    return "shares" if _parts(name)[0] in ("corr", "vma", "vstd") else "ratio"


FEATURES = tuple(
    Feature(name, _alone(name), look_back(name), _unit(name), meaning(name), source(name), GROUP) for name in NAMES
)
