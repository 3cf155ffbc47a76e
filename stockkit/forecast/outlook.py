"""The forecasts that leave the workbook: as the `forecasts` table, as prices, as headline figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast import study
from stockkit.forecast.folds import NEWEST
from stockkit.forecast.intervals import BOUNDS
from stockkit.forecast.models import RANDOM_WALK
from stockkit.forecast.scores import LEVEL, Verdict
from stockkit.market import sessions

COLUMNS = ["made_at", "as_of", "symbol", "model", "horizon", "target_session", "mean", "sigma", *BOUNDS]


def table(rows: pd.DataFrame, *, made_at: pd.Timestamp, calendar: str = sessions.DEFAULT) -> pd.DataFrame:
    """The newest forecasts among `rows`, as rows of the `forecasts` table.

    Args:
        rows: the rows frame with sigma and the intervals; only those of `backtest.latest` that have a mean are taken.
        made_at: when the forecasts were made, UTC.
        calendar: the exchange whose sessions the horizon counts.

    Returns:
        made_at, as_of, symbol, model, horizon (sessions), target_session, and the h-session log return's mean,
        sigma and interval bounds. The interval is NaN where too few past errors are known.
    """
    newest = rows[(rows["fold"] == NEWEST) & rows["mean"].notna()].reset_index(drop=True)
    pairs = list(zip(newest["as_of"], newest["horizon"], strict=True))
    ahead = {pair: sessions.shift(*pair, calendar) for pair in set(pairs)}
    dated = newest.assign(
        made_at=pd.Series([made_at] * len(newest), dtype="datetime64[ns, UTC]"),
        target_session=pd.Series([ahead[pair] for pair in pairs], dtype="datetime64[ns]"),
    )
    return dated[COLUMNS]


def chosen(made: pd.DataFrame, scored: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """One forecast a symbol and horizon: the random walk's, unless a model beats it there (the surest first).

    Args:
        made: as from `table`. scored: as `scores.Board.by_symbol`. level: of the Holm-corrected p.
    """
    place = ["symbol", "horizon"]
    surest = scored[scored["p_holm"] < level].sort_values("p_holm", kind="stable").drop_duplicates(place)
    winner = surest.set_index(place)["model"].reindex(pd.MultiIndex.from_frame(made[place]))
    return made[made["model"].to_numpy() == winner.fillna(RANDOM_WALK).to_numpy()].reset_index(drop=True)


def newest(forecasts: pd.DataFrame, *, horizon: int, model: str = RANDOM_WALK) -> pd.DataFrame:
    """The last forecast that one model made of each symbol, from the rows of the `forecasts` table.

    Raises:
        ForecastError: there are forecasts, but none for that horizon.
    """
    own = forecasts[(forecasts["horizon"] == horizon) & (forecasts["model"] == model)]
    if own.empty and len(forecasts):
        raise ForecastError(
            f"no forecast of {model} {horizon} session(s) ahead: run 04_model with it among the horizons."
        )
    return own.sort_values(["symbol", "made_at", "as_of"]).groupby("symbol").tail(1).reset_index(drop=True)


def priced(made: pd.DataFrame, prices: pd.DataFrame) -> pd.DataFrame:
    """Forecasts in the currency of the close instead of log returns.

    The price of a mean log return is the median of the price, as exp keeps the order of values and not their mean.

    Returns:
        symbol, model, as_of, target_session, close (at as_of), price, and the bounds of the 80 and 95 % intervals.
    """
    close = prices.set_index(["symbol", "date"])["close"]
    at = close.reindex(pd.MultiIndex.from_frame(made[["symbol", "as_of"]])).to_numpy()
    columns = {"price": "mean", "price_lo80": "lo80", "price_hi80": "hi80", "price_lo95": "lo95", "price_hi95": "hi95"}
    moved = {name: at * np.exp(made[source]) for name, source in columns.items()}
    return made[["symbol", "model", "as_of", "target_session"]].assign(close=at, **moved)


def figures(made: pd.DataFrame, prices: pd.DataFrame) -> dict[str, Any]:
    """The headline figures of one forecast a symbol, as plain JSON values; None where there is no interval."""
    rows = made.merge(priced(made, prices), on=["symbol", "model", "as_of", "target_session"]).drop(columns="made_at")
    for name in ("as_of", "target_session"):
        rows[name] = rows[name].dt.strftime("%Y-%m-%d")
    names = sorted(set(made["model"]))
    return {
        "model": names[0] if len(names) == 1 else "the best of each symbol",
        "horizon": int(made["horizon"].iloc[0]) if len(made) else None,
        "rows": [{key: _plain(value) for key, value in row.items()} for row in rows.to_dict("records")],
    }


def verdict_figures(verdict: Verdict, skipped: Mapping[str, str], *notes: str) -> dict[str, Any]:
    """The headline figures of a verdict: its first sentence large, the rest, who could not be judged, and notes."""
    first, _, rest = verdict.text.partition(". ")
    left_out = [f"Not judged: {told}" for told in study.in_words(skipped)]
    detail = " ".join(filter(None, [rest, *left_out, *notes]))
    return {"text": first, "detail": detail, "beats": [*verdict.overall, *map(list, verdict.beats)]}


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
