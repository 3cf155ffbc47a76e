"""The drift alarm keeps its false-alarm rate for ever, and rings when a model is no longer what it was."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stockkit.errors import ForecastError
from stockkit.forecast.judge import drift
from tests.forecast import worlds

HALF = 1.6448536269514722  # of a standard normal's 90 % interval


def lives(scaled, *, symbols=1, horizon=1):
    """The outcomes of one model for every `symbols` rows of `scaled` (lives, sessions): errors in units of sigma."""
    count, sessions = scaled.shape
    at = np.arange(count)
    return pd.DataFrame(
        {
            "symbol": np.repeat(np.array([f"S{k}" for k in at % symbols]), sessions),
            "model": np.repeat(np.array([f"m{k}" for k in at // symbols]), sessions),
            "horizon": horizon,
            "as_of": np.tile(pd.bdate_range("2015-01-01", periods=sessions), count),
            "mean": 0.0,
            "sigma": 1.0,
            "actual": scaled.ravel(),
            "lo90": -HALF,
            "hi90": HALF,
        }
    )


def normal(count, sessions, seed=0):
    return np.random.default_rng(seed).standard_normal((count, sessions))


def delays(alarms, rows, change):
    days = rows["as_of"].drop_duplicates().sort_values().to_numpy()
    return np.searchsorted(days, alarms.loc[alarms["drifted"], "since"].to_numpy()) - change


CLAIMS = [(drift.MISSES, drift.MISS_GRID), (drift.EXCEEDS, drift.EXCEED_GRID)]


@pytest.mark.parametrize(("claim", "grid"), CLAIMS)
def test_the_expected_capital_never_grows_whatever_the_chance_within_the_claim(claim, grid):
    """Over every sequence of six events, weighted by its probability; the chance may hang on all events before."""
    low, high = (max(edge, 1e-9) for edge in claim)
    for chosen in (lambda x: high, lambda x: low, lambda x: high if x.sum() % 2 else (low + high) / 2):
        total = np.zeros(6)
        for events in itertools.product([0, 1], repeat=6):
            x = np.array(events)
            chance = np.array([chosen(x[:t]) for t in range(6)])
            total += np.prod(np.where(x, chance, 1 - chance)) * np.exp(drift.log_capital(x, claim, grid))
        assert (total <= 1 + 1e-12).all()


@pytest.mark.parametrize("chance", [0.01, 0.4])
def test_a_bet_at_the_border_of_the_claim_is_fair(chance):
    border = drift.MISSES[int(chance > 0.1)]
    total = np.zeros(6)
    for events in itertools.product([0, 1], repeat=6):
        x = np.array(events)
        total += np.prod(np.where(x, border, 1 - border)) * np.exp(drift.log_capital(x, drift.MISSES, (chance,)))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


@pytest.mark.parametrize("world", [worlds.garch, worlds.regimes, worlds.stochastic_volatility, worlds.jumps])
@pytest.mark.parametrize("horizon", [1, 5])
def test_of_our_intervals_under_clustered_volatility_one_in_a_hundred_is_alarmed_in_twelve_years(world, horizon):
    """Each a model of its own; a bet on 10 % each time alarms a fifth to three quarters of them at one session."""
    rows = worlds.ours(world((3000, 50), np.random.default_rng(8)), horizon)
    alarms = drift.watch(rows)
    print(f"{world.__name__}, horizon {horizon}: {alarms['drifted'].sum()} of {len(alarms)}")
    assert alarms["drifted"].sum() <= stats.binom.ppf(0.999, 50, 0.01)
    if horizon == 1:
        naive = [
            drift.log_capital(outcomes["miss"].to_numpy(), (0.1, 0.1), (0.04, 0.2, 0.3, 0.4)).max()
            for outcomes in used(rows)
        ]
        assert np.mean(np.array(naive) > np.log(200)) > 0.05


def used(rows):
    """The outcomes of each model, as the alarm uses them."""
    return [outcomes for _, outcomes in drift._known(rows).groupby("model")]


def test_of_600_sound_models_watched_for_1000_sessions_at_most_one_in_a_hundred_is_ever_alarmed():
    alarms = drift.watch(lives(normal(600, 1000)))
    assert alarms["drifted"].sum() <= stats.binom.ppf(0.999, 600, 0.01)
    assert alarms["n"].eq(1000).all()


def test_a_model_watched_on_ten_symbols_keeps_the_same_rate():
    alarms = drift.watch(lives(normal(600, 300, seed=1), symbols=10), rate=0.1)
    assert alarms["threshold"].eq(200).all()
    assert alarms.groupby("model")["drifted"].any().sum() <= stats.binom.ppf(0.999, 60, 0.1)


def test_a_rate_that_is_not_kept_would_be_seen():
    """The planted fault: intervals of 65 % that claim 90 %."""
    alarms = drift.watch(lives(normal(50, 1000) * HALF / 0.935))
    assert alarms["drifted"].mean() > 0.5


@pytest.mark.parametrize(("factor", "within"), [(2.0, 180), (3.0, 70), (0.5, 560)])
def test_a_sigma_that_is_wrong_from_session_500_on_is_found_soon(factor, within):
    scaled = normal(60, 1100, seed=3)
    scaled[:, 500:] *= factor
    rows = lives(scaled)
    alarms = drift.watch(rows)
    after = delays(alarms, rows, 500)
    assert alarms["drifted"].mean() >= 0.95
    assert np.quantile(after, 0.9) <= within


def test_a_miss_more_often_than_in_ten_is_told_in_a_sentence():
    scaled = np.zeros((1, 60))
    scaled[0, ::2] = 9.0
    alarms = drift.watch(lives(scaled))
    row = alarms.iloc[0]
    assert (row["n"], row["misses"], row["expected"], row["cause"]) == (60, 30, 6.0, "coverage")
    assert drift.in_words(alarms)["m0"].startswith(
        f"m0 has drifted on S0, 1 ahead, since {row['since']:%Y-%m-%d}: {row['events']} of {row['counted']} outcomes "
        "outside the 90 % interval"
    )
    assert "at most 1 % of models ever, if a miss has a chance of 3 to 20 % each time" in drift.in_words(alarms)["m0"]


def test_errors_larger_than_in_the_backtest_are_found_though_intervals_hold():
    rng = np.random.default_rng(4)
    past = lives(rng.uniform(-0.5, 0.5, (1, 400)))
    now = lives(np.where(rng.random((1, 300)) < 0.9, 1.2, 2.0))
    now["as_of"] += past["as_of"].max() - now["as_of"].min() + pd.Timedelta("1D")
    with_past, without = drift.watch(now, past=past).iloc[0], drift.watch(now).iloc[0]
    assert (with_past["drifted"], with_past["cause"]) == (True, "error")
    assert not without["drifted"]


def test_past_rows_of_the_sessions_that_are_watched_are_not_used():
    rows = lives(normal(2, 100))
    pd.testing.assert_frame_equal(drift.watch(rows, past=rows), drift.watch(rows))


def test_past_outcomes_that_overlap_with_the_first_watched_are_not_used():
    rows = lives(np.r_[np.full(20, 1.0), np.full(4, 9.0), np.full(30, 1.2)][None, :], horizon=5)
    past, now = rows[:24], rows[24:]
    pd.testing.assert_frame_equal(drift.watch(now, past=past), drift.watch(now, past=past[:20]))


def test_of_overlapping_outcomes_every_hth_is_used_and_the_rate_is_kept():
    steps = normal(300, 805, seed=5)
    overlapping = np.stack([steps[:, k : k + 800] for k in range(5)]).sum(axis=0) / np.sqrt(5)
    alarms = drift.watch(lives(overlapping, horizon=5), rate=0.05)
    assert alarms["n"].eq(160).all()
    assert alarms["drifted"].sum() <= stats.binom.ppf(0.999, 300, 0.05)
    assert drift.watch(lives(overlapping, horizon=1), rate=0.05)["drifted"].sum() > alarms["drifted"].sum()


def test_an_alarm_stays_and_the_evidence_never_falls_when_outcomes_are_added():
    scaled = normal(20, 600, seed=6)
    scaled[:, 200:300] *= 3
    early, late = drift.watch(lives(scaled[:, :300])), drift.watch(lives(scaled))
    assert (late["evidence"] >= early["evidence"]).all()
    assert early["drifted"].all()
    pd.testing.assert_series_equal(early["since"], late["since"])


def test_rows_in_any_order_give_the_same_and_are_left_untouched():
    rows = lives(normal(6, 50), symbols=3)
    shuffled = rows.sample(frac=1, random_state=1)
    before = shuffled.copy()
    pd.testing.assert_frame_equal(drift.watch(shuffled), drift.watch(rows))
    pd.testing.assert_frame_equal(shuffled, before)


def test_outcomes_without_an_interval_or_not_known_are_left_out():
    rows = lives(normal(1, 50))
    rows.loc[:9, "lo90"] = np.nan
    rows.loc[40:, "actual"] = np.nan
    assert drift.watch(rows)["n"].tolist() == [30]


def test_no_rows_and_none_due_give_an_empty_answer_and_no_sentence():
    for rows in (lives(normal(1, 5))[:0], lives(np.full((1, 5), np.nan))):
        alarms = drift.watch(rows)
        assert (len(alarms), drift.in_words(alarms)) == (0, {})
        assert {name: str(dtype) for name, dtype in alarms.dtypes.items()} == drift.ALARMS


def test_an_error_of_zero_for_ever_is_no_larger_than_before():
    rows = lives(np.zeros((1, 500)))
    alarms = drift.watch(rows)
    assert alarms["cause"].tolist() == ["coverage"]
    assert alarms["events"].tolist() == [0]


@pytest.mark.parametrize("rate", [0, 1, -0.1, np.nan])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(ForecastError, match="give a probability"):
        drift.watch(lives(normal(1, 5)), rate=rate)


def test_a_column_that_is_missing_and_a_session_that_stands_twice_are_refused():
    rows = lives(normal(1, 5))
    with pytest.raises(ForecastError, match="lack 'sigma'"):
        drift.watch(rows.drop(columns="sigma"))
    with pytest.raises(ForecastError, match="m0 has two forecasts of S0"):
        drift.watch(pd.concat([rows, rows[:1]]))
