"""How features are computed: a few symbols at a time, into one block of memory, with no more history than needed.

Bars are contiguous arrays, sorted by symbol then date, and handed out in chunks of a few symbols.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from stockkit.errors import FeatureError
from stockkit.features import alpha158, basic, cross
from stockkit.features.feature import COLUMNS, MEMORY, RESTART, Arrays, Feature
from stockkit.imports import numpy as np
from stockkit.imports import pandas as pd

AT_ONCE = 40_000  # rows of several symbols computed together: few calls, and still within the processor's cache
Placed = list[tuple[int, Feature]]
Pair = tuple[str, str]


@dataclass(frozen=True)
class SymbolPanel:
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
    def from_bars(
        cls, bars: pd.DataFrame, edges: np.ndarray, *, since: pd.Timestamp | None, calendar: str
    ) -> SymbolPanel:
        """Sorted bars, whose symbols start at `edges`, as contiguous arrays; rows before `since` are context."""
        columns: dict[str, Any] = {name: np.ascontiguousarray(bars[name].to_numpy(dtype="float64")) for name in COLUMNS}
        date, starts = bars["date"].to_numpy(), edges[:-1]
        if since is not None:
            day = since.to_datetime64()
            firsts = [first + date[first:last].searchsorted(day) for first, last in itertools.pairwise(edges)]
            starts = np.array(firsts, dtype="int64")
        return cls(Arrays(**columns, date=date, calendar=calendar), edges, starts)

    @property
    def counts(self) -> np.ndarray:
        """How many rows of each symbol are wanted."""
        return self.edges[1:] - self.starts

    def within_reach(self, look_back: int) -> SymbolPanel:
        """Only as much context as `look_back` needs."""
        return self.cut(np.maximum(self.edges[:-1], self.starts - look_back))

    def cut(self, firsts: np.ndarray) -> SymbolPanel:
        """Only the rows of each symbol from `firsts` on."""
        if np.array_equal(firsts, self.edges[:-1]):
            return self
        edges = np.r_[0, np.cumsum(self.edges[1:] - firsts)]
        return SymbolPanel(self.arrays.take(self.rows_from(firsts)), edges, edges[:-1] + self.starts - firsts)

    def rows_from(self, firsts: np.ndarray) -> np.ndarray | slice:
        """The rows of each symbol from `firsts` on; all of them as a slice."""
        if np.array_equal(firsts, self.edges[:-1]):
            return slice(None)
        lengths = self.edges[1:] - firsts
        return np.arange(lengths.sum()) + np.repeat(firsts - np.r_[0, np.cumsum(lengths)[:-1]], lengths)

    def chunks(self, rows: int = AT_ONCE) -> Iterator[Chunk]:
        """The symbols, as many at a time as have about `rows` rows."""
        ends = np.r_[0, np.cumsum(self.counts)]
        first = 0
        for k, last in enumerate(self.edges[1:], 1):
            if last - self.edges[first] >= rows or k == len(self.edges) - 1:
                span = slice(int(self.edges[first]), int(last))
                wanted = _wanted(self.edges[first : k + 1], self.starts[first:k])
                edges = [int(edge) - span.start for edge in self.edges[first : k + 1]]
                output = slice(int(ends[first]), int(ends[k]))
                yield Chunk(self.arrays.take(span, edges), span, output, wanted)
                first = k

    def from_restarts(self) -> Iterator[Chunk]:
        """Each symbol with as much context as functions that smooth over all history need; see `Arrays.by_symbol`."""
        ends = np.r_[0, np.cumsum(self.counts)]
        for j, (first, last) in enumerate(itertools.pairwise(self.edges)):
            position = self.starts[j] - first
            lead = MEMORY if position >= RESTART else 0
            start = first + position // RESTART * RESTART - lead
            arrays = self.arrays.take(slice(int(start), int(last)), (0, int(last - start)), lead)
            wanted = slice(int(self.starts[j] - start), None)
            yield Chunk(arrays, slice(int(start), int(last)), slice(int(ends[j]), int(ends[j + 1])), wanted)

    def wanted(self) -> np.ndarray | slice:
        """Which rows are wanted: all of them as a slice, else as booleans."""
        return _wanted(self.edges, self.starts)


@dataclass(frozen=True)
class Chunk:
    """A few symbols of a panel: their arrays, which of its rows they are, which of the output, and which are wanted."""

    arrays: Arrays
    rows: slice
    output: slice
    wanted: np.ndarray | slice


def _wanted(edges: np.ndarray, starts: np.ndarray) -> np.ndarray | slice:
    """Which rows lie at or after their symbol's start."""
    if np.array_equal(starts, edges[:-1]):
        return slice(None)
    return np.arange(edges[0], edges[-1]) >= np.repeat(starts, np.diff(edges))


