"""The gate to being champion: no worse than the present champion, and intervals that cover what they claim.

It needs no proof of being better: `scores` judges which model beats the random walk. It refuses what is measurably
worse, and intervals that do not cover what they claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.judge import coverage
from stockkit.forecast.judge.intervals import BOUNDS, LEVELS
from stockkit.forecast.judge.losses import winkler
from stockkit.forecast.judge.multiple_testing import diebold_mariano
from stockkit.forecast.models.protocol import RANDOM_WALK

SESSIONS = 250  # of evidence, a year
LEAST = 100  # sessions that a symbol must share with the reference to count
ANSWERED = 0.95  # of what the reference forecast
LEVEL = 0.05  # of each test
CLAIM = 0.9  # coverage of the intervals judged
KEY = ["symbol", "as_of"]
NEEDED = ("symbol", "model", "as_of", "horizon", "mean", "sigma", "actual", *BOUNDS)


@dataclass(frozen=True)
class Judgement:
    """Whether a candidate may be champion.

    Attributes:
        passed: whether. reasons: what was found, one sentence each; those that failed it first.
        figures: the numbers behind them, see `judge`.
    """

    passed: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, float]


def recent(rows: pd.DataFrame, as_of: np.datetime64, horizon: int, *, sessions: int = SESSIONS) -> pd.DataFrame:
    """The evidence within a rows frame with intervals: the last `sessions` as-of sessions whose outcome is known.

    Only rows of `horizon` before `as_of`, sorted by model, symbol and session. The gate may not look further back: a
    model is judged by its latest year.

    Raises:
        ForecastError: a column is missing, a forecast stands twice, or no row is left.
    """
    missing = [name for name in NEEDED if name not in rows]
    if missing:
        raise ForecastError(f"evidence: the column {missing[0]!r} is missing: give the backtest's rows with intervals.")
    known = rows[(rows["horizon"] == horizon) & (rows["as_of"] < pd.Timestamp(as_of)) & np.isfinite(rows["actual"])]
    if known.empty:
        raise ForecastError(f"evidence: no outcome of {horizon} session(s) ahead is known before {as_of}.")
    last = np.sort(known["as_of"].unique())[-sessions:]
    kept = known[known["as_of"] >= last[0]].sort_values(["model", *KEY]).reset_index(drop=True)
    twice = kept.duplicated(["model", *KEY])
    if twice.any():
        row = kept[twice].iloc[0]
        raise ForecastError(f"evidence: {row['model']} has two forecasts of {row['symbol']} as of {row['as_of']}.")
    return kept


def judge(candidate: pd.DataFrame, champion: pd.DataFrame | None, random_walk: pd.DataFrame) -> Judgement:
    """Judge a candidate against the champion, or against the random walk where there is none.

    Each frame holds one model's rows with intervals, of one horizon; they are compared on the symbols and sessions
    that both forecast. It passes when all of these hold:

    - of the sessions that the reference forecast it forecast at least 95 %, so that it cannot stay silent when it
      is hard; symbols with fewer than 100 sessions in common do not count, and one at least must;
    - its squared error is not shown to be larger, nor its 90 % interval score (Gneiting and Raftery 2007, eq. 43):
      one-sided Diebold-Mariano p >= 0.05 each, on losses averaged over the symbols of a session, as they move
      together, each symbol's first divided by its mean (of both models) so that a wild one counts no more;
    - its 90 % intervals cover within the band of the claim (`coverage.by`, which allows for outcomes that overlap
      and symbols that miss together).

    In simulations a calibrated candidate as good as its reference is refused in 7 to 12 of 100 cases, by one of the
    three tests; nothing was changed then, and the next session brings other evidence.

    Returns:
        A `Judgement`. figures: sessions, symbols, answered; error_ratio and interval_ratio (mean loss over the
        reference's), p_error and p_interval; coverage, band_lo, band_hi, trials; rmse_ratio and walk_interval_ratio
        to the random walk.

    Raises:
        ForecastError: frames of several models or horizons.
    """
    against = random_walk if champion is None else champion
    horizon = _only(candidate, "horizon")
    name = "the random walk" if _only(against, "model") == RANDOM_WALK else f"the champion {_only(against, 'model')}"
    pairs, left_out = _pairs(candidate, against)
    if pairs.empty:
        few = f"Fewer than {LEAST} sessions of any symbol in common with {name}: nothing can be judged."
        return Judgement(False, (few,), {"sessions": 0.0, "symbols": 0.0})
    judged = candidate[candidate["symbol"].isin(pairs["symbol"].unique())]
    checks = [_answers(judged, against, name), *_errors(pairs, int(horizon), name), _coverage(judged)]
    reasons = [reason for passed, reason, _ in sorted(checks, key=lambda check: check[0])]
    if left_out:
        reasons.append(f"Not judged, fewer than {LEAST} sessions in common: {', '.join(left_out)}.")
    figures = {"sessions": float(pairs["as_of"].nunique()), "symbols": float(pairs["symbol"].nunique())}
    for _, _, numbers in checks:
        figures |= numbers
    return Judgement(all(passed for passed, _, _ in checks), tuple(reasons), figures | _beside(judged, random_walk))


def summary(evidence: pd.DataFrame) -> list[dict[str, float | str]]:
    """Each model's figures over the evidence, in words for a card: n, coverage90, and ratios to the random walk.

    rmse_ratio: root of the mean squared error over the random walk's; walk_interval_ratio: mean 90 % interval score
    over the random walk's, on the rows that both have. NaN where there are none.
    """
    walk = evidence[evidence["model"] == RANDOM_WALK]
    return [
        {"model": str(model), "n": float(len(rows)), **_beside(rows, walk), "coverage90": float(_hits(rows).mean())}
        for model, rows in evidence.groupby("model", observed=True)
    ]


Check = tuple[bool, str, dict[str, float]]


def _only(rows: pd.DataFrame, column: str) -> Any:
    values = rows[column].unique()
    if len(values) != 1:
        raise ForecastError(f"the gate compares one {column} at a time, given {len(values)}: {list(values)[:3]}.")
    return values[0]


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[np.isfinite(rows[["mean", "actual", "lo90", "hi90"]]).all(axis=1)]


def _pairs(candidate: pd.DataFrame, against: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Both forecasts of the sessions that both have, by symbol; and the symbols that have too few."""
    other = _complete(against)[[*KEY, "mean", "lo90", "hi90"]]
    both = _complete(candidate).merge(other, on=KEY, suffixes=("", "_other")).sort_values(KEY)
    enough = both.groupby("symbol", observed=True)["as_of"].transform("size") >= LEAST
    judged = both[enough.astype(bool)]
    return judged, sorted(set(map(str, candidate["symbol"].unique())) - set(map(str, judged["symbol"].unique())))


def _answers(candidate: pd.DataFrame, against: pd.DataFrame, name: str) -> Check:
    """Whether the candidate forecast what the reference did, within the sessions that both were asked of."""
    first, last = (
        edge(candidate["as_of"].agg(at), against["as_of"].agg(at)) for edge, at in ((max, "min"), (min, "max"))
    )
    asked = _complete(against)
    asked = asked[asked["symbol"].isin(candidate["symbol"].unique()) & asked["as_of"].between(first, last)]
    share = len(asked[KEY].merge(_complete(candidate)[KEY], on=KEY)) / len(asked)
    reason = f"It forecast {share:.1%} of what {name} did ({ANSWERED:.0%} needed)."
    return share >= ANSWERED, reason, {"answered": share}


def _errors(pairs: pd.DataFrame, horizon: int, name: str) -> list[Check]:
    squares = [(pairs["actual"] - pairs[f"mean{end}"]) ** 2 for end in ("", "_other")]
    scores = [interval_score(pairs, end) for end in ("", "_other")]
    out = []
    for what, key, (mine, theirs) in (("squared error", "error", squares), ("interval score", "interval", scores)):
        p = _p_worse(pairs, mine, theirs, horizon)
        ratio = float(mine.mean() / theirs.mean()) if theirs.mean() else float("nan")
        verb = "is" if p < LEVEL else "is not shown to be"
        reason = f"Its {what} {verb} larger than that of {name} (ratio {ratio:.3f}, p = {p:.3f})."
        out.append((p >= LEVEL, reason, {f"{key}_ratio": ratio, f"p_{key}": p}))
    return out


def interval_score(rows: pd.DataFrame, end: str = "") -> pd.Series:
    """The 90 % interval score of each row, log return (Gneiting and Raftery 2007, eq. 43); smaller is better."""
    actual, low, high = (rows[name].to_numpy() for name in ("actual", f"lo90{end}", f"hi90{end}"))
    return pd.Series(winkler(actual, low, high, CLAIM), rows.index)


def _p_worse(pairs: pd.DataFrame, candidate: pd.Series, reference: pd.Series, horizon: int) -> float:
    """One-sided p that the loss `own` is not larger than `other`, over the sessions' means."""
    unit = ((candidate + reference) / 2).groupby(pairs["symbol"], observed=True).transform("mean")
    unit = unit.where(unit > 0, 1.0)
    mine, theirs = ((loss / unit).groupby(pairs["as_of"]).mean().to_numpy() for loss in (candidate, reference))
    gap = mine - theirs
    if np.ptp(gap) <= 1e-12 * np.abs(gap).max():  # the same gap in every session: the test has no spread to go by
        return 1.0 if gap[0] <= 0 else 0.0
    return diebold_mariano(gap, horizon)


def _hits(candidate: pd.DataFrame) -> pd.Series:
    rows = _complete(candidate)
    return (rows["lo90"] <= rows["actual"]) & (rows["actual"] <= rows["hi90"])


def _coverage(candidate: pd.DataFrame) -> Check:
    table = coverage.by(candidate)
    (row,) = table[table["level"] == LEVELS[1]].to_dict("records")
    share, low, high, trials = (float(row[name]) for name in ("share", "band_lo", "band_hi", "trials"))
    reason = (
        f"Its 90 % intervals covered {share:.1%}, {'within' if row['as_claimed'] else 'outside'} {low:.1%} to "
        f"{high:.1%} ({row['n']:,} outcomes, worth {trials:,.0f} independent ones)."
    )
    return bool(row["as_claimed"]), reason, {"coverage": share, "band_lo": low, "band_hi": high, "trials": trials}


def _beside(candidate: pd.DataFrame, random_walk: pd.DataFrame) -> dict[str, float]:
    other = _complete(random_walk)[[*KEY, "mean", "lo90", "hi90"]]
    both = _complete(candidate).merge(other, on=KEY, suffixes=("", "_other"))
    if both.empty:
        return {"rmse_ratio": float("nan"), "walk_interval_ratio": float("nan")}
    mine, walk = (((both["actual"] - both[f"mean{end}"]) ** 2).mean() for end in ("", "_other"))
    score, base = (interval_score(both, end).mean() for end in ("", "_other"))
    return {
        "rmse_ratio": float(np.sqrt(mine / walk)) if walk else float("nan"),
        "walk_interval_ratio": float(score / base) if base else float("nan"),
    }
