"""The drift alarm: whether a model still does what it was trusted for, watched for ever at a stated false-alarm rate.

A capital of 1 is bet, outcome by outcome, against the claim that all is well; no bet gains on average if the claim
holds. The capital is then a test supermartingale, and by Ville's inequality it ever reaches c with probability at
most 1/c (Ramdas, Grünwald, Vovk and Shafer 2023, "Game-theoretic statistics and safe anytime-valid inference"). So the
rate holds over the whole life of a model, looked at after each outcome, for as long as one likes.

The claim is a band for the chance of a miss given all outcomes before, not one number. Where volatility clusters,
misses come in clusters, also of intervals that hold 90 % in the long run: after a shock the chance is over 10 % until
the volatility has caught up, in long calm it is under. A bet that it is 10 % each time alarms most such models sooner
or later: of simulated regimes of 1 and 5 times the volatility, 62 of 80 in twelve years.

The bet that an event has chance g, where the claim has it at most p < g (or at least p > g), multiplies capital by
g / p if it comes and by (1 − g) / (1 − p) if not: by 1 on average at p, by less within the claim (Waudby-Smith and
Ramdas 2024, "Estimating means of bounded random variables by betting", section 4). Neither the moment nor the size of a
drift is known: a part of the capital is put at each outcome on each g of a grid, (1 + t) ** −SLOWNESS being still in
hand after t outcomes. A mixture of such bets is one again (their section 4; Robbins 1970).
"""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import SERIES

