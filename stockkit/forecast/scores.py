"""Out-of-sample scores against the random walk, tested, and corrected for how many models were tried."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.models import RANDOM_WALK

SERIES = ["symbol", "model", "horizon"]
FIGURES = ["mae", "rmse", "mae_ratio", "rmse_ratio", "mase", "hit_rate", "n_hit", "hit_lo", "hit_hi", "up_rate",
           "coverage80", "coverage90", "width90", "coverage95", "dm_p", "p_holm"]  # fmt: skip
SCORES: dict[str, str] = {
    "symbol": "string",
    "model": "string",
    "horizon": "int64",
    "n": "int64",
    "first": "datetime64[ns]",
    "last": "datetime64[ns]",
    **{name: "int64" if name == "n_hit" else "float64" for name in FIGURES},
}


@dataclass(frozen=True)
class Verdict:
    """Whether anything beats the random walk.

    Attributes:
        text: what a report may say.
        beats: (symbol, model) pairs whose Holm-corrected p is under `level`.
        tried: how many pairs were tested.
        level: the family-wise error rate allowed.
    """

    text: str
    beats: tuple[tuple[str, str], ...]
    tried: int
    level: float

    def _repr_html_(self) -> str:
        """The first sentence in large type, as a report should show it, the rest below."""
        first, dot, rest = self.text.partition(". ")
        large = "font-size: 1.7em; line-height: 1.25; margin: 0.3em 0"
        return f'<p class="verdict" style="{large}">{escape(first)}{dot.strip()}</p><p>{escape(rest)}</p>'


def score(rows: pd.DataFrame) -> pd.DataFrame:
    """Score each symbol, model and horizon over the sessions whose outcome is known.

    Args:
        rows: as `backtest.Backtest.rows`, or with the columns of `intervals.residual_intervals`; left untouched.

    Returns:
        One row a symbol, model and horizon, in the order of `rows`, errors in log return: n, first and last
        (as-of dates); mae, rmse, and their ratios to the random walk's on the same dates; mase (Hyndman and
        Koehler 2006); hit_rate, the share of right signs among n_hit rows where neither mean nor actual is 0,
        with its exact 95 % interval hit_lo to hit_hi; up_rate, the share of rises among moves; coverage80,
        coverage90, coverage95 and the mean width90 over the rows with intervals; dm_p (`diebold_mariano`) and
        p_holm (`holm` over all rows but the random walk's). NaN where a figure has no rows to stand on.
        No rows give no scores.
        With horizon > 1 outcomes overlap and hit_lo to hit_hi is narrower than it should be; dm_p allows for it.

    Raises:
        ForecastError: a symbol and horizon without a forecast of the random walk, or a session that stands twice.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(SCORES)).astype(SCORES)
    known = _beside_random_walk(rows)
    groups = known.groupby(SERIES, sort=False, observed=True)
    table = pd.DataFrame([{**dict(zip(SERIES, key, strict=True)), **_line(own)} for key, own in groups])
    tested = table["model"] != RANDOM_WALK
    table["p_holm"] = np.nan
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "dm_p"].to_numpy())
    return table[list(SCORES)].astype(SCORES)


def diebold_mariano(errors: np.ndarray, reference: np.ndarray, horizon: int) -> float:
    """One-sided p value that `errors` have a smaller mean square than `reference`, both (n,) on the same dates.

    Diebold and Mariano 1995 with the rectangular kernel over horizon − 1 lags, the small-sample correction and
    Student t with n − 1 degrees of freedom of Harvey, Leybourne and Newbold 1997. Where that kernel
    gives no positive variance, Bartlett weights do (Newey and West 1987). 1 where nothing can be told: equal
    errors, no spread, or n too small for the horizon. Conservative for a model that contains the random walk
    as a special case (Clark and West 2007).
    """
    from scipy import stats

    gain = reference**2 - errors**2
    n = len(gain)
    if n < 2 or n <= horizon or np.ptp(gain) <= 1e-12 * np.abs(gain).max():
        return 1.0
    centred = gain - gain.mean()
    lags = np.arange(horizon)
    covariance = np.array([centred[: n - lag] @ centred[lag:] / n for lag in lags])
    twice = np.where(lags == 0, 1.0, 2.0)
    variance = twice @ covariance
    if variance <= 0:
        variance = (twice * (1 - lags / horizon)) @ covariance
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    if variance <= 0 or correction <= 0:
        return 1.0
    return float(stats.t.sf(gain.mean() / np.sqrt(variance / n) * np.sqrt(correction), n - 1))


def holm(p: np.ndarray) -> np.ndarray:
    """P values corrected for having tried all of them (Holm 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(stepped, 1.0)
    return out


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval of a share (Clopper and Pearson 1934); NaN for n = 0."""
    from scipy import stats

    if n == 0:
        return np.nan, np.nan
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, hits, n - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