def fill(
    panel: SymbolPanel,
    chosen: Sequence[Feature],
    block: np.ndarray,
    *,
    given: Mapping[Pair, np.ndarray],
    warm_up: bool = False,
    threads: int = 2,
) -> None:
    """Compute the wanted rows of a panel into `block`, one row a feature.

    Args:
        panel: the panel. chosen: the features. block: (features, wanted rows), float64 or float32.
        given: what symbols are within their day, a value a row of the panel, where the caller knows it.
        warm_up: keep what windows that are not yet full say, as far as a feature has it.
        threads: how many work at a time.
    """
    kinds: dict[str, Placed] = {"user": [], "across": [], "alpha": [], "smoothed": [], "windowed": []}
    for k, feature in enumerate(chosen):
        kinds[_kind(feature)].append((k, feature))
    with np.errstate(all="ignore"):
        _fill_smoothed(panel, kinds["smoothed"], block)
        _fill(panel.within_reach(_reach(kinds["windowed"])), kinds["windowed"], block, threads)
        _fill_user(panel, kinds["user"], block)
        _fill_across(panel, kinds["across"], block, given, threads)
        _fill_alpha(panel, kinds["alpha"], block, threads)
    if not warm_up:
        _clear_look_back(panel, chosen, block)


def _kind(feature: Feature) -> str:
    if feature.group in ("user", alpha158.GROUP):
        return "user" if feature.group == "user" else "alpha"
    return "across" if feature.within else "smoothed" if feature.smoothed else "windowed"


def _reach(placed: Placed) -> int:
    return max((feature.look_back for _, feature in placed), default=0)


def _fill(panel: SymbolPanel, placed: Placed, block: np.ndarray, threads: int) -> None:
    def work(chunk: Chunk) -> None:
        with np.errstate(all="ignore"):
            for k, feature in placed:
                block[k, chunk.output] = feature.function(chunk.arrays)[chunk.wanted]

    if placed:
        _in_threads(panel, work, threads)


def _fill_smoothed(panel: SymbolPanel, placed: Placed, block: np.ndarray) -> None:
    for chunk in panel.from_restarts() if placed else ():
        for k, feature in placed:
            block[k, chunk.output] = feature.function(chunk.arrays)[chunk.wanted]


