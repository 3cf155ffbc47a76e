"""Figures of how good forecasts were: errors beside the random walk's, and what trading on them would have earned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stockkit.errors import counted
from stockkit.forecast.trading.rules import Traded
from stockkit.plots.figure import (
    COLOURS,
    DASHES,
    INK,
    MARKERS,
    MUTED,
    Plot,
    blank,
    canvas,
    dated,
    finish,
    heading,
    legend_below,
    log_scale,
    symbols_of,
)

WIDE = 4  # times the lowest capital, from which on equal steps are equal percentages
READABLE = 24  # symbols with a line each; of more, each model has one line


def scoreboard(scores: pd.DataFrame) -> Plot:
    """Each model's MAE as a ratio to the random walk's and its hit rate, symbol by symbol, a row of panels a horizon.

    A third panel has the 90 % interval scores, as a ratio too, of the models with a volatility of their own. Of more
    than 24 symbols, each model has one line, with a point a symbol and a bar at their median. Models that say what the
    random walk says are left out.

    Args:
        scores: as `Board.by_symbol` of `forecast.scores`.
    """
    of_risk = scores.get("winkler90_p", pd.Series(np.nan, scores.index)).notna()
    shown, tried = scores[scores["dm_p"].notna() | of_risk], scores[scores["dm_p"].notna()]
    if shown.empty:
        return blank("No scores to show: no model has forecasts of the past")
    symbols, models, horizons = symbols_of(shown), list(shown["model"].unique()), sorted(shown["horizon"].unique())
    lines = symbols if len(symbols) <= READABLE else models
    panels, height = 2 + int(of_risk.any()), (1.4 + 0.34 * len(lines)) * len(horizons)
    plot, axes = canvas(height, len(horizons), panels, sharey=True, sharex="col")
    for pair, horizon in zip(axes, horizons, strict=True):
        for k, model in enumerate(models):
            dots = shown[(shown["model"] == model) & (shown["horizon"] == horizon)]
            offset = (k - (len(models) - 1) / 2) * min(0.22, 0.8 / len(models))
            at = pd.Index(symbols).get_indexer(dots["symbol"]) + offset if lines is symbols else np.full(len(dots), k)
            _marks(pair, dots, at, k, intervals=lines is symbols)
        pair[0].set(yticks=np.arange(len(lines)), yticklabels=lines, ylim=(len(lines) - 0.5, -0.5))
        heading(pair[0], _ahead(horizon))
        pair[0].axvline(1, color=INK, linewidth=1)
        pair[1].axvline(50, color=INK, linewidth=1)
        for axis in pair[2:]:
            axis.axvline(1, color=INK, linewidth=1)
            axis.set_xlabel("interval score / the random walk's" if horizon == horizons[-1] else "")
    axes[-1, 0].set_xlabel("MAE / the random walk's")
    axes[-1, 1].set_xlabel("hit rate, %, and its 95 % interval" if lines is symbols else "hit rate, %")
    if lines is symbols:
        legend_below(plot, axes[0, 0])
    better = int((tried["mae_ratio"] < 1).sum())
    ranges = [_range("MAE", tried["mae_ratio"]), _range("90 % interval score", scores["winkler90_ratio"][of_risk])]
    return finish(
        plot,
        f"{better} of {len(tried)} model and symbol pairs have a smaller error than the random walk, before any test",
        " ".join(filter(None, ranges)),
    )


def _range(what: str, ratio: pd.Series) -> str:
    return f"{what} ratios from {ratio.min():.3f} to {ratio.max():.3f}." if len(ratio) else ""


def _marks(pair: Any, dots: pd.DataFrame, at: np.ndarray, k: int, *, intervals: bool) -> None:
    """The points of one model, and either each one's interval or the median of all."""
    style = {"color": COLOURS[k % 8], "marker": MARKERS[k % 5], "linestyle": "none", "markersize": 5}
    columns = [dots["mae_ratio"].where(dots["dm_p"].notna()), dots["hit_rate"] * 100]
    columns += [dots["winkler90_ratio"].where(dots["winkler90_p"].notna()) for _ in pair[2:]]
    if not intervals:
        style |= {"markersize": 3, "alpha": 0.4}
        for axis, values in zip(pair, [column.dropna() for column in columns], strict=True):
            if len(values):
                axis.plot([values.median()] * 2, [k - 0.3, k + 0.3], color=INK, linewidth=2)
    else:
        pair[1].hlines(at, dots["hit_lo"] * 100, dots["hit_hi"] * 100, color=COLOURS[k % 8], linewidth=1.2)
    for number, (axis, values) in enumerate(zip(pair, columns, strict=True)):
        axis.plot(values, at, label=str(dots["model"].iloc[0]) if len(dots) and not number else None, **style)


