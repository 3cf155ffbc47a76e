"""Fits of a past that has not changed: taken up again under the hash of all that decides them.

A forecast is a function of what the model is (its code and its settings), of the rows it was fitted on, of the rows it
forecasts, and of the libraries and the processor that compute it. All of that is in the key, byte for byte, so that
what is taken up is what a fit would have given again, to the last bit. A past that was corrected, or rescaled by a
split, has other bytes, and is fitted anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from stockkit.forecast.models.protocol import Fitted, Forecast, Model, Series, Training


@dataclass(frozen=True, eq=False)
class KeptFit:
    """What is kept of one fit.

    Attributes:
        tried, chosen: as of `Fitted`.
        parameters: the fit itself as the store's coder has it; None where it is not needed again, or cannot be kept.
    """

    tried: int
    chosen: str
    parameters: Any = None


@dataclass(frozen=True, eq=False)
class KeptForecast:
    """A fold's forecast of one symbol, float64: mean (m,), and sigma (m,) with the usual volatility filled in."""

    mean: np.ndarray
    sigma: np.ndarray


Entry = KeptFit | KeptForecast


class FitCoder(Protocol):
    """What makes plain data of a fit and a fit of plain data; can be sent to another process."""

    def encode(self, fitted: Fitted) -> Any:
        """Plain data; None for a fit that cannot be kept exactly."""
        ...

    def decode(self, parameters: Any) -> Fitted | None:
        """The fit; None for what is no fit."""
        ...


class FitStore(Protocol):
    """Where fits are kept between runs, in places: one a symbol, and one a pooled model."""

    coder: FitCoder

    def origin(self, model: Model) -> str | None:
        """What decides a fit besides data and settings: code, libraries, processor. None: the model is not kept."""
        ...

    def load(self, place: str) -> Mapping[str, Entry]:
        """What is kept in a place, by key; nothing where it cannot be read."""
        ...

    def save(self, place: str, used: Mapping[str, Entry]) -> None:
        """Keep what a run used of a place, and as much of what was there before as the store has room for."""
        ...


@dataclass(frozen=True, eq=False)
class KeptFits:
    """What one part of a backtest may take up, and what it used: taken up or made anew.

    Attributes:
        origins: of the models that are kept, by name. entries: as from `FitStore.load`. used: filled by the backtest.
    """

    origins: Mapping[str, str] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    coder: FitCoder | None = None
    used: dict[str, Entry] = field(default_factory=dict)

    def fit_key(self, model: Model, past: str) -> str:
        """The key of a model's fit to a past; "" for a model that is not kept."""
        origin, settings = self.origins.get(model.name), settings_of(model)
        return "" if origin is None or settings is None else hashed("fit", origin, settings, past)

    def fit(self, key: str) -> KeptFit | None:
        """What is kept of a fit."""
        entry = self.entries.get(key)
        return entry if key and isinstance(entry, KeptFit) else None

    def fitted(self, key: str) -> Fitted | None:
        """The fit itself, if it is kept."""
        entry = self.fit(key)
        return self.coder.decode(entry.parameters) if self.coder and entry and entry.parameters is not None else None

    def forecast(self, key: str, rows: int) -> Forecast | None:
        """A forecast of so many rows, if it is kept; what has another shape is none."""
        entry = self.entries.get(key) if key else None
        if not isinstance(entry, KeptForecast) or not entry.mean.shape == entry.sigma.shape == (rows,):
            return None
        self.used[key] = entry
        return Forecast(entry.mean, entry.sigma)

    def keep_fit(self, key: str, fitted: Fitted | KeptFit, note: Mapping[str, Any], *, further: bool) -> None:
        """Take note of a fit that was used, and of what is told of it; `further`: it will forecast more rows."""
        if not key:
            return
        if not isinstance(fitted, KeptFit):
            known = self.fit(key)
            parameters = known.parameters if known else None
            if further and parameters is None and self.coder:
                parameters = self.coder.encode(fitted)
            fitted = KeptFit(note["tried"], note["chosen"], parameters)
        self.used[key] = fitted

    def keep_forecast(self, key: str, forecast: Forecast) -> None:
        """Take note of a forecast that was made."""
        if key and forecast.sigma is not None:
            self.used[key] = KeptForecast(forecast.mean, forecast.sigma)


def hashed(*parts: str | np.ndarray | Series) -> str:
    """The SHA-256 of texts, arrays and series; each part stands with its type and length, so that none runs over."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Series):
            part = hashed(part.symbol, *part.names, part.date, part.close, part.features)
        if isinstance(part, str):
            body = part.encode(errors="surrogatepass")
            digest.update(b"text %d " % len(body))
            digest.update(body)
        else:
            digest.update(f"array {part.dtype.str} {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part).view("u1").data if part.size else b"")
    return digest.hexdigest()


def past_of(train: Training) -> str:
    """The hash of all that a fit is given."""
    return hashed(str(train.horizon), str(train.cut), *train.series, *train.targets)


def seen_of(series: Series, first: int, sigma: np.ndarray) -> str:
    """The hash of what a fold's forecast of a symbol is made of besides the fit: its rows, the usual volatility."""
    return hashed(str(first), series, sigma)


def settings_of(model: Model) -> str | None:
    """The settings of a model in one text; None for a model that they do not tell apart from another.

    Told are those of a frozen dataclass whose fields are numbers, texts, None and tuples of them. A model that can
    change, or that keeps more than its fields, may fit differently the second time.
    """
    cls = type(model)
    if not dataclasses.is_dataclass(cls) or not getattr(cls, "__dataclass_params__").frozen:  # noqa: B009
        return None
    names = [attribute.name for attribute in dataclasses.fields(model)]  # type: ignore[arg-type]
    if getattr(model, "__dict__", {}).keys() - set(names):
        return None
    values = [getattr(model, name) for name in names]
    plain = all(_is_plain(value) for value in values)
    return repr((cls.__module__, cls.__qualname__, list(zip(names, values, strict=True)))) if plain else None


def _is_plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)
