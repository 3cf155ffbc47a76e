"""The one forecast that is shown, sealed and served of a symbol: the champion's, or else the random walk's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stockkit.forecast.judge.intervals import BOUNDS
from stockkit.forecast.walk import panel as panels
from stockkit.forecast.walk.trained import Trained
from stockkit.lake.tables import Lake
from stockkit.records.registry import champions, files

PLACE = ["symbol", "model", "horizon", "as_of"]


def choice(lake: Lake, horizon: int) -> dict[str, str]:
    """The model whose forecast is shown, by symbol: the champion of that horizon; empty where there is none.

    Raises:
        LakeError: the champion's card is missing or changed; names the way back.
    """
    saved = champions.saved_champion(lake, horizon)
    return {} if saved is None else members(saved)


def members(saved: files.Saved) -> dict[str, str]:
    """The model of each symbol that a saved model forecasts."""
    told = saved.card.get("members", {})
    return {symbol: str(told.get(symbol, saved.card["model"])) for symbol in saved.card["symbols"]}


def as_served(lake: Lake, made: pd.DataFrame, panel: pd.DataFrame) -> pd.DataFrame:
    """Newest forecasts in which those of each horizon's champion are what `stockkit serve` answers.

    Where the champion stays although its model was fitted anew, the fit of today is not what is served.

    Args:
        lake: whose champions.
        made: as from `outlook.table`; left untouched.
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
    both = pd.concat([one for one in parts if len(one)] or [made], ignore_index=True)
    return both.drop_duplicates(PLACE, keep="last").reset_index(drop=True)


def _served(trained: Trained, made: pd.DataFrame, panel: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in trained.features if name in panel]
    if len(names) < len(trained.features):
        panel = panel.assign(**{name: np.nan for name in trained.features if name not in panel})
    own = panels.of(panel[panel["symbol"].isin(trained.symbols)], trained.features, trained.horizon).owns \
        if len(panel) else {}  # fmt: skip
    rows = []
    for row in made.drop_duplicates("symbol").to_dict("records"):
        found = own.get(str(row["symbol"]))
        if found is not None and found.series.date[-1] == np.datetime64(row["as_of"]):
            said = trained.forecast(found.series)
            numbers = {name: float(said[name][-1]) for name in ("mean", "sigma", *BOUNDS)}
            rows.append({**row, **numbers, "model": trained.named(str(row["symbol"]))})
    kept = pd.DataFrame(rows, columns=made.columns).astype(made.dtypes)
    return kept[kept["mean"].notna()]
