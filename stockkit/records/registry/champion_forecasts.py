"""The champion's model and forecast of each symbol: what is shown, sealed and served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stockkit.forecast.judge.intervals import BOUNDS
from stockkit.forecast.walk.histories import Histories
from stockkit.forecast.walk.trained import Trained
from stockkit.lake.tables import Lake
from stockkit.records.registry import champions

KEY = ["symbol", "model", "horizon", "as_of"]


def champion_models(lake: Lake, horizon: int) -> dict[str, str]:
    """The model whose forecast is shown, by symbol: the champion of that horizon; empty where there is none.

    Raises:
        LakeError: the champion's card is missing or changed; names the way back.
    """
    saved = champions.saved_champion(lake, horizon)
    return {} if saved is None else _models(saved.card)


def _models(card: Mapping[str, Any]) -> dict[str, str]:
    members = card.get("members", {})
    return {symbol: str(members.get(symbol, card["model"])) for symbol in card["symbols"]}


def as_served(lake: Lake, made: pd.DataFrame, panel: pd.DataFrame) -> pd.DataFrame:
    """Newest forecasts in which those of each horizon's champion are what `stockkit serve` answers.

    Where the champion stays although its model was fitted anew, the fit of today is not what is served.

    Args:
        lake: whose champions.
        made: as from `forecast_table.table`; left untouched.
        panel: symbol, date, close and features, as the forecasts were made from.

    Returns:
        The rows with the champions' mean, sigma and bounds; rows of models that `made` lacks are added to it.
    """
    parts = [made]
    for horizon in made["horizon"].unique().tolist():
        saved = champions.saved_champion(lake, int(horizon))
        if saved is not None:
            with champions.way_back(int(horizon)):
                parts.append(_served(saved.trained(), made[made["horizon"] == horizon], panel))
    both = pd.concat([part for part in parts if len(part)] or [made], ignore_index=True)
    return both.drop_duplicates(KEY, keep="last").reset_index(drop=True)


def _served(trained: Trained, made: pd.DataFrame, panel: pd.DataFrame) -> pd.DataFrame:
    panel = panel.assign(**{name: np.nan for name in trained.features if name not in panel})
    known = panel[panel["symbol"].isin(trained.symbols)]
    histories = Histories.from_frame(known, trained.features, trained.horizon).by_symbol if len(panel) else {}
    rows = []
    for row in made.drop_duplicates("symbol").to_dict("records"):
        history = histories.get(str(row["symbol"]))
        if history is not None and history.series.date[-1] == np.datetime64(row["as_of"]):
            forecast = trained.forecast(history.series)
            numbers = {name: float(forecast[name][-1]) for name in ("mean", "sigma", *BOUNDS)}
            rows.append({**row, **numbers, "model": trained.named(str(row["symbol"]))})
    kept = pd.DataFrame(rows, columns=made.columns).astype(made.dtypes)
    return kept[kept["mean"].notna()]
