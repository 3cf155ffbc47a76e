"""Saved models: what was fitted, on what, how good it was, and which of them is the champion. Never pickle.

``models/<model>-h<horizon>/<as_of>-<hash>/`` in the lake, a folder or S3: ``model.json`` (the card),
``parameters.json``, ``evidence.parquet`` and, where the model has them, ``estimators.skops`` and ``weights.pt``.
The champion of a horizon is the last entry of ``models/champion-h<horizon>/``.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from stockkit.errors import ForecastError
from stockkit.files import Folder
from stockkit.forecast.walk.trained import Trained
from stockkit.lake.tables import Lake
from stockkit.records import ledger
from stockkit.records.registry import files, writing
from stockkit.records.registry.champions import Decision, Entry, history, promote, rollback, way_back
from stockkit.records.registry.files import Saved
from stockkit.records.registry.listing import find, listing
from stockkit.records.registry.page import card
from stockkit.records.registry.parameters import allow
from stockkit.records.registry.shown import as_served, choice

__all__ = ["Decision", "Entry", "Saved", "adopt", "allow", "as_served", "card", "choice", "export", "find", "history",
           "listing", "load", "load_folder", "obstacle", "promote", "rollback", "save", "write_folder"]  # fmt: skip


def save(lake: Lake, trained: Trained, **told: Any) -> Saved:
    """Save a model in a lake, with all that is needed to judge it; the same content twice is one version.

    Args:
        lake: where.
        trained: what.
        told: `evidence`, `made_at` and `settings`, all needed; `data_version` and `code_version`, if they are not what
            `ledger.versions` tells of the lake and its workbook. See
            `writing.made`.

    Raises:
        ForecastError: it cannot be saved: a class that is not registered (see `allow`), or no evidence of it.
        LakeError: the lake cannot be written.
    """
    card, parts = writing.made(trained, **(ledger.versions(lake) | told))
    return writing.write(lake.files, f"models/{trained.model}-h{trained.horizon}/{card['version']}", card, parts)


def obstacle(trained: Trained) -> str:
    """Why a model cannot be saved, in a sentence; "" where it can."""
    try:
        writing.parts_of(trained)
    except ForecastError as error:
        return f"`{trained.model}`, {trained.horizon} ahead, is not saved and stays out of the gate: {error}"
    return ""


def write_folder(trained: Trained, path: Path, **told: Any) -> Saved:
    """Save a model in an empty folder outside any lake, such as SageMaker's ``/opt/ml/model``; else as `save`."""
    card, parts = writing.made(trained, **told)
    return writing.write(Folder(path.resolve().parent), path.resolve().name, card, parts)


def export(saved: Saved, path: Path) -> Saved:
    """Copy a saved model to an empty folder outside its lake, every file checked; `load_folder` reads it there."""
    place = Folder(path.resolve().parent)
    return writing.write(
        place, path.resolve().name, saved.card, {name: saved.read(name) for name in saved.card["files"]}
    )


def adopt(lake: Lake, path: Path) -> Saved:
    """Copy a model that `write_folder` or `export` wrote into a lake, every file checked and loaded once."""
    saved = _in_folder(path)
    saved.trained()
    parts = {name: saved.read(name) for name in saved.card["files"]}
    return writing.write(lake.files, f"models/{saved.key}", saved.card, parts)


def load(lake: Lake, name: str, version: str = "champion") -> Trained:
    """Load a model; its forecasts equal those of the one saved, bit for bit.

    Args:
        lake: where.
        name: ``h1`` for the champion of horizon 1, whichever model it is; or model and horizon, as ``lasso-h1``.
        version: ``champion``, ``newest`` (of its made_at), or a version, as ``2023-12-29-0123456789ab``.

    Raises:
        LakeError: no such model, or a file that is missing, changed, foreign or of another version; nothing of it
            is run. For a champion it names the way back, `stockkit models rollback`.
    """
    saved = find(lake, name, version)
    with way_back(saved.card["horizon"]) if version == "champion" else nullcontext():
        return saved.trained()


def load_folder(path: Path) -> Trained:
    """Load the model of a folder outside any lake, such as SageMaker's ``/opt/ml/model``; errors as for `load`."""
    return _in_folder(path).trained()


def _in_folder(path: Path) -> Saved:
    return files.read(Folder(path.resolve().parent), path.resolve().name)
