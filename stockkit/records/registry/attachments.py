"""Estimators of scikit-learn through skops and tensors of torch as plain weights; nothing of a file is ever run.

skops and torch refuse what is not on their lists. What they cannot know is looked at here: whether the nodes of a
boosted tree point outside it, which scikit-learn would follow into foreign memory.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stockkit import imports
from stockkit.errors import ForecastError, LakeError

TREE = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
TRUSTED = (TREE,)  # beyond what skops trusts by itself; its nodes are checked below
SCHEMA = "schema.json"  # of a skops archive
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Attachments:
    """What a model keeps in files of their own: estimators by number, tensors by name."""

    estimators: list[Any] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)


def dump_estimators(estimators: list[Any]) -> bytes:
    """The bytes of a skops archive of a list of estimators; equal estimators give equal bytes.

    Raises:
        ForecastError: an estimator with a part that could not be loaded again.
    """
    skops = _skops()
    body = skops.io.dumps(estimators)
    odd = sorted(set(skops.io.get_untrusted_types(data=body)) - set(TRUSTED))
    if odd:
        names = ", ".join(sorted({type(estimator).__name__ for estimator in estimators}))
        raise ForecastError(f"{names} cannot be saved: it holds {odd[0]}, which is not safe to load from a file.")
    body = _canonical(body)
    _checked(body)
    return body


def load_estimators(body: bytes) -> list[Any]:
    """The estimators of a skops archive.

    Raises:
        LakeError: no archive, a part of a type that is not trusted (it was not made), or trees that are none.
    """
    try:
        return _checked(body)
    except (LakeError, ImportError):
        raise
    except Exception as error:  # skops meets a hostile file with errors of any kind; none of them goes on
        raise LakeError(f"is no archive of estimators that can be trusted ({type(error).__name__}: {error})") from error


def _skops() -> Any:
    """skops; it looks through all of scikit-learn for estimators, and would import torch for none of them."""
    with imports.without("sklearn.externals.array_api_compat.torch"):
        import skops.io  # type: ignore[import-untyped]
    return skops


def _checked(body: bytes) -> list[Any]:
    from sklearn.base import BaseEstimator

    skops = _skops()
    _check_size(body)
    with_trees = bool(skops.io.get_untrusted_types(data=body))
    loaded = skops.io.loads(body, trusted=list(TRUSTED))
    if not isinstance(loaded, list) or not all(isinstance(item, BaseEstimator) for item in loaded):
        raise LakeError("does not hold a list of scikit-learn estimators")
    if with_trees:
        for estimator in loaded:
            _check_trees(estimator)
    return loaded


def _check_size(body: bytes) -> None:
    """An archive is stored, as ours are, so that it cannot unpack to more: neither packed nor overlapping."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise LakeError("holds packed entries, which could unpack to any size: stockkit writes none")
    if sum(entry.file_size for entry in entries) > len(body):
        raise LakeError("names more bytes than it has")


def _check_trees(estimator: Any) -> None:
    """Every node of a boosted tree is a leaf or points to later ones of the same tree, by a feature that there is."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    if type(estimator) is not HistGradientBoostingRegressor or estimator._preprocessor is not None:
        raise LakeError("holds boosted trees outside a HistGradientBoostingRegressor of numbers")
    for (tree,) in estimator._predictors:
        nodes = tree.nodes
        if f"{type(tree).__module__}.{type(tree).__name__}" != TREE or nodes.dtype != PREDICTOR_RECORD_DTYPE:
            raise LakeError("has nodes that are none of a boosted tree")
        inner = nodes["is_leaf"] == 0
        place = np.arange(len(nodes))[inner]
        good = (nodes["feature_idx"][inner] >= 0) & (nodes["feature_idx"][inner] < estimator.n_features_in_)
        good &= nodes["is_categorical"][inner] == 0
        for side in ("left", "right"):
            good &= (nodes[side][inner] > place) & (nodes[side][inner] < len(nodes))
        if nodes.ndim != 1 or not len(nodes) or not good.all():
            raise LakeError("has a boosted tree whose nodes point outside it")


def _canonical(body: bytes) -> bytes:
    """The same archive with its objects numbered in order, and no time of day: skops names them by memory address."""
    numbers: dict[str, str] = {}

    def numbered(name: re.Match[str]) -> str:
        ending = f".{name[0].rpartition('.')[2]}" if name[1] else ""
        return numbers.setdefault(name[0], f"{len(numbers) + 1}{ending}")

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as fresh:
        schema = re.sub(r'(?:(?<="__id__": )\d+|(?<="file": ")([^"]+))', numbered, archive.read(SCHEMA).decode())
        fresh.writestr(zipfile.ZipInfo(SCHEMA, EPOCH), schema)
        for new, old in sorted((numbers[name], name) for name in archive.namelist() if name != SCHEMA):
            fresh.writestr(zipfile.ZipInfo(new, EPOCH), archive.read(old))
    return out.getvalue()


def dump_tensors(tensors: dict[str, Any]) -> bytes:
    """The bytes of torch's file of a plain dict of tensors."""
    import torch

    out = io.BytesIO()
    torch.save(tensors, out)
    return out.getvalue()


def load_tensors(body: bytes) -> dict[str, Any]:
    """The tensors of a torch file, read by its loader of weights alone.

    Raises:
        LakeError: anything but a plain dict of tensors (it was not made), or torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise LakeError("holds weights of torch, which is not installed: pip install 'stockkit[deep]'") from error
    try:
        _check_size(body)
        loaded = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    except LakeError:
        raise
    except Exception as error:  # a hostile file may fail in any way; none of them goes on
        first = str(error).partition("\n")[0]
        raise LakeError(f"is no file of weights alone ({type(error).__name__}: {first})") from error
    if not isinstance(loaded, dict) or not all(
        type(name) is str and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()
    ):
        raise LakeError("does not hold a plain dict of tensors")
    return loaded
