"""The forecasts that leave the workbook: as the `forecasts` table, as prices, as headline figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError
from stockkit.forecast.judge import intervals
from stockkit.forecast.judge.scores import LEVEL, Board
from stockkit.forecast.judge.verdicts import Verdict
from stockkit.forecast.models import RANDOM_WALK
from stockkit.forecast.walk import study
from stockkit.forecast.walk.folds import NEWEST
from stockkit.market import sessions

COLUMNS = ["made_at", "as_of", "symbol", "model", "horizon", "target_session", "mean", "sigma", *intervals.BOUNDS]


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


def best(board: Board, *, horizon: int, symbols: Sequence[str], level: float = LEVEL) -> dict[str, str]:
    """The model of each symbol: the random walk, unless another beats it there, or over all symbols together.

    Args:
        board: as from `scores.board`. horizon: sessions ahead. symbols: whose.
        level: of the corrected p; of several the surest counts.
    """
    by_symbol, overall = (
        table[(table["horizon"] == horizon) & (table["p_holm"] < level)].sort_values("p_holm", kind="stable")
        for table in (board.by_symbol, board.overall)
    )
    surest = by_symbol.drop_duplicates("symbol")
    there = dict(zip(surest["symbol"].astype(str), surest["model"].astype(str), strict=True))
    anywhere = [*overall["model"].astype(str), RANDOM_WALK][0]
    return {symbol: there.get(symbol, anywhere) for symbol in symbols}


def newest(forecasts: pd.DataFrame, *, horizon: int, models: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The last forecast of each symbol, from the rows of the `forecasts` table.

    Args:
        forecasts: of any models and horizons. horizon: sessions ahead.
        models: whose is taken, by symbol, as from `stockkit.records.registry.champion_models`; of others the random
            walk's, and where that model has none as of the symbol's last session.

    Raises:
        ForecastError: there are forecasts, but none for that horizon.
    """
    made = forecasts[forecasts["horizon"] == horizon]
    wanted = made["symbol"].astype(str).map(models or {}).astype("object").fillna(RANDOM_WALK)
    named = made["model"].astype(str)
    rank = np.where(named == wanted, 1, np.where(named == RANDOM_WALK, 0, -1))
    last = (made.groupby("symbol", observed=True)["as_of"].transform("max") == made["as_of"]).to_numpy()
    kept = made.assign(rank=rank)[last & (rank >= 0)]
    if kept.empty and len(forecasts):
        raise ForecastError(f"no forecast {horizon} session(s) ahead: run 04_model with it among the horizons.")
    latest = kept.sort_values(["symbol", "rank", "made_at"], kind="stable").groupby("symbol", observed=True).tail(1)
    return latest.drop(columns="rank").reset_index(drop=True)


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
    return {
        "model": model_of(made),
        "horizon": int(made["horizon"].iloc[0]) if len(made) else None,
        "rows": [{key: _plain(value) for key, value in row.items()} for row in rows.to_dict("records")],
    }


def model_of(made: pd.DataFrame) -> str:
    """Whose forecasts these are, in words."""
    names = sorted(set(made["model"].astype(str)))
    return names[0] if len(names) == 1 else "the best of each symbol"


def in_words(made: pd.DataFrame, young: Sequence[str] = ()) -> str:
    """Whose forecasts these are, of which session, and whose intervals are those of other symbols.

    Args:
        made: one forecast a symbol. young: symbols as from `intervals.borrowers`.
    """
    if made.empty:
        return "No symbol has enough history for a forecast."
    groups = made.groupby(made["model"].astype(str))["symbol"].agg(list)
    whose = [
        "the random walk (the middle is the last close)" if model == RANDOM_WALK else f"`{model}`"
        for model in groups.index
    ]
    if len(whose) > 1:
        whose = [f"{model} of {', '.join(map(str, names))}" for model, names in zip(whose, groups, strict=True)]
    last = f"{made['as_of'].max():%Y-%m-%d}"
    bare = made.loc[made["hi95"].isna(), "symbol"].astype(str)
    none = f" Too few past errors are known for an interval of {', '.join(bare)}." if len(bare) else ""
    first = f"The forecasts are those of {' and '.join(whose)}, as of {last}."
    return f"{first}{none} {intervals.borrowers_in_words(young)}".strip()


def verdict_figures(verdict: Verdict, skipped: Mapping[str, str], *notes: str) -> dict[str, Any]:
    """The headline figures of a verdict: its first sentence large, the rest, who could not be judged, and notes."""
    first, _, rest = verdict.text.partition(". ")
    left_out = [f"Not judged: {reason}" for reason in study.skipped_in_words(skipped)]
    detail = " ".join(filter(None, [rest, *left_out, *notes]))
    return {"text": first, "detail": detail, "beats": [*verdict.overall, *map(list, verdict.beats)]}


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
