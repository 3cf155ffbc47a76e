"""What a SageMaker training job is given: hyperparameters, all of them texts, and a channel of CSV and Parquet files.

The layout is in the SageMaker AI developer guide, "How Amazon SageMaker AI Provides Training Information".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stockkit.errors import LakeError, ParamError, did_you_mean
from stockkit.market import schema

KEYS = ("symbol", "date", "close")
READ_WHOLE = {"File", "FastFile"}
NOT_OURS = re.compile(r"sagemaker_\w+|_tuning_objective_metric")  # put there by SageMaker's own tools
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")


@dataclass(frozen=True)
class Hyperparameters:
    """What to train.

    Attributes:
        model: its name. horizon: sessions ahead. features: columns to use; empty: all that are no column of prices.
        min_train: training sessions of the first fold of the backtest. step: sessions between refits.
    """

    model: str = "lasso"
    horizon: int = 1
    features: tuple[str, ...] = ()
    min_train: int = 250
    step: int = 126


def hyperparameters(path: Path) -> Hyperparameters:
    """Read ``hyperparameters.json``; where it is missing, the defaults.

    Raises:
        ParamError: an unknown name (with the nearest known one), or a value of another type.
    """
    given = document(path)
    wanted: dict[str, Any] = {}
    for name, text in given.items():
        if NOT_OURS.fullmatch(name):
            continue
        if name not in _READERS:
            raise ParamError(f"hyperparameter {name[:60]!r} is unknown.{_hint(name, list(_READERS))}")
        wanted[name] = _READERS[name](name, _text(name, text))
    return Hyperparameters(**wanted)


def document(path: Path) -> dict[str, Any]:
    """One JSON object of ``input/config``, empty where the file is missing; ParamError where it is none."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ParamError(f"{path.name} is not JSON: {str(error)[:200]}.") from error
    if not isinstance(content, dict):
        raise ParamError(f"{path.name} must hold an object, found {type(content).__name__}.")
    return content


def check_job(config: Path) -> None:
    """ParamError for what we cannot do: a channel that is piped, more than one instance."""
    channel = document(config / "inputdataconfig.json").get("training", {})
    mode = channel.get("TrainingInputMode", "File") if isinstance(channel, dict) else channel
    if mode not in READ_WHOLE:
        raise ParamError(f"the channel training has the mode {mode!r}: take File or FastFile.")
    hosts = document(config / "resourceconfig.json").get("hosts", [])
    if isinstance(hosts, list) and len(hosts) > 1:
        raise ParamError(f"{len(hosts)} instances: each would train the same model. Take InstanceCount 1.")


def panel(folder: Path, features: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...], str]:
    """All files of a channel as one frame, the features in it, and a fingerprint of the files.

    Returns:
        symbol, date, close (float64) and the features (float64, NaN where empty), sorted by symbol then date.

    Raises:
        LakeError: no files, one that cannot be read or is neither CSV nor Parquet, a missing column, a session twice.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] not in "._"]
    if not paths:
        raise LakeError("input/data/training has no files: give CSV or Parquet with symbol, date, close and features.")
    parts = [_typed(_read(path, folder), path) for path in paths]
    chosen = tuple(features) or tuple(str(name) for name in parts[0].columns if name not in schema.PRICES)
    rows = pd.concat([_with(part, chosen, path) for part, path in zip(parts, paths, strict=True)], ignore_index=True)
    rows = rows.sort_values(["symbol", "date"], kind="stable", ignore_index=True)
    twice = rows.duplicated(["symbol", "date"])
    if twice.any():
        row = rows[twice].iloc[0]
        raise LakeError(f"{row['symbol']} has the session {row['date']:%Y-%m-%d} twice: keep one row a session.")
    return rows, chosen, hashlib.sha256(b"".join(_digest(path) for path in paths)).hexdigest()[:12]


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read(path: Path, folder: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.resolve().is_relative_to(folder.resolve()):
        raise LakeError(f"the file {path.name!r} is a link out of the channel: copy what it points to.")
    try:
        if path.suffix == ".csv":
            # only an empty cell is missing: NA and NAN are symbols
            return pd.read_csv(path, dtype={"symbol": str, "date": str}, keep_default_na=False, na_values=[""],
                               encoding="utf-8-sig", float_precision="round_trip")  # fmt: skip
        if path.suffix == ".parquet":
            return pq.read_table(path, partitioning=None).to_pandas()
    except (ValueError, OSError, pa.ArrowException) as error:
        raise LakeError(f"the file {path.name!r} cannot be read: {str(error)[:200]}.") from error
    raise LakeError(f"the file {path.name!r} is neither .csv nor .parquet: take it out of the channel.")


def _typed(part: pd.DataFrame, path: Path) -> pd.DataFrame:
    lacking = [name for name in KEYS if name not in part.columns]
    if lacking:
        columns = ", ".join(str(name)[:40] for name in part.columns[:20])
        raise LakeError(f"the file {path.name!r} lacks the column {lacking[0]!r}; it has {columns}.")
    for symbol in part["symbol"].unique():
        schema.check_symbol(symbol)
    return part.assign(date=_days(part["date"], path), close=_numbers(part["close"], path))


def _days(column: pd.Series, path: Path) -> pd.Series:
    try:
        texts = column.dtype == object or isinstance(column.dtype, pd.StringDtype)  # pandas 3 reads texts as the latter
        days = pd.to_datetime(column, format="%Y-%m-%d" if texts else None)
        if days.dt.tz is not None or days.isna().any():
            raise ValueError("a day is missing or has a time zone")
        return days.dt.normalize().astype("datetime64[ns]")
    except (ValueError, TypeError) as error:
        raise LakeError(f"the file {path.name!r}, date: {str(error)[:150]}; write days as 2023-09-21.") from error


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    try:
        return pd.to_numeric(column).astype("float64")
    except (ValueError, TypeError) as error:
        raise LakeError(f"the file {path.name!r}, column {str(column.name)[:60]!r}: {str(error)[:150]}.") from error


def _with(part: pd.DataFrame, features: Sequence[str], path: Path) -> pd.DataFrame:
    columns = [str(column) for column in part.columns if column not in KEYS]
    for name in features:
        if name not in columns:
            raise LakeError(f"the file {path.name!r} has no feature {name[:60]!r}.{_hint(name, columns)}")
    return part[list(KEYS)].assign(**{name: _numbers(part[name], path) for name in features})


def _text(name: str, value: object) -> str:
    """SageMaker passes texts; its Python SDK writes JSON into them, so that a text may stand in quotation marks."""
    if not isinstance(value, str):
        raise ParamError(f"hyperparameter {name}: must be a text, as SageMaker passes it, found {str(value)[:60]!r}.")
    return value.strip().removeprefix('"').removesuffix('"')


def _whole(name: str, text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ParamError(f"hyperparameter {name}: {text[:60]!r} is no whole number.")
    return int(text)


def _names(name: str, text: str) -> tuple[str, ...]:
    """A JSON list of texts, or names with commas between them."""
    items = text.split(",")
    if text.startswith("["):
        try:
            items = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ParamError(f"hyperparameter {name}: {text[:60]!r} is no JSON list.") from error
    names = tuple(item.strip() if isinstance(item, str) else "" for item in items)
    if not all(names) or len(set(names)) < len(names):
        raise ParamError(f"hyperparameter {name}: {text[:60]!r} must be names, each once.")
    return names


_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "model": lambda name, text: text, "horizon": _whole, "features": _names, "min_train": _whole, "step": _whole,
}  # fmt: skip


def _hint(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, f"Known: {', '.join(known[:30])}.")
