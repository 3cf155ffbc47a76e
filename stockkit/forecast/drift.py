"""The drift alarm: whether a model still does what it was trusted for, watched for ever at a stated false-alarm rate.

A bettor starts with 1 and bets, outcome by outcome, against the claim that all is well; each bet is fair if the claim
holds. The capital is then a test martingale, and by Ville's inequality it ever reaches c with probability at most 1/c
(Ramdas, Grünwald, Vovk and Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference"). So one may look
after each outcome, and stop or go on as one likes, and the rate holds over the whole life of a model.

The bet on an event x in {0, 1} of known chance p multiplies capital by 1 + b (x − p) (Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", section 4). Neither the moment nor the size of a drift is
known: a part of the capital is put at each outcome on each chance of a grid, (1 + t) ** −SLOWNESS being still in hand
after t outcomes. A mixture of fair bets is a fair bet (their section 4; Robbins 1970).
"""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import SERIES

MISS = 0.1  # the chance of an outcome outside the 90 % interval
MISS_GRID = (0.01, 0.04, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)  # chances that are bet on in its stead
EXCEED_GRID = (0.6, 0.7, 0.8, 0.9)  # of an error over the median of those before; a half if all is well
SLOWNESS = 0.25
SHOWN = 100  # outcomes up to an alarm that its sentence counts
NEEDED = [*SERIES, "as_of", "mean", "sigma", "actual", "lo90", "hi90"]
FOUND = {
    "symbol": "string",
    "model": "string",
    "horizon": "int64",
    "n": "int64",
    "misses": "int64",
    "expected": "float64",
    "evidence": "float64",
    "threshold": "float64",
    "drifted": "bool",
    "since": "datetime64[ns]",
    "cause": "string",
    "counted": "int64",
    "events": "int64",
    "rate": "float64",
}


def watch(rows: pd.DataFrame, *, past: pd.DataFrame | None = None, rate: float = 0.01) -> pd.DataFrame:
    """Tell which models have drifted: intervals that miss too often or too seldom, or errors larger than before.

    The claim bet against, for each symbol, model and horizon: (a) whatever came before, an outcome lies outside the
    90 % interval with chance 0.1; (b) errors in units of sigma, |actual − mean| / sigma, are exchangeable with those
    before, so that the next one is over their median with a known chance of about a half (the ranks of exchangeable
    values are independent: Rényi 1962; the bets of conformal testing, Vovk, Gammerman and Shafer 2022, chapter 8).
    Outcomes of h sessions overlap, so only every h-th is used, counted from the first. A model that is watched in k
    series (symbols and horizons) is alarmed when either capital of any of them reaches 2 k / rate. That is
    Bonferroni's correction over all 2 k bets, valid however they depend on each other: at most `rate` of the models
    that hold what they claim are ever alarmed, as long as the symbols watched stay the same.

    Args:
        rows: the rows frame with `sigma` and the intervals, such as the sealed forecasts that came due; rows whose
            outcome, mean or interval is NaN are left out. Left untouched, in any order.
        past: the rows of the backtest that the model was judged on, whose errors (b) starts from; those from the
            first of `rows` on are left out. Without it (b) starts from the first of `rows` themselves.
        rate: the share of sound models that may ever be alarmed, over 0 and under 1.

    Returns:
        One row a symbol, model and horizon: n (outcomes used), misses and expected (outside the 90 % interval),
        evidence (the largest capital so far), threshold, drifted, since (as-of session of the first alarm, NaT
        without), cause ("coverage", "error" or none), counted and events (of the up to 100 outcomes up to the
        alarm: misses, or errors over the median of those before), rate.

    Raises:
        ForecastError: a column is missing, a session stands twice, or a rate out of range.
    """
    if not 0 < rate < 1:
        raise ForecastError(f"rate {rate}: give a probability over 0 and under 1, such as 0.01.")
    known = _known(rows)
    before = dict(iter(_known(past).groupby(SERIES, sort=False))) if past is not None else {}
    series = known[SERIES].drop_duplicates().groupby("model").size()
    found = [
        {**dict(zip(SERIES, key, strict=True)), "rate": rate, **_judge(own, before.get(key), 2 * series[key[1]] / rate)}
        for key, own in known.groupby(SERIES, sort=False)
    ]
    return pd.DataFrame(found, columns=list(FOUND)).astype(FOUND)


def told(found: pd.DataFrame) -> dict[str, str]:
    """One sentence a model, of what `watch` found, for a report."""
    return {str(model): _sentence(str(model), own) for model, own in found.groupby("model", sort=False)}


