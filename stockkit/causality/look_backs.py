"""Whether a value keeps to its stated look-back: nothing before it, and no need of older rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from stockkit import features
from stockkit.causality.subjects import Known, Subject, called
from stockkit.causality.verdicts import EMPTY, Finding
from stockkit.errors import UnfitError

OLDER = 1e-6  # relative to the value: what rows older than the look-back may add before it counts as a difference
GONE = 1e-9  # the difference is gone: what the value needs has been shown
MORE_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 200)
ROWS = 6


def look_backs(known: Known, bars: pd.DataFrame, rng: np.random.Generator) -> Iterator[Finding]:
    """Whether nothing is valid before the stated look-back, and whether the value needs no more than that.

    A smoothed average weighs all earlier rows, ever less, and may: where the value of `look_back` rows differs from
    the whole run's, it is shown 1, 2, 4, … 200 rows more. If the difference fades it `smooths`; if it stays, or ends
    at once (a window that is longer than stated), the look-back is wrong: `longer`.
    """
    at = bars.groupby("symbol").cumcount().to_numpy()
    needs: dict[int, list[str]] = {}
    for name in known.values:
        claim = known.subject.claim_of(name)
        if claim.look_back is None:
            yield Finding(name, "look_back", "n/a")
            continue
        yield from _early(name, claim.look_back, known.values[name].notna().to_numpy(), bars, at)
        if not claim.cross:  # the market's mean over a window needs the others' rows of the same days
            needs.setdefault(claim.look_back, []).append(name)
    for claimed, names in needs.items():
        yield from _contexts(known, bars, at, claimed, names, rng)


def _early(name: str, claimed: int, valid: np.ndarray, bars: pd.DataFrame, at: np.ndarray) -> Iterator[Finding]:
    early = np.flatnonzero((at < claimed) & valid)
    if len(early):
        row = bars.iloc[early[0]]
        what = f"{row['symbol']} has a value at {row['date']:%Y-%m-%d}, within the stated look-back of {claimed}"
        yield Finding(name, "look_back", "early", row["date"], what)


def _contexts(known: Known, bars: pd.DataFrame, at: np.ndarray, claimed: int, names: list[str],
              rng: np.random.Generator) -> Iterator[Finding]:  # fmt: skip
    late = np.flatnonzero(at >= claimed + MORE_ROWS[-1])
    for row in rng.choice(late, min(ROWS, len(late)), replace=False):
        near = _gaps(known, names, bars, row, claimed)
        off = [name for name in names if near.get(name, 0.0) > OLDER]
        more = [_gaps(known, off, bars, row, claimed + extra) for extra in MORE_ROWS] if off else []
        for name in names:
            if name in off:
                gaps = [near[name], *(one.get(name, 1.0) for one in more)]  # where it raises it differs, as where NaN
                yield _older(name, claimed, bars.iloc[row], gaps)
            else:
                yield Finding(name, "look_back", "ok" if name in near else EMPTY)
    if not len(late):
        yield from (Finding(name, "look_back", "n/a") for name in names)


def _gaps(known: Known, names: list[str], bars: pd.DataFrame, row: int, context: int) -> dict[str, float]:
    """How far each value at `row` is off the whole run's, given it and the `context` rows before; none where NaN."""
    try:
        values = _last(known.subject, names, bars.iloc[row - context : row + 1])
    except UnfitError:
        return {}
    gaps = {}
    for name in names:
        expected = float(known.values[name].iloc[row])
        if name in values and np.isfinite(expected):
            gap = abs(float(values[name]) - expected) / max(abs(expected), float(known.typical[name]))
            gaps[name] = float(np.nan_to_num(gap, nan=1.0))
    return gaps


def _last(subject: Subject, names: list[str], shown: pd.DataFrame) -> Mapping[str, float]:
    """The values of the last row; those of the catalogue without the checks of bars, which scenes have been through."""
    if subject.claims:
        values = called(lambda bars: features.of_one_symbol(bars, names), shown)
        return dict(zip(names, values[:, -1], strict=True))
    return subject.values(shown.reset_index(drop=True)).iloc[-1]


def _older(name: str, claimed: int, row: pd.Series, gaps: list[float]) -> Finding:
    """Judge the differences left after 0, 1, 2, 4, … more rows: of what fades, the half-way ones are small too."""
    gone = next((k for k, gap in enumerate(gaps) if gap <= GONE), None)
    fades = gaps[-1] <= gaps[0] / 10 if gone is None else gaps[gone - 1] <= gaps[0] / 100
    if fades:
        return Finding(name, "look_back", "smooths")
    needs = f"{claimed + MORE_ROWS[gone - 1]} at most" if gone else "more than 200 further"
    what = f"{row['symbol']} at {row['date']:%Y-%m-%d} needs rows older than the stated look-back of {claimed}: {needs}"
    return Finding(name, "look_back", "longer", row["date"], what)
