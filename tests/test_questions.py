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
    answer = ask("top_movers", "symbol")
    assert list(answer.index) == list(expected.abs().sort_values(ascending=False).index)
    np.testing.assert_allclose(answer["move_pct"], expected[answer.index])


def test_year_extremes(ask, prices):
    answer = ask("year_extremes", "symbol")
    high, low = wide(prices, "high").tail(252), wide(prices, "low").tail(252)
    np.testing.assert_array_equal(answer["high_52w"], high.max())
    np.testing.assert_array_equal(answer["low_on"], low.idxmin())
    np.testing.assert_allclose(answer["below_high_pct"], (1 - wide(prices, "close").iloc[-1] / high.max()) * 100)


def test_monthly_returns(ask, prices):
    answer = ask("monthly_returns", "symbol", "year")
    change = wide(prices, "close").groupby(lambda day: (day.year, day.month)).last().pct_change() * 100
    assert answer.shape == (66, 13)
    assert answer.loc[("NVDA", 2013)].isna().sum() == 1
    for (year, month), row in change.iloc[1:].iterrows():
        for symbol in SYMBOLS:
            assert answer.loc[(symbol, year)].iloc[month - 1] == pytest.approx(row[symbol])
    grown = wide(prices, "close").groupby(lambda day: day.year).last().pct_change() * 100
    assert answer.loc[("META", 2022), "year_pct"] == pytest.approx(grown.loc[2022, "META"])


def test_correlations(ask, prices):
    expected = np.log(wide(prices, "close")).diff().tail(252).corr()
    answer = ask("correlations", "symbol", "other")
    assert len(answer) == 15
    assert set(answer["sessions"]) == {252}
    for pair, row in answer.iterrows():
        assert row["correlation"] == pytest.approx(expected.loc[pair])


def test_volume_spikes(ask, prices):
    volume = wide(prices, "volume")
    times = (volume / volume.rolling(60).mean().shift(1)).stack().sort_values(ascending=False).head(10)
    answer = ask("volume_spikes", "date", "symbol")
    assert list(answer.index) == list(times.index)
    np.testing.assert_allclose(answer["times_usual"], times)


def test_gaps(ask, prices):
    before = wide(prices, "close").shift(1)
    size = wide(prices, "open") / before - 1
    answer = ask("gaps", "symbol", "direction")
    filled = (wide(prices, "low") <= before) & (wide(prices, "high") >= before)
    for direction, there in (("up", size >= 0.02), ("down", size <= -0.02)):
        rows = answer.xs(direction, level="direction")
        np.testing.assert_array_equal(rows["gaps"], there.sum())
        np.testing.assert_allclose(rows["filled_pct"], (there & filled).sum() / there.sum() * 100)
        np.testing.assert_allclose(rows["mean_pct"], size.where(there).mean() * 100)
    assert answer.loc[("META", "down"), "largest_on"] == size["META"].idxmin()


def test_drawdowns(ask, prices):
    close = wide(prices, "close")
    fall = close / close.cummax() - 1
    answer = ask("drawdowns", "symbol").loc[SYMBOLS]
    np.testing.assert_allclose(answer["worst_pct"], fall.min() * 100)
    np.testing.assert_array_equal(answer["worst_on"], fall.idxmin())
    np.testing.assert_allclose(answer["now_pct"], fall.iloc[-1] * 100)


def test_volatility_ranking(ask, prices):
    returns = np.log(wide(prices, "close")).diff()
    answer = ask("volatility_ranking", "symbol")
    assert list(answer["place"]) == [1, 2, 3, 4, 5, 6]
    for column, last in (("last_63_pct", 63), ("last_252_pct", 252), ("whole_pct", len(returns))):
        np.testing.assert_allclose(answer[column], returns.tail(last).std()[answer.index] * np.sqrt(252) * 100)


def test_rolling_beta(ask, prices):
    returns = wide(prices, "close").pct_change().iloc[1:]
    market = returns.mean(axis=1)
    answer = ask("rolling_beta", "date")
    for symbol in SYMBOLS:
        beta = returns[symbol].rolling(126).cov(market) / market.rolling(126).var()
        expected = beta.dropna().groupby(lambda day: (day.year, day.month)).last()
        np.testing.assert_allclose(answer.loc[answer["symbol"] == symbol, "beta"], expected, rtol=1e-6)


def test_completeness_counts_a_session_that_one_symbol_lacks(prices, tmp_path):
    lake = Lake(Folder(tmp_path), ROOT)
    lake.write("prices", prices.drop(index=[100, 101]), symbols=SYMBOLS)
    answer = lake.ask("completeness", symbols=SYMBOLS).set_index("symbol")
    assert answer["missing"].to_dict() == {**dict.fromkeys(SYMBOLS, 0), "AAPL": 2}
    assert (answer["bars"] + answer["missing"] == 2699).all()
    assert (answer["contradictions"] == 0).all()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("sessions", [2699, 300, 100, 3, 1, 0])
def test_every_answer_is_drawn_or_says_why_not(prices, tmp_path, name, sessions):
    lake = Lake(Folder(tmp_path), ROOT)
    recent = (
        prices.groupby("symbol").tail(sessions)
        if sessions == 2699
        else prices[prices["symbol"] == "AAPL"].tail(sessions)
    )
    lake.write("prices", recent.reset_index(drop=True), symbols=SYMBOLS)
    answer = lake.ask(name, symbols=SYMBOLS)
    plot = getattr(plots, name)(answer[answer["symbol"] == "AAPL"] if name == "monthly_returns" else answer)
    data, _ = plot._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert len(plot.alt) > 30
    assert sessions > 1 or plot.alt.startswith("No ") or name in ("year_extremes", "drawdowns")


def test_the_bill_names_each_question_and_here_costs_nothing(lake):
    fresh = Lake(lake.files, ROOT)
    fresh.ask("gaps", symbols=["AAPL"])
    fresh.ask("top_movers", symbols=SYMBOLS)
    bills = fresh.bills()
    assert bills["question"].tolist() == ["gaps", "top_movers"]
    assert bills["rows"].tolist() == [2, 6]
    assert set(bills["engine"]) == {"DuckDB, here"}
    assert bills["cost_usd"].isna().all()
