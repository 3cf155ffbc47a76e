"""Intervals from a model's own past errors, each used only once its target had been realised."""

from __future__ import annotations

import pandas as pd

from stockkit.errors import ForecastError

LEVELS = (80, 90, 95)
SERIES = ["symbol", "model", "horizon"]
BOUNDS = tuple(f"{side}{level}" for level in LEVELS for side in ("lo", "hi"))


def residual_intervals(rows: pd.DataFrame, *, window: int = 500, minimum: int = 100) -> pd.DataFrame:
    """Add sigma and the 80, 90 and 95 % intervals of the h-session log return to forecasts.

    A bound is the mean plus an empirical quantile of the residuals (actual − mean) of the same symbol, model and
    horizon; sigma is their standard deviation. The residual of a row counts from `horizon` rows later on, when
    its target session had closed; where sessions are missing between rows it counts later, never sooner.

    Args:
        rows: as `backtest.Backtest.rows`, in any order, each as-of session once (`backtest.forecast_rows` joins
            the latest forecasts to a backtest); left untouched.
        window: rows looked back on, after the `horizon` rows that are not realised yet.
        minimum: residuals needed within the window; NaN until there are as many, and where the mean is NaN.

    Returns:
        The rows in the order given, with sigma, lo80, hi80, lo90, hi90, lo95, hi95 (float64, log return).

    Raises:
        ForecastError: an as-of session that stands twice, or a minimum that is not from 2 to `window`.
    """
    if not 2 <= minimum <= window:
        raise ForecastError(f"minimum {minimum} and window {window}: give 2 <= minimum <= window.")
    twice = rows.duplicated([*SERIES, "as_of"])
    if twice.any():
        row = rows[twice].iloc[0]
        raise ForecastError(
            f"{row['model']} has two forecasts of {row['symbol']} as of {row['as_of']:%Y-%m-%d}: keep one "
            f"(backtest.forecast_rows puts the latest in the place of the backtest's)."
        )
    plain = rows.reset_index(drop=True)
    ordered = plain.sort_values([*SERIES, "as_of"])
    parts = [_spread(own, window, minimum) for _, own in ordered.groupby(SERIES, sort=False, observed=True)]
    spread = pd.concat(parts).reindex(plain.index) if parts else pd.DataFrame(columns=["sigma", *BOUNDS], dtype=float)
    spread[list(BOUNDS)] = spread[list(BOUNDS)].add(plain["mean"], axis=0)
    return plain.assign(**{name: spread[name].where(plain["mean"].notna()) for name in ("sigma", *BOUNDS)})


def _spread(own: pd.DataFrame, window: int, minimum: int) -> pd.DataFrame:
    """Standard deviation and quantiles of the residuals known at each row of one series, oldest first."""
    known = (own["actual"] - own["mean"]).shift(int(own["horizon"].iloc[0]))
    past = known.rolling(window, min_periods=minimum)
    tails = {f"{side}{level}": _tail(side, level) for level in LEVELS for side in ("lo", "hi")}
    return pd.DataFrame({"sigma": past.std(), **{name: past.quantile(tail) for name, tail in tails.items()}})


def _tail(side: str, level: int) -> float:
    return (100 - level) / 200 if side == "lo" else (100 + level) / 200
