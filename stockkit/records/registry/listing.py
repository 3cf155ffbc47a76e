"""Finding saved models, and listing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import LakeError
from stockkit.lake.tables import Lake
from stockkit.records.registry import champions, files
from stockkit.records.registry.files import Saved

COLUMNS = ["model", "as_of", "made_at", "symbols", "rmse_ratio", "interval_ratio", "coverage90", "champion", "problem"]


def find(lake: Lake, name: str, version: str = "champion") -> Saved:
    """The saved model of this name; see `stockkit.records.registry.load` for what may be said.

    Raises:
        LakeError: there is none, or its card is missing or changed.
    """
    if version == "champion":
        return _champion(lake, name)
    if version != "newest":
        return files.at(lake.files, f"{name}/{version}")
    keys = [f"{name}/{one}" for one in _versions(lake, name)]
    whole = [files.at(lake.files, key) for key in keys if lake.files.size(f"models/{key}/{files.CARD}") is not None]
    if not whole:
        known = ", ".join(_names(lake)) or "none"
        raise LakeError(f"there is no saved model {name!r} in {lake.path} (it has {known}).")
    return max(whole, key=lambda saved: (saved.card["as_of"], pd.Timestamp(saved.card["made_at"])))


def _champion(lake: Lake, name: str) -> Saved:
    model, _, number = name.rpartition("h")
    if not number.isdigit() or not (model == "" or files.NAME.fullmatch(name)):
        raise LakeError(
            f"{name!r} is no saved model: give h1 for the champion of horizon 1, or a name such as lasso-h1."
        )
    saved = champions.saved_champion(lake, int(number))
    if saved is None:
        raise LakeError(
            f"horizon {number} has no champion in {lake.path}: "
            f"`stockkit models promote MODEL-h{number}/VERSION` makes one."
        )
    if model and saved.name != name:
        raise LakeError(f"the champion of horizon {number} is {saved.key}: ask for h{number}, or for {name} newest.")
    return saved


def listing(lake: Lake) -> pd.DataFrame:
    """Every saved model, one row each: index its version; ratios are to the random walk on its evidence.

    `champion` says champion, or was; `problem` what is wrong with its files, where something is. Each is read whole.
    """
    said = {str(entry.version): "was" for entries in _histories(lake) for entry in entries}
    said |= {str(entries[-1].version): "champion" for entries in _histories(lake)}
    keys = [f"{name}/{version}" for name in _names(lake) for version in _versions(lake, name)]
    rows = [{"champion": said.get(key, ""), **_row(lake, key)} for key in keys]
    lost = [
        {"champion": mark, "problem": "its files are gone"}
        for key, mark in said.items()
        if key not in keys and key != "None"
    ]
    index = pd.Index(
        [*keys, *(key for key in said if key not in keys and key != "None")], name="version", dtype="object"
    )
    return pd.DataFrame([*rows, *lost], index=index, columns=COLUMNS)


def _row(lake: Lake, key: str) -> dict[str, Any]:
    try:
        saved = files.at(lake.files, key)
        told = {name: saved.card[name] for name in ("model", "as_of", "made_at")}
        told |= {"symbols": len(saved.card["symbols"]), **figures(saved)}
        for name in saved.card["files"]:
            saved.read(name)
    except LakeError as error:
        return {"problem": str(error)}
    return {**told, "problem": ""}


def figures(saved: Saved) -> dict[str, float]:
    """Its own figures on its evidence: rmse_ratio and interval_ratio to the random walk, and coverage90."""
    own: dict[str, Any] = next((line for line in saved.card["scores"] if line.get("model") == saved.card["model"]), {})
    names = {"rmse_ratio": "rmse_ratio", "interval_ratio": "walk_interval_ratio", "coverage90": "coverage90"}
    return {shown: np.nan if own.get(name) is None else float(own[name]) for shown, name in names.items()}


def _names(lake: Lake) -> list[str]:
    return [name for name in lake.files.folders("models") if files.NAME.fullmatch(name) and "champion-h" not in name]


def _versions(lake: Lake, name: str) -> list[str]:
    if not files.NAME.fullmatch(name):
        raise LakeError(f"{name!r} is no saved model: give a name such as lasso-h1.")
    return [version for version in lake.files.folders(f"models/{name}") if files.VERSION.fullmatch(version)]


def _histories(lake: Lake) -> list[list[champions.Entry]]:
    horizons = [name.rpartition("h")[2] for name in lake.files.folders("models") if name.startswith("champion-h")]
    return [entries for one in horizons if (entries := champions.history(lake, int(one)))]
