"""The audit of features and labels: each value of each scene against the value of the whole run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ParamError, UnfitError
from stockkit.market import schema
from stockkit.market.causality import scenes
from stockkit.market.causality.look_backs import look_backs
from stockkit.market.causality.scenes import Scene
from stockkit.market.causality.subjects import Claim, Known, Subject, subjects
from stockkit.market.causality.verdicts import CHECKS, EMPTY, Audit, Finding, weigh

ROUNDING = 1e-11  # relative: sums in another order, as of a matrix product over fewer rows, differ by less
SCALE = 1e-6  # relative: how far a feature that claims to be scale-free may move with a split
LEAST_CUTS = 5
RARE = 0.5  # share of rows with one same value from which a value counts as rare events
EVENTS = 20


def audit(
    what: Any = None,
    bars: pd.DataFrame | None = None,
    *,
    cuts: int = 20,
    seed: int = 11,
    arrays: bool | None = None,
    look_back: int | None = None,
    scale_free: bool | None = None,
    cross: bool = False,
) -> Audit:
    """Prove or refute that values use no row after their own.

    Args:
        what: None for the whole catalogue, names of features or groups, one function, or a dict of name to function
            (or `features.Feature`). A function takes bars and returns a Series or DataFrame (aligned by index) or an
            array (by position); or it takes `features.Arrays` and returns an array.
        bars: daily bars; without them simulated ones, as `schema.PRICES`, made from `seed`. Left untouched.
        cuts: sessions after which rows are taken away, and as many after which they are corrupted.
        seed: of the simulated bars, the sessions and the corruption.
        arrays: whether functions take `features.Arrays`; by default those whose parameter is so annotated.
        look_back, scale_free, cross: what is claimed of functions (the catalogue says it of its features): sessions
            needed before t, unchanged by a later split, depends on the other symbols.

    Not seen: constants worked out beforehand from the same market (audit on the bars they come from does not help
    either; see `audit_fitted`), and a leak on a few days only that no cut falls on: raise `cuts`.

    Raises:
        ParamError: an unknown feature, no function, too few cuts. SchemaError: bars that cannot be cut.
    """
    chosen = subjects(what, Claim(look_back, scale_free, cross), arrays=arrays)
    return weigh(_examine(chosen, bars, _at_least(cuts), seed, 0))


def audit_label(
    function: Any,
    bars: pd.DataFrame | None = None,
    *,
    horizon: int,
    cuts: int = 20,
    seed: int = 11,
    arrays: bool | None = None,
    cross: bool = False,
) -> Audit:
    """Prove or refute that a label looks ahead `horizon` of its symbol's sessions at most, and is NaN in the last ones.

    Arguments as in `audit`; the table has one more check, `tail`.

    Raises:
        ParamError: a horizon under 1, no function. SchemaError: bars that cannot be cut.
    """
    if horizon < 1:
        raise ParamError(f"horizon {horizon}: a label looks at least 1 session ahead; a feature goes to audit().")
    chosen = subjects(function, Claim(cross=cross, horizon=horizon), arrays=arrays)
    return weigh(_examine(chosen, bars, _at_least(cuts), seed, horizon), (*CHECKS, "tail"))


def _at_least(cuts: int) -> int:
    if cuts < LEAST_CUTS:
        raise ParamError(f"cuts {cuts}: give at least {LEAST_CUTS}, 20 to catch what happens on some weekdays only.")
    return cuts


def _examine(
    chosen: list[Subject], given: pd.DataFrame | None, cuts: int, seed: int, horizon: int
) -> Iterator[Finding]:
    rng = np.random.default_rng(seed)
    bars = scenes.practice_bars(rng, count=_enough(chosen)) if given is None else scenes.ordered(given)
    if any(subject.claims for subject in chosen):
        schema.check_bars(bars)
    known: list[Known] = []
    for subject in chosen:
        whole, found = _whole(subject, bars)
        yield from found
        known += [] if whole is None else [whole]
        if whole is not None and horizon:
            yield from _tails(whole, bars, horizon)
    dates = {check: scenes.cut_dates(bars, cuts, rng) for check in ("cut", "corrupt")}
    for check, days in dates.items():
        for scene in scenes.through_time(bars, days, horizon, rng, [check]):
            yield from _all(known, scene, bars)
    for one in known:
        for scene in scenes.through_time(bars, _events(one, bars, dates["cut"]), horizon, rng):
            yield from compare(one, scene, bars)
    for scene in scenes.across_rows(bars, rng):
        yield from _all(known, scene, bars)
    for one in known:
        yield from look_backs(one, bars, rng)


def _enough(chosen: list[Subject]) -> int:
    """Sessions that leave more than half a year of values after the longest look-back."""
    claims = [claim for one in chosen for claim in [one.claim, *(one.claims or {}).values()]]
    return max(scenes.SESSIONS, *(150 + (claim.look_back or 0) * 2 for claim in claims))


def _whole(subject: Subject, bars: pd.DataFrame) -> tuple[Known | None, list[Finding]]:
    """The values of the whole run, and whether the function runs, keeps its input and repeats itself."""
    names = list(subject.claims or [subject.name])
    try:
        values, again = subject.values(bars), subject.values(bars)
    except UnfitError as error:
        return None, [Finding(name, "runs", error.state, None, str(error)) for name in names]
    if list(values) != list(again) or not _equal(values.to_numpy(), again.to_numpy()).all():
        what = "gives other values when called again with the same bars: seed its random numbers, keep no state"
        return None, [Finding(name, "runs", "random", None, what) for name in names]
    found = [_to_check(name, values[name], bars["symbol"]) for name in values]
    typical = (values - values.median()).abs().median().fillna(0.0) + 1e-300
    return Known(subject, values, typical), found


def _to_check(name: str, values: pd.Series, symbols: pd.Series) -> Finding:
    valid = values.notna()
    if not valid.any():
        return Finding(name, "runs", EMPTY, None, "it has no values on these bars: there was nothing to check")
    begun = valid.groupby(symbols.to_numpy()).cummax()  # a look-back leaves the first rows NaN: that says nothing
    if values[begun].nunique(dropna=False) == 1:
        what = f"it is {values[begun].iloc[0]:g} wherever it has a value: there was nothing to check"
        return Finding(name, "runs", EMPTY, None, what)
    return Finding(name, "runs", "ok")


def _equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def _all(known: Iterable[Known], scene: Scene, bars: pd.DataFrame) -> Iterator[Finding]:
    for one in known:
        yield from compare(one, scene, bars)


def compare(known: Known, scene: Scene, bars: pd.DataFrame) -> Iterator[Finding]:
    """What a scene says of each value of a subject."""
    try:
        values = known.subject.values(scene.bars).reindex(columns=known.values.columns)
    except UnfitError as error:
        yield from (_unfit(name, known.subject.claim_of(name), scene, error) for name in known.values)
        return
    for name in known.values:
        claim = known.subject.claim_of(name)
        if scene.check == "neighbour" and claim.cross:
            yield Finding(name, scene.check, "n/a")
            continue
        before, after = known.values[name].to_numpy()[scene.rows], values[name].to_numpy()
        yield _judge(name, claim, scene, before, after, float(known.typical[name]), bars)


def _unfit(name: str, claim: Claim, scene: Scene, error: UnfitError) -> Finding:
    """A function may refuse rows out of order: the contract of bars promises them sorted."""
    if scene.check == "order" and not claim.any_order:
        return Finding(name, "order", "sorted only")
    return Finding(name, "runs", error.state, None, str(error))


def _judge(name: str, claim: Claim, scene: Scene, before: np.ndarray, after: np.ndarray, typical: float,
           bars: pd.DataFrame) -> Finding:  # fmt: skip
    changed = scene.same & ~_equal(before, after)
    if not changed.any():
        seen = np.isfinite(before[scene.same]).any()
        return Finding(name, scene.check, "ok" if seen else EMPTY)
    with np.errstate(all="ignore"):
        gap = np.abs(before - after) / np.maximum(np.maximum(np.abs(before), np.abs(after)), typical)
    far = changed & ~(gap <= (SCALE if scene.check == "split" else ROUNDING))
    if not far.any():
        return Finding(name, scene.check, "ok" if scene.check == "split" else "rounding")
    rows = np.flatnonzero(far)
    first = rows[np.argmin(scene.bars["date"].to_numpy()[rows])]
    date = scene.bars["date"].iloc[first]
    what = _sentence(scene, first, before[first], after[first])
    return Finding(name, scene.check, _state(scene.check, claim), date, what, _reach(scene, first, bars))


def _state(check: str, claim: Claim) -> str:
    if check == "order" and not claim.any_order:
        return "sorted only"
    return "changes" if check == "split" and not claim.scale_free else "leak"


def _sentence(scene: Scene, row: int, before: float, after: float) -> str:
    symbol, date = scene.bars["symbol"].iloc[row], scene.bars["date"].iloc[row]
    if scene.check == "split":
        return f"it changes with a later split: not for models ({symbol} {date:%Y-%m-%d}: {before:g}, then {after:g})"
    words = scene.words.replace(f"the rows after {date:%Y-%m-%d}", "the rows after it")
    return f"the value at {date:%Y-%m-%d} ({symbol}) changes when {words}: {before:g} becomes {after:g}"


def _reach(scene: Scene, row: int, bars: pd.DataFrame) -> int:
    """The symbol's own rows that the value in `row` must see ahead to notice what happened after `scene.after`."""
    if scene.after is None:
        return 0
    dates = bars["date"].to_numpy()[scene.rows[row] :]
    past = (dates[1:] > scene.after.to_datetime64()) | (dates[1:] < dates[:-1])  # or the next symbol begins
    return int(past.argmax() if past.any() else len(past)) + 1