MISS = 0.1  # the chance of an outcome outside the 90 % interval in the long run
MISSES = (0.03, 0.2)  # between which it lies, given all outcomes before, if all is well
MISS_GRID = (0.001, 0.3, 0.45, 0.7)  # chances that are bet on in its stead
EXCEEDS = (0.0, 0.65)  # the same of an error over the median of those before, a half in the long run
EXCEED_GRID = (0.75, 0.85, 0.95)
SLOWNESS = 0.25
SHOWN = 100  # outcomes up to an alarm that its sentence counts
NEEDED = [*SERIES, "as_of", "mean", "sigma", "actual", "lo90", "hi90"]
ALARMS = {
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

    The claim bet against, for each symbol, model and horizon, at each outcome and given all of its outcomes before: (a)
    the outcome lies outside the 90 % interval with a chance from 3 to 20 %; (b) its error in units of sigma,
    |actual − mean| / sigma, is over the median of those before with a chance of at most 65 %.
    Outcomes of h sessions overlap, so only every h-th is used, counted from the first. A model that is watched in k
    series (symbols and horizons) is alarmed when either capital of any of them reaches 2 k / rate. That is
    Bonferroni's correction over all 2 k bets, valid however they depend on each other: at most `rate` of the models
    of which the claim holds are ever alarmed, as long as the symbols watched stay the same.

    That is what is proved. Intervals of `intervals.conformal` leave the band for days after a shock, and yet none of
    200 of them was alarmed in twelve years of GARCH-t, regimes, stochastic volatility and jumps
    (tests/forecast/test_drift.py). What it costs: intervals that hold 80 % for ever are not alarmed (`coverage` and the
    `gate` tell them); a sigma that doubles, unnoticed by the model, is found after 100 sessions in the middle of cases.

    Args:
        rows: the rows frame with `sigma` and the intervals, such as the sealed forecasts that came due; rows whose
            outcome, mean or interval is NaN are left out. Left untouched, in any order.
        past: the rows of the backtest that the model was judged on, whose errors (b) starts from; those from the
            first of `rows` on are left out. Without it (b) starts from the first of `rows` themselves.
        rate: the share of the models of which the claim holds that may ever be alarmed, over 0 and under 1.

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
    before = dict(iter(_known(past).groupby(SERIES, sort=False, observed=True))) if past is not None else {}
    series = known[SERIES].drop_duplicates().groupby("model", observed=True).size()
    lines = [
        {
            **dict(zip(SERIES, key, strict=True)),
            "rate": rate,
            **_judge(outcomes, before.get(key), 2 * series[key[1]] / rate),
        }
        for key, outcomes in known.groupby(SERIES, sort=False, observed=True)
    ]
    return pd.DataFrame(lines, columns=list(ALARMS)).astype(ALARMS)


def in_words(alarms: pd.DataFrame) -> dict[str, str]:
    """One sentence a model, of what `watch` found, for a report."""
    return {str(model): _sentence(str(model), rows) for model, rows in alarms.groupby("model", sort=False)}


def _sentence(model: str, rows: pd.DataFrame) -> str:
    allowed = (
        f"(false alarms: at most {100 * rows['rate'].iloc[0]:.3g} % of models ever, if a miss has a chance of "
        f"{100 * MISSES[0]:.0f} to {100 * MISSES[1]:.0f} % each time)"
    )
    drifted = rows[rows["drifted"]].sort_values(["since", "symbol", "horizon"])
    if drifted.empty:
        return f"{model} has not drifted: {rows['n'].sum()} outcomes of {len(rows)} series {allowed}."
    first = drifted.iloc[0]
    coverage = first["cause"] == "coverage"
    what = "outside the 90 % interval" if coverage else "with a larger error than the median before"
    expected = (MISS if coverage else 0.5) * first["counted"]
    more = f"; {len(drifted)} of its {len(rows)} series in all" if len(drifted) > 1 else ""
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
    complete = np.isfinite(rows[["mean", "sigma", "actual", "lo90", "hi90"]]).all(axis=1) & (rows["sigma"] > 0)
    known = rows.loc[complete, NEEDED].sort_values([*SERIES, "as_of"])
    inside = known["actual"].between(known["lo90"], known["hi90"])
    error = (known["actual"] - known["mean"]).abs() / known["sigma"]
    return known.assign(miss=1 - inside.astype("int64"), error=error)


def _judge(outcomes: pd.DataFrame, past: pd.DataFrame | None, threshold: float) -> dict[str, Any]:
    horizon = int(outcomes["horizon"].iloc[0])
    used = outcomes.iloc[::horizon]
    earlier = past[past["as_of"] < used["as_of"].iloc[0]] if past is not None else outcomes[:0]
    earlier = earlier.iloc[::-1].iloc[horizon - 1 :: horizon]  # the last of them ends before the first used begins
    outside = used["miss"].to_numpy()
    larger = _exceedances(earlier["error"].to_numpy(), used["error"].to_numpy())
    capitals = {
        "coverage": log_capital(outside, MISSES, MISS_GRID),
        "error": log_capital(larger, EXCEEDS, EXCEED_GRID),
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


def log_capital(events: np.ndarray, claim: tuple[float, float], grid: tuple[float, ...]) -> np.ndarray:
    """The logarithm of the capital after each of n outcomes, shape (n,).

    Args:
        events: (n,) 0 or 1.
        claim: the least and the largest chance of 1, given all before, if all is well.
        grid: the chances that are bet on in its stead, outside of the claim.
    """
    start = (1.0 + np.arange(len(events) + 1)) ** -SLOWNESS
    staked = np.log(start[:-1] - start[1:])[:, None] - np.log(len(grid))
    other = np.asarray(grid)
    border = np.where(other < claim[0], *claim)
    factors = np.where(events[:, None] == 1, other / border, (1 - other) / (1 - border))
    grown = np.cumsum(np.log(factors), axis=0)
    before = np.vstack([np.zeros((1, len(grid))), grown[:-1]])
    bets = grown + np.logaddexp.accumulate(staked - before, axis=0)
    return np.logaddexp(np.logaddexp.reduce(bets, axis=1), np.log(start[1:]))


def _exceedances(past: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Whether each value of `now` is among the larger half, rounded down, of it and all before: 0 or 1, (n,).

    A value equal to others counts as the smallest of them.
    """
    seen = sorted(past)
    events = np.zeros(len(now), "int64")
    for at, value in enumerate(now):
        total = len(seen) + 1
        events[at] = total > 1 and bisect.bisect_left(seen, value) >= total - total // 2
        bisect.insort(seen, value)
    return events
