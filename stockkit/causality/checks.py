"""The audit of features and labels: each value of each scene against the whole run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.causality import scenes
from stockkit.causality.isolation import ProcessEnded, isolated
from stockkit.causality.look_backs import look_backs
from stockkit.causality.scenes import Scene
from stockkit.causality.subjects import Claim, Known, Subject, subjects
from stockkit.causality.verdicts import CHECKS, EMPTY, Audit, Finding, weigh
from stockkit.errors import ParamError, UnfitError
from stockkit.market import schema

ROUNDING = 1e-9  # relative: sums in another order, as of a matrix product over fewer rows, differ by less
AMPLIFIED = 1e3  # times what one unit in the last place of the prices changes: rounding, of a badly conditioned value
MOST_ROUNDING = 1e-5  # relative: a larger difference is never called rounding
LARGE = 1e-2  # relative: after numbers that are far off sums have lost digits; what a leak of them adds is far larger
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
    at_open: bool = False,
) -> Audit:
    """Test whether values use a row after their own.

    Functions that are not stockkit's run in forked processes (on Linux), so that nothing which they keep from a call,
    be it in memory or in files, reaches another one.

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
        at_open: the values are used at the open of their day: of its row they may use the open only.

    Not seen: constants worked out beforehand from the same market, also those that lie in a file or a cache from before
    (see `audit_fitted`), and a leak on a few days only that no cut falls on: raise `cuts`.

    Raises:
        ParamError: an unknown feature, no function, too few cuts. SchemaError: bars that cannot be cut.
    """
    chosen = subjects(what, Claim(look_back, scale_free, cross, at_open=at_open), arrays=arrays)
    return weigh(_examine(chosen, bars, _at_least(cuts), seed, 0), (*CHECKS, "open") if at_open else CHECKS)


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
    """Test whether a label looks ahead `horizon` of its symbol's sessions at most, and is NaN in the last ones.

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


@dataclass(frozen=True, eq=False)
class _Bars:
    """What the functions are shown: bars, how often they are cut, the seed, and sessions that a label looks ahead."""

    bars: pd.DataFrame
    cuts: int
    seed: int
    horizon: int

    def rng(self, stage: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stage])


@dataclass(frozen=True, eq=False)
class _Values:
    """A `Known` without its function, which cannot be sent from one process to another."""

    position: int
    values: pd.DataFrame
    typical: pd.Series
    rounding: pd.Series


def _examine(
    chosen: list[Subject], given: pd.DataFrame | None, cuts: int, seed: int, horizon: int
) -> Iterator[Finding]:
    rng = np.random.default_rng(seed)
    bars = scenes.practice_bars(rng, count=_enough(chosen)) if given is None else scenes.ordered(given)
    if any(subject.claims for subject in chosen):
        schema.check_bars(bars)
    shown = _Bars(bars, cuts, seed, horizon)
    for group in (
        [subject for subject in chosen if subject.claims],
        [subject for subject in chosen if not subject.claims],
    ):
        if group:
            yield from _findings(group, shown)


def _findings(chosen: list[Subject], shown: _Bars) -> Iterator[Finding]:
    """First all that needs every row, then all that is cut: in a process that never saw every row."""
    known: list[Known] = []
    try:
        for item in _run(chosen, lambda: _of_every_row(chosen, shown)):
            if isinstance(item, _Values):
                known.append(Known(chosen[item.position], item.values, item.typical, item.rounding))
            else:
                yield item
        yield from _run(chosen, lambda: _through_time(known, shown))
    except ProcessEnded as ended:
        yield from (Finding(name, "runs", "ends", None, str(ended)) for one in chosen for name in _names(one))


def _run(chosen: list[Subject], items: Any) -> Iterator[Any]:
    """Here for stockkit's own features, which keep nothing; elsewhere for a user's."""
    return iter(items()) if chosen[0].claims else isolated(items)


def _names(subject: Subject) -> list[str]:
    return list(subject.claims or [subject.name])


def _of_every_row(chosen: list[Subject], shown: _Bars) -> Iterator[Finding | _Values]:
    """The values of all bars, and the checks that take no rows of the future away."""
    bars, known = shown.bars, []
    for position, subject in enumerate(chosen):
        values, findings = _all_values(subject, bars, shown.rng(0))
        yield from findings
        if values is not None:
            known.append(values)
            yield _Values(position, values.values, values.typical, values.rounding)
            yield from _tails(values, bars, shown.horizon) if shown.horizon else ()
    for scene in scenes.across_rows(bars, shown.rng(1)):
        yield from _all(known, scene, bars)
    for one in known:
        yield from look_backs(one, bars, shown.rng(2))


