"""Coverage is counted for whom and when it is asked, beside what chance allows."""

from math import comb

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.judge import coverage
from stockkit.forecast.judge.intervals import LEVELS


def judged(count: int, *, horizon: int = 1, symbol: str = "AAA", width: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Outcomes uniform between −1 and 1, so that an interval ± level x width holds its level if width is 1."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"as_of": pd.bdate_range("2020-01-01", periods=count), "actual": rng.uniform(-1, 1, count)})
    bounds = {f"{side}{n}": sign * n / 100 * width for n in LEVELS for side, sign in (("lo", -1), ("hi", 1))}
    return rows.assign(symbol=symbol, model="flat", horizon=horizon, sigma=np.arange(count) + 1.0, **bounds)


def row(table: pd.DataFrame, level: int = 90, group: str = "all") -> pd.Series:
    (counted,) = table[(table["level"] == level) & (table["group"] == group)].to_dict("records")
    return pd.Series(counted)


def test_outcomes_on_and_between_the_bounds_are_inside() -> None:
    table = coverage.by(judged(8).assign(actual=[0, 0.8, -0.81, 0.9, -0.9, 0.95, 0.951, np.nan]))
    assert table["n"].tolist() == [7, 7, 7]
    assert table["inside"].tolist() == [2, 5, 6]
    assert table["share"].tolist() == pytest.approx([2 / 7, 5 / 7, 6 / 7])


def test_rows_without_bounds_do_not_count() -> None:
    rows = judged(10)
    rows.loc[:3, ["lo80", "hi80"]] = np.nan
    assert coverage.by(rows)["n"].tolist() == [6, 6, 6]


def test_the_band_holds_the_claim_s_binomial_with_at_least_95_percent_and_no_more_than_needed() -> None:
    counted = row(coverage.by(judged(200)))
    low, high = round(counted["band_lo"] * 200), round(counted["band_hi"] * 200)
    chance = [comb(200, k) * 0.9**k * 0.1 ** (200 - k) for k in range(201)]
    assert sum(chance[:low]) < 0.025 <= sum(chance[: low + 1])
    assert sum(chance[high + 1 :]) <= 0.025 < sum(chance[high:])


def test_outcomes_five_sessions_long_count_as_a_fifth() -> None:
    session, five = (row(coverage.by(judged(1000, horizon=horizon))) for horizon in (1, 5))
    assert (session["trials"], five["trials"]) == (1000, 200)
    assert five["band_lo"] < session["band_lo"] < 0.9 < session["band_hi"] < five["band_hi"]


def test_symbols_that_always_miss_together_count_once_and_others_each() -> None:
    symbol = judged(1000)
    twin, other = symbol.assign(symbol="BBB"), judged(1000, symbol="BBB", seed=1)
    assert row(coverage.by(pd.concat([symbol, twin])))["trials"] == 1000
    assert row(coverage.by(pd.concat([symbol, other])))["trials"] > 1850
    assert row(coverage.by(pd.concat([symbol, twin]), "symbol"), group="BBB")["trials"] == 1000


def test_the_band_is_left_by_about_one_in_twenty_true_claims_at_most() -> None:
    rows = pd.concat([judged(250, symbol=f"S{k:03}", seed=k) for k in range(300)])
    assert coverage.by(rows, "symbol").groupby("level")["as_claimed"].mean().between(0.93, 0.99).all()


@pytest.mark.parametrize("width", [0.95, 1.04])
def test_intervals_of_a_wrong_width_are_not_as_claimed(width: float) -> None:
    assert not coverage.by(judged(5000, width=width))["as_claimed"].any()
    assert coverage.by(judged(5000))["as_claimed"].all()


def test_years_are_counted_apart() -> None:
    table = coverage.by(judged(300), "year")
    assert table[table["level"] == 80][["group", "n"]].to_numpy().tolist() == [["2020", 262], ["2021", 38]]


def test_volatility_is_cut_within_each_symbol_into_three_equal_parts() -> None:
    wild = judged(300, symbol="BBB").assign(sigma=lambda symbol: symbol["sigma"] * 1000, actual=5.0)  # always misses
    rows = pd.concat([judged(300), wild], ignore_index=True)
    rows.loc[rows["sigma"] <= 100, "actual"] = 5.0  # so does the calmest third of AAA
    table = coverage.by(rows, "volatility").query("level == 95")
    assert table[["group", "n"]].to_numpy().tolist() == [["low", 200], ["middle", 200], ["high", 200]]
    assert table["inside"].iloc[0] == 0
    assert table["inside"].iloc[1:].between(85, 100).all()


def test_models_and_horizons_are_counted_apart_and_the_input_is_untouched() -> None:
    rows = pd.concat([judged(30), judged(20, horizon=5), judged(10).assign(model="other")], ignore_index=True)
    before = rows.copy()
    table = coverage.by(rows.sample(frac=1, random_state=1)).query("level == 90")
    assert table[["model", "horizon", "n"]].to_numpy().tolist() == [["flat", 1, 30], ["flat", 5, 20], ["other", 1, 10]]
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize("kind", coverage.KINDS)
def test_no_rows_give_an_empty_table_of_the_same_types(kind: str) -> None:
    empty, full = coverage.by(judged(9)[:0], kind), coverage.by(judged(9), kind)
    assert empty.empty
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_another_division_and_missing_bounds_are_refused_with_the_way_out() -> None:
    with pytest.raises(ForecastError, match=r"'month': give one of all, symbol, year, volatility"):
        coverage.by(judged(9), "month")
    with pytest.raises(ForecastError, match=r"without lo80, hi80: take those of intervals.conformal"):
        coverage.by(judged(9).drop(columns=["lo80", "hi80"]))
