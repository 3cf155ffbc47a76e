"""Fitted models as JSON and back: exact numbers, and only fitted classes that are known by name.

Every value that JSON has no exact word for is an object with one key, its kind: ``{"float": "nan"}``,
``{"array": …}``, ``{"tuple": […]}``, ``{"fitted": "Linear", "fields": …}``. Estimators of scikit-learn and tensors of
torch are attachments, for files of their own, and stand here as their number.

Known are the frozen dataclasses with `forecast` in the modules of `stockkit.forecast.models`, and what `allow` was
called with. skops could keep whole fits, but not the tensors of torch; it would make no object through its class, whose
fields and their types are checked here; and what was saved before would still need this reader.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import pkgutil
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from stockkit.errors import ForecastError, LakeError
from stockkit.forecast import models
from stockkit.records.registry.attachments import Attachments

ARRAY_KINDS = "biufMmU"  # truth, whole and real numbers, times, texts; no objects
_allowed: dict[str, type] = {}


@functools.cache
def fitted_classes() -> Mapping[str, type]:
    """The fitted classes of `stockkit.forecast.models` by name."""
    names = [f"{models.__name__}.{module.name}" for module in pkgutil.iter_modules(models.__path__)]
    classes = [value for name in names for value in vars(importlib.import_module(name)).values()
               if isinstance(value, type) and value.__module__ == name]  # fmt: skip
    return {cls.__name__: cls for cls in classes if _is_fitted(cls) and cls.__dataclass_params__.frozen}  # type: ignore[attr-defined]


def _is_fitted(cls: Any) -> bool:
    return dataclasses.is_dataclass(cls) and hasattr(cls, "forecast")


def allow(fitted: type) -> type:
    """Let a fitted class of your own be saved, and loaded wherever this was called; usable as a decorator.

    It must be a dataclass with `forecast`, whose fields are numbers, texts, numpy arrays, tuples, lists, dicts,
    estimators of scikit-learn, tensors of torch, or other fitted models.

    Raises:
        ForecastError: no such class, or another one has the name.
    """
    if not _is_fitted(fitted):
        raise ForecastError(f"{fitted!r} is no fitted model: it must be a dataclass with the method forecast.")
    if _allowed.get(fitted.__name__, fitted) is not fitted or fitted.__name__ in fitted_classes():
        raise ForecastError(f"another fitted class is called {fitted.__name__}: give yours a name of its own.")
    _allowed[fitted.__name__] = fitted
    return fitted


def disallow(module: str) -> None:
    """Forget the classes of a module, which is about to be loaded anew."""
    for name in [name for name, fitted in _allowed.items() if fitted.__module__ == module]:
        del _allowed[name]


def encode(value: Any, attached: Attachments) -> Any:
    """What stands for `value` in JSON; estimators and tensors are added to `attached`.

    Raises:
        ForecastError: a class that is not known, or a value that cannot be kept exactly.
    """
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(value)
    if isinstance(value, list):
        return [encode(item, attached) for item in value]
    if type(value) is tuple:
        return {"tuple": [encode(item, attached) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, attached), encode(item, attached)] for key, item in value.items()]}
    return _encode_object(value, attached)


def _encode_object(value: Any, attached: Attachments) -> Any:
    cls, name = type(value), type(value).__name__
    package = cls.__module__.partition(".")[0]
    if package == "torch":
        number = str(len(attached.tensors))
        attached.tensors[number] = value.detach().cpu().contiguous()
        return {"tensor": number}
    if package == "sklearn":
        attached.estimators.append(value)
        return {"estimator": len(attached.estimators) - 1}
    if _class_of(name) is not cls:
        raise ForecastError(
            f"{cls.__module__}.{name} cannot be saved: it is not registered. Call "
            f"stockkit.records.registry.allow({name}) before you save, and before you load."
        )
    return {"fitted": name, "fields": {field: encode(getattr(value, field), attached) for field in _fields(cls)}}


def _class_of(name: str) -> type | None:
    return fitted_classes().get(name) or _allowed.get(name)


def _encode_array(value: np.ndarray | np.generic) -> dict[str, Any]:
    array = np.asarray(value)
    if array.dtype.kind not in ARRAY_KINDS:
        raise ForecastError(f"an array of {array.dtype} cannot be saved: keep numbers, texts or times.")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        raise ForecastError(f"an array of {array.dtype} cannot be saved exactly: keep float64.")
    column_major = array.ndim > 1 and array.flags.f_contiguous and not array.flags.c_contiguous
    plain = array.view(f"i{array.dtype.itemsize}") if array.dtype.kind in "Mm" else array
    values = plain.ravel("F" if column_major else "C").tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        values = [number if math.isfinite(number) else repr(number) for number in values]
    kind = "scalar" if isinstance(value, np.generic) else "array"
    content = {"dtype": array.dtype.str, "shape": list(array.shape), "values": values}
    return {kind: content | ({"order": "F"} if column_major else {})}


def decode(tree: Any, attached: Attachments) -> Any:
    """The value that `tree` stands for; nothing but known fitted classes, numpy and plain values is ever made.

    Raises:
        LakeError: anything that `encode` would not have written.
    """
    if isinstance(tree, list):
        return [decode(item, attached) for item in tree]
    if not isinstance(tree, dict):
        return tree
    try:
        return _decode_object(tree, attached)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise LakeError(f"{_short(tree)} is not what stockkit writes ({type(error).__name__}: {error})") from error


def _decode_object(tree: dict[str, Any], attached: Attachments) -> Any:
    if tree.keys() == {"fitted", "fields"}:
        return _restore(tree["fitted"], {name: decode(item, attached) for name, item in tree["fields"].items()})
    ((kind, content),) = tree.items()
    match kind:
        case "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]
        case "tuple":
            return tuple(decode(item, attached) for item in content)
        case "dict":
            return {decode(key, attached): decode(item, attached) for key, item in content}
        case "array":
            return _decode_array(content)
        case "scalar":
            return _decode_array(content)[()]
        case "tensor":
            return attached.tensors[content]
        case "estimator" if type(content) is int and content >= 0:
            return attached.estimators[content]
    raise ValueError(f"{kind!r} is no kind of value")


def _decode_array(content: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(content["dtype"])
    if dtype.kind not in ARRAY_KINDS or not isinstance(content["dtype"], str):
        raise ValueError(f"{dtype} is no dtype of a saved array")
    if dtype.kind in "Mm":
        flat = np.array(content["values"], dtype=f"i{dtype.itemsize}").view(dtype)
    else:
        numbers = dtype.kind == "f"
        flat = np.array([float(number) for number in content["values"]] if numbers else content["values"], dtype=dtype)
    if flat.ndim != 1:
        raise ValueError("the values of an array must be one list")
    return flat.reshape(content["shape"], order=content.get("order", "C"))


def _restore(name: str, fields: dict[str, Any]) -> Any:
    """A fitted model of a registered class, if it has these fields and they are of the types that it declares."""
    cls = _class_of(name)
    if cls is None:
        raise LakeError(
            f"the class {name!r} is not registered. If it is your own, give its file (-p user=FILE) or call "
            f"stockkit.records.registry.allow({name}) first; if not, do not use this file"
        )
    expected = _fields(cls)
    if sorted(fields) != sorted(expected):
        raise LakeError(f"{name} has the fields {', '.join(expected)}, the file has {', '.join(fields) or 'none'}")
    for field_name, hint in _hints(cls).items():
        if field_name in fields and not _fits(fields[field_name], hint):
            wanted, has = getattr(hint, "__name__", hint), _short(fields[field_name])
            raise LakeError(f"{name}.{field_name} should be {wanted}, the file has {has}")
    return cls(**fields)


def _fields(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except NameError:  # types that are imported for a checker alone
        return {}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a declared type, as far as a plain class or a union of them can tell."""
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, member) for member in typing.get_args(hint))
    if origin is float:
        return isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int | np.integer)
    if origin is Any or not isinstance(origin, type) or getattr(origin, "_is_protocol", False):
        return True
    return isinstance(value, origin)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
