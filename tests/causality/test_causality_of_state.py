"""What a function keeps from one call to the next, in memory or on disk, hides no leak and stays nowhere."""

from __future__ import annotations

import functools
import json
import os
import pickle
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import signal
from sklearn.preprocessing import StandardScaler

from stockkit import causality
from stockkit.errors import LeakError
from tests.causality.leaks import by_symbol

Function = Callable[[pd.DataFrame], pd.Series]
KEPT: dict[str, float] = {}
SEEN: list[float] = []
SCALER = StandardScaler()


class Fitted:
    mean: float | None = None


class Base:
    """Keeps what it learns in its class."""

    grouped: dict[str, float] = {}  # noqa: RUF012 - the fault that is planted

    def __call__(self, b: pd.DataFrame) -> pd.Series:
        for symbol, close in b.groupby("symbol")["close"]:
            Base.grouped.setdefault(str(symbol), close.mean())
        return b["close"] / b["symbol"].map(Base.grouped)


def in_a_module(b: pd.DataFrame) -> pd.Series:
    KEPT.setdefault("mean", b["close"].mean())
    return b["close"] / KEPT["mean"]


def in_another_module(b: pd.DataFrame) -> pd.Series:
    module = sys.modules["json"]
    if not hasattr(module, "mean"):
        module.mean = b["close"].mean()  # type: ignore[attr-defined]
    return b["close"] / module.mean  # type: ignore[attr-defined]


def in_a_list(b: pd.DataFrame) -> pd.Series:
    if not SEEN:
        SEEN.append(b["close"].mean())
    return b["close"] / SEEN[0]


def in_a_class(b: pd.DataFrame) -> pd.Series:
    Fitted.mean = Fitted.mean or b["close"].mean()
    return b["close"] / Fitted.mean


def in_a_scaler(b: pd.DataFrame) -> pd.Series:
    if not hasattr(SCALER, "mean_"):
        SCALER.fit(b[["close"]].to_numpy())
    return pd.Series(SCALER.transform(b[["close"]].to_numpy()).ravel(), b.index)


@functools.lru_cache
def _mean_of(symbol: str) -> list[float]:
    return []


def in_an_lru_cache(b: pd.DataFrame) -> pd.Series:
    for symbol, close in b.groupby("symbol")["close"]:
        if not _mean_of(str(symbol)):
            _mean_of(str(symbol)).append(close.mean())
    return b["close"] / b["symbol"].map(lambda symbol: _mean_of(symbol)[0])


def in_itself(b: pd.DataFrame) -> pd.Series:
    if not hasattr(in_itself, "mean"):
        in_itself.mean = b["close"].mean()  # type: ignore[attr-defined]
    return b["close"] / in_itself.mean  # type: ignore[attr-defined]


def in_a_default(b: pd.DataFrame, kept: list[float] = []) -> pd.Series:  # noqa: B006 - the fault that is planted
    kept.append(b["close"].mean())
    return b["close"] / kept[0]


def in_the_environment(b: pd.DataFrame) -> pd.Series:
    return b["close"] / float(os.environ.setdefault("STOCKKIT_TEST_MEAN", str(b["close"].mean())))


def in_a_module_that_it_imports(b: pd.DataFrame) -> pd.Series:
    import tests.causality.leaks as other

    other.__dict__.setdefault("kept_mean", b["close"].mean())
    return b["close"] / other.kept_mean  # type: ignore[attr-defined]


def by_month(b: pd.DataFrame) -> pd.Series:
    month = b["date"].dt.strftime("%Y-%m")
    for key, close in b["close"].groupby(month):
        KEPT.setdefault(str(key), close.mean())
    return b["close"] / month.map(KEPT)


def _text_file(folder: Path) -> Function:
    def function(b: pd.DataFrame) -> pd.Series:
        path = folder / "kept" / "mean.txt"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(b["close"].mean()))
        return b["close"] / float(path.read_text())

    return function


def _pickled(folder: Path) -> Function:
    def function(b: pd.DataFrame) -> pd.Series:
        path = folder / "mean.pkl"
        if not path.exists():
            with open(folder / "mean.tmp", "wb") as file:
                pickle.dump(b["close"].mean(), file)
            os.replace(folder / "mean.tmp", path)
        return b["close"] / pickle.loads(path.read_bytes())

    return function