def _through_time(known: list[Known], shown: _Bars) -> Iterator[Finding]:
    """Cuts, corruptions and, where it matters, opens; the cuts first, the earliest first."""
    bars, rng = shown.bars, shown.rng(3)
    checks = ["cut", "corrupt", *(["open"] if any(one.subject.claim.at_open for one in known) else [])]
    dates = {check: scenes.cut_dates(bars, shown.cuts, rng) for check in checks}
    for check, days in dates.items():
        for scene in scenes.through_time(bars, days, shown.horizon, rng, [check]):
            yield from _all(known, scene, bars)
    for one in known:
        for scene in scenes.through_time(bars, _events(one, bars, dates["cut"]), shown.horizon, rng):
            yield from compare(one, scene, bars)


def _enough(chosen: list[Subject]) -> int:
    """Sessions that leave more than half a year of values after the longest look-back."""
    claims = [claim for subject in chosen for claim in [subject.claim, *(subject.claims or {}).values()]]
    return max(scenes.SESSIONS, *(150 + (claim.look_back or 0) * 2 for claim in claims))


def _all_values(subject: Subject, bars: pd.DataFrame, rng: np.random.Generator) -> tuple[Known | None, list[Finding]]:
    """The values of all bars, and whether the function runs, keeps its input and repeats itself."""
    try:
        values, again = subject.values(bars), subject.values(bars)
    except UnfitError as error:
        return None, [Finding(name, "runs", error.state, None, str(error)) for name in _names(subject)]
    if list(values) != list(again) or not _equal(values.to_numpy(), again.to_numpy()).all():
        what = "gives other values when called again with the same bars: seed its random numbers, keep no state"
        return None, [Finding(name, "runs", "random", None, what) for name in _names(subject)]
    findings = [_to_check(name, values[name], bars["symbol"]) for name in values]
    typical = (values - values.median()).abs().median().fillna(0.0) + 1e-300
    return Known(subject, values, typical, _rounding(subject, values, typical, bars, rng)), findings


def _rounding(subject: Subject, values: pd.DataFrame, typical: pd.Series, bars: pd.DataFrame,
              rng: np.random.Generator) -> pd.Series:  # fmt: skip
    """The largest relative difference that is rounding, by prices that are one unit in the last place off.

    A badly conditioned value, such as the kurtosis of a window of prices, loses digits to whatever stands beside it.
    """
    if subject.claims is not None:
        return pd.Series(ROUNDING, values.columns)
    try:
        other = subject.values(scenes.rounded(bars, rng)).reindex(columns=values.columns)
    except UnfitError:  # what it refuses there, it need not have refused of real prices
        return pd.Series(ROUNDING, values.columns)
    noise = pd.DataFrame({name: _gap(values[name].to_numpy(), other[name].to_numpy(), typical[name])
                          for name in values}).quantile(0.99)  # fmt: skip
    return (AMPLIFIED * noise.fillna(0.0)).clip(ROUNDING, MOST_ROUNDING)


def _gap(before: np.ndarray, after: np.ndarray, typical: float) -> np.ndarray:
    """The difference relative to the values, or to what is typical where they are smaller."""
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(before - after) / np.maximum(np.maximum(np.abs(before), np.abs(after)), typical))


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
        if scene.check == "open" and not claim.at_open:
            continue
        yield _judge(known, name, scene, values[name].to_numpy(), bars)


def _unfit(name: str, claim: Claim, scene: Scene, error: UnfitError) -> Finding:
    """A function may refuse rows out of order: the contract of bars promises them sorted."""
    if scene.check == "order" and not claim.any_order:
        return Finding(name, "order", "sorted only")
    return Finding(name, "runs", error.state, None, str(error))


def _judge(known: Known, name: str, scene: Scene, after: np.ndarray, bars: pd.DataFrame) -> Finding:
    before, claim = known.values[name].to_numpy()[scene.rows], known.subject.claim_of(name)
    changed = scene.same & ~_equal(before, after)
    if not changed.any():
        seen = np.isfinite(before[scene.same]).any()
        return Finding(name, scene.check, "ok" if seen else EMPTY)
    most = SCALE if scene.check == "split" else LARGE if scene.large else float(known.rounding[name])
    far = changed & ~(_gap(before, after, float(known.typical[name])) <= most)
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
