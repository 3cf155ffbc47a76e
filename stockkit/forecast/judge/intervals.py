"""Intervals that adapt until they hold what they claim, from past errors whose outcome was already known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models.protocol import SERIES, check_horizon

LEVELS = (80, 90, 95)
BOUNDS = tuple(f"{side}{level}" for level in LEVELS for side in ("lo", "hi"))
TAKES = (*SERIES, "as_of", "mean", "sigma", "actual")
RATE, WINDOW = 0.002, 500  # at one session
STANDSTILL = 1e-12  # a sigma up to here is a symbol's that has not moved: scores of it would mean nothing


def conformal(
    rows: pd.DataFrame, *, rate: float | None = None, window: int | None = None, minimum: int = 100
) -> pd.DataFrame:
    """Add the 80, 90 and 95 % intervals of the h-session log return to forecasts: mean ± q sigma.

    q is adaptive conformal (Gibbs and Candès 2021, "Adaptive Conformal Inference Under Distribution Shift",
    section 2): of the n newest known scores |actual − mean| / sigma of the same symbol, model and horizon, the
    ⌈(n + 1)(1 − a)⌉-th smallest. The tail a starts at the claim's own c, 0.20, 0.10 or 0.05; whenever the outcome of
    a row with bounds becomes known, it moves to a + rate (c − miss), miss being 1 if the outcome lay outside, else 0.
    Outcomes h sessions long overlap, so that misses come by the dozen and as many scores say less. Steps as large as
    at one session then drive the tail to and fro, and at 20 sessions made bands some 7 % too wide; steps of
    1 / h of it were too small to hold the claim for every symbol.

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
    from stockkit.forecast.judge import adaptive  # numba takes a moment to load

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
    adaptive.quantiles(score[order], edges, horizon, tails, rates, windows, minimum, q)
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
