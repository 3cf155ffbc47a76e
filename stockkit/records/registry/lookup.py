"""Finding saved models, and listing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import LakeError
from stockkit.lake.tables import Lake
from stockkit.records.registry import champions, saved_model
from stockkit.records.registry.saved_model import SavedModel

COLUMNS = ["model", "as_of", "made_at", "symbols", "rmse_ratio", "interval_ratio", "coverage90", "champion", "problem"]
GONE: dict[str, Any] = {"problem": "its files are gone"}


def find(lake: Lake, name: str, version: str = "champion") -> SavedModel:
    """The saved model of this name; see `stockkit.records.registry.load` for what may be said.

    Raises:
        LakeError: there is none, or its card is missing or changed.
    """
    if version == "champion":
        return _champion(lake, name)
    if version != "newest":
        return saved_model.at(lake.files, f"{name}/{version}")
    keys = [f"{name}/{number}" for number in _versions(lake, name)]
    complete = [key for key in keys if lake.files.size(f"models/{key}/{saved_model.CARD}") is not None]
    if not complete:
        known = ", ".join(_names(lake)) or "none"
        raise LakeError(f"there is no saved model {name!r} in {lake.files} (it has {known}).")
    models = [saved_model.at(lake.files, key) for key in complete]
    return max(models, key=lambda saved: (saved.card["as_of"], pd.Timestamp(saved.card["made_at"])))


def _champion(lake: Lake, name: str) -> SavedModel:
    model, _, number = name.rpartition("h")
    if not number.isdigit() or not (model == "" or saved_model.NAME.fullmatch(name)):
        raise LakeError(
            f"{name!r} is no saved model: give h1 for the champion of horizon 1, or a name such as lasso-h1."
        )
    saved = champions.saved_champion(lake, int(number))
    if saved is None:
        raise LakeError(
            f"horizon {number} has no champion in {lake.files}: "
            f"`stockkit models promote MODEL-h{number}/VERSION` makes one."
        )
    if model and saved.name != name:
        raise LakeError(f"the champion of horizon {number} is {saved.key}: ask for h{number}, or for {name} newest.")
    return saved


def list_models(lake: Lake) -> pd.DataFrame:
    """Every saved model, one row each: index its version; ratios are to the random walk on its evidence.

    `champion` says champion, or was; `problem` what is wrong with its files, where something is. Each is read whole.
    """
    histories = _histories(lake)
    marks = {entry.version: "was" for entries in histories for entry in entries if entry.version}
    marks |= {entries[-1].version: "champion" for entries in histories if entries[-1].version}
    keys = [f"{name}/{number}" for name in _names(lake) for number in _versions(lake, name)]
    rows = {key: _row(lake, key) for key in keys}
    rows |= {key: GONE for key in marks if key not in rows}
    index = pd.Index(list(rows), name="version", dtype="object")
    return pd.DataFrame(list(rows.values()), index=index, columns=COLUMNS).assign(
        champion=[marks.get(key, "") for key in rows]
    )


def _row(lake: Lake, key: str) -> dict[str, Any]:
    try:
        saved = saved_model.at(lake.files, key)
        row = {name: saved.card[name] for name in ("model", "as_of", "made_at")}
        row |= {"symbols": len(saved.card["symbols"]), **figures(saved)}
        for name in saved.card["files"]:
            saved.read(name)  # one at a time: together they may not fit into memory
    except LakeError as error:
        return {"problem": str(error)}
    return {**row, "problem": ""}


def figures(saved: SavedModel) -> dict[str, float]:
    """Its own figures on its evidence: rmse_ratio and interval_ratio to the random walk, and coverage90."""
    scores = (line for line in saved.card["scores"] if line.get("model") == saved.card["model"])
    score: dict[str, Any] = next(scores, {})
    names = {"rmse_ratio": "rmse_ratio", "interval_ratio": "walk_interval_ratio", "coverage90": "coverage90"}
    return {column: np.nan if score.get(name) is None else float(score[name]) for column, name in names.items()}


def _names(lake: Lake) -> list[str]:
    return [
        name for name in lake.files.folders("models") if saved_model.NAME.fullmatch(name) and "champion-h" not in name
    ]


def _versions(lake: Lake, name: str) -> list[str]:
    if not saved_model.NAME.fullmatch(name):
        raise LakeError(f"{name!r} is no saved model: give a name such as lasso-h1.")
    return [version for version in lake.files.folders(f"models/{name}") if saved_model.VERSION.fullmatch(version)]


def _histories(lake: Lake) -> list[list[champions.Entry]]:
    horizons = [name.rpartition("h")[2] for name in lake.files.folders("models") if name.startswith("champion-h")]
    return [entries for horizon in horizons if (entries := champions.history(lake, int(horizon)))]