def _tails(known: Known, bars: pd.DataFrame, horizon: int) -> Iterator[Finding]:
    """A label's last `horizon` rows of each symbol must be NaN."""
    last = (bars.groupby("symbol").cumcount(ascending=False) < horizon).to_numpy()
    for name in known.values:
        early = last & known.values[name].notna().to_numpy()
        if not early.any():
            yield Finding(name, "tail", "ok")
            continue
        row = bars[early].iloc[0]
        where = f"{row['symbol']} at {row['date']:%Y-%m-%d}"
        what = f"the label of {where} has a value before its {horizon} sessions are over"
        yield Finding(name, "tail", "filled", row["date"], what)


def _events(known: Known, bars: pd.DataFrame, cuts: Sequence[pd.Timestamp]) -> list[pd.Timestamp]:
    """Sessions on which a value that is mostly one and the same is another: a leak shows only there."""
    rare: dict[str, set[pd.Timestamp]] = {}
    for name, column in known.values.items():
        usual = column.value_counts(dropna=False, normalize=True)
        if usual.iloc[0] > RARE and len(usual) > 1:
            other = _equal(column.to_numpy(), np.array(usual.index[0], dtype="float64"))
            rare[str(name)] = set(bars["date"][~other & column.notna().to_numpy()])
    chosen: list[pd.Timestamp] = []
    for days in rare.values():
        missing = 3 - len(days & {*cuts, *chosen})
        left = sorted(days - {*cuts, *chosen, bars["date"].max()})
        chosen += left[len(left) // 3 :: max(len(left) // 4, 1)][: max(missing, 0)]
    return chosen[:EVENTS]
