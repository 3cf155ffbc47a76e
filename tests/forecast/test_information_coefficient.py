"""The information coefficient finds what was planted, keeps its error's word, and never mistakes luck."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from stockkit import features
from stockkit.errors import ParamError, SchemaError
from stockkit.forecast.judge import information_coefficient
from stockkit.market import simulate

WAYS = ("symbols", "time")
NAN_SYMBOLS = ["NAN", "TRUE", "ON"]


def panel(seed: int, *, symbols=6, sessions=700, rho=0.0, lasting=0.0, count=1, market=0.5):
    """Features f0, f1 … whose correlation with the next log return is `rho`, each `lasting` times its last value
    and noise; and the prices, of which `market` is the share of the variance that all symbols have in common."""
    rng = np.random.default_rng(seed)
    shared, alone = rng.normal(size=(sessions, 1)), rng.normal(size=(sessions, symbols))
    returns = np.sqrt(market) * shared + np.sqrt(1 - market) * alone
    names = [f"S{k:03d}" for k in range(symbols)]
    place = {
        "symbol": np.repeat(names, sessions),
        "date": np.tile(pd.bdate_range("2015-01-01", periods=sessions), symbols),
    }
    noise = signal.lfilter(
        [np.sqrt(1 - lasting**2)], [1, -lasting], rng.normal(size=(count, sessions, symbols)), axis=1
    )
    values = np.sqrt(1 - rho**2) * noise
    values[:, :-1] += rho * returns[1:]
    columns = {f"f{k}": value.T.ravel() for k, value in enumerate(values)}
    close = 100 * np.exp(np.cumsum(returns * 0.01, axis=0)).T.ravel()
    table, prices = pd.DataFrame({**place, **columns}), pd.DataFrame({**place, "close": close})
    return table.astype({"symbol": "string"}), prices.astype({"symbol": "string"})


def judged(table, prices, **how):
    names = [name for name in table if name not in ("symbol", "date")]
    return information_coefficient.by_year(table, prices, names, **how)


def test_a_session_has_spearmans_correlation_as_scipy_computes_it():
    table, prices = panel(1, symbols=9, sessions=25)
    table.loc[[3, 40, 120], "f0"] = np.nan
    table["f0"] = table["f0"].round(1)  # ties
    after = np.log(prices["close"]).groupby(prices["symbol"]).shift(-1) - np.log(prices["close"])
    days = [
        stats.spearmanr(day["f0"], day["r"], nan_policy="omit").statistic
        for _, day in table.assign(r=after).dropna(subset="r").groupby("date")
    ]
    (row,) = judged(table, prices).to_dict("records")
    assert row["ic"] == pytest.approx(np.mean(days), abs=1e-12)
    assert row["se"] == pytest.approx(np.std(days, ddof=1) / np.sqrt(24), abs=1e-12)
    assert (row["n"], row["year"], row["reason"]) == (24, 2015, "")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rho", [-0.2, 0.1])
def test_a_planted_coefficient_is_found_within_its_error(way, rho):
    result = information_coefficient.overall(
        judged(*panel(3, rho=rho, sessions=1500, symbols=20, market=0.0), across=way)
    )
    spearman = 6 / np.pi * np.arcsin(rho / 2)  # of two normal variables (Pearson 1907)
    assert abs(result["ic"][0] - spearman) < 3 * result["se"][0] + 0.01
    assert result["p"][0] < 0.001
    assert result["same_sign"][0] == result["years"][0] == 6


def rejected(way, horizon, *, tries=40):
    """The share of features that tell nothing, lasting as most are, whose p is under 0.05: 20 a market, 40 markets."""
    tables = (panel(seed, sessions=300, lasting=0.97, count=20) for seed in range(tries))
    result = pd.concat([judged(*parts, across=way, horizon=horizon) for parts in tables])
    return (result.loc[result["year"] == 2015, "p"] < 0.05).mean()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("horizon", [1, 5])
def test_of_features_that_tell_nothing_one_in_twenty_is_beyond_its_band(way, horizon):
    assert 0.03 < rejected(way, horizon) < 0.08


def test_an_error_that_forgets_the_overlap_would_break_its_word(monkeypatch):
    plain = information_coefficient.mean_error
    monkeypatch.setattr(information_coefficient, "mean_error", lambda values, _: plain(values, 1))
    assert rejected("symbols", 5, tries=10) > 0.2


def test_what_follows_a_random_walk_seems_to_forecast_only_when_ranks_know_the_years_end(monkeypatch):
    bars = simulate.bars([f"S{k}" for k in range(30)], count=600, rng=np.random.default_rng(2))
    table = features.compute(bars, ["rsi_14", "to_sma_50"])
    honest = information_coefficient.overall(judged(table, bars, across="time"))
    assert (honest["ic"].abs() < 2.5 * honest["se"]).all()
    year = bars["date"].drop_duplicates().dt.year.to_numpy()
    within_year = lambda values: 2 * pd.DataFrame(values).groupby(year).rank(pct=True).to_numpy() - 1  # noqa: E731
    monkeypatch.setattr(information_coefficient, "past_ranks", within_year)
    hindsight = information_coefficient.overall(judged(table, bars, across="time"))
    assert (hindsight["ic"] < -4 * hindsight["se"]).all()


@pytest.mark.parametrize("way", WAYS)
@given(seed=st.integers(0, 99))
@settings(max_examples=8)
def test_a_monotone_change_of_scale_leaves_it_and_a_change_of_sign_turns_it(way, seed):
    table, prices = panel(seed, sessions=200, rho=0.1)
    table.loc[seed, "f0"] = np.nan
    base = judged(table, prices, across=way)
    pd.testing.assert_frame_equal(judged(table.assign(f0=np.exp(3 * table["f0"])), prices, across=way), base)
    turned = judged(table.assign(f0=-table["f0"]), prices, across=way)
    np.testing.assert_allclose(turned["ic"], -base["ic"], atol=1e-12)
    np.testing.assert_allclose(turned["se"], base["se"], atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_the_order_of_the_rows_does_not_matter_and_the_frames_stay_as_they_were(way):
    table, prices = panel(1, sessions=200)
    shuffled, other = table.sample(frac=1, random_state=1), prices.sample(frac=1, random_state=2)
    before = shuffled.copy(), other.copy()
    pd.testing.assert_frame_equal(judged(shuffled, other, across=way), judged(table, prices, across=way))
    pd.testing.assert_frame_equal(shuffled, before[0])
    pd.testing.assert_frame_equal(other, before[1])


def test_the_outcome_is_the_symbols_own_return_after_the_session():
    """Two symbols, one without every other session: what follows is its next own session's."""
    days = pd.bdate_range("2020-01-01", periods=60)
    rng = np.random.default_rng(1)
    parts = [pd.DataFrame({"symbol": s, "date": d, "close": 100 * np.exp(rng.normal(size=len(d)).cumsum())})
             for s, d in (("A", days), ("B", days[::2]))]  # fmt: skip
    prices = pd.concat(parts, ignore_index=True)
    after = prices.groupby("symbol")["close"].shift(-1) / prices["close"]
    table = prices[["symbol", "date"]].assign(outcome=after)
    (row,) = judged(table, prices).query("reason == ''").to_dict("records") or [{}]
    assert row == {}  # always right: 1.0 on every session, so no spread to make an error of
    (row,) = judged(table, prices).to_dict("records")
    assert (row["n"], row["reason"]) == (29, "no spread over sessions")


