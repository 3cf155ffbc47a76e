"""Every figure of the workbook: a frame in, a Figure with alt text out.

Titles state what the figure shows, computed from the frame; axes carry units; colours are told apart in
grey and by colour-blind readers (Okabe and Ito 2008). Frames are left untouched.

Example:
    >>> from stockkit import open_lake, plots
    >>> plots.price_bars(open_lake("data/lake").read("prices")).alt[:27]
    'AAPL has the highest price '
"""

from __future__ import annotations

from stockkit.plots.features import missing_values, percentiles, price_with_indicators, standing
from stockkit.plots.forecasts import coverage_by, fan, running_coverage
from stockkit.plots.information_coefficient import feature_correlation, ic_by_year, rank_correlation
from stockkit.plots.prices import (
    adjustment,
    candlesticks,
    deepest_falls,
    price_bars,
    return_distributions,
    through_time,
    walks,
)
from stockkit.plots.questions import (
    correlations,
    drawdowns,
    gaps,
    rolling_beta,
    top_movers,
    volatility_ranking,
    volume_spikes,
    year_extremes,
)
from stockkit.plots.scores import equity, scoreboard
from stockkit.plots.stream import (
    after_signals,
    lag_histogram,
    latest_prices,
    minute_candles,
    rejected_records,
    signals_through_day,
    volume_by_minute,
)
from stockkit.plots.tables import completeness, correlation, first_look, monthly_returns

__all__ = [
    "adjustment",
    "after_signals",
    "candlesticks",
    "completeness",
    "correlation",
    "correlations",
    "coverage_by",
    "deepest_falls",
    "drawdowns",
    "equity",
    "fan",
    "feature_correlation",
    "first_look",
    "gaps",
    "ic_by_year",
    "lag_histogram",
    "latest_prices",
    "minute_candles",
    "missing_values",
    "monthly_returns",
    "percentiles",
    "price_bars",
    "price_with_indicators",
    "rank_correlation",
    "rejected_records",
    "return_distributions",
    "rolling_beta",
    "running_coverage",
    "scoreboard",
    "signals_through_day",
    "standing",
    "through_time",
    "top_movers",
    "volatility_ranking",
    "volume_by_minute",
    "volume_spikes",
    "walks",
    "year_extremes",
]
