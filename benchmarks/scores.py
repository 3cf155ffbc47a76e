"""Scoring a million forecasts, many series and long ones, beside a function for each group of pandas."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.measure import best, peak, say
from stockkit.forecast.judge import scores

SHAPES = {"40 series x 25,000": (10, 25_000), "4,000 series x 250": (1000, 250)}  # symbols and sessions, of 4 models


def forecasts(symbols: int, sessions: int, models: int = 4, seed: int = 1) -> pd.DataFrame:
    """Noise as forecasts of noise, with normal intervals."""
    rng = np.random.default_rng(seed)
    actual = np.repeat(rng.normal(0, 0.02, (symbols, 1, sessions)), models, axis=1)
    mean = rng.normal(0, 0.001, (symbols, models, sessions))
    mean[:, 0] = 0
    days = np.arange(sessions).astype("datetime64[D]").astype("datetime64[ns]")
    names = np.array(["random_walk", *(f"model_{k}" for k in range(1, models))])
    rows = pd.DataFrame({
        "symbol": np.repeat([f"S{k:04}" for k in range(symbols)], models * sessions),
        "model": np.tile(np.repeat(names, sessions), symbols),
        "as_of": np.tile(days, symbols * models),
        "horizon": 1,
        "mean": mean.ravel(),
        "sigma": 0.02,
        "actual": actual.ravel(),
        "fold": 0,
        "scale": 0.016,
    })  # fmt: skip
    for level, z in ((80, 1.2816), (90, 1.6449), (95, 1.96)):
        rows[f"lo{level}"], rows[f"hi{level}"] = (rows["mean"] + sign * z * rows["sigma"] for sign in (-1, 1))
    return rows.astype({"symbol": "string[pyarrow]", "model": "string[pyarrow]"})


def by_group(rows: pd.DataFrame) -> pd.DataFrame:
    """Three of the figures as most would write them: a function for each group of pandas."""

    def figures(group: pd.DataFrame) -> pd.Series:
        error = group["actual"] - group["mean"]
        inside = (group["lo90"] <= group["actual"]) & (group["actual"] <= group["hi90"])
        return pd.Series({"mae": error.abs().mean(), "rmse": np.sqrt((error**2).mean()), "coverage90": inside.mean()})

    return rows.groupby(["symbol", "model", "horizon"], sort=False).apply(figures, include_groups=False)


def score_all(symbols: int, sessions: int) -> None:
    """For `peak`."""
    scores.board(forecasts(symbols, sessions))


def main() -> None:
    """Print one line a comparison, and the seconds behind the limit."""
    for what, (symbols, sessions) in SHAPES.items():
        rows = forecasts(symbols, sessions)
        ours = partial(scores.board, rows)
        say(f"all scores of 10^6 forecasts / three by a function a group, {what}",
            *best(ours, partial(by_group, rows), runs=2))  # fmt: skip
        start = time.process_time()
        ours()
        print(f"{'seconds of one core, ' + what:<66} {time.process_time() - start:6.2f}  <= 2", flush=True)
        peak(f"scoring 10^6 forecasts, {what}", score_all, symbols, sessions)


if __name__ == "__main__":
    main()
