"""Figures of one, fifty and five hundred symbols: readable, and in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, lacking

DRAWN = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from stockkit import plots
from stockkit.forecast.judge import information_coefficient, scores
from stockkit.forecast.trading import batch_crossings, crossing_scores, crossings, rules
from stockkit.forecast.judge.intervals import BOUNDS
from stockkit.market import schema, simulate
from stockkit.market.signals import Rule
from stockkit.features import CATALOGUE
from stockkit.plots import figure
from tests import streamed
from tests.test_plots_of_scores import forecasts

figure.DPI = 60  # memory goes by what is drawn, hardly by its resolution

def draw(figures):
    for name, plot in figures.items():
        plot._repr_mimebundle_()
        assert plot.get_figheight() < 20, f"{name} is {plot.get_figheight():.0f} inches high"
        words = sum(len(axis.texts) + len(axis.get_yticks()) for axis in plot.axes)
        assert words < 600, f"{name} has {words} words"


count = int(sys.argv[1])
names, rng = [f"S{k:03}" for k in range(count)], np.random.default_rng(1)
prices = simulate.bars(names, count=300, rng=rng)
prices = prices.assign(close_raw=prices["close"], split_factor=1.0)
symbol = pd.Series(names, dtype="string")
one = pd.DataFrame({"symbol": symbol, "date": prices["date"].max()})
some = rng.normal(size=(count, 12))
answers = {
    "top_movers": one.assign(move_pct=some[:, 0]),
    "year_extremes": one.assign(low_52w=50.0, high_52w=100.0, below_high_pct=np.abs(some[:, 1])),
    "gaps": one.assign(direction="up", gaps=3, filled_pct=50.0),
    "drawdowns": one.assign(worst_pct=-np.abs(some[:, 2]), worst_on=one["date"], now_pct=-0.1),
    "volatility_ranking": one.assign(last_63_pct=1.0, last_252_pct=np.abs(some[:, 3]), whole_pct=1.0),
    "rolling_beta": pd.concat([one.assign(beta=some[:, 4], date=day) for day in prices["date"].unique()[:50]]),
    "correlations": pd.DataFrame(
        [(a, b, 0.5) for k, a in enumerate(names) for b in names[k + 1:]], columns=["symbol", "other", "correlation"]
    ),
}
made = one.rename(columns={"date": "as_of"}).assign(model="random_walk", horizon=1, mean=0.0, sigma=0.02)
made = made.assign(**{name: (-0.03 if name.startswith("lo") else 0.03) for name in BOUNDS})
levels = [made.assign(level=level, group=symbol, share=0.9, band_lo=0.8, band_hi=1.0, n=100, kind="symbol",
                      as_claimed=True) for level in (80, 90, 95)]
past = prices.rename(columns={"date": "as_of"}).assign(model="random_walk", horizon=1, actual=0.01, lo90=-0.1, hi90=0.1)
alarm = one.assign(model="random_walk", horizon=1, since=pd.NaT, drifted=False)
figures = {name: getattr(plots, name)(answer) for name, answer in answers.items()}
figures |= {
    "completeness": plots.completeness(prices, schema.empty(schema.REJECTS)),
    "correlation": plots.correlation(prices),
    "adjustment": plots.adjustment(prices),
    "price_bars": plots.price_bars(prices),
    "through_time": plots.through_time(prices, plots.deepest_falls(prices)),
    "return_distributions": plots.return_distributions(prices),
    "fan": plots.fan(prices, made),
    "first_look": plots.first_look(prices, "prices"),
    "coverage_by": plots.coverage_by(pd.concat(levels)),
    "running_coverage": plots.running_coverage(past, alarm),
}
draw(figures)
drawn = set(figures)
del figures, past, levels
made, bars = forecasts(count)
spikes = one.assign(times_usual=np.sort(some[:, 5] + 9)[::-1], move_pct=some[:, 6])
months = pd.DataFrame(some, columns="jan feb mar apr may jun jul aug sep oct nov dec".split())
features = list(CATALOGUE)[::2]
values = rng.normal(size=(len(prices), len(features))).astype("float32")
values[::7, :50] = np.nan
described = pd.DataFrame(values, columns=features, copy=False)
described.insert(0, "date", prices["date"])
described.insert(0, "symbol", prices["symbol"])
judged = information_coefficient.by_year(
    described, prices, described.columns[2:6], across="time" if count == 1 else "symbols"
)
figures = {
    "scoreboard": plots.scoreboard(scores.score(made)),
    "equity": plots.equity(rules.trade(made, bars)),
    "walks": plots.walks(prices, prices, names[0]),
    "candlesticks": plots.candlesticks(prices, names[-1]),
    "volume_spikes": plots.volume_spikes(spikes),
    "monthly_returns": plots.monthly_returns(months.assign(year=np.arange(count) + 1600)),
    "missing_values": plots.missing_values(described),
    "feature_correlation": plots.feature_correlation(described),
    "standing": plots.standing(described),
    "price_with_indicators": plots.price_with_indicators(prices, described, names[0]),
    "ic_by_year": plots.ic_by_year(judged),
}
draw(figures)
drawn |= set(figures)
del described, judged, values
day, rule = streamed.tables(symbols=tuple(names), count=120), Rule()
lines = batch_crossings.averages(day["ticks"], rule, interval="tick")
followed = crossings.after_ticks(day["signals"], day["ticks"], horizons=[1], gap=rule.gap)
figures = {
    "latest_prices": plots.latest_prices(day["ticks"]),
    "signals_through_day": plots.signals_through_day(lines, day["signals"], names[:2]),
    "minute_candles": plots.minute_candles(day["bars_1m"], names[-1]),
    "volume_by_minute": plots.volume_by_minute(day["bars_1m"]),
    "lag_histogram": plots.lag_histogram(day["ticks"]),
    "rejected_records": plots.rejected_records(day["dead_letters"]),
    "after_signals": plots.after_signals(crossing_scores.score(followed, cost=10.0, unit="minutes")),
}
draw(figures)
tables = {"deepest_falls", "percentiles", "rank_correlation"}
assert drawn | set(figures) == set(plots.__all__) - tables
# not ru_maxrss, which counts what the process that started this one held
status = Path("/proc/self/status").read_text().splitlines()
print(int(next(line for line in status if line.startswith("VmHWM")).split()[1]) // 1024)
"""


@pytest.mark.parametrize("count", [1, 500])
def test_every_figure_of_symbols_is_drawn_in_under_a_gigabyte(count):
    if not Path("/proc/self/status").exists():
        lacking("procfs", "/proc is missing: how much memory a process took cannot be read")
    command = [sys.executable, "-c", DRAWN, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) < 1024, "megabytes"
