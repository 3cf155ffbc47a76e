import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stockkit.errors import ForecastError, SchemaError
from stockkit.forecast.trading.rules import best_of, deflated, drawdown, probabilistic, sharpe, trade
from stockkit.market import schema, simulate

pytestmark = pytest.mark.filterwarnings("error")

DAYS = pd.bdate_range("2023-01-02", periods=6)
OPENS = [100.0, 110.0, 121.0, 108.9, 108.9, 87.12]  # growth from each open to the next: 10, 10, -10, 0, -20 %


def prices(opens: list[float] = OPENS, symbol: str = "AAA", close: float = 100.0) -> pd.DataFrame:
    days = DAYS[: len(opens)]
    frame = pd.DataFrame({"symbol": symbol, "date": days, "open": opens, "close": close})
    return frame.astype({"symbol": "string", "date": "datetime64[ns]"})


def rows(mean: list[float], horizon: int = 1, symbol: str = "AAA", sigma: float = 0.02) -> pd.DataFrame:
    fixed = {"symbol": symbol, "as_of": DAYS[: len(mean)], "horizon": horizon, "actual": np.nan, "scale": 0.01}
    parts = [pd.DataFrame({**fixed, "model": name, "mean": m, "sigma": sigma})
             for name, m in (("random_walk", 0.0), ("lasso", mean))]  # fmt: skip
    return pd.concat(parts)


def by_cost(frame: pd.DataFrame, **given: object) -> pd.DataFrame:
    return trade(frame, given.pop("market", prices()), **given).by_symbol.set_index("cost_bp")


def test_two_overlapping_sessions_by_hand() -> None:
    """As of days 0, 1 and 2: +, +, -; each holds a half for two sessions from the next open on: 1/2, 1, 0, -1/2."""
    traded = trade(rows([0.01, 0.01, -0.01], horizon=2), prices(), costs=[0, 10])
    np.testing.assert_allclose(traded.daily["gross"], [0.5 * 0.1, 1 * -0.1, 0, -0.5 * -0.2], atol=1e-12)
    np.testing.assert_allclose(traded.daily["turnover"], [0.5, 0.5, 1, 0.5 + 0.5])  # the last half is closed again
    assert traded.daily["session"].tolist() == DAYS[1:5].tolist()
    free, paid = (traded.by_symbol.loc[k] for k in (0, 1))
    assert free["annual_return"] == pytest.approx(252 * 0.05 / 4)
    assert paid["annual_return"] == pytest.approx(252 * (0.05 - 3 * 0.001) / 4)
    assert free["volatility"] == pytest.approx(np.std([0.05, -0.1, 0, 0.1], ddof=1) * np.sqrt(252))
    assert free["sharpe"] == pytest.approx(free["annual_return"] / free["volatility"])
    assert free["break_even_bp"] == pytest.approx(0.05 / 3 * 1e4)
    assert free["turnover"] == pytest.approx(3 / 4 * 252)
    assert free["max_drawdown"] == pytest.approx(-0.1)
    assert (free["sessions"], free["unfilled"]) == (4, 0)


def test_at_the_break_even_cost_nothing_is_left() -> None:
    frame = rows([0.01, 0.01, -0.01], horizon=2)
    cost = by_cost(frame)["break_even_bp"].iloc[0]
    assert by_cost(frame, costs=[cost])["annual_return"].iloc[0] == pytest.approx(0, abs=1e-12)


def test_buying_and_holding_pays_once_to_get_in_and_once_to_get_out() -> None:
    traded = by_cost(rows([0.01, 0.01, -0.01], horizon=2), costs=[0, 20])
    holding = np.array([0.1, -0.1, 0.0, -0.2])
    assert traded.loc[0, "hold_return"] == pytest.approx(252 * holding.mean())
    assert traded.loc[20, "hold_return"] == pytest.approx(252 * (holding.sum() - 2 * 0.002) / 4)
    assert traded.loc[0, "hold_drawdown"] == pytest.approx(0.9 * 0.8 - 1)


def test_a_fill_at_the_close_of_as_of_would_have_earned_what_ours_loses() -> None:
    """All moves are overnight and every forecast knows the coming one: it is over before the next open."""
    gaps = prices([100.0, 110, 99, 108.9, 98.01, 107.811])
    frame, gaps["close"] = rows([0.01, -0.01, 0.01, -0.01]), gaps["open"]
    ours = trade(frame, gaps, costs=[0])
    np.testing.assert_allclose(ours.daily["gross"], [-0.1] * 4)
    at_the_close = gaps.assign(open=gaps["close"].shift(fill_value=100.0))
    np.testing.assert_allclose(trade(frame, at_the_close, costs=[0]).daily["gross"], [0.1] * 4)


