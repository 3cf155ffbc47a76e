"""ARIMA, ETS and Theta walked forward, against statsforecast's own cross-validation of the same models.

Run by itself: `python -m benchmarks.statistical`, under a minute.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from statsforecast import StatsForecast
from statsforecast import models as theirs

from benchmarks.measure import best, say
from stockkit.forecast.models.innovations import levels
from stockkit.forecast.models.protocol import Model, Series, Training
from stockkit.forecast.models.statistical import Arima, AutoEts, Theta
from stockkit.forecast.models.volatility import known_returns
from stockkit.market import simulate

REFIT, HORIZON = 252, 5
MODELS: tuple[Model, ...] = (Arima(), AutoEts(), Theta())


def walk_forward(panel: list[Series], first: int, models: tuple[Model, ...] = MODELS) -> np.ndarray:
    """Forecasts of each symbol and model from row `first` on, refitted every 252 sessions: what a backtest does."""
    out = []
    for series in panel:
        for model in models:
            blocks = []
            for start in range(first, len(series), REFIT):
                known = Training((series.until(start + 1),), HORIZON, series.date[start])
                blocks.append(model.fit(known).forecast(series.until(start + REFIT), start).mean)
            out.append(np.concatenate(blocks))
    return np.array(out)


def cross_validated(panel: list[Series], first: int) -> np.ndarray:
    """The same by statsforecast: ARIMA on the returns, ETS and Theta on the log closes."""
    returns = {series.symbol: known_returns(series)[0] for series in panel}
    paths = {symbol: levels(values) for symbol, values in returns.items()}
    arima = _cross_validated(returns, [theirs.ARIMA(order=(1, 0, 0))], first - 1)
    others = _cross_validated(
        paths, [theirs.AutoETS(season_length=1, model="AZN"), theirs.Theta(season_length=1)], first
    )
    out = []
    for symbol, path in paths.items():
        out.append(arima["ARIMA"][symbol].sum(axis=1))
        out += [others[name][symbol][:, -1] - path[first:-HORIZON] for name in ("AutoETS", "Theta")]
    return np.array(out)


def _cross_validated(
    values: dict[str, np.ndarray], models: list[object], first: int
) -> dict[str, dict[str, np.ndarray]]:
    frame = pd.concat(
        [pd.DataFrame({"unique_id": symbol, "ds": np.arange(len(y)), "y": y}) for symbol, y in values.items()]
    )
    windows = len(next(iter(values.values()))) - first - HORIZON
    done = StatsForecast(models=models, freq=1, n_jobs=1).cross_validation(
        df=frame, h=HORIZON, step_size=1, n_windows=windows, refit=REFIT
    )
    names = [str(model) for model in models]
    return {
        name: {symbol: rows[name].to_numpy().reshape(windows, HORIZON) for symbol, rows in done.groupby("unique_id")}
        for name in names
    }


def main(symbols: int = 2, sessions: int = 1008, first: int = 504) -> None:
    """Print the ratio, and how far the two are apart."""
    bars = simulate.bars([f"S{k}" for k in range(symbols)], count=sessions, rng=np.random.default_rng(1))
    panel = [
        Series(str(symbol), rows["date"].to_numpy(), rows["close"].to_numpy(), np.empty((len(rows), 0)))
        for symbol, rows in bars.groupby("symbol")
    ]
    apart = np.abs(walk_forward(panel, first)[:, :-HORIZON] - cross_validated(panel, first)).max()
    ours, others = best(lambda: walk_forward(panel, first), lambda: cross_validated(panel, first), runs=2)
    say("walk-forward of ARIMA, ETS and Theta / statsforecast's own", ours, others, "(<= 1.1)")
    print(f"  the two forecasts differ by at most {apart:.1e} (log return over {HORIZON} sessions)")


if __name__ == "__main__":
    main()
