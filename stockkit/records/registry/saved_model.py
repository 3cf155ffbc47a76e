"""A saved model as it is read: its card, which names every other file with size and SHA-256, and what it leads to.

The version of a model ends in the SHA-256 of its card, ``model.json``, so that a card which was changed no longer has
the name that it says it has. How a model is saved is in `saving`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import LakeError
from stockkit.files import Files
from stockkit.forecast.walk.trained import Calibration, Trained
from stockkit.records.registry import attachments, encoding
from stockkit.records.registry.attachments import Attachments

FORMAT = 1
CARD, PARAMETERS, ESTIMATORS, WEIGHTS, EVIDENCE = (
    "model.json",
    "parameters.json",
    "estimators.skops",
    "weights.pt",
    "evidence.parquet",
)
LARGEST = {CARD: 2**26, PARAMETERS: 2**29, ESTIMATORS: 2**31, WEIGHTS: 2**31, EVIDENCE: 2**30}  # bytes
MOST_ROWS = 50_000_000  # of evidence: a few kilobytes of Parquet can hold more equal rows than fit into memory
MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,63}")
NAME = re.compile(rf"({MODEL.pattern})-h([1-9][0-9]{{0,2}})")
VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{12}")
FOREIGN = "Do not use it: save the model again, or take another version (`stockkit models list`)."
UNSEALED = {"made_at", "version"}  # of the card; all else is in the version's hash
CARD_TYPES = {
    "model": str,
    "horizon": int,
    "features": list,
    "symbols": list,
    "as_of": str,
    "made_at": str,
    "data_version": str,
    "code_version": str,
    "libraries": dict,
    "settings": dict,
    "scores": list,
    "calibration": dict,
    "files": dict,
}


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A saved model as its card describes it.

    Attributes:
        name: model and horizon, as ``lasso-h1``. version: as_of and hash, as ``2023-12-29-0123456789ab``.
        card: what ``model.json`` says. files, folder: where it is.
    """

    name: str
    version: str
    card: Mapping[str, Any]
    files: Files = field(repr=False)
    folder: str

    @property
    def key(self) -> str:
        """Name and version, as the commands and the champion's entries call it."""
        return f"{self.name}/{self.version}"

    def read(self, name: str) -> bytes:
        """The bytes of one of its files, proved to be those that the card was written with.

        Raises:
            LakeError: missing, of another size or with another SHA-256.
        """
        expected, where = self.card["files"].get(name), f"{self.files}/{self.folder}/{name}"
        if expected is None:
            raise LakeError(f"{where}: the card names no such file. {FOREIGN}")
        size = self.files.size(f"{self.folder}/{name}")
        if size is None:
            raise LakeError(f"{where} is missing. {FOREIGN}")
        if size != expected["size"] or size > LARGEST[name]:
            raise LakeError(
                f"{where} has {size:,} bytes, the card says {expected['size']:,}: cut or changed. {FOREIGN}"
            )
        body = self.files.read(f"{self.folder}/{name}") or b""
        if hashlib.sha256(body).hexdigest() != expected["sha256"]:
            raise LakeError(f"{where} was changed: its SHA-256 is not the one of the card. {FOREIGN}")
        return body

    def bodies(self) -> dict[str, bytes]:
        """The bytes of every file but the card, by name; errors as for `read`."""
        return {name: self.read(name) for name in self.card["files"]}

    def evidence(self) -> pd.DataFrame:
        """The rows that it is judged by: its own forecasts, the random walk's and the other models' tried.

        Raises:
            LakeError: missing or changed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            body = io.BytesIO(self.read(EVIDENCE))
            if (count := pq.ParquetFile(body).metadata.num_rows) > MOST_ROWS:
                raise LakeError(f"{self.files}/{self.folder}/{EVIDENCE} has {count:,} rows. {FOREIGN}")
            table = pq.read_table(body)
            rows = table.to_pandas(ignore_metadata=True)
            texts = dict.fromkeys(("symbol", "model"), "string")
            return rows.astype(texts | {"as_of": "datetime64[ns]", "horizon": "int64"})
        except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
            raise LakeError(
                f"{self.files}/{self.folder}/{EVIDENCE} is no table of evidence: {error}. {FOREIGN}"
            ) from error

    def trained(self) -> Trained:
        """The model itself.

        Raises:
            LakeError: a file is missing, changed, foreign or of another version; names it.
        """
        self._check_libraries()
        attached = Attachments()
        try:
            name = ESTIMATORS
            if name in self.card["files"]:
                attached.estimators.extend(attachments.load_estimators(self.read(name)))
            name = WEIGHTS
            if name in self.card["files"]:
                attached.tensors.update(attachments.load_tensors(self.read(name)))
            name = PARAMETERS
            fitted = encoding.decode(_json(self.read(name)), attached)
            if not isinstance(fitted, dict):
                raise LakeError("does not hold fitted models by symbol")
            name = CARD
            return self._trained(fitted)
        except LakeError as error:
            where = f"{self.files}/{self.folder}/{name}"
            raise error if str(error).startswith(where) else LakeError(f"{where}: {error}. {FOREIGN}") from error

    def _check_libraries(self) -> None:
        """Estimators are read by the scikit-learn that wrote them: others may load them and forecast otherwise."""
        if ESTIMATORS in self.card["files"]:
            was, now = str(self.card["libraries"].get("scikit-learn")), metadata.version("scikit-learn")
            if was.split(".")[:2] != now.split(".")[:2]:
                raise LakeError(
                    f"{self.key} was saved with scikit-learn {was}, this is {now}, which may read it wrongly: "
                    f"train it again, or pip install scikit-learn=={was}."
                )

    def _trained(self, fitted: dict[str, Any]) -> Trained:
        try:
            known = {symbol: _calibration(encoded) for symbol, encoded in self.card["calibration"].items()}
            day = np.datetime64(self.card["as_of"], "ns")
        except (TypeError, ValueError) as error:
            raise LakeError(f"the calibration or the session cannot be read ({error})") from error
        names = tuple(self.card["features"])
        members = {str(symbol): str(model) for symbol, model in self.card.get("members", {}).items()}
        return Trained(self.card["model"], self.card["horizon"], names, day, fitted, known, members)


def _calibration(encoded: Any) -> Calibration:
    sigma, (low, middle, high) = encoding.decode(encoded, Attachments())
    return Calibration(float(sigma), (float(low), float(middle), float(high)))


def read(files: Files, folder: str) -> SavedModel:
    """The saved model of a folder, its card checked; its other files are when they are read.

    Raises:
        LakeError: no model, a card that is not ours, newer, or changed since it was written.
    """
    where = f"{files}/{folder}/{CARD}"
    size = files.size(f"{folder}/{CARD}")
    if size is None:
        raise LakeError(f"{where} is missing: there is no model, or its save was cut short. Save the model again.")
    if size > LARGEST[CARD]:
        raise LakeError(f"{where} has {size:,} bytes, a card has at most {LARGEST[CARD]:,}. {FOREIGN}")
    try:
        card = _json(files.read(f"{folder}/{CARD}") or b"")
        _check(card)
    except (LakeError, TypeError, ValueError) as error:
        raise LakeError(f"{where}: {error}. {FOREIGN}") from error
    return SavedModel(f"{card['model']}-h{card['horizon']}", card["version"], card, files, folder)


def at(files: Files, key: str) -> SavedModel:
    """The saved model of a lake that is called ``lasso-h1/2023-12-29-0123456789ab``.

    Raises:
        LakeError: as for `read`, or `key` is no such name, or the model there is another one.
    """
    name, _, version = key.partition("/")
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise LakeError(f"{key!r} is no saved model: give MODEL-hN/VERSION as `stockkit models list` shows it.")
    saved = read(files, f"models/{key}")
    if saved.key != key:
        raise LakeError(f"{files}/models/{key}/{CARD}: is the card of {saved.key}. {FOREIGN}")
    return saved


def _check(card: Any) -> None:
    if not isinstance(card, dict) or "format" not in card:
        raise LakeError("is no card of a stockkit model")
    if card["format"] != FORMAT:
        raise LakeError(f"is of format {card['format']!r}, this stockkit knows {FORMAT}: use a newer one")
    for name, kind in CARD_TYPES.items():
        if not isinstance(card.get(name), kind):
            raise LakeError(f"{name!r} should be a {kind.__name__}, found {type(card.get(name)).__name__}")
    if not NAME.fullmatch(f"{card['model']}-h{card['horizon']}"):
        raise LakeError(f"{card['model']!r} with horizon {card['horizon']} is no model")
    for name, expected in card["files"].items():
        if name not in LARGEST or name == CARD:
            raise LakeError(f"names {name!r}, which is no file of a model")
        types = [type(expected.get(key)) for key in ("size", "sha256")] if isinstance(expected, dict) else []
        if types != [int, str]:
            raise LakeError(f"{name}: size and sha256 are not told")
    if card.get("version") != f"{card['as_of']}-{seal(card)}" or not VERSION.fullmatch(card["version"]):
        raise LakeError("was changed since it was written: it no longer has the hash of its version")
    if not all(isinstance(name, str) for name in [*card["features"], *card["symbols"]]):
        raise LakeError("features and symbols must be texts")


def seal(card: Mapping[str, Any]) -> str:
    """The first 12 digits of the SHA-256 of a card, but for when it was made."""
    sealed = {name: value for name, value in card.items() if name not in UNSEALED}
    text = json.dumps(sealed, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _json(body: bytes) -> Any:
    def no_number(text: str) -> Any:
        raise LakeError(f"is no JSON: {text}")

    try:
        return json.loads(body, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise LakeError(f"is no JSON ({type(error).__name__}: {str(error)[:80]})") from error