@pytest.mark.parametrize("horizon", [1, 3])
def test_no_price_before_the_first_fill_and_no_close_at_all_matters(horizon: int) -> None:
    market = simulate.bars(["AAA"], count=40, rng=np.random.default_rng(1))
    days = market["date"].to_numpy()
    means = np.random.default_rng(2).normal(size=20)
    frame = rows([0.0]).drop(columns=["as_of", "mean"]).merge(pd.DataFrame({"as_of": days[10:30]}), how="cross")
    frame["mean"] = np.where(frame["model"] == "lasso", np.tile(means, 2), 0.0)
    other = market.assign(close=1.0, high=1.0, low=1.0, volume=0)
    other.loc[:10, "open"] = 7.0  # up to and with the as_of of the first forecast
    other.loc[31 + horizon :, "open"] *= 3  # after the last position was closed
    result, two = (trade(frame, bars) for bars in (market, other))
    for table in ("by_symbol", "portfolio", "daily"):
        pd.testing.assert_frame_equal(getattr(result, table), getattr(two, table))
    first = other.assign(open=other["open"].where(other.index != 11, other["open"] * 1.01))
    assert not trade(frame, first).daily["gross"].equals(result.daily["gross"])


def test_a_forecast_of_the_last_session_has_no_open_to_be_filled_at() -> None:
    traded = by_cost(rows([0.01] * 6), costs=[0])
    assert (traded.loc[0, "sessions"], traded.loc[0, "unfilled"]) == (4, 1)


def test_a_fill_at_the_last_open_has_earned_nothing_yet() -> None:
    traded = by_cost(rows([np.nan] * 4 + [0.01]), costs=[0])
    assert (traded.loc[0, "sessions"], traded.loc[0, "unfilled"]) == (0, 0)


def test_without_the_next_open_nothing_is_bought() -> None:
    halted = prices([100, np.nan, 50, 100, 100, 100])
    traded = trade(rows([0.01, 0.0, 0.01]), halted, costs=[0])
    assert traded.by_symbol["unfilled"].tolist() == [1]
    np.testing.assert_allclose(traded.daily["gross"], [0, 0])


def test_what_is_held_into_a_halt_is_held_to_its_end() -> None:
    halted = prices([100, 100, np.nan, 50, 50, 50])
    traded = trade(rows([0.01]), halted, costs=[0])  # bought at 100, to be sold on day 2, sold on day 3 at 50
    assert traded.by_symbol["annual_return"].iloc[0] == pytest.approx(252 * traded.daily["gross"].mean())
    assert traded.daily["gross"].sum() == pytest.approx(-0.5)


def test_more_than_a_fortnight_later_is_not_the_next_open() -> None:
    gap = prices()
    gap.loc[2:, "date"] += pd.Timedelta(days=20)
    traded = trade(rows([0.01, 0.01]), gap, costs=[0])
    assert traded.by_symbol["unfilled"].tolist() == [1]


@pytest.mark.parametrize("market", [prices(symbol="ZZZ"), prices()[:1], prices()[:0]], ids=["other", "one day", "none"])
def test_a_symbol_without_prices_is_not_traded_and_keeps_its_row(market: pd.DataFrame) -> None:
    traded = by_cost(rows([0.01, 0.01]), market=market, costs=[5])
    assert (traded.loc[5, "sessions"], traded.loc[5, "unfilled"]) == (0, 2)
    assert traded[["annual_return", "sharpe", "dsr", "break_even_bp", "max_drawdown"]].isna().all(axis=None)


def test_a_threshold_leaves_weak_forecasts_alone() -> None:
    traded = trade(rows([0.01, 0.03, -0.03]), prices(), threshold=1.0, costs=[0])
    np.testing.assert_allclose(traded.daily["gross"], [0, -0.1, 0], atol=1e-12)
    assert traded.rule == "long or short where the mean is over 1 sigma"


