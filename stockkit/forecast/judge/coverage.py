"""How many outcomes the intervals held, against what they claim: whose, when, and in calm or in storm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.judge.intervals import BOUNDS, LEVELS
from stockkit.forecast.models.protocol import SERIES

KINDS = ("all", "symbol", "year", "volatility")
TERCILES = ("low", "middle", "high")
BAND = 0.95  # probability of the band
COVERAGE: dict[str, str] = {
    "model": "string",
    "horizon": "int64",
    "kind": "string",
    "group": "string",
    "level": "int64",
    "n": "int64",
    "inside": "int64",
    "share": "float64",
    "trials": "int64",
    "band_lo": "float64",
    "band_hi": "float64",
    "as_claimed": "bool",
}


def by(rows: pd.DataFrame, kind: str = "all") -> pd.DataFrame:
    """Count the outcomes inside the 80, 90 and 95 % intervals, beside what chance allows if the claim is true.

    Args:
        rows: as from `intervals.conformal`; left untouched. Those without bounds or without an outcome do not count.
        kind: what to count apart: "all" (nothing), "symbol", "year" (of the as-of session) or "volatility": the
            terciles of sigma within each symbol, model and horizon, "low", "middle" and "high". They are cut with all
            rows at hand: they describe, a forecaster could not have known them.

    Returns:
        One row a model, horizon, group and level (%): n outcomes, of which `inside` lay within the bounds, their
        share, and band_lo to band_hi, the shares that at least 95 % of samples have if each outcome lies inside with
        the claimed probability: exact quantiles of the binomial distribution. Its trials are fewer than n: outcomes h
        sessions long overlap, so that about n / horizon of them are independent; and symbols miss together, for which n
        is divided again by the design effect (Kish 1965, "Survey Sampling") of the sessions, measured
        on the outcomes themselves, at least 1. as_claimed: the share lies within the band; of many groups, one in
        twenty may lie outside by chance.

    Raises:
        ForecastError: another kind, or rows without the columns needed.
    """
    if kind not in KINDS:
        raise ForecastError(f"coverage by {kind!r}: give one of {', '.join(KINDS)}.")
    missing = [name for name in (*SERIES, "as_of", "sigma", "actual", *BOUNDS) if name not in rows]
    if missing:
        raise ForecastError(f"rows without {', '.join(missing)}: take those of intervals.conformal.")
    known = rows[np.isfinite(rows[["actual", *BOUNDS]]).all(axis=1)]
    inside = {level: known["actual"].between(known[f"lo{level}"], known[f"hi{level}"]) for level in LEVELS}
    hits = pd.DataFrame(inside).rename_axis("level", axis=1).astype("float64")
    keys = [known["model"], known["horizon"], _group(known, kind).rename("group")]
    groups = hits.groupby(keys, observed=True)
    table = groups.sum().stack(future_stack=True).rename("inside").reset_index()
    table["n"] = groups.size().to_numpy().repeat(len(LEVELS))
    table["trials"] = _trials(table, _crowding(hits, keys, known["as_of"]))
    return _banded(table.assign(kind=kind))[list(COVERAGE)].astype(COVERAGE)


def _group(known: pd.DataFrame, kind: str) -> pd.Series:
    if kind == "year":
        return known["as_of"].dt.year
    if kind == "volatility":
        place = known.groupby(SERIES, sort=False, observed=True)["sigma"].rank(pct=True)
        return pd.cut(place, [0, 1 / 3, 2 / 3, 1], labels=list(TERCILES))
    return known["symbol"] if kind == "symbol" else pd.Series("all", index=known.index)


def _crowding(hits: pd.DataFrame, keys: list[pd.Series], as_of: pd.Series) -> np.ndarray:
    """How many times the variance of each share is what it would be if no two outcomes of a session hung together."""
    apart = hits - hits.groupby(keys, observed=True).transform("mean")
    together = apart.groupby([*keys, as_of], observed=True).sum() ** 2
    names = ["model", "horizon", "group"]
    ratio = together.groupby(level=names, observed=True).sum() / (apart**2).groupby(keys, observed=True).sum()
    return ratio.stack(future_stack=True).fillna(1.0).clip(lower=1.0).to_numpy()


def _trials(table: pd.DataFrame, crowding: np.ndarray) -> np.ndarray:
    independent = table["n"].to_numpy() / (table["horizon"].to_numpy() * crowding)
    return np.maximum(np.floor(independent + 1e-6), 1)


def _banded(table: pd.DataFrame) -> pd.DataFrame:
    from scipy import stats

    claim, tail = table["level"].to_numpy(dtype="float64") / 100, (1 - BAND) / 2
    low, high = (stats.binom.ppf(p, table["trials"], claim) / table["trials"] for p in (tail, 1 - tail))
    share = (table["inside"] / table["n"]).astype("float64")
    return table.assign(share=share, band_lo=low, band_hi=high, as_claimed=share.between(low, high))