def _array_file(folder: Path) -> Function:
    def function(b: pd.DataFrame) -> pd.Series:
        path = folder / "mean.npy"
        if not path.exists():
            np.save(path, b["close"].mean())
        return b["close"] / float(np.load(path))

    return function


def _database(folder: Path) -> Function:
    def function(b: pd.DataFrame) -> pd.Series:
        with sqlite3.connect(folder / "kept.db") as db:
            db.execute("CREATE TABLE IF NOT EXISTS kept (mean REAL)")
            if db.execute("SELECT count(*) FROM kept").fetchone()[0] == 0:
                db.execute("INSERT INTO kept VALUES (?)", [b["close"].mean()])
            mean = db.execute("SELECT mean FROM kept").fetchone()[0]
        db.close()
        return b["close"] / mean

    return function


def _joblib(folder: Path) -> Function:
    memory = joblib.Memory(folder, verbose=0)

    @memory.cache(ignore=["b"])
    def mean(symbol: str, b: pd.DataFrame) -> float:
        return float(b.loc[b["symbol"] == symbol, "close"].mean())

    return lambda b: b["close"] / b["symbol"].map({name: mean(name, b) for name in b["symbol"].unique()})


IN_MEMORY = [in_a_module, in_another_module, in_a_list, in_a_class, Base(), in_a_scaler, in_an_lru_cache, in_itself,
             in_a_default, in_the_environment, in_a_module_that_it_imports, by_month]  # fmt: skip
ON_DISK = [_text_file, _pickled, _array_file, _database, _joblib]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def functions(folder: Path) -> dict[str, Function]:
    in_memory = {getattr(function, "__name__", "in_its_class"): function for function in IN_MEMORY}
    return {**in_memory, **{make.__name__: make(folder) for make in ON_DISK}}


@pytest.fixture(scope="module")
def audits(functions: dict[str, Function]) -> list[causality.Audit]:
    return [causality.audit(functions, cuts=5) for _ in range(2)]


def test_what_is_fitted_in_the_first_call_and_kept_is_found_again_and_again(audits, functions):
    for audit in audits:
        assert audit.leaks == list(functions)


def test_nothing_that_an_audited_function_keeps_is_left_behind(audits, folder):
    assert not KEPT
    assert not SEEN
    assert Fitted.mean is None
    assert Base.grouped == {}
    assert "STOCKKIT_TEST_MEAN" not in os.environ
    assert not hasattr(json, "mean")
    assert [path for path in folder.rglob("*") if path.is_file() and path.name != ".gitignore"] == []


