"""How features are computed: a few symbols at a time, into one block of memory, with no more history than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from stockkit.errors import FeatureError
from stockkit.features import alpha158, basic, cross
from stockkit.features.feature import COLUMNS, Arrays, Feature
from stockkit.features.panel import Panel, Part

Placed = list[tuple[int, Feature]]
Pair = tuple[str, str]


def fill(
    whole: Panel,
    chosen: Sequence[Feature],
    block: np.ndarray,
    *,
    given: Mapping[Pair, np.ndarray],
    warm_up: bool = False,
    threads: int = 2,
) -> None:
    """Compute the wanted rows of a panel into `block`, one row a feature.

    Args:
        whole: the panel. chosen: the features. block: (features, wanted rows), float64 or float32.
        given: what symbols are within their day, a value a row of the panel, where the caller knows it.
        warm_up: keep what windows that are not yet full say, as far as a feature has it.
        threads: how many work at a time.
    """
    kinds: dict[str, Placed] = {"own": [], "across": [], "alpha": [], "smoothed": [], "windowed": []}
    for k, feature in enumerate(chosen):
        kinds[_kind(feature)].append((k, feature))
    with np.errstate(all="ignore"):
        _fill_smoothed(whole, kinds["smoothed"], block)
        _fill(whole.within_reach(_reach(kinds["windowed"])), kinds["windowed"], block, threads)
        _fill_own(whole, kinds["own"], block)
        _fill_across(whole, kinds["across"], block, given, threads)
        _fill_alpha(whole, kinds["alpha"], block, threads)
    if not warm_up:
        _clear_look_back(whole, chosen, block)


def _kind(feature: Feature) -> str:
    if feature.group in ("user", alpha158.GROUP):
        return "own" if feature.group == "user" else "alpha"
    return "across" if feature.within else "smoothed" if feature.smoothed else "windowed"


def _reach(some: Placed) -> int:
    return max((feature.look_back for _, feature in some), default=0)


def _fill(part: Panel, some: Placed, block: np.ndarray, threads: int) -> None:
    def work(few: Part) -> None:
        with np.errstate(all="ignore"):
            for k, feature in some:
                block[k, few.there] = feature.function(few.arrays)[few.wanted]

    if some:
        _each(part, work, threads)


def _fill_smoothed(whole: Panel, some: Placed, block: np.ndarray) -> None:
    for one in whole.from_restarts() if some else ():
        for k, feature in some:
            block[k, one.there] = feature.function(one.arrays)[one.wanted]


def _each(part: Panel, work: Callable[[Part], None], threads: int) -> None:
    """Call `work` with a few symbols at a time, in threads; array operations let each other run."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, part.parts()):
            pass


def _fill_own(whole: Panel, some: Placed, block: np.ndarray) -> None:
    """A user's features: one symbol at a time, over all of its history, on arrays that cannot be written to."""
    for one in whole.parts(rows=1) if some else ():
        for name in (*COLUMNS, "date"):
            getattr(one.arrays, name).flags.writeable = False
        for k, feature in some:
            block[k, one.there] = _called(feature, one.arrays)[one.wanted]


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


def _fill_across(whole: Panel, some: Placed, block: np.ndarray, given: Mapping[Pair, np.ndarray], threads: int) -> None:
    """Features that need the other symbols: first what each is within its day, then the window over that."""
    if not some:
        return
    firsts = _days_in_reach(whole, _reach(some))
    part, rows = whole.cut(firsts), whole.rows_from(firsts)
    pairs = dict.fromkeys(feature.within for _, feature in some if feature.within)
    unknown = [pair for pair in pairs if pair not in given]
    compared = {pair: given[pair][rows] for pair in pairs if pair in given}
    compared |= zip(unknown, compare(replace(whole, starts=firsts), part.arrays.day, unknown), strict=True)

    def work(few: Part) -> None:
        with np.errstate(all="ignore"):
            for k, feature in some:
                if feature.within:
                    block[k, few.there] = feature.function(few.arrays, compared[feature.within][few.here])[few.wanted]

    _each(part, work, threads)


def _days_in_reach(whole: Panel, look_back: int) -> np.ndarray:
    """The first row of each symbol so that every symbol has all days that a window of any of them covers."""
    firsts = np.maximum(whole.edges[:-1], whole.starts - look_back)
    day = whole.arrays.day
    used = (firsts < whole.edges[1:]) & (whole.counts > 0)
    earliest = day[firsts[used]].min() if used.any() else 0
    same = np.r_[0, np.cumsum(day >= earliest)][whole.edges]
    return np.minimum(np.where(used, firsts, whole.edges[1:]), whole.edges[1:] - np.diff(same))


def compare(part: Panel, day: np.ndarray, pairs: Sequence[Pair]) -> Iterator[np.ndarray]:
    """What each wanted row is within its `day`, pair by pair of what (rank, mean) and of which feature."""
    for kind, name in pairs:
        base = np.empty((1, len(day)))
        fill(part, [basic.BY_NAME[name]], base, given={})
        yield cross.WITHIN[kind](base[0], day)


def _fill_alpha(whole: Panel, some: Placed, block: np.ndarray, threads: int) -> None:
    if not some:
        return
    part = whole.within_reach(_reach(some))
    columns = {name: getattr(part.arrays, name) for name in COLUMNS}
    places, names = [k for k, _ in some], [feature.name for _, feature in some]
    wanted = part.wanted()
    straight = places == list(range(places[0], places[0] + len(places))) and isinstance(wanted, slice)
    out = block[places[0] : places[-1] + 1] if straight else np.empty((len(some), part.edges[-1]), block.dtype)
    alpha158.fill(columns, part.edges, part.starts, names, out, threads=threads)
    if not straight:
        block[places] = out[:, wanted]


def _clear_look_back(whole: Panel, chosen: Sequence[Feature], block: np.ndarray) -> None:
    """NaN where a symbol's history is shorter than a feature's look-back."""
    ends = np.r_[0, np.cumsum(whole.counts)]
    position = whole.starts - whole.edges[:-1]
    most = max((feature.look_back for feature in chosen), default=0)
    for j in np.flatnonzero((position < most) & (whole.counts > 0)):
        for k, feature in enumerate(chosen):
            early = feature.look_back - position[j]
            if early > 0:
                block[k, ends[j] : min(ends[j] + early, ends[j + 1])] = np.nan
