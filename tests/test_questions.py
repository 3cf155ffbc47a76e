"""The questions in sql/: each answered as plain pandas answers it, each drawn, also where there is little to ask."""

from __future__ import annotations

import numpy as np
import pytest

from stockkit import plots
from stockkit.files import Folder
from stockkit.lake.tables import Lake
from tests.conftest import ROOT, SYMBOLS

QUESTIONS = sorted(path.stem for path in (ROOT / "sql").glob("*.sql"))
DRAWN = sorted(set(QUESTIONS) - {"completeness"})


@pytest.fixture(scope="module")
def lake(tmp_path_factory, prices):
    lake = Lake(Folder(tmp_path_factory.mktemp("lake")), ROOT)
    lake.write("prices", prices, symbols=SYMBOLS)
    return lake


@pytest.fixture
def ask(lake):
    return lambda name, *index: lake.ask(name, symbols=SYMBOLS).set_index(list(index))


def wide(prices, column):
    return prices.pivot(index="date", columns="symbol", values=column)


def test_there_are_ten_questions_and_each_states_its_grain(lake):
    assert len(QUESTIONS) == 10
    for name in QUESTIONS:
        assert "-- Grain: one row a symbol" in lake.question(name).text


def test_top_movers(ask, prices):
    close = wide(prices, "close")
    expected = close.pct_change().iloc[-1] * 100
    found = ask("top_movers", "symbol")
    assert list(found.index) == list(expected.abs().sort_values(ascending=False).index)
    np.testing.assert_allclose(found["move_pct"], expected[found.index])


def test_year_extremes(ask, prices):
    found = ask("year_extremes", "symbol")
    high, low = wide(prices, "high").tail(252), wide(prices, "low").tail(252)
    np.testing.assert_array_equal(found["high_52w"], high.max())
    np.testing.assert_array_equal(found["low_on"], low.idxmin())
    np.testing.assert_allclose(found["below_high_pct"], (1 - wide(prices, "close").iloc[-1] / high.max()) * 100)


def test_monthly_returns(ask, prices):
    found = ask("monthly_returns", "symbol", "year")
    change = wide(prices, "close").groupby(lambda day: (day.year, day.month)).last().pct_change() * 100
    assert found.shape == (66, 13)
    assert found.loc[("NVDA", 2013)].isna().sum() == 1
    for (year, month), row in change.iloc[1:].iterrows():
        for symbol in SYMBOLS:
            assert found.loc[(symbol, year)].iloc[month - 1] == pytest.approx(row[symbol])
    grown = wide(prices, "close").groupby(lambda day: day.year).last().pct_change() * 100
    assert found.loc[("META", 2022), "year_pct"] == pytest.approx(grown.loc[2022, "META"])


def test_correlations(ask, prices):
    expected = np.log(wide(prices, "close")).diff().tail(252).corr()
    found = ask("correlations", "symbol", "other")
    assert len(found) == 15
    assert set(found["sessions"]) == {252}
    for pair, row in found.iterrows():
        assert row["correlation"] == pytest.approx(expected.loc[pair])


def test_volume_spikes(ask, prices):
    volume = wide(prices, "volume")
    times = (volume / volume.rolling(60).mean().shift(1)).stack().sort_values(ascending=False).head(10)
    found = ask("volume_spikes", "date", "symbol")
    assert list(found.index) == list(times.index)
    np.testing.assert_allclose(found["times_usual"], times)


def test_gaps(ask, prices):
    before = wide(prices, "close").shift(1)
    size = wide(prices, "open") / before - 1
    found = ask("gaps", "symbol", "direction")
    filled = (wide(prices, "low") <= before) & (wide(prices, "high") >= before)
    for direction, there in (("up", size >= 0.02), ("down", size <= -0.02)):
        own = found.xs(direction, level="direction")
        np.testing.assert_array_equal(own["gaps"], there.sum())
        np.testing.assert_allclose(own["filled_pct"], (there & filled).sum() / there.sum() * 100)
        np.testing.assert_allclose(own["mean_pct"], size.where(there).mean() * 100)
    assert found.loc[("META", "down"), "largest_on"] == size["META"].idxmin()


def test_drawdowns(ask, prices):
    close = wide(prices, "close")
    fall = close / close.cummax() - 1
    found = ask("drawdowns", "symbol").loc[SYMBOLS]
    np.testing.assert_allclose(found["worst_pct"], fall.min() * 100)
    np.testing.assert_array_equal(found["worst_on"], fall.idxmin())
    np.testing.assert_allclose(found["now_pct"], fall.iloc[-1] * 100)


def test_volatility_ranking(ask, prices):
    returns = np.log(wide(prices, "close")).diff()
    found = ask("volatility_ranking", "symbol")
    assert list(found["place"]) == [1, 2, 3, 4, 5, 6]
    for column, last in (("last_63_pct", 63), ("last_252_pct", 252), ("whole_pct", len(returns))):
        np.testing.assert_allclose(found[column], returns.tail(last).std()[found.index] * np.sqrt(252) * 100)


def test_rolling_beta(ask, prices):
    returns = wide(prices, "close").pct_change().iloc[1:]
    market = returns.mean(axis=1)
    found = ask("rolling_beta", "date")
    for symbol in SYMBOLS:
        beta = returns[symbol].rolling(126).cov(market) / market.rolling(126).var()
        expected = beta.dropna().groupby(lambda day: (day.year, day.month)).last()
        np.testing.assert_allclose(found.loc[found["symbol"] == symbol, "beta"], expected, rtol=1e-6)


def test_completeness_counts_a_session_that_one_symbol_lacks(prices, tmp_path):
    lake = Lake(Folder(tmp_path), ROOT)
    lake.write("prices", prices.drop(index=[100, 101]), symbols=SYMBOLS)
    found = lake.ask("completeness", symbols=SYMBOLS).set_index("symbol")
    assert found["missing"].to_dict() == {**dict.fromkeys(SYMBOLS, 0), "AAPL": 2}
    assert (found["bars"] + found["missing"] == 2699).all()
    assert (found["contradictions"] == 0).all()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("sessions", [2699, 300, 100, 3, 1, 0])
def test_every_answer_is_drawn_or_says_why_not(prices, tmp_path, name, sessions):
    lake = Lake(Folder(tmp_path), ROOT)
    own = (
        prices.groupby("symbol").tail(sessions)
        if sessions == 2699
        else prices[prices["symbol"] == "AAPL"].tail(sessions)
    )
    lake.write("prices", own.reset_index(drop=True), symbols=SYMBOLS)
    answer = lake.ask(name, symbols=SYMBOLS)
    plot = getattr(plots, name)(answer[answer["symbol"] == "AAPL"] if name == "monthly_returns" else answer)
    data, _ = plot._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert len(plot.alt) > 30
    assert sessions > 1 or plot.alt.startswith("No ") or name in ("year_extremes", "drawdowns")


def test_the_bill_names_each_question_and_here_costs_nothing(lake):
    own = Lake(lake.files, ROOT)
    own.ask("gaps", symbols=["AAPL"])
    own.ask("top_movers", symbols=SYMBOLS)
    bills = own.bills()
    assert bills["question"].tolist() == ["gaps", "top_movers"]
    assert bills["rows"].tolist() == [2, 6]
    assert set(bills["engine"]) == {"DuckDB, here"}
    assert bills["cost_usd"].isna().all()