def test_a_file_that_was_there_is_as_it_was_after_the_audit(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("the first line\n")

    def function(b: pd.DataFrame) -> pd.Series:
        with log.open("a") as file:
            file.write("another\n")
        return by_symbol(b, lambda s: s.pct_change())

    assert causality.audit(function, cuts=5).ok
    assert log.read_text() == "the first line\n"


def test_a_cache_by_the_bars_themselves_is_no_leak(tmp_path):
    mean = joblib.Memory(tmp_path, verbose=0).cache(lambda close: close.expanding().mean())
    assert causality.audit(lambda b: by_symbol(b, mean) / b["close"], cuts=5).ok


def _exits(b: pd.DataFrame) -> pd.Series:
    os._exit(3)


@pytest.mark.parametrize(
    ("function", "state", "what"),
    [
        (_exits, "ends", r"ends the process that it runs in \(exit code 3\)"),
        (lambda b: sys.exit(0), "raises", "SystemExit"),
    ],
)
def test_a_function_that_ends_its_process_is_a_fault(function, state, what):
    audit = causality.audit({"mine": function}, cuts=5)
    assert audit.table.loc[0, ["runs", "verdict"]].tolist() == [state, "fault"]
    with pytest.raises(LeakError, match=what):
        audit.raise_for_leaks()


def returns(b: pd.DataFrame) -> pd.DataFrame:
    return b.assign(r=by_symbol(b, lambda s: s.pct_change()).fillna(0.0))


def over_all_rows(b: pd.DataFrame, column: str) -> pd.Series:
    """A mean of twenty rows as the difference of one running sum over all symbols."""
    total = b[column].cumsum()
    return ((total - total.shift(20)) / 20).where(b.groupby("symbol").cumcount() >= 20)


def slope(s: pd.Series, n: int = 20) -> np.ndarray:
    """The slope of a line through the last n rows, from running sums, as statsmodels' RollingOLS has it."""
    x, y = np.arange(len(s), dtype="float64"), s.to_numpy()
    sums = [np.cumsum(np.append(0.0, v)) for v in (x, y, x * y, x * x)]
    dx, dy, dxy, dxx = (v[n:] - v[:-n] for v in sums)
    return np.append(np.full(min(n - 1, len(s)), np.nan), (n * dxy - dx * dy) / (n * dxx - dx**2))


ROUNDED = {
    "rolling skew": lambda b: by_symbol(returns(b), lambda s: s.rolling(20).skew(), "r"),
    "rolling kurt": lambda b: by_symbol(returns(b), lambda s: s.rolling(20).kurt(), "r"),
    "rolling kurt of prices": lambda b: by_symbol(b, lambda s: s.rolling(20).kurt()),
    "rolling skew of volumes": lambda b: by_symbol(b, lambda s: s.rolling(20).skew(), "volume"),
    "rolling correlation": lambda b: by_symbol(b, lambda s: s.rolling(20).corr(s.shift(1))),
    "expanding skew": lambda b: by_symbol(returns(b), lambda s: s.expanding().skew(), "r"),
    "fftconvolve": lambda b: by_symbol(b, lambda s: signal.fftconvolve(s, np.ones(5) / 5)[: len(s)]),
    "fftconvolve of returns": lambda b: by_symbol(
        returns(b), lambda s: signal.fftconvolve(s, np.ones(5))[: len(s)], "r"
    ),
    "one cumsum over all": lambda b: over_all_rows(b, "close"),
    "one cumsum of returns": lambda b: over_all_rows(returns(b), "r"),
    "one cumsum of dollars": lambda b: over_all_rows(b.assign(dollars=b["close"] * b["volume"]), "dollars"),
    "rolling regression": lambda b: by_symbol(b, slope),
}


@pytest.mark.parametrize("seed", [11, 5])
def test_what_only_rounds_differently_is_not_accused(seed):
    audit = causality.audit(ROUNDED, cuts=10, seed=seed)
    assert {name: list(audit.table.set_index("feature").loc[name]) for name in audit.leaks} == {}


@pytest.mark.parametrize("weight", [1e-3, 1e-4])
def test_a_badly_conditioned_feature_with_a_little_of_tomorrow_leaks(weight):
    def function(b: pd.DataFrame) -> pd.Series:
        return ROUNDED["rolling kurt of prices"](b) + weight * by_symbol(returns(b), lambda s: s.shift(-1), "r") / 0.01

    assert causality.audit({"mine": function}, cuts=10).leaks == ["mine"]


AT_THE_OPEN = {
    "gap": lambda b: b["open"] / by_symbol(b, lambda s: s.shift(1)) - 1,
    "yesterday's return": lambda b: by_symbol(returns(b), lambda s: s.shift(1), "r"),
}
AT_THE_CLOSE = {
    "today's return": lambda b: returns(b)["r"],
    "today's high": lambda b: b["high"] / by_symbol(b, lambda s: s.shift(1)),
    "today's volume": lambda b: by_symbol(b, lambda s: s / s.rolling(5).mean(), "volume"),
}


def test_a_feature_that_is_used_at_the_open_may_know_the_open_only():
    audit = causality.audit({**AT_THE_OPEN, **AT_THE_CLOSE}, cuts=5, at_open=True)
    assert audit.leaks == list(AT_THE_CLOSE)
    assert (audit.table.loc[audit.table["verdict"] == "leak", "open"] == "leak").all()
    assert "all but the open of" in audit.table.set_index("feature").loc["today's return", "what"]
    assert causality.audit(AT_THE_CLOSE, cuts=5).ok
