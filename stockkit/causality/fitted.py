"""The audit of a pipeline that is fitted already: what it has learned, against a clone fitted up to the cut only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stockkit.causality.verdicts import EMPTY, Audit, Finding, weigh
from stockkit.errors import ParamError

TOLERANCE = 1e-9  # relative: of sums in another order
DEEPEST = 8
TIMED = re.compile(r"(^|_)time(s|_|$)")  # mean_fit_time, refit_time_: of the clock, not of the rows


def audit_fitted(model: Any, X: Any, y: Any, cut: Any, *, dates: Any = None) -> Audit:
    """Test whether a fitted estimator or Pipeline has learned from the rows up to a cut only.

    Args:
        model: fitted; each of its steps' fitted attributes (mean_, scale_, statistics_, coef_, … and what lies within
            them) is compared with those of a clone fitted on the rows up to the cut. Left untouched.
        X: features, shape (n, k); y: labels, shape (n,), or None. The rows that it may have been fitted on, and later.
        cut: the last session it may have seen, of `dates`; or, as an int, how many rows.
        dates: each row's session, shape (n,); by default a DatetimeIndex of X.

    Returns:
        One row an attribute, as in "scale.mean_"; the first that leaks is where it begins, the later ones follow.

    Raises:
        ParamError: a model that is not fitted or cannot be cloned, a cut outside the rows, no dates for a cut by date.
    """
    rows = _up_to(X, cut, dates)
    attributes = list(learned(model))
    if not attributes:
        raise ParamError(f"{type(model).__name__} has learned nothing yet: fit it, or use audit_fit.")
    clones = [dict(learned(_refit(model, X, y, rows))) for _ in range(2)]
    return weigh([_compare(name, value, *clones, when=f"the first {len(rows)} rows") for name, value in attributes],
                 ("fitted",))  # fmt: skip


def _up_to(X: Any, cut: Any, dates: Any) -> np.ndarray:
    """The positions of the rows up to the cut."""
    if isinstance(cut, int | np.integer) and not isinstance(cut, bool):
        rows = np.arange(min(int(cut), len(X)))
    else:
        dates = getattr(X, "index", None) if dates is None else dates
        if not pd.api.types.is_datetime64_any_dtype(np.asarray(dates)):
            raise ParamError(f"cut {cut!r} is a date but there are no dates: give dates=, or a number of rows.")
        rows = np.flatnonzero(np.asarray(dates) <= pd.Timestamp(cut).to_datetime64())
    if not 0 < len(rows) < len(X):
        raise ParamError(f"cut {cut!r} leaves {len(rows)} of {len(X)} rows: choose one with rows on either side.")
    return rows


def _refit(model: Any, X: Any, y: Any, rows: np.ndarray) -> Any:
    from sklearn.base import clone

    given = [data for data in (X, y) if data is not None]
    parts = [data.iloc[rows] if hasattr(data, "iloc") else np.asarray(data)[rows] for data in given]
    try:
        return clone(model).fit(*parts)
    except (TypeError, ValueError) as error:
        raise ParamError(f"{type(model).__name__} cannot be fitted again on {len(rows)} rows: {error}") from error


def learned(model: Any) -> Iterator[tuple[str, Any]]:
    """What a fitted estimator holds beside its parameters: names such as scale.mean_, and values."""
    for name, step in _steps(model):
        yield from ((f"{name}.{inner}", value) for inner, value in learned(step))
    for name, value in vars(model).items() if hasattr(model, "__dict__") else ():
        if name not in _parameters(model) and not _is_made_of_steps(name) and not TIMED.search(name):
            yield name, _untimed(value)


def _untimed(value: Any) -> Any:
    """Without the times that a search notes beside its scores."""
    if not isinstance(value, dict):
        return value
    return {key: inner for key, inner in value.items() if not TIMED.search(str(key))}


def _parameters(model: Any) -> set[str]:
    return set(model.get_params(deep=False)) if hasattr(model, "get_params") else set()


def _is_made_of_steps(name: str) -> bool:
    return name in ("transformers_", "_transformers", "named_transformers_", "_name_to_fitted_passthrough")


def _steps(model: Any) -> Iterator[tuple[str, Any]]:
    """The named parts of a Pipeline, FeatureUnion or ColumnTransformer."""
    parts = getattr(model, "transformers_", None) or getattr(model, "steps", None)
    for part in parts or getattr(model, "transformer_list", None) or ():
        if hasattr(part[1], "get_params"):
            yield str(part[0]), part[1]


def _compare(name: str, value: Any, clone: Mapping[str, Any], again: Mapping[str, Any], *, when: str) -> Finding:
    if name not in clone:
        return Finding(name, "fitted", "leak", None, f"{name} is not there in a clone fitted on {when}")
    if not alike(clone[name], again.get(name)):
        return Finding(name, "fitted", EMPTY, None, f"{name} differs from fit to fit: set random_state to compare it")
    if alike(value, clone[name]):
        return Finding(name, "fitted", "ok")
    what = f"{name} saw more than {when}: it is {_shown(value)}, and {_shown(clone[name])} of those"
    return Finding(name, "fitted", "leak", None, what)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "fiu":
        return f"{value.flat[0]:.6g}" + (", …" if value.size > 1 else "")
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"a {type(value).__name__}" if _deep(value) else str(value)[:40]


def _deep(value: Any) -> bool:
    return isinstance(value, np.ndarray | list | tuple | dict) or hasattr(value, "__dict__")


def alike(a: Any, b: Any, depth: int = 0) -> bool:
    """Whether two learned values are the same but for rounding, looking into lists, dicts, trees and estimators."""
    if a is b or depth > DEEPEST:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return _alike_arrays(a, b, depth)
    if isinstance(a, float | np.floating):
        return bool(np.isclose(a, b, rtol=TOLERANCE, atol=1e-300, equal_nan=True))
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(alike(a[key], b[key], depth + 1) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(alike(x, z, depth + 1) for x, z in zip(a, b, strict=True))
    if isinstance(a, pd.DataFrame | pd.Series | pd.Index):
        return bool(a.equals(b))
    if isinstance(a, type | np.random.RandomState | np.random.Generator) or callable(a):
        return True
    state = a.__getstate__() if hasattr(a, "__getstate__") else None  # trees keep their nodes there
    other = b.__getstate__() if state is not None else None
    return alike(state, other, depth + 1) if isinstance(state, dict | tuple | list) else bool(a == b)


def _alike_arrays(a: np.ndarray, b: np.ndarray, depth: int) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if isinstance(a, np.ma.MaskedArray):
        return _alike_arrays(np.ma.getmaskarray(a), np.ma.getmaskarray(b), depth) and alike(a.tolist(), b.tolist())
    if a.dtype.kind in "fc":
        scale = float(np.nanmax(np.abs(b), initial=0.0)) if b.size else 0.0
        return bool(np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * 1e-3 * scale, equal_nan=True))
    if a.dtype.names:
        return all(_alike_arrays(a[name], b[name], depth + 1) for name in a.dtype.names)
    if a.dtype == object:
        return all(alike(x, z, depth + 1) for x, z in zip(a.flat, b.flat, strict=True))
    return bool((a == b).all())
