"""What is audited, made callable in one way: bars in, one float64 column a value out, aligned with the rows."""

from __future__ import annotations

import copy
import inspect
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stockkit import features
from stockkit.errors import ParamError, UnfitError
from stockkit.market import sessions


@dataclass(frozen=True)
class Claim:
    """What is claimed of a value.

    Attributes:
        look_back: sessions before t that it needs, or None where nothing is said.
        scale_free: whether a split leaves it unchanged, or None where nothing is said.
        cross: whether it may depend on the other symbols.
        any_order: whether rows may come in any order; bars are sorted by contract, so a function need not.
        horizon: sessions that it may look ahead: 0 but for a label.
        at_open: whether it is used at the open of its day, of which only the open is known then.
    """

    look_back: int | None = None
    scale_free: bool | None = None
    cross: bool = False
    any_order: bool = False
    horizon: int = 0
    at_open: bool = False


@dataclass(frozen=True)
class Subject:
    """One call that gives one or more named values; `claims` by name, `claim` for those it does not name."""

    name: str
    function: Callable[[pd.DataFrame], Any]
    claim: Claim = Claim()
    claims: Mapping[str, Claim] | None = None

    def claim_of(self, name: str) -> Claim:
        """What is claimed of the value `name`."""
        return (self.claims or {}).get(name, self.claim)

    def values(self, bars: pd.DataFrame) -> pd.DataFrame:
        """The values of `bars`, one float64 column each, in the rows of `bars`.

        The function gets a copy of the bars, and a copy of what it carries along (closure, defaults, globals it
        names): else a scaler fitted in the first call would hide in the later ones.

        Raises:
            UnfitError: it raised, changed its input, or gave something that cannot be aligned.
        """
        given = bars.copy()
        answer = called(self.function, given)
        if not unchanged(bars, given):
            raise UnfitError("mutates", f"{_mutation(bars, given)}: work on bars.copy() or use assign")
        values = _aligned(answer, given)
        single = values.shape[1] == 1 and not isinstance(answer, pd.DataFrame)
        if self.claims is None:
            values.columns = [self.name] if single else [f"{self.name}.{column}" for column in values.columns]
        return values


@dataclass(frozen=True, eq=False)
class Known:
    """A subject with its values on all bars.

    Attributes:
        typical: each column's usual distance from its median.
        rounding: each column's largest difference, relative to the value, that counts as rounding.
    """

    subject: Subject
    values: pd.DataFrame
    typical: pd.Series
    rounding: pd.Series


