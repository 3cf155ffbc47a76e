"""A saved model as it is written: the card last, so that a save which was cut short is no model.

The same content makes the same bytes and so the same version, whenever and however often it is saved.
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
from stockkit.records.registry import estimators, files, parameters


def made(
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
        if name not in set(kept["model"]):
            raise ForecastError(f"evidence: it has no row of {name}: backtest the model beside the random walk.")
    parts = parts_of(trained)
    told = {
        "made_at": made_at.isoformat(),
        "data_version": data_version,
        "code_version": code_version,
        "libraries": _libraries(parts),
        "settings": dict(settings),
        "scores": _finite(gate.summary(kept)),
    }
    parts[files.EVIDENCE] = parquet(kept)
    return card_of(trained, parts, told), parts


def _libraries(parts: Mapping[str, bytes]) -> dict[str, str]:
    names = ["numpy", "scipy", "pandas"]
    names += ["scikit-learn", "skops"] if files.ESTIMATORS in parts else []
    names += ["torch"] if files.WEIGHTS in parts else []
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def parts_of(trained: Trained) -> dict[str, bytes]:
    """The files of a model but for its card and evidence, by name.

    Raises:
        ForecastError: it cannot be saved; says why, and the way out.
    """
    if not files.MODEL.fullmatch(trained.model) or trained.model == "champion":
        raise ForecastError(f"model {trained.model!r}: to be saved a name takes letters, digits, _ and . alone.")
    aside = parameters.Aside()
    tree = parameters.encode(dict(trained.fitted), aside)
    parts = {files.PARAMETERS: json.dumps(tree, allow_nan=False, ensure_ascii=False).encode()}
    if aside.estimators:
        parts[files.ESTIMATORS] = estimators.dump_estimators(aside.estimators)
    if aside.tensors:
        parts[files.WEIGHTS] = estimators.dump_tensors(aside.tensors)
    return parts


def parquet(evidence: pd.DataFrame) -> bytes:
    """A rows frame as the bytes of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(evidence, preserve_index=False).replace_schema_metadata(None), out)
    return out.getvalue()


def card_of(trained: Trained, parts: Mapping[str, bytes], told: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a model with these files, its version worked out; `told` is what only the caller knows.

    Raises:
        ForecastError: settings that JSON cannot hold.
    """
    day = str(np.datetime_as_string(trained.as_of, unit="D"))
    aside = parameters.Aside()
    card: dict[str, Any] = {
        "format": files.FORMAT,
        "model": trained.model,
        "horizon": int(trained.horizon),
        "features": list(trained.features),
        "used": list(trained.used),
        **({"members": dict(sorted(trained.members.items()))} if trained.members else {}),
        "symbols": trained.symbols,
        "as_of": day,
        **told,
        "calibration": {
            symbol: [parameters.encode(one.sigma, aside), [parameters.encode(width, aside) for width in one.widths]]
            for symbol, one in sorted(trained.calibration.items())
        },
        "files": {
            name: {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()} for name, body in parts.items()
        },
    }
    try:
        return {"version": f"{day}-{files.seal(card)}", **card}
    except (TypeError, ValueError) as error:
        raise ForecastError(f"settings: {error}: give texts, finite numbers, lists and mappings of them.") from error


def write(place: Files, folder: str, card: Mapping[str, Any], parts: Mapping[str, bytes]) -> files.Saved:
    """Write the files and, when they are all there, the card; what is there already stays or becomes the same.

    Raises:
        LakeError: they cannot be written, or another model has the folder.
    """
    if place.size(f"{folder}/{files.CARD}") is not None and files.read(place, folder).version != card["version"]:
        raise LakeError(f"{place}/{folder} holds another model: empty it, or give another folder.")
    for name, body in parts.items():
        place.note(f"{folder}/{name}", body)
    place.put(f"{folder}/{files.CARD}", json.dumps(card, allow_nan=False, ensure_ascii=False, indent=1).encode())
    return files.read(place, folder)


def _finite(told: Any) -> Any:
    """Figures for JSON: NaN, which it has no word for, becomes None."""
    if isinstance(told, Mapping):
        return {name: _finite(one) for name, one in told.items()}
    if isinstance(told, list | tuple):
        return [_finite(one) for one in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told
