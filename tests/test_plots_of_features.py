"""The figures of features say what they show, for any number of rows, symbols and features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit import features, plots
from stockkit.forecast.judge import information_coefficient
from stockkit.market import simulate


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate.bars(["NAN", "ON", "TRUE"], count=300, rng=np.random.default_rng(4))


def coefficients(bars, table, **how):
    names = [name for name in table if name not in ("symbol", "date")]
    return information_coefficient.by_year(table, bars, names, **how)


DRAWN = {
    "price_with_indicators": lambda b, t: plots.price_with_indicators(b, t, "NAN"),
    "standing": lambda b, t: plots.standing(t),
    "missing_values": lambda b, t: plots.missing_values(t),
    "feature_correlation": lambda b, t: plots.feature_correlation(t),
    "ic_by_year": lambda b, t: plots.ic_by_year(coefficients(b, t)),
    "ic_by_year across time": lambda b, t: plots.ic_by_year(coefficients(b, t, across="time")),
}


def many(table):
    """158 features more: those of the table and noise."""
    rng, names = np.random.default_rng(1), list(table.columns[2:])
    more = {f"f{k}": table[names[k % len(names)]] * rng.normal(1, 0.1, len(table)) for k in range(158)}
    return pd.concat([table, pd.DataFrame(more, index=table.index)], axis=1)


def shown(plot):
    data, metadata = plot._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == plot.alt
    assert plot.get_suptitle().replace("\n", " ") in plot.alt
    assert "nan " not in plot.alt
    return plot.alt


@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")
@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize("symbols", [["NAN"], ["NAN", "ON", "TRUE"]], ids=len)
@pytest.mark.parametrize("rows", [0, 1, 2, 300])
def test_a_figure_of_few_or_no_rows_says_what_it_shows_and_leaves_its_frames_alone(bars, draw, symbols, rows):
    bars_of_symbol = bars[bars["symbol"].isin(symbols)].groupby("symbol").tail(rows).reset_index(drop=True)
    table = features.compute(bars_of_symbol)
    before = bars_of_symbol.copy(), table.copy()
    assert len(shown(draw(bars_of_symbol, table))) > 30
    pd.testing.assert_frame_equal(bars_of_symbol, before[0])
    pd.testing.assert_frame_equal(table, before[1])


@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")
@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize(
    "change",
    [
        many,
        lambda t: t.assign(rsi_14=np.nan, to_sma_20=np.nan),
        lambda t: t.assign(macd_hist=np.inf, ret_1=1.0),
        lambda t: t[["symbol", "date", "rsi_14"]],
        lambda t: t[["symbol", "date"]],
        lambda t: t.astype(dict.fromkeys(t.columns[2:], "float32")),
        lambda t: t.sample(frac=1, random_state=1),
    ],
    ids=["158 more", "all missing", "infinite and constant", "one", "none", "float32", "shuffled"],
)
def test_a_figure_survives_any_columns(bars, draw, change):
    shown(draw(bars, change(features.compute(bars))))


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_the_order_of_the_rows_changes_no_figure(bars, draw):
    table = features.compute(bars)
    mixed = draw(bars.sample(frac=1, random_state=1), table.sample(frac=1, random_state=2))
    assert mixed.alt == draw(bars, table).alt


def test_the_title_of_the_price_tells_its_means_and_rsi(prices):
    table = features.compute(prices)
    alt = plots.price_with_indicators(prices, table, "NVDA").alt
    assert alt.startswith(
        "NVDA ends at 410.17, above its mean of 200 sessions but below its mean of 20 and 50 sessions; RSI 31. "
    )
    alone = plots.price_with_indicators(prices, table[["symbol", "date", "to_sma_20"]], "NVDA")
    assert alone.alt.startswith("NVDA ends at 410.17, below its mean of 20 sessions. ")
    assert len(alone.axes) == 2
    assert plots.price_with_indicators(prices, table, "IBM").alt.startswith("No prices of IBM")


def test_the_bands_of_the_price_are_those_that_the_feature_stands_in(prices):
    bars_of_symbol = prices[prices["symbol"] == "AAPL"]
    table = features.compute(bars_of_symbol)
    band = (
        plots.price_with_indicators(bars_of_symbol, table, "AAPL", last=1)
        .axes[0]
        .collections[0]
        .get_paths()[0]
        .vertices[:, 1]
    )
    place = (bars_of_symbol["close"].iloc[-1] - band.min()) / (band.max() - band.min())
    assert place == pytest.approx(table["bollinger_20"].iloc[-1], abs=1e-9)


def test_the_lines_of_the_price_are_its_means(prices):
    bars_of_symbol = prices[prices["symbol"] == "AAPL"]
    axis = plots.price_with_indicators(bars_of_symbol, features.compute(bars_of_symbol), "AAPL", last=5).axes[0]
    for line, sessions in zip(axis.lines[1:], (20, 50, 200), strict=True):
        assert line.get_label() == f"SMA {sessions}"
        np.testing.assert_allclose(
            line.get_ydata(), bars_of_symbol["close"].rolling(sessions).mean().tail(5), rtol=1e-9
        )


def test_a_percentile_counts_the_symbols_own_values():
    days = pd.bdate_range("2020-01-01", periods=4)
    table = pd.DataFrame({"symbol": "A", "date": days, "low": [2.0, 3, 4, 1], "tied": [1.0, 2, np.nan, 2],
                          "gone": [1.0, 2, 3, np.nan], "sma_5": [1.0, 2, 3, 4]})  # fmt: skip
    result = plots.percentiles(table)
    assert result["feature"].tolist() == ["low", "tied"]  # no last value, and in units of price: left out
    np.testing.assert_allclose(result["percentile"], [12.5, 200 / 3])
    assert plots.percentiles(table, ["sma_5"])["percentile"].tolist() == [87.5]


def test_a_value_missing_after_the_look_back_is_counted_and_named(bars):
    table = features.compute(bars)
    assert "all of them within a look-back" in plots.missing_values(table).alt
    table.loc[300 + 14, "rsi_14"] = np.nan  # the first row of ON that should have one
    assert "1 of them after the look-back" in plots.missing_values(table).alt
    table.loc[350:351, "rsi_14"] = np.nan
    assert "3 of them after the look-back: most in rsi_14, there most of ON" in plots.missing_values(table).alt
    assert plots.missing_values(table[["symbol", "date", "range"]]).alt.startswith("No value is missing")


def test_the_rank_correlation_is_spearmans(bars):
    table = features.compute(bars, ["ret_1", "rsi_14", "range"])
    ours, theirs = plots.rank_correlation(table), table.drop(columns=["symbol", "date"]).corr("spearman")
    pd.testing.assert_frame_equal(ours, theirs, atol=0.01)
    trend = table.assign(trend=np.arange(len(table)), late=table["ret_1"].where(np.arange(len(table)) > 600))
    values = trend.drop(columns=["symbol", "date"])
    pd.testing.assert_frame_equal(plots.rank_correlation(trend), values.rank().corr(), atol=1e-12)
    full = table.dropna()
    exact = full.drop(columns=["symbol", "date"]).corr("spearman")
    pd.testing.assert_frame_equal(plots.rank_correlation(full), exact, atol=1e-12)


def test_features_that_say_the_same_are_counted_and_stand_side_by_side(bars):
    table = features.compute(bars, ["ret_1", "range", "volume_z_20"]).assign(again=lambda t: -(t["ret_1"] ** 3))
    plot = plots.feature_correlation(table)
    assert plot.alt.startswith(
        "Of 6 pairs of features, 1 says almost the same (correlation beyond 0.9); ret_1 and again"
    )
    names = [label.get_text() for label in plot.axes[0].get_yticklabels()]
    assert abs(names.index("ret_1") - names.index("again")) == 1


def test_of_many_features_clusters_and_groups_are_named_not_each(bars):
    plot = plots.feature_correlation(many(features.compute(bars)))
    labels = [label.get_text() for label in plot.axes[0].get_yticklabels()]
    assert 3 <= len(labels) <= 60
    assert all(" like it" in label for label in labels)
    assert [label.get_text() for label in plot.axes[0].get_xticklabels()] == ["basic\n23", "other\n158"]


def test_the_coefficients_title_is_the_verdict_over_all_that_was_tried(bars):
    table = many(features.compute(bars))
    result = coefficients(bars, table)
    plot = plots.ic_by_year(result, count=4)
    assert plot.alt.startswith(information_coefficient.verdict(result).text)
    assert "The 4 of 181 features with the largest |t|" in plot.alt
    full = information_coefficient.overall(result).set_index("feature")
    largest = (full["ic"] / full["se"]).abs().sort_values(ascending=False).index[:4]
    assert {axis.get_title(loc="left").split(":")[0] for axis in plot.axes if axis.get_visible()} == set(largest)
    assert sum(axis.get_visible() for axis in plot.axes) == 4


def test_without_a_coefficient_the_figure_says_why(bars):
    bars_of_symbol = bars[bars["symbol"] == "NAN"]
    alt = plots.ic_by_year(coefficients(bars_of_symbol, features.compute(bars_of_symbol))).alt
    assert alt.startswith("No information coefficient to show: one symbol")
