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
from stockkit.records.registry import saved_model, saving
from stockkit.records.registry.champion_forecasts import as_served, champion_models
from stockkit.records.registry.champions import Decision, Entry, history, promote, rollback, way_back
from stockkit.records.registry.encoding import allow
from stockkit.records.registry.lookup import find, list_models
from stockkit.records.registry.model_card import card
from stockkit.records.registry.saved_model import SavedModel

__all__ = ["Decision", "Entry", "SavedModel", "adopt", "allow", "as_served", "card", "champion_models", "export",
           "find", "history", "list_models", "load", "load_folder", "obstacle", "promote", "rollback", "save",
           "write_folder"]  # fmt: skip


def save(lake: Lake, trained: Trained, **origin: Any) -> SavedModel:
    """Save a model in a lake, with all that is needed to judge it; the same content twice is one version.

    Args:
        lake: where.
        trained: what.
        origin: `evidence`, `made_at` and `settings`, all needed; `data_version` and `code_version`, if they are not
            those of `ledger.versions`. See `saving.contents`.

    Raises:
        ForecastError: it cannot be saved: a class that is not registered (see `allow`), or no evidence of it.
        LakeError: the lake cannot be written.
    """
    content, bodies = saving.contents(trained, **(ledger.versions(lake) | origin))
    folder = f"models/{trained.model}-h{trained.horizon}/{content['version']}"
    return saving.write(lake.files, folder, content, bodies)


def obstacle(trained: Trained) -> str:
    """Why a model cannot be saved, in a sentence; "" where it can."""
    try:
        saving.fit_files(trained)
    except ForecastError as error:
        return f"`{trained.model}`, {trained.horizon} ahead, is not saved and stays out of the gate: {error}"
    return ""


def write_folder(trained: Trained, path: Path, **origin: Any) -> SavedModel:
    """Save a model in an empty folder outside any lake, such as SageMaker's ``/opt/ml/model``; else as `save`."""
    content, bodies = saving.contents(trained, **origin)
    return saving.write(*_place(path), content, bodies)


def export(saved: SavedModel, path: Path) -> SavedModel:
    """Copy a saved model to an empty folder outside its lake, every file checked; `load_folder` reads it there."""
    return saving.write(*_place(path), saved.card, saved.bodies())


def adopt(lake: Lake, path: Path) -> SavedModel:
    """Copy a model that `write_folder` or `export` wrote into a lake, every file checked and loaded once."""
    saved = saved_model.read(*_place(path))
    saved.trained()
    return saving.write(lake.files, f"models/{saved.key}", saved.card, saved.bodies())


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
    return saved_model.read(*_place(path)).trained()


def _place(path: Path) -> tuple[Folder, str]:
    """A folder outside any lake, as the folder that it lies in and its name there."""
    return Folder(path.resolve().parent), path.resolve().name
