"""The answer to a request: one forecast a row, as JSON, JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stockkit.cloud.sagemaker.rows import CSV, JSON_LINES, SymbolRows
from stockkit.errors import ForecastError, RequestError
from stockkit.forecast.judge.intervals import BOUNDS
from stockkit.forecast.walk.trained import Trained

PRICES = ("price", *(f"price_{bound}" for bound in BOUNDS))
NUMBERS = ("mean", "sigma", *BOUNDS, *PRICES)
FIELDS = ("symbol", "as_of", "model", "horizon", *NUMBERS)


def forecast(trained: Trained, parts: Sequence[SymbolRows]) -> list[list[Any]]:
    """One list of `FIELDS` a row, in the order of the request; None where there is no forecast or it is not finite.

    mean to hi95 are of the h-session log return r; a price is close · exp(r), so price is the median of the forecast.

    Raises:
        RequestError: the model has nothing to say of a symbol's rows.
    """
    count = sum(len(part.positions) for part in parts)
    block, names = np.full((count, len(NUMBERS)), np.nan), np.empty((count, 2), dtype=object)
    for part in parts:
        block[part.positions] = _numbers(trained, part)
        names[part.positions, 0] = part.series.symbol
        names[part.positions, 1] = part.series.date.astype("datetime64[D]").astype(str)
    values = np.where(np.isfinite(block), block, None).tolist()  # type: ignore[call-overload]
    return [
        [*who, trained.named(who[0]), trained.horizon, *row] for who, row in zip(names.tolist(), values, strict=True)
    ]


def _numbers(trained: Trained, part: SymbolRows) -> np.ndarray:
    with np.errstate(all="ignore"):  # what overflows is not finite, and is answered with null
        try:
            forecast = trained.forecast(part.series)
        except ForecastError as error:
            raise RequestError(str(error), field=part.first) from error
        returns = np.column_stack([forecast[name] for name in ("mean", "sigma", *BOUNDS)])
        prices = part.series.close[:, None] * np.exp(np.delete(returns, 1, axis=1))
    return np.hstack([returns, prices])


def write(trained: Trained, rows: Sequence[Sequence[Any]], kind: str) -> bytes:
    """The answer in the content type `kind`, UTF-8."""
    if kind == CSV:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([FIELDS, *rows])
        return text.getvalue().encode()
    forecasts = [dict(zip(FIELDS, row, strict=True)) for row in rows]
    if kind == JSON_LINES:
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in forecasts).encode()
    document = {"model": trained.model, "horizon": trained.horizon, "forecasts": forecasts}
    return json.dumps(document, allow_nan=False).encode()