@pytest.mark.parametrize(
    ("change", "way", "reason"),
    [
        (lambda t: t[t["symbol"] == "S000"], "symbols", "one symbol: nothing to rank it against, ask across time"),
        (lambda t: t.assign(f0=t["date"].dt.month), "symbols", "all symbols share its value: ask across time"),
        (lambda t: t.assign(f0=3.0), "time", "it never changed"),
        (lambda t: t.assign(f0=np.nan), "symbols", "0 sessions, fewer than 20"),
        (lambda t: t.assign(f0=np.inf), "time", "0 sessions, fewer than 20"),
        (lambda t: t[t["date"] < "2015-01-20"], "symbols", "13 sessions, fewer than 20"),
    ],
)
def test_where_there_is_no_coefficient_it_says_why(change, way, reason):
    table, prices = panel(1, sessions=200)
    (row,) = judged(change(table), prices, across=way).to_dict("records")
    assert np.isnan(row["ic"])
    assert np.isnan(row["p"])
    assert row["reason"] == reason


@pytest.mark.parametrize("way", WAYS)
def test_an_infinite_value_counts_as_missing(way):
    table, prices = panel(1, sessions=200)
    gone, infinite = table.copy(), table.copy()
    gone.loc[::7, "f0"], infinite.loc[::7, "f0"] = np.nan, np.inf
    pd.testing.assert_frame_equal(judged(infinite, prices, across=way), judged(gone, prices, across=way))


def test_one_symbol_and_a_feature_that_all_share_are_judged_across_time():
    table, prices = panel(1, sessions=250, rho=0.5)
    alone = judged(table[table["symbol"] == "S000"], prices, across="time")
    shared = judged(table.assign(f0=table["date"].dt.day), prices, across="time")
    assert alone["p"][0] < 0.001
    assert shared["ic"].notna().all()