def equity(traded: Traded, *, cost: float = 10.0) -> Plot:
    """The capital of each model's portfolio after costs beside buying and holding, and the Sharpe ratio by cost.

    Args:
        traded: as `forecast.rules.trade`.
        cost: basis points of what changes hands, for the capital; any, also one that `trade` was not given.
    """
    shown = traded.portfolio[(traded.portfolio["sessions"] > 0) & (traded.portfolio["turnover"] > 0)]
    if shown.empty:
        return blank("No trades to show: no model has forecasts that could be filled")
    models, horizons = list(shown["model"].unique()), sorted(shown["horizon"].unique())
    plot, axes = canvas(0.6 + 2.6 * len(horizons), len(horizons), 2, width_ratios=[2, 1], sharex="col")
    better = [
        _horizon(pair, traded, shown[shown["horizon"] == h], models, cost)
        for pair, h in zip(axes, horizons, strict=True)
    ]
    dated(axes[-1, 0])
    axes[-1, 1].set_xlabel("cost, bp of what changes hands")
    legend_below(plot, axes[0, 0])
    sure = int((shown.loc[shown["cost_bp"] == shown["cost_bp"].min(), "dsr"] > 0.95).sum())
    return finish(
        plot,
        f"After {cost:g} bp, {sum(better)} of {len(shown.groupby(['model', 'horizon']))} portfolios end above buying "
        f"and holding; before costs, {sure} beat{'s' if sure == 1 else ''} the luck of {traded.trials} tries",
        f"Rule: {traded.rule}. {', '.join(models)}; {traded.daily['session'].min():%Y-%m-%d} to "
        f"{traded.daily['session'].max():%Y-%m-%d}.",
    )


def _horizon(pair: Any, traded: Traded, shown: pd.DataFrame, models: list[str], cost: float) -> int:
    """The panels of one horizon; how many of its portfolios end above buying and holding."""
    horizon, better, longest = shown["horizon"].iloc[0], 0, pd.DataFrame()
    for model, by_cost in shown.groupby("model", sort=False):
        k = models.index(str(model))
        daily = traded.daily[(traded.daily["model"] == model) & (traded.daily["horizon"] == horizon)]
        style = {"color": COLOURS[k % 8], "linestyle": DASHES[k // 8 % 4], "linewidth": 1.2}
        capital, hold = (_capital(daily, *names, cost) for names in (("gross", "turnover"), ("hold", "hold_turnover")))
        better += int(capital[-1] > hold[-1])
        pair[0].plot(daily["session"], capital, label=str(model).replace("_", " "), **style)
        costs = by_cost.sort_values("cost_bp")
        pair[1].plot(costs["cost_bp"], costs["sharpe"], marker=MARKERS[k % 5], markersize=4, **style)
        longest = daily if len(daily) > len(longest) else longest
    hold = _capital(longest, "hold", "hold_turnover", cost)
    pair[0].plot(longest["session"], hold, color=MUTED, linewidth=2, label="buy and hold", zorder=1)
    pair[0].set_ylabel(f"capital after {cost:g} bp, from 1", fontsize=8)
    if hold.max() > WIDE * hold.min() > 0:
        log_scale(pair[0], f"capital after {cost:g} bp")
    heading(pair[0], _ahead(horizon))
    pair[1].axhline(0, color=INK, linewidth=1)
    pair[1].set_ylabel("Sharpe ratio, a year", fontsize=8)
    return better


def _ahead(horizon: int) -> str:
    return f"{counted(horizon, 'session')} ahead"


def _capital(daily: pd.DataFrame, gross: str, turnover: str, cost: float) -> np.ndarray:
    return np.maximum(1 + daily[gross] - cost * 1e-4 * daily[turnover], 0).cumprod().to_numpy()