def _sentence(model: str, own: pd.DataFrame) -> str:
    allowed = f"(false alarms: at most {100 * own['rate'].iloc[0]:.3g} % of sound models, ever)"
    drifted = own[own["drifted"]].sort_values(["since", "symbol", "horizon"])
    if drifted.empty:
        return f"{model} has not drifted: {own['n'].sum()} outcomes of {len(own)} series {allowed}."
    first = drifted.iloc[0]
    coverage = first["cause"] == "coverage"
    what = "outside the 90 % interval" if coverage else "with a larger error than the median before"
    expected = (MISS if coverage else 0.5) * first["counted"]
    more = f"; {len(drifted)} of its {len(own)} series in all" if len(drifted) > 1 else ""
    return (
        f"{model} has drifted on {first['symbol']}, {first['horizon']} ahead, since {first['since']:%Y-%m-%d}: "
        f"{first['events']} of {first['counted']} outcomes {what}, {expected:.0f} expected{more} {allowed}."
    )


def _known(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an outcome, a mean and an interval, by series and session, with `miss` and scaled `error`."""
    lacking = [name for name in NEEDED if name not in rows]
    if lacking:
        raise ForecastError(f"the rows lack {lacking[0]!r}: the alarm needs {', '.join(NEEDED)}.")
    if rows.duplicated([*SERIES, "as_of"]).any():
        row = rows[rows.duplicated([*SERIES, "as_of"])].iloc[0]
        raise ForecastError(f"{row['model']} has two forecasts of {row['symbol']} as of {row['as_of']}: keep one.")
    whole = np.isfinite(rows[["mean", "sigma", "actual", "lo90", "hi90"]]).all(axis=1) & (rows["sigma"] > 0)
    known = rows.loc[whole, NEEDED].sort_values([*SERIES, "as_of"])
    inside = known["actual"].between(known["lo90"], known["hi90"])
    error = (known["actual"] - known["mean"]).abs() / known["sigma"]
    return known.assign(miss=1 - inside.astype("int64"), error=error)


def _judge(own: pd.DataFrame, past: pd.DataFrame | None, threshold: float) -> dict[str, Any]:
    horizon = int(own["horizon"].iloc[0])
    used = own.iloc[::horizon]
    earlier = past[past["as_of"] < used["as_of"].iloc[0]] if past is not None else own[:0]
    earlier = earlier.iloc[::-1].iloc[horizon - 1 :: horizon]  # the last of them ends before the first used begins
    outside = used["miss"].to_numpy()
    larger, chance = _exceedances(earlier["error"].to_numpy(), used["error"].to_numpy())
    capitals = {
        "coverage": log_capital(outside, np.full(len(used), MISS), MISS_GRID),
        "error": log_capital(larger, chance, EXCEED_GRID),
    }
    capital = np.maximum(*capitals.values())
    over = np.flatnonzero(capital >= np.log(threshold))
    facts = {
        "n": len(used),
        "misses": outside.sum(),
        "expected": MISS * len(used),
        "evidence": float(np.exp(min(capital.max(), 700.0))),  # the largest float is e ** 709
        "threshold": threshold,
        "drifted": bool(len(over)),
        "since": pd.NaT,
    }
    if not len(over):
        return facts | {"cause": "", "counted": 0, "events": 0}
    at = int(over[0])
    cause = max(capitals, key=lambda name: capitals[name][at])
    shown = (outside if cause == "coverage" else larger)[max(0, at + 1 - SHOWN) : at + 1]
    return facts | {"since": used["as_of"].iloc[at], "cause": cause, "counted": len(shown), "events": int(shown.sum())}


def log_capital(events: np.ndarray, chance: np.ndarray, grid: tuple[float, ...]) -> np.ndarray:
    """The logarithm of the capital after each of n outcomes, shape (n,).

    Args:
        events: (n,) 0 or 1. chance: (n,) of 1 if all is well, over 0 and under 1, each known before its outcome.
        grid: the chances that are bet on in its stead; where one lies where the claim has it, nothing is won or lost.
    """
    start = (1.0 + np.arange(len(events) + 1)) ** -SLOWNESS
    staked = np.log(start[:-1] - start[1:])[:, None] - np.log(len(grid))
    other = np.asarray(grid)
    told = np.where(events[:, None] == 1, other / chance[:, None], (1 - other) / (1 - chance[:, None]))
    grown = np.cumsum(np.log(told), axis=0)
    before = np.vstack([np.zeros((1, len(grid))), grown[:-1]])
    bets = grown + np.logaddexp.accumulate(staked - before, axis=0)
    return np.logaddexp(np.logaddexp.reduce(bets, axis=1), np.log(start[1:]))


def _exceedances(past: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each value of `now` is among the larger half of it and all before, and the chance of that.

    Of k values, the last is among the floor(k / 2) largest with chance floor(k / 2) / k; for the very first value
    of all, a fair coin stands that always shows 0. A value equal to others counts as the smallest of them.
    """
    seen = sorted(past)
    events, chance = np.zeros(len(now), "int64"), np.full(len(now), 0.5)
    for at, value in enumerate(now):
        total = len(seen) + 1
        if total > 1:
            chance[at] = (total // 2) / total
            events[at] = bisect.bisect_left(seen, value) >= total - total // 2
        bisect.insort(seen, value)
    return events, chance