def test_a_symbol_called_nan_counts_like_any_other():
    bars = simulate.bars(NAN_SYMBOLS, count=100, rng=np.random.default_rng(1))
    table = features.compute(bars, ["ret_1"])
    renamed = {"NAN": "A", "TRUE": "B", "ON": "C"}
    plain = judged(table.replace({"symbol": renamed}), bars.replace({"symbol": renamed}))
    pd.testing.assert_frame_equal(judged(table, bars), plain)


def test_too_few_sessions_for_the_horizon_is_said():
    result = judged(*panel(1, sessions=120), horizon=21)
    assert result["reason"].tolist() == ["too few sessions for 21 ahead"]


@pytest.mark.parametrize("way", WAYS)
def test_frames_as_users_of_pandas_make_them_give_the_same(way):
    table, prices = panel(6, sessions=120)
    kinds = {"symbol": "category", "date": "datetime64[s]"}
    users = table.astype(kinds), prices.astype({**kinds, "symbol": "object"})
    pd.testing.assert_frame_equal(judged(*users, across=way), judged(table, prices, across=way))


def test_no_rows_give_no_coefficients():
    table, prices = panel(1, sessions=30)
    result = judged(table.iloc[:0], prices)
    assert list(result) == list(information_coefficient.COEFFICIENTS)
    assert information_coefficient.overall(result).empty
    assert information_coefficient.verdict(result).text.startswith("No feature has")


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"names": ["g"]}, ParamError, "'g' is no feature of the table"),
        ({"names": ["date"]}, ParamError, "'date' is no feature"),
        ({"horizon": 0}, ParamError, "horizon 0: give a whole number"),
        ({"horizon": 1.5}, ParamError, "horizon 1.5"),
        ({"across": "space"}, ParamError, "across 'space'"),
        ({"prices": pd.DataFrame({"symbol": []})}, SchemaError, "the prices have no column 'date'; they have symbol"),
    ],
)
def test_a_bad_request_is_refused_by_name(how, error, says):
    table, prices = panel(1, sessions=30)
    with pytest.raises(error, match=says):
        information_coefficient.by_year(**{"table": table, "prices": prices, "names": ["f0"], **how})


def test_a_row_that_stands_twice_is_refused():
    table, prices = panel(1, sessions=30)
    with pytest.raises(SchemaError, match="the features have two rows of S000 on 2015-01-01"):
        judged(pd.concat([table, table.iloc[:1]]), prices)


def test_the_whole_is_the_mean_of_the_years_by_sessions():
    table, prices = panel(2, sessions=700)
    years = judged(table, prices)
    (all_years,) = information_coefficient.overall(years).to_dict("records")
    assert all_years["ic"] == pytest.approx((years["ic"] * years["n"]).sum() / years["n"].sum())
    assert all_years["n"] == years["n"].sum() == 699
    assert all_years["se"] == pytest.approx(years["se"].mean() / np.sqrt(700 / 261), rel=0.1)


def test_the_verdict_counts_every_try_and_what_luck_alone_gives():
    table, prices = panel(8, sessions=500, count=30)
    finding = information_coefficient.verdict(judged(table, prices))
    assert finding.telling == ()
    assert finding.tried == 60
    assert finding.text.startswith("Of 30 features x 2 years, none differs from 0 after correction for 60 tries; ")
    assert finding.text.endswith("where luck alone gives 3.")


def test_the_verdict_names_what_was_planted_and_nothing_else():
    table, prices = panel(8, sessions=500, count=30)
    planted, _ = panel(8, sessions=500, rho=0.4)
    years = judged(table.assign(signal=planted["f0"]), prices)
    assert {name for name, _ in information_coefficient.verdict(years).telling} == {"signal"}
    all_years = information_coefficient.verdict(information_coefficient.overall(years))
    assert all_years.telling == (("signal", None),)
    assert "Of 31 features, 1 differs from 0 after correction for 31 tries: signal (+0." in all_years.text
    assert "&lt;" in information_coefficient.Finding("a < b", (), 1, 0.05)._repr_html_()


@pytest.mark.parametrize("level", [0, 1, 5])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ParamError, match="give a probability"):
        information_coefficient.verdict(judged(*panel(1, sessions=30)), level=level)


@pytest.mark.parametrize("way", WAYS)
def test_sixty_features_of_the_sample_are_judged_in_one_call(prices, way):
    table = features.compute(prices)
    names = features.names(scale_free=True)
    wide = table[["symbol", "date"]].assign(**{f"f{k}": table[names[k % len(names)]] for k in range(60)})
    assert len(judged(wide, prices, across=way)) == 660