def test_the_portfolio_is_the_mean_of_its_symbols() -> None:
    market = pd.concat([prices(), prices([100, 100, 130, 130, 130, 130], symbol="BBB")], ignore_index=True)
    both = pd.concat([rows([0.01, 0.01]), rows([0.01, -0.01], symbol="BBB")])
    traded = trade(both, market, costs=[0])
    np.testing.assert_allclose(traded.daily["gross"], [(0.1 + 0.3) / 2, (-0.1 + 0) / 2], atol=1e-12)
    np.testing.assert_allclose(traded.daily["turnover"], [1, (0 + 2) / 2 + 1])
    assert traded.portfolio[["symbols", "sessions"]].to_numpy().tolist() == [[2, 2]]
    assert traded.trials == 3


def test_more_trials_leave_less_certainty() -> None:
    frame = rows([0.01, 0.01, -0.01], horizon=2)
    few, many = (by_cost(frame, trials=trials).loc[0] for trials in (2, 200))
    assert many["dsr"] < few["dsr"] < few["psr"] == many["psr"]


def test_strategies_are_counted_where_they_are_made_and_fewer_settings_change_nothing() -> None:
    assert [trade(rows([0.01]), prices(), trials=trials).trials for trials in (0, 1, 2, 9)] == [2, 2, 2, 9]


@pytest.mark.parametrize("wrong", [{"threshold": -1.0}, {"costs": [5, -1]}, {"costs": []}])
def test_what_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(ForecastError, match="none below 0"):
        trade(rows([0.01]), prices(), **wrong)


def test_prices_out_of_order_are_refused() -> None:
    with pytest.raises(SchemaError, match="rows must be sorted"):
        trade(rows([0.01]), prices()[::-1].reset_index(drop=True))


def test_no_forecasts_give_empty_tables() -> None:
    traded = trade(rows([0.01])[:0], schema.empty(schema.BARS))
    assert traded.by_symbol.empty
    assert traded.portfolio.empty
    assert traded.daily.empty


def test_capital_that_is_gone_does_not_come_back() -> None:
    assert drawdown(np.array([0.5, -1.2, 3.0])) == -1
    assert drawdown(np.array([0.1, 0.2])) == 0
    assert drawdown(np.array([-0.25, 0.1])) == pytest.approx(-0.25)


def test_the_probability_is_that_of_the_formula_with_scipys_moments():
    returns = stats.skewnorm.rvs(4, loc=-0.5, size=300, random_state=1)
    ratio = returns.mean() / returns.std(ddof=1)
    skewness, kurtosis = stats.skew(returns), stats.kurtosis(returns, fisher=False)
    z = (ratio - 0.02) * np.sqrt(299) / np.sqrt(1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2)
    assert probabilistic(returns, 0.02) == pytest.approx(stats.norm.cdf(z))


@pytest.mark.parametrize("kind", ["normal", "fat tails"])
def test_without_skill_one_in_twenty_is_over_95_per_cent(kind):
    rng = np.random.default_rng(5)
    draws = rng.normal(size=(2000, 252)) if kind == "normal" else rng.standard_t(5, size=(2000, 252))
    assert np.mean(probabilistic(draws) > 0.95) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("trials", [2, 10, 500])
def test_the_best_of_many_without_skill_is_as_good_as_expected(trials):
    best = np.random.default_rng(7).normal(size=(4000, trials)).max(axis=1)
    assert best_of(trials, 1.0) == pytest.approx(best.mean(), rel=0.08)


def test_the_best_of_fifty_without_skill_does_not_pass_as_certain():
    rng = np.random.default_rng(9)
    best = [max(rng.normal(size=(50, 252)), key=lambda count: sharpe(count)) for _ in range(200)]
    assert np.mean([probabilistic(count) > 0.95 for count in best]) > 0.8
    assert np.mean([deflated(count, 50) > 0.95 for count in best]) <= 0.05


def test_one_trial_needs_no_deflation():
    returns = np.random.default_rng(3).normal(0.1, size=100)
    assert deflated(returns, 1) == probabilistic(returns)


def test_the_variance_of_the_trials_may_be_given():
    returns = np.random.default_rng(3).normal(0.1, size=100)
    assert deflated(returns, 20, 0.04) == pytest.approx(probabilistic(returns, best_of(20, 0.04)))


@pytest.mark.parametrize("returns", [np.empty(0), np.array([0.1]), np.full(9, 0.1), np.zeros(9)], ids=repr)
def test_returns_without_spread_have_no_ratio(returns):
    assert np.isnan(sharpe(returns))
    assert np.isnan(deflated(returns, 3))


def test_no_trials_are_refused():
    with pytest.raises(ForecastError, match="trials 0"):
        best_of(0, 1.0)
