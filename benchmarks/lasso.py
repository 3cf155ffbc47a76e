"""A lasso a symbol, walking forward, against a bare scikit-learn loop that does the same, both on every core.

`python -m benchmarks.lasso [SYMBOLS]`: 500 symbols x 1,260 sessions x 20 features by default, 12 refits.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.linear_model import LassoCV
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.measure import best, say
from stockkit.forecast.models import Lasso
from stockkit.forecast.walk import backtest
from stockkit.market import simulate

SESSIONS, FEATURES, FIRST, STEP = 1260, 20, 300, 80
NAMES = [f"f{k}" for k in range(FEATURES)]


def panel(symbols: int) -> pd.DataFrame:
    """Random walks, and features that share half of what moves them, as indicators do."""
    rng = np.random.default_rng(1)
    bars = simulate.bars([f"S{k:04}" for k in range(symbols)], count=SESSIONS, rng=rng)
    shared = rng.normal(size=(len(bars), 1))
    features = pd.DataFrame(0.7 * shared + 0.7 * rng.normal(size=(len(bars), FEATURES)), columns=NAMES)
    return pd.concat([bars[["symbol", "date", "close"]], features], axis=1)


def by_loop(frame: pd.DataFrame) -> np.ndarray:
    """The forecasts of every symbol after its first 301 sessions, from scikit-learn's own pieces."""
    parts = [(rows["close"].to_numpy(), rows[NAMES].to_numpy()) for _, rows in frame.groupby("symbol", sort=False)]
    return np.concatenate(Parallel(n_jobs=-1)(delayed(_one)(close, features) for close, features in parts))


def _one(close: np.ndarray, features: np.ndarray) -> np.ndarray:
    target = np.diff(np.log(close))
    forecasts = []
    for start in range(FIRST + 1, len(close), STEP):
        folds = TimeSeriesSplit(n_splits=5, gap=1)
        model = make_pipeline(StandardScaler(), LassoCV(alphas=20, eps=0.01, max_iter=20_000, cv=folds))
        model.fit(features[: start - 1], target[: start - 1])
        forecasts.append(model.predict(features[start : start + STEP]))
    return np.concatenate(forecasts)


def by_stockkit(frame: pd.DataFrame) -> np.ndarray:
    """The same from the backtest: frame in, checked frame out."""
    how = {"models": [Lasso()], "features": NAMES, "horizon": 1, "min_train": FIRST, "step": STEP, "jobs": -1}
    return backtest.run(frame, **how).rows["mean"].to_numpy()  # type: ignore[arg-type]


def main(symbols: int = 500) -> None:
    """Print one line; both sides must agree first."""
    few = panel(4)
    np.testing.assert_allclose(by_stockkit(few), by_loop(few), atol=1e-5)
    frame = panel(symbols)
    refits = len(range(FIRST + 1, SESSIONS, STEP))
    ours, theirs = best(lambda: by_stockkit(frame), lambda: by_loop(frame), runs=1)
    say(
        f"lasso, {symbols} symbols x {SESSIONS:,} x {FEATURES}, {refits} refits / bare scikit-learn",
        ours,
        theirs,
        "<= 1.3",
    )


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]))
