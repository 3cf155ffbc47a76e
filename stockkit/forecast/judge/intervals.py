"""Intervals from past errors whose outcome was known: a symbol's own, adaptive, or those of all for a young symbol."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError, listed
from stockkit.forecast.models.protocol import SERIES, check_horizon

LEVELS = (80, 90, 95)
BOUNDS = tuple(f"{side}{level}" for level in LEVELS for side in ("lo", "hi"))
TAKES = (*SERIES, "as_of", "mean", "sigma", "actual")
RATE, WINDOW = 0.002, 500  # at one session
STANDSTILL = 1e-12  # a sigma up to here is a symbol's that has not moved: scores of it would mean nothing
SESSIONS = 500  # the newest whose errors are borrowed, as many as a symbol's own
LEAST = 100  # sessions with known errors, as many as a symbol needs of its own
MOST = 20_000  # errors that a quantile is taken of: its own error is then far below the intervals'
BORROWED = "borrowed"
FEW = 6  # symbols that a sentence lists


def conformal(
    rows: pd.DataFrame, *, rate: float | None = None, window: int | None = None, minimum: int = 100
) -> pd.DataFrame:
    """Add the 80, 90 and 95 % intervals of the h-session log return to forecasts: mean ± q sigma.

    q is adaptive conformal (Gibbs and Candès 2021, "Adaptive Conformal Inference Under Distribution Shift",
    section 2): of the n newest known scores |actual − mean| / sigma of the same symbol, model and horizon, the
    ⌈(n + 1)(1 − a)⌉-th smallest. The tail a starts at the claim's own c, 0.20, 0.10 or 0.05; whenever the outcome of
    a row with bounds becomes known, it moves to a + rate (c − miss), miss being 1 if the outcome lay outside, else 0.
    Outcomes h sessions long overlap, so that misses come in clusters and as many scores hold less. Steps as large as at
    one session then drive the tail to and fro, and at 20 sessions made bands some 7 % too wide; steps of 1 / h of
    it were too small to hold the claim for every symbol.

    The outcome of a row is known `horizon` rows later, when its target session has closed; where sessions are missing
    between rows that is later, never sooner. So the bounds of row t depend on mean and sigma of rows up to t and on
    `actual` of rows up to t − horizon of its own series, for the scores as for the tail.

    Two departures from the paper keep bounds usable: the tail stays within 0 and 1 and the rank within 1 and n, so
    that an interval reaches at most as far as the largest score; and a higher claim is never the narrower one.

    Args:
        rows: one row a symbol, model, horizon and as-of session, in any order, with symbol, model, horizon
            (sessions), as_of, mean and actual (log return) and sigma (log return, > 0); left untouched.
        rate: the step of the tail, from 0 (never adapts) to 1; large steps hold the claim over shorter stretches
            and cost width. 0.002 / √horizon if not given.
        window: the newest scores looked back on; 500 √horizon if not given.
        minimum: scores needed; until then there are no bounds. With fewer than 19 a 95 % interval holds less.

    Returns:
        The rows in the order given, with lo80, hi80, lo90, hi90, lo95, hi95 (float64, log return). NaN until enough
        is known, and where mean or sigma is not finite or sigma not over 1e-12: such rows teach nothing, either.

    Raises:
        ForecastError: a missing column, a horizon that is not from 1 to 252, a row that stands twice, a rate not
            from 0 to 1, or a minimum that is not from 2 to `window`.
    """
    _check(rows, RATE if rate is None else rate, WINDOW if window is None else window, minimum)
    code = rows.groupby(SERIES, sort=False, observed=True, dropna=False).ngroup().to_numpy()
    as_of = rows["as_of"].to_numpy()
    order = np.lexsort((as_of, code))
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    _check_once(rows, order, (np.diff(code[order]) == 0) & (as_of[order][1:] == as_of[order][:-1]))
    mean, sigma, actual = (rows[name].to_numpy(dtype="float64") for name in ("mean", "sigma", "actual"))
    sigma = np.where(np.isfinite(mean) & np.isfinite(sigma) & (sigma > STANDSTILL), sigma, np.nan)
    score = np.abs(np.where(np.isfinite(actual), actual, np.nan) - mean) / sigma
    q = np.full((len(rows), len(LEVELS)), np.nan)
    horizon = rows["horizon"].to_numpy()[order[starts]]
    tails = 1 - np.array(LEVELS) / 100
    edges = np.append(starts, len(rows))
    root = np.sqrt(horizon.astype("float64"))
    rates = RATE / root if rate is None else np.full(len(root), float(rate))
    windows = np.round(WINDOW * root).astype("int64") if window is None else np.full(len(root), window)
    _adaptive_conformal()(score[order], edges, horizon, tails, rates, windows, minimum, q)
    reach = np.empty_like(q)
    reach[order] = q
    reach *= sigma[:, None]
    bounds = [mean + sign * reach[:, j] for j in range(len(LEVELS)) for sign in (-1, 1)]
    return rows.assign(**dict(zip(BOUNDS, bounds, strict=True)))


def _check(rows: pd.DataFrame, rate: float, window: int, minimum: int) -> None:
    missing = [name for name in TAKES if name not in rows]
    if missing:
        raise ForecastError(f"forecasts without {', '.join(missing)}: intervals need {', '.join(TAKES)}.")
    if not 2 <= minimum <= window:
        raise ForecastError(f"minimum {minimum} and window {window}: give 2 <= minimum <= window.")
    if not 0 <= rate <= 1:
        raise ForecastError(f"rate {rate}: give a step from 0 (never adapts) to 1, such as 0.001.")
    for horizon in rows["horizon"].unique().tolist():
        check_horizon(horizon)


def _check_once(rows: pd.DataFrame, order: np.ndarray, twice: np.ndarray) -> None:
    if twice.any():
        row = rows.iloc[order[1:][twice][0]]
        raise ForecastError(
            f"{row['model']} has two forecasts of {row['symbol']} as of {row['as_of']:%Y-%m-%d}, {row['horizon']} "
            f"session(s) ahead: keep one."
        )


@functools.cache
def _adaptive_conformal() -> Callable[..., None]:
    """The compiled loop over all series; its machine code is kept on disk for this version of the rolling kernels."""
    from stockkit.features import rolling  # numba takes a moment to load

    version = rolling.fingerprint()

    @rolling.compiled
    def quantiles(
        score: Any, edges: Any, horizon: Any, tails: Any, rates: Any, windows: Any, minimum: Any, q: Any
    ) -> None:
        """Fill q[t, j], row t's quantile for tails[j] (descending) of its series, edges[k] to edges[k + 1] − 1.

        Each series has its horizon, rate and window.
        Where `minimum` scores are not known yet, q is left as it is and must be NaN.
        """
        version  # noqa: B018 - part of the key
        tail = np.empty(len(tails))
        for k in range(len(horizon)):
            seen, rate, window = 0, rates[k], windows[k]
            ordered, newest = np.empty(window), np.empty(window)
            for j in range(len(tails)):
                tail[j] = tails[j]
            for t in range(edges[k], edges[k + 1]):
                closed = t - horizon[k]  # the row whose target session has just closed
                if closed >= edges[k] and not math.isnan(score[closed]):
                    for j in range(len(tails)):
                        if not math.isnan(q[closed, j]):
                            miss = 1.0 if score[closed] > q[closed, j] else 0.0
                            tail[j] = min(max(tail[j] + rate * (tails[j] - miss), 0.0), 1.0)
                    place = seen % window
                    rolling.insert(
                        score[closed], newest[place] if seen >= window else math.nan, min(seen, window), ordered
                    )
                    newest[place] = score[closed]
                    seen += 1
                if seen >= minimum:
                    n, widest = min(seen, window), 0.0
                    for j in range(len(tails)):
                        rank = math.ceil((n + 1) * (1 - tail[j]))
                        widest = max(widest, ordered[min(max(rank, 1), n) - 1])  # never inside the claim before
                        q[t, j] = widest

    return quantiles


def borrow(rows: pd.DataFrame) -> pd.DataFrame:
    """Give forecasts without bounds those of the pooled scaled errors of all symbols of the same model and horizon.

    Half an interval of the claim c measures q sigma, q being the ⌈(n + 1) c⌉-th smallest of the n scores
    |actual − mean| / sigma whose outcome was known when the forecast was made (split conformal prediction, Lei et al.
    2018, on scores that are taken to be alike from symbol to symbol once they are scaled). They are of the 500 newest
    sessions, of the newest of these where there are over 20,000; with less than 100 sessions there are no bounds.

    Args:
        rows: as from `conformal`; left untouched.

    Returns:
        The rows in the order given, with bounds where there were none, and the column `borrowed` (bool): whether they
        are those of the others.
    """
    mean, sigma, actual = (rows[name].to_numpy(dtype="float64") for name in ("mean", "sigma", "actual"))
    usable = np.isfinite(mean) & (sigma > STANDSTILL)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(usable, np.abs(actual - mean) / sigma, np.nan)
    q = np.full((len(rows), len(LEVELS)), np.nan)
    bare = usable & rows["hi95"].isna().to_numpy()
    if bare.any() and rows["symbol"].nunique() > 1:
        day = pd.factorize(rows["as_of"].to_numpy(), sort=True)[0]
        for (_, horizon), places in rows.groupby(["model", "horizon"], sort=False, observed=True).indices.items():
            lacking = places[bare[places]]
            if len(lacking):
                q[lacking] = _widths(score[places], day[places], day[lacking], int(horizon))
    borrowed = np.isfinite(q[:, 0])
    bounds = {
        f"{side}{level}": np.where(borrowed, mean + sign * q[:, j] * sigma, rows[f"{side}{level}"])
        for j, level in enumerate(LEVELS)
        for side, sign in (("lo", -1), ("hi", 1))
    }
    return rows.assign(**bounds, **{BORROWED: borrowed})


def borrowers(rows: pd.DataFrame) -> list[str]:
    """The symbols whose newest forecast, of any model or horizon, has the intervals of the others; ascending."""
    newest = rows.sort_values("as_of", kind="stable").groupby(SERIES, observed=True).tail(1)
    return sorted(set(newest.loc[newest[BORROWED], "symbol"].astype(str)))


def _widths(score: np.ndarray, day: np.ndarray, now: np.ndarray, horizon: int) -> np.ndarray:
    """Half the intervals in sigma, (len(now), levels), by the scores of one model and horizon known on the days `now`.

    `day` numbers the sessions of the frame; an outcome is known `horizon` of the model's own sessions later.
    """
    days, position = np.unique(day, return_inverse=True)
    known = np.flatnonzero(np.isfinite(score))
    known = known[np.argsort(position[known], kind="stable")]
    score, closed = score[known], position[known] + horizon
    out = np.full((len(now), len(LEVELS)), np.nan)
    now = np.searchsorted(days, now)
    for at in np.unique(now):
        last = int(np.searchsorted(closed, at, side="right"))
        first = max(int(np.searchsorted(closed, at - SESSIONS, side="right")), last - MOST)
        if np.count_nonzero(np.diff(closed[first:last])) + 1 >= LEAST:
            ranks = [min(int(np.ceil((last - first + 1) * level / 100)), last - first) - 1 for level in LEVELS]
            out[now == at] = np.partition(score[first:last], ranks)[ranks]
    return out


def borrowers_in_words(young: Sequence[str]) -> str:
    """The sentence on the symbols that `borrowers` names; empty where there are none."""
    if not young:
        return ""
    has, their = ("have", "their") if len(young) > 1 else ("has", "its")
    return (
        f"{listed(young, FEW)} {has} too little past of {their} own: {their} intervals are as wide as the errors of "
        f"the other symbols ask for, each in units of its volatility."
    )
