"""A model as it is saved: the bytes of its files, its card, and the order in which they are written.

The card is written last, so that a save which was cut short is no model; the same content makes the same bytes and so
the same version, whenever and however often it is saved.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import ForecastError, LakeError
from stockkit.files import Files
from stockkit.forecast.judge import gate
from stockkit.forecast.models.protocol import RANDOM_WALK
from stockkit.forecast.walk.trained import Trained
from stockkit.records.registry import attachments, encoding
from stockkit.records.registry.attachments import Attachments
from stockkit.records.registry.saved_model import (
    CARD,
    ESTIMATORS,
    EVIDENCE,
    FORMAT,
    MODEL,
    PARAMETERS,
    WEIGHTS,
    SavedModel,
    read,
    seal,
)


def contents(
    trained: Trained,
    *,
    evidence: pd.DataFrame,
    data_version: str,
    code_version: str,
    made_at: pd.Timestamp,
    settings: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The card of a model and the bytes of its other files, by name.

    Args:
        trained: the model.
        evidence: a rows frame with intervals from the backtest, with the model's own rows, the random walk's and
            those of the other models tried; the last 250 sessions before its as_of are kept (`gate.recent`).
        data_version: of the tables it was fitted on. code_version: of the code. made_at: now, UTC.
        settings: what it was fitted with, as JSON can hold it; no secrets.

    Raises:
        ForecastError: a class that is not registered, settings that JSON cannot hold, evidence without the model or
            without the random walk.
    """
    kept = gate.recent(evidence, trained.as_of, trained.horizon)
    for name in (trained.model, RANDOM_WALK):
        if not (kept["model"] == name).any():
            raise ForecastError(f"evidence: it has no row of {name}: backtest the model beside the random walk.")
    bodies = fit_files(trained)
    origin = {
        "made_at": made_at.isoformat(),
        "data_version": data_version,
        "code_version": code_version,
        "libraries": _libraries(bodies),
        "settings": dict(settings),
        "scores": [{name: _finite(figure) for name, figure in line.items()} for line in gate.summary(kept)],
    }
    bodies[EVIDENCE] = _parquet(kept)
    return _card(trained, origin, bodies), bodies


def _libraries(bodies: Mapping[str, bytes]) -> dict[str, str]:
    names = ["numpy", "scipy", "pandas"]
    names += ["scikit-learn", "skops"] if ESTIMATORS in bodies else []
    names += ["torch"] if WEIGHTS in bodies else []
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def fit_files(trained: Trained) -> dict[str, bytes]:
    """The files of a model but for its card and evidence, by name.

    Raises:
        ForecastError: it cannot be saved; says why, and the way out.
    """
    if not MODEL.fullmatch(trained.model) or trained.model == "champion":
        raise ForecastError(f"model {trained.model!r}: to be saved a name takes letters, digits, _ and . alone.")
    attached = Attachments()
    tree = encoding.encode(dict(trained.fitted), attached)
    bodies = {PARAMETERS: json.dumps(tree, allow_nan=False, ensure_ascii=False).encode()}
    if attached.estimators:
        bodies[ESTIMATORS] = attachments.dump_estimators(attached.estimators)
    if attached.tensors:
        bodies[WEIGHTS] = attachments.dump_tensors(attached.tensors)
    return bodies


def _parquet(evidence: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(evidence, preserve_index=False).replace_schema_metadata(None), out)
    return out.getvalue()


def _card(trained: Trained, origin: Mapping[str, Any], bodies: Mapping[str, bytes]) -> dict[str, Any]:
    """The card of a model with these files, its version worked out."""
    day = str(np.datetime_as_string(trained.as_of, unit="D"))
    attached = Attachments()
    card: dict[str, Any] = {
        "format": FORMAT,
        "model": trained.model,
        "horizon": int(trained.horizon),
        "features": list(trained.features),
        "used": list(trained.used),
        **({"members": dict(sorted(trained.members.items()))} if trained.members else {}),
        "symbols": trained.symbols,
        "as_of": day,
        **origin,
        "calibration": {
            symbol: encoding.encode([known.sigma, list(known.widths)], attached)
            for symbol, known in sorted(trained.calibration.items())
        },
        "files": {
            name: {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()} for name, body in bodies.items()
        },
    }
    try:
        return {"version": f"{day}-{seal(card)}", **card}
    except (TypeError, ValueError) as error:
        raise ForecastError(f"settings: {error}: give texts, finite numbers, lists and mappings of them.") from error


def write(files: Files, folder: str, card: Mapping[str, Any], bodies: Mapping[str, bytes]) -> SavedModel:
    """Write the files and, when they are all there, the card; what is there already stays or becomes the same.

    Raises:
        LakeError: they cannot be written, or another model has the folder.
    """
    if files.size(f"{folder}/{CARD}") is not None and read(files, folder).version != card["version"]:
        raise LakeError(f"{files}/{folder} holds another model: empty it, or give another folder.")
    for name, body in bodies.items():
        files.note(f"{folder}/{name}", body)
    files.put(f"{folder}/{CARD}", json.dumps(card, allow_nan=False, ensure_ascii=False, indent=1).encode())
    return read(files, folder)


def _finite(figure: float | str) -> float | str | None:
    """A figure for JSON: NaN, which it has no word for, becomes None."""
    return None if isinstance(figure, float) and not math.isfinite(figure) else figure