def verdict(scores: pd.DataFrame, *, level: float = 0.05) -> Verdict:
    """Say what may be said of `scores`: who beats the random walk after Holm's correction, or that nobody does.

    Args:
        scores: as from `score`, whole: leaving rows out hides how many were tried.
        level: the chance allowed of a single false claim, over 0 and under 1.

    Raises:
        ForecastError: a level out of range.
    """
    if not 0 < level < 1:
        raise ForecastError(f"level {level}: give a probability over 0 and under 1, such as 0.05.")
    tested = scores[scores["model"] != RANDOM_WALK]
    tried = len(tested)
    winners = tested[tested["p_holm"] < level].sort_values("p_holm", kind="stable").to_dict("records")
    if winners:
        text = "; ".join(_claim(row, tried, several=scores["horizon"].nunique() > 1) for row in winners)
    else:
        count = f"{tried} symbol and model pair{'s' if tried > 1 else ''} tried, smallest Holm-corrected"
        text = f"Not distinguishable from the random walk. {count} {_p(tested['p_holm'].min() if tried else 1.0)}."
        if not tried:
            none = "Nothing could be judged. No model has forecasts of the past to compare."
            text = "Not distinguishable from the random walk. No other model was tried." if len(scores) else none
    return Verdict(text, tuple((str(row["symbol"]), str(row["model"])) for row in winners), tried, level)


def _claim(row: dict[str, Any], tried: int, *, several: bool) -> str:
    name = str(row["model"]).replace("_", " ")
    ahead = f" {row['horizon']} session{'s' if row['horizon'] > 1 else ''} ahead" if several else ""
    pairs = f"{tried} pair{'s' if tried > 1 else ''} tried"
    return (
        f"{name[:1].upper()}{name[1:]} beats the random walk for {row['symbol']}{ahead} "
        f"(Holm-corrected {_p(row['p_holm'])}, {pairs})"
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _beside_random_walk(rows: pd.DataFrame) -> pd.DataFrame:
    """Every forecast with the random walk's for the same symbol, horizon and date; unknown outcomes stay in."""
    place = ["symbol", "horizon", "as_of"]
    twice = rows.duplicated([*SERIES, "as_of"])
    if twice.any():
        row = rows[twice].iloc[0]
        raise ForecastError(f"{row['model']} has two forecasts of {row['symbol']} as of {row['as_of']}: keep one.")
    base = rows.loc[rows["model"] == RANDOM_WALK, [*place, "mean"]].rename(columns={"mean": "reference"})
    both = rows.merge(base, on=place, how="left")
    with_base = both["reference"].notna().groupby([both["symbol"], both["horizon"]], observed=True).any()
    if with_base.empty or not with_base.all():
        where = "at all" if with_base.empty else "of {} {} session(s) ahead".format(*with_base.idxmin())
        raise ForecastError(f"no forecast of {RANDOM_WALK!r} {where}: nothing to compare with. Add it to the models.")
    return both


def _line(own: pd.DataFrame) -> dict[str, Any]:
    known = own[np.isfinite(own[["mean", "actual", "reference"]]).all(axis=1)]
    mean, actual, reference = (known[name].to_numpy() for name in ("mean", "actual", "reference"))
    error, base = actual - mean, actual - reference
    is_base = own["model"].iloc[0] == RANDOM_WALK
    return {
        "n": len(known),
        "first": known["as_of"].min(),
        "last": known["as_of"].max(),
        **_errors(error, base, known["scale"].to_numpy()),
        **_hits(mean, actual),
        **_coverage(known, actual),
        "dm_p": np.nan if is_base else diebold_mariano(error, base, int(own["horizon"].iloc[0])),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _errors(error: np.ndarray, base: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    mae, rmse = _mean(np.abs(error)), float(np.sqrt(_mean(error**2)))
    base_mae, base_rmse = _mean(np.abs(base)), float(np.sqrt(_mean(base**2)))
    return {
        "mae": mae,
        "rmse": rmse,
        "mae_ratio": mae / base_mae if base_mae else np.nan,
        "rmse_ratio": rmse / base_rmse if base_rmse else np.nan,
        "mase": _mean(np.abs(error[scale > 0]) / scale[scale > 0]),
    }


def _hits(mean: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    said = (mean != 0) & (actual != 0)
    right = np.sign(mean[said]) == np.sign(actual[said])
    low, high = clopper_pearson(int(right.sum()), len(right))
    up = _mean(actual[actual != 0] > 0)
    return {"hit_rate": _mean(right), "n_hit": len(right), "hit_lo": low, "hit_hi": high, "up_rate": up}


def _coverage(known: pd.DataFrame, actual: np.ndarray) -> dict[str, float]:
    out = {}
    for level in (80, 90, 95):
        low, high = (known.get(f"{side}{level}", known["mean"] * np.nan).to_numpy() for side in ("lo", "hi"))
        with_interval = np.isfinite(low) & np.isfinite(high)
        inside = (low <= actual) & (actual <= high)
        out[f"coverage{level}"] = _mean(inside[with_interval])
        if level == 90:
            out["width90"] = _mean((high - low)[with_interval])
    return out
