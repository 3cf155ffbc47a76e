"""Trained models and evidence for the tests of saved models: small, seeded, of every kind of fitted class."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stockkit.forecast.models.linear import Linear
from stockkit.forecast.models.naive import Constant
from stockkit.forecast.models.protocol import Forecast, Series
from stockkit.forecast.walk.trained import Calibration, Trained
from stockkit.records import registry
from tests.conftest import lacking

if TYPE_CHECKING:
    import torch

AS_OF = np.datetime64("2023-12-29", "ns")
NOW = pd.Timestamp("2024-01-02T08:00", tz="UTC")
FEATURES = ("ret_1", "rsi_14", "sma_20")
Z90 = 1.6448536269514722


@registry.allow
@dataclass(frozen=True, eq=False)
class OwnTrees:
    """As the boosting keeps its estimator."""

    estimator: Any

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(self.estimator.predict(series.features[first:]))


@registry.allow
@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """As the LSTM keeps its weights."""

    weights: dict[str, torch.Tensor]  # a name that only a checker of types knows

    def forecast(self, series: Series, first: int) -> Forecast:
        import torch

        rows = torch.from_numpy(series.features[first:].astype("f4"))
        return Forecast((rows @ self.weights["w"] + self.weights["b"]).numpy().astype(float))


@registry.allow
@dataclass(frozen=True, eq=False)
class OwnEnsemble:
    """As the ensemble keeps its members."""

    members: tuple[Any, ...]
    state: dict[str, Any]

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(np.median([member.forecast(series, first).mean for member in self.members], axis=0))


@dataclass(frozen=True)
class Unknown:
    mean: float

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(np.full(len(series) - first, self.mean))


def series(symbol: str = "A", n: int = 80) -> Series:
    rng = np.random.default_rng(7)
    date = pd.bdate_range("2023-01-02", periods=n).to_numpy()
    return Series(symbol, date, np.exp(rng.normal(0, 0.02, n).cumsum()), rng.normal(size=(n, 3)), FEATURES)


def linear(mean: float = 0.001) -> Linear:
    return Linear(
        np.array([0.1, 1 / 3, -0.0]), np.array([1.0, 2.0, 3.0]), np.array([0.01, 0.0, 1e-17]), mean, 0.1, 9, 99
    )


def boosted() -> OwnTrees:
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 3))
    target = 0.01 * features[:, 0] + rng.normal(0, 0.01, 300)
    return OwnTrees(HistGradientBoostingRegressor(max_iter=5, random_state=0).fit(features, target))


def torch_or_skip() -> Any:
    """PyTorch; the test that asks is skipped where it is not installed, or fails where STOCKKIT_REQUIRE names it."""
    if importlib.util.find_spec("torch") is None:
        lacking("torch", "PyTorch is missing: make deep")
    return importlib.import_module("torch")


def network() -> OwnNetwork:
    torch = torch_or_skip()
    return OwnNetwork({"w": torch.tensor([0.1, -0.2, 0.3]), "b": torch.tensor(1 / 3)})


def ensemble() -> OwnEnsemble:
    odd = {
        "seen": (1, 2.5),
        3: np.array([[1.0, np.inf], [-0.0, np.nan]], order="F"),
        "few": np.float32(0.1),
        "names": np.array(["ü", "B.K"]),
        "plain": [None, True, np.nan, AS_OF],
    }
    return OwnEnsemble((Constant(0.01), boosted(), OwnEnsemble((linear(),), {}), network()), odd)


def trained(fitted: Any = None, *, model: str = "lasso", horizon: int = 1, as_of: np.datetime64 = AS_OF) -> Trained:
    fit = linear() if fitted is None else fitted
    known = {symbol: Calibration(0.02 / 3, (1.28, 1.65, 1.96)) for symbol in ("A", "BRK.B")}
    return Trained(model, horizon, FEATURES, as_of, dict.fromkeys(known, fit), known)


def rows(noise: dict[str, float], *, sessions: int = 250, horizon: int = 1, until: np.datetime64 = AS_OF,
         width: float = 1.0, seed: int = 0, symbols: tuple[str, ...] = ("A", "BRK.B")) -> pd.DataFrame:  # fmt: skip
    """Evidence of models whose mean is off by so much noise (standard deviations); intervals fit each, times width."""
    rng = np.random.default_rng(seed)
    days = pd.bdate_range(end=pd.Timestamp(until) - pd.Timedelta(days=1), periods=sessions)
    parts = []
    for symbol in symbols:
        shocks = rng.normal(0, 0.01, sessions + horizon)
        actual = np.convolve(shocks, np.ones(horizon), "valid")[:sessions]
        for model, off in noise.items():
            mean = rng.normal(0, 0.01 * off, sessions) if off else np.zeros(sessions)
            sigma = 0.01 * np.sqrt(horizon + off**2)
            half = width * Z90 * sigma
            parts.append(pd.DataFrame({
                "symbol": symbol, "model": model, "as_of": days, "horizon": horizon, "mean": mean, "sigma": sigma,
                "actual": actual, "fold": 0, "scale": 0.008, "lo90": mean - half, "hi90": mean + half,
                "lo80": mean - 0.78 * half, "hi80": mean + 0.78 * half, "lo95": mean - 1.19 * half,
                "hi95": mean + 1.19 * half}))  # fmt: skip
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"symbol": "string", "model": "string", "as_of": "datetime64[ns]"})


def origin(**other: Any) -> dict[str, Any]:
    """What `save` is told besides the model."""
    evidence = rows({"random_walk": 0.0, "lasso": 0.1, "drift": 0.05})
    return {"evidence": evidence, "data_version": "prices@3", "code_version": "0.1.0+gabc1234", "made_at": NOW,
            "settings": {"alphas": [0.1, 0.01]}, **other}  # fmt: skip
