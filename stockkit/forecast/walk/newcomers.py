"""Intervals of symbols too young for their own: as wide as the scaled errors of the other symbols ask for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stockkit.forecast.judge.intervals import LEVELS, STANDSTILL
from stockkit.forecast.models.protocol import SERIES

SESSIONS = 500  # the newest whose errors are looked at, as many as a symbol's own
LEAST = 100  # sessions with known errors, as many as a symbol needs of its own
MOST = 20_000  # errors that a quantile is taken of: its own error is then far below the intervals'
BORROWED = "borrowed"
FEW = 6  # symbols that a sentence lists


def fill(rows: pd.DataFrame) -> pd.DataFrame:
    """Give forecasts without bounds those of the pooled scaled errors of all symbols of the same model and horizon.

    Half an interval of the claim c measures q sigma, q being the ⌈(n + 1) c⌉-th smallest of the n scores
    |actual − mean| / sigma whose outcome was known when the forecast was made (split conformal prediction, Lei et al.
    2018, on scores that are taken to be alike from symbol to symbol once they are scaled). They are of the 500 newest
    sessions, of the newest of these where there are over 20,000; with less than 100 sessions there are no bounds.

    Args:
        rows: as from `intervals.conformal`; left untouched.

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


def symbols(rows: pd.DataFrame) -> list[str]:
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


def in_words(young: Sequence[str]) -> str:
    """What a page says of the symbols that `symbols` names; nothing where there are none."""
    if not young:
        return ""
    few = ", ".join(young[:FEW]) + (f" and {len(young) - FEW} more" if len(young) > FEW else "")
    has, whose = ("have", "their intervals are") if len(young) > 1 else ("has", "its intervals are")
    own = "their" if len(young) > 1 else "its"
    return (
        f"{few} {has} too little past of {own} own: {whose} as wide as the errors of the other symbols ask for, "
        f"each in units of its volatility."
    )