def called(function: Callable[[pd.DataFrame], Any], bars: pd.DataFrame) -> Any:
    """What a function, as it was before any call, makes of bars.

    Raises:
        UnfitError: it raised.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # corrupted prices make a function warn; that tells nobody anything
            return fresh(function)(bars)
    except UnfitError:
        raise
    except (Exception, SystemExit) as error:  # a user's own code may raise anything: a finding, not our failure
        shown = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UnfitError("raises", f"raises {shown} {_size(bars)}") from error


def _size(bars: pd.DataFrame) -> str:
    return f"given {bars['date'].nunique()} sessions of {bars['symbol'].nunique()} symbols"


def unchanged(before: pd.DataFrame, after: pd.DataFrame) -> bool:
    """Whether two frames have the same columns, index, dtypes and values."""
    return before is after or (list(before.columns) == list(after.columns) and bool(before.equals(after)))


def _mutation(before: pd.DataFrame, after: pd.DataFrame) -> str:
    new = [str(name) for name in after.columns if name not in before.columns]
    if new:
        return f"adds the column {new[0]!r} to the bars it is given"
    gone = [str(name) for name in before.columns if name not in after.columns]
    if gone:
        return f"drops the column {gone[0]!r} of the bars it is given"
    if not before.index.equals(after.index):
        return "changes the rows of the bars it is given"
    changed = [str(name) for name in before.columns if not before[name].equals(after[name])]
    return f"changes the column {changed[0]!r} of the bars it is given" if changed else "changes the bars it is given"


def fresh(function: Any, depth: int = 0) -> Any:
    """The function as it was before any call: what it carries and could change is copied."""
    if not isinstance(function, types.FunctionType):
        return _copied(function, depth)
    cells = tuple(types.CellType(_copied(cell.cell_contents, depth + 1)) if _filled(cell) else types.CellType()
                  for cell in function.__closure__ or ())  # fmt: skip
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        if name in names and names[name] is not function:
            names[name] = _copied(names[name], depth + 1)
    again = types.FunctionType(function.__code__, names, function.__name__, _copied(function.__defaults__), cells)
    again.__kwdefaults__ = _copied(function.__kwdefaults__)
    again.__dict__.update(_copied(function.__dict__))
    return again


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is not bound yet
        return False


def _copied(value: Any, depth: int = 0) -> Any:
    """A deep copy of what can hold state between calls; anything else, and what refuses to be copied, as it is."""
    if isinstance(value, types.FunctionType):
        foreign = not str(value.__module__).startswith(("numpy", "pandas", "scipy", "sklearn", "stockkit."))
        return fresh(value, depth) if foreign and depth < 3 else value
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | pd.DataFrame | pd.Series | np.ndarray):
        return value
    if not isinstance(value, dict | list | set | tuple) and not hasattr(value, "__dict__"):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # locks, clients and open files refuse in their own ways; they hold no fitted numbers
        return value


def _aligned(answer: Any, bars: pd.DataFrame) -> pd.DataFrame:
    """The answer as float64 columns in the rows of `bars`."""
    if isinstance(answer, np.ndarray) and answer.ndim in (1, 2):
        if len(answer) != len(bars):
            raise UnfitError("wrong length", f"gives {len(answer)} values for {len(bars)} rows")
        table = pd.DataFrame(answer)
    elif isinstance(answer, pd.Series | pd.DataFrame):
        table = answer.to_frame() if isinstance(answer, pd.Series) else answer
        table = table if table.index is bars.index else _by_index(table, bars)
    else:
        kind = type(answer).__name__
        raise UnfitError("wrong type", f"gives a {kind}: return a Series, DataFrame or array, one value a row")
    return pd.DataFrame({str(name): numbers(table.iloc[:, k]) for k, name in enumerate(table.columns)})


def _by_index(table: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    if len(table) != len(bars):
        raise UnfitError("wrong length", f"gives {len(table)} values for {len(bars)} rows: keep every row")
    keys = ["symbol", "date"]
    if set(keys) <= set(table.columns):
        if _same(table[keys], bars[keys]):  # row by row already, as in nearly all scenes
            return table.drop(columns=keys)
        table = table.set_index(keys)
    if set(keys) <= set(table.index.names):
        indexed, wanted = table.reset_index().set_index(keys), pd.MultiIndex.from_frame(bars[keys])
        indexed = indexed.drop(columns=[name for name in indexed.columns if name not in table.columns])
    elif isinstance(table.index, pd.MultiIndex):  # groupby(...).rolling puts the symbol before the row
        indexed, wanted = table.set_axis(table.index.get_level_values(-1)), bars.index
    elif isinstance(table.index, pd.DatetimeIndex) and bars["symbol"].nunique() == 1:
        indexed, wanted = table, pd.DatetimeIndex(bars["date"])
    else:
        indexed, wanted = table, bars.index
    if indexed.index.has_duplicates or not indexed.index.isin(wanted).all():
        raise UnfitError("wrong index", "gives an index that is not the rows' own: keep bars.index on the result")
    return indexed.reindex(wanted).reset_index(drop=True)


def _same(some: pd.DataFrame, keys: pd.DataFrame) -> bool:
    """Whether two frames have the same values in the same order, none of them missing, whatever their index."""
    return bool(some.notna().all(axis=None)) and all(np.array_equal(some[key], keys[key]) for key in keys)


def numbers(column: pd.Series) -> np.ndarray:
    """A column as float64: times as their count, text and categories by hash, so that equal stays equal."""
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        if pd.api.types.is_complex_dtype(column.dtype):
            raise UnfitError("wrong type", "gives complex numbers: return real ones")
        return np.asarray(column.to_numpy(dtype="float64", na_value=np.nan))
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_timedelta64_dtype(column.dtype):
        return np.where(column.isna(), np.nan, column.astype("int64").to_numpy(dtype="float64"))
    as_numbers = pd.to_numeric(column, errors="coerce") if column.dtype == object else column
    if column.dtype == object and (as_numbers.isna() == column.isna()).all():
        return np.asarray(as_numbers.to_numpy(dtype="float64"))
    hashed = pd.util.hash_array(column.astype(str).to_numpy(dtype=object)) >> np.uint64(11)
    return np.where(column.isna(), np.nan, hashed.astype("float64"))


def subjects(what: Any, claim: Claim, *, arrays: bool | None = None) -> list[Subject]:
    """The subjects that `what` names; see `audit`.

    Raises:
        ParamError: an unknown name, or something that is neither a name nor a function.
    """
    if what is None:
        return _named(list(features.CATALOGUE))
    if isinstance(what, str):
        what = [what]
    if isinstance(what, features.Feature):
        what = {what.name: what}
    if callable(what):
        what = {getattr(what, "__name__", type(what).__name__): what}
    if isinstance(what, Mapping) and what:
        return [_subject(str(name), function, claim, arrays) for name, function in what.items()]
    if isinstance(what, Sequence) and what and all(isinstance(name, str) for name in what):
        return _named(features.named(what))
    raise ParamError(f"nothing to audit in {what!r}: give names of features, a function, or a dict of functions.")


def _named(wanted: list[str]) -> list[Subject]:
    """The catalogue's own features in one call; a user's, which may fail or keep state, each by itself."""
    user = [name for name in wanted if features.CATALOGUE[name].group == "user"]
    built_in = [name for name in wanted if name not in user]
    registered = [_subject(name, features.CATALOGUE[name], Claim(), None) for name in user]
    return [*([catalogued(built_in)] if built_in else []), *registered]


def catalogued(wanted: list[str]) -> Subject:
    """Features of the catalogue as one subject, computed in one call."""
    claims = {name: _claim_of(features.CATALOGUE[name]) for name in wanted}
    return Subject("the catalogue", lambda bars: features.compute(bars, wanted), claims=claims)


def _claim_of(feature: features.Feature) -> Claim:
    return Claim(feature.look_back, feature.scale_free, cross=feature.within is not None, any_order=True)


def _subject(name: str, function: Any, claim: Claim, arrays: bool | None) -> Subject:
    if isinstance(function, features.Feature):
        return Subject(name, _per_symbol(function.function), _claim_of(function))
    if not callable(function):
        raise ParamError(f"{name} is a {type(function).__name__}, not a function: give one that takes bars.")
    as_arrays = _takes_arrays(function) if arrays is None else arrays
    return Subject(name, _per_symbol(function) if as_arrays else function, claim)


def _takes_arrays(function: Callable[..., Any]) -> bool:
    """Whether the first parameter is annotated as `features.Arrays`."""
    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except (TypeError, ValueError):  # built in: it has no signature to read
        return False
    if first is None:
        return False
    return first.annotation is features.Arrays or str(first.annotation).rpartition(".")[2] == "Arrays"


def _per_symbol(function: Callable[[features.Arrays], Any]) -> Callable[[pd.DataFrame], np.ndarray]:
    """A function of one symbol's arrays as one of bars in any order."""

    def of_bars(bars: pd.DataFrame) -> np.ndarray:
        out = np.full(len(bars), np.nan)
        by_date = bars.reset_index(drop=True).sort_values(["symbol", "date"], kind="stable")
        for _, rows in by_date.groupby("symbol", sort=False, observed=True):
            columns = [rows[name].to_numpy(dtype="float64").copy() for name in features.COLUMNS]
            before = [column.copy() for column in columns]
            o, h, low, c, v = columns
            values = function(
                features.Arrays(o, h, low, c, v, rows["date"].to_numpy(), (0, len(rows)), sessions.DEFAULT)
            )
            if not isinstance(values, np.ndarray) or values.ndim != 1:
                raise UnfitError("wrong type", f"gives a {type(values).__name__}: return a 1-dimensional array")
            if len(values) != len(rows):
                raise UnfitError("wrong length", f"gives {len(values)} values for {len(rows)} rows of one symbol")
            if not all(map(np.array_equal, before, columns)):
                raise UnfitError("mutates", "changes the arrays it is given: work on a copy")
            out[rows.index] = values
        return out

    return of_bars