def _in_threads(panel: SymbolPanel, work: Callable[[Chunk], None], threads: int) -> None:
    """Call `work` with a few symbols at a time, in threads; array operations let each other run."""
    chunks = list(panel.chunks())
    if len(chunks) == 1:  # starting a thread takes longer than a small table
        work(chunks[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, chunks):
            pass


def _fill_user(panel: SymbolPanel, placed: Placed, block: np.ndarray) -> None:
    """A user's features: one symbol at a time, over all of its history, on arrays that cannot be written to."""
    for chunk in panel.chunks(rows=1) if placed else ():
        for name in (*COLUMNS, "date"):
            getattr(chunk.arrays, name).flags.writeable = False
        for k, feature in placed:
            block[k, chunk.output] = _called(feature, chunk.arrays)[chunk.wanted]


def _called(feature: Feature, arrays: Arrays) -> np.ndarray:
    n = len(arrays.close)
    try:
        values = np.asarray(feature.function(arrays), dtype="float64")
    except Exception as error:
        raise FeatureError(f"feature {feature.name!r} failed on a history of {n} sessions: {error}") from error
    if values.shape != (n,):
        raise FeatureError(
            f"feature {feature.name!r} gave values of shape {values.shape} for {n} sessions: return one a session, "
            "NaN where there is none."
        )
    return values


def _fill_across(
    panel: SymbolPanel, placed: Placed, block: np.ndarray, given: Mapping[Pair, np.ndarray], threads: int
) -> None:
    """Features that need the other symbols: first what each is within its day, then the window over that."""
    if not placed:
        return
    firsts = _days_in_reach(panel, _reach(placed))
    reached, rows = panel.cut(firsts), panel.rows_from(firsts)
    pairs = dict.fromkeys(feature.within for _, feature in placed if feature.within)
    unknown = [pair for pair in pairs if pair not in given]
    compared = {pair: given[pair][rows] for pair in pairs if pair in given}
    compared |= zip(unknown, compare(replace(panel, starts=firsts), reached.arrays.day, unknown), strict=True)

    def work(chunk: Chunk) -> None:
        with np.errstate(all="ignore"):
            for k, feature in placed:
                if feature.within:
                    values = feature.function(chunk.arrays, compared[feature.within][chunk.rows])
                    block[k, chunk.output] = values[chunk.wanted]

    _in_threads(reached, work, threads)


def _days_in_reach(panel: SymbolPanel, look_back: int) -> np.ndarray:
    """The first row of each symbol so that every symbol has all days that a window of any of them covers."""
    firsts = np.maximum(panel.edges[:-1], panel.starts - look_back)
    day = panel.arrays.day
    used = (firsts < panel.edges[1:]) & (panel.counts > 0)
    earliest = day[firsts[used]].min() if used.any() else 0
    same = np.r_[0, np.cumsum(day >= earliest)][panel.edges]
    return np.minimum(np.where(used, firsts, panel.edges[1:]), panel.edges[1:] - np.diff(same))


def compare(panel: SymbolPanel, day: np.ndarray, pairs: Sequence[Pair]) -> Iterator[np.ndarray]:
    """What each wanted row is within its `day`, pair by pair of what (rank, mean) and of which feature."""
    for kind, name in pairs:
        base = np.empty((1, len(day)))
        fill(panel, [basic.BY_NAME[name]], base, given={})
        yield cross.WITHIN[kind](base[0], day)


def _fill_alpha(panel: SymbolPanel, placed: Placed, block: np.ndarray, threads: int) -> None:
    if not placed:
        return
    panel = panel.within_reach(_reach(placed))
    columns = {name: getattr(panel.arrays, name) for name in COLUMNS}
    places, names = [k for k, _ in placed], [feature.name for _, feature in placed]
    wanted = panel.wanted()
    straight = places == list(range(places[0], places[0] + len(places))) and isinstance(wanted, slice)
    out = block[places[0] : places[-1] + 1] if straight else np.empty((len(placed), panel.edges[-1]), block.dtype)
    alpha158.fill(columns, panel.edges, panel.starts, names, out, threads=threads)
    if not straight:
        block[places] = out[:, wanted]


def _clear_look_back(panel: SymbolPanel, chosen: Sequence[Feature], block: np.ndarray) -> None:
    """NaN where a symbol's history is shorter than a feature's look-back."""
    ends = np.r_[0, np.cumsum(panel.counts)]
    position = panel.starts - panel.edges[:-1]
    most = max((feature.look_back for feature in chosen), default=0)
    for j in np.flatnonzero((position < most) & (panel.counts > 0)):
        for k, feature in enumerate(chosen):
            early = feature.look_back - position[j]
            if early > 0:
                block[k, ends[j] : min(ends[j] + early, ends[j + 1])] = np.nan
