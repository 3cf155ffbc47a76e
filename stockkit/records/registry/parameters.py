"""Fitted models as JSON and back: exact numbers, and only classes that are registered by name.

Every value that JSON has no exact word for is an object with one key, its kind: ``{"float": "nan"}``,
``{"array": …}``, ``{"tuple": […]}``, ``{"fitted": "Linear", "fields": …}``. Estimators of scikit-learn and tensors of
torch are put aside, for files of their own, and stand here as their number.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stockkit.errors import ForecastError, LakeError

HOME = "stockkit.forecast.models"
MODULES = {
    "naive": ("Constant", "PrevailingMean"),
    "linear": ("Linear",),
    "boosting": ("Boosted",),
    "innovations": ("Arma", "Smoothing", "ThetaLines"),
    "volatility": ("RollingWindow", "WeightedAverage", "Garch"),
    "ensemble": ("MedianFitted",),
    "prophet_trend": ("Curve",),
    "deep": ("Network",),
}
REGISTERED = {name: f"{HOME}.{module}:{name}" for module, names in MODULES.items() for name in names}
KINDS = "biufMmU"  # of arrays: truth, whole and real numbers, times, texts; no objects
_allowed: dict[str, type] = {}


@dataclass(frozen=True)
class Aside:
    """What is kept in files of its own: estimators by number, tensors by name."""

    estimators: list[Any] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)


def allow(fitted: type) -> type:
    """Let a fitted class of your own be saved, and loaded wherever this was called; usable as a decorator.

    It must be a dataclass with `forecast`, whose fields are numbers, texts, numpy arrays, tuples, lists, dicts,
    estimators of scikit-learn, tensors of torch, or other fitted models.

    Raises:
        ForecastError: no such class, or another one has the name.
    """
    if not dataclasses.is_dataclass(fitted) or not hasattr(fitted, "forecast"):
        raise ForecastError(f"{fitted!r} is no fitted model: it must be a dataclass with the method forecast.")
    if _allowed.get(fitted.__name__, fitted) is not fitted or fitted.__name__ in REGISTERED:
        raise ForecastError(f"another fitted class is called {fitted.__name__}: give yours a name of its own.")
    _allowed[fitted.__name__] = fitted
    return fitted


def disallow(module: str) -> None:
    """Forget the classes of a module, which is about to be loaded anew."""
    for name in [name for name, fitted in _allowed.items() if fitted.__module__ == module]:
        del _allowed[name]


def encode(value: Any, aside: Aside) -> Any:
    """What stands for `value` in JSON; estimators and tensors are added to `aside`.

    Raises:
        ForecastError: a class that is not registered, or a value that cannot be kept exactly.
    """
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(value)
    if isinstance(value, list):
        return [encode(one, aside) for one in value]
    if type(value) is tuple:
        return {"tuple": [encode(one, aside) for one in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, aside), encode(one, aside)] for key, one in value.items()]}
    return _encode_object(value, aside)


def _encode_object(value: Any, aside: Aside) -> Any:
    home = type(value).__module__.partition(".")[0]
    if home == "torch":
        name = str(len(aside.tensors))
        aside.tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if home == "sklearn":
        aside.estimators.append(value)
        return {"estimator": len(aside.estimators) - 1}
    found, name = type(value), type(value).__name__
    if class_of(name) is not found:
        raise ForecastError(
            f"{found.__module__}.{name} cannot be saved: it is not registered. Call "
            f"stockkit.records.registry.allow({name}) before you save, and before you load."
        )
    return {"fitted": name, "fields": {one: encode(getattr(value, one), aside) for one in _fields(found)}}


def _encode_array(value: np.ndarray | np.generic) -> dict[str, Any]:
    array = np.asarray(value)
    if array.dtype.kind not in KINDS:
        raise ForecastError(f"an array of {array.dtype} cannot be saved: keep numbers, texts or times.")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        raise ForecastError(f"an array of {array.dtype} cannot be saved exactly: keep float64.")
    column_major = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    plain = array.view(f"i{array.dtype.itemsize}") if array.dtype.kind in "Mm" else array
    values = plain.ravel("F" if column_major else "C").tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        values = [one if math.isfinite(one) else repr(one) for one in values]
    kind = "scalar" if isinstance(value, np.generic) else "array"
    told = {"dtype": array.dtype.str, "shape": list(array.shape), "values": values}
    return {kind: told | ({"order": "F"} if column_major else {})}


def class_of(name: str) -> type | None:
    """The registered class of this name; None where there is none."""
    if name in REGISTERED:
        module, _, attribute = REGISTERED[name].partition(":")
        found: type = getattr(importlib.import_module(module), attribute)
        return found
    return _allowed.get(name)


def decode(tree: Any, aside: Aside) -> Any:
    """The value that `tree` stands for; nothing but registered classes, numpy and plain values is ever made.

    Raises:
        LakeError: anything that `encode` would not have written.
    """
    if isinstance(tree, list):
        return [decode(one, aside) for one in tree]
    if not isinstance(tree, dict):
        return tree
    try:
        return _decode_object(tree, aside)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise LakeError(f"{_shown(tree)} is not what stockkit writes ({type(error).__name__}: {error})") from error


def _decode_object(tree: dict[str, Any], aside: Aside) -> Any:
    if tree.keys() == {"fitted", "fields"}:
        return _restore(tree["fitted"], {name: decode(one, aside) for name, one in tree["fields"].items()})
    ((kind, told),) = tree.items()
    match kind:
        case "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[told]
        case "tuple":
            return tuple(decode(one, aside) for one in told)
        case "dict":
            return {decode(key, aside): decode(one, aside) for key, one in told}
        case "array":
            return _decode_array(told)
        case "scalar":
            return _decode_array(told)[()]
        case "tensor":
            return aside.tensors[told]
        case "estimator" if type(told) is int and told >= 0:
            return aside.estimators[told]
    raise ValueError(f"{kind!r} is no kind of value")


def _decode_array(told: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(told["dtype"])
    if dtype.kind not in KINDS or not isinstance(told["dtype"], str):
        raise ValueError(f"{dtype} is no dtype of a saved array")
    if dtype.kind in "Mm":
        flat = np.array(told["values"], dtype=f"i{dtype.itemsize}").view(dtype)
    else:
        numbers = dtype.kind == "f"
        flat = np.array([float(one) for one in told["values"]] if numbers else told["values"], dtype=dtype)
    if flat.ndim != 1:
        raise ValueError("the values of an array must be one list")
    return flat.reshape(told["shape"], order=told.get("order", "C"))


def _restore(name: str, fields: dict[str, Any]) -> Any:
    """A fitted model of a registered class, if it has these fields and they are of the types that it declares."""
    found = class_of(name)
    if found is None:
        raise LakeError(
            f"the class {name!r} is not registered. If it is your own, give its file (-p user=FILE) "
            f"or call stockkit.records.registry.allow({name}) first; "
            f"if not, do not use this file"
        )
    expected = _fields(found)
    if sorted(fields) != sorted(expected):
        raise LakeError(f"{name} has the fields {', '.join(expected)}, the file has {', '.join(fields) or 'none'}")
    for field_name, hint in _hints(found).items():
        if field_name in fields and not _fits(fields[field_name], hint):
            wanted, has = getattr(hint, "__name__", hint), _shown(fields[field_name])
            raise LakeError(f"{name}.{field_name} should be {wanted}, the file has {has}")
    return found(**fields)


def _fields(found: Any) -> list[str]:
    return [one.name for one in dataclasses.fields(found) if one.init]


def _hints(found: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(found)
    except NameError:  # types that are imported for a checker alone
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a declared type, as far as a plain class or a union of them can tell."""
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    if origin is float:
        return isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int | np.integer)
    if origin is Any or not isinstance(origin, type) or getattr(origin, "_is_protocol", False):
        return True
    return isinstance(value, origin)


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
