from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.judge import gate
from tests.records.saved_models import AS_OF, rows

WALK = "random_walk"


def single(noise: float, name: str = "lasso", **how) -> pd.DataFrame:
    """Rows of one model whose outcomes are those of the random walk's rows of the same seed."""
    evidence = rows({WALK: 0.0, name: noise} if name != WALK else {WALK: 0.0}, **how)
    return evidence[evidence["model"] == name]


def walk(**how) -> pd.DataFrame:
    return single(0.0, WALK, **how)


def judged(noise: float, **how) -> gate.Judgement:
    evidence = rows({WALK: 0.0, "lasso": noise}, **how)
    base, lasso = (evidence[evidence["model"] == name] for name in (WALK, "lasso"))
    return gate.judge(lasso, None, base)


def test_a_candidate_equal_to_the_random_walk_passes():
    judgement = judged(0.0)
    assert judgement.passed, judgement.reasons
    assert (judgement.figures["error_ratio"], judgement.figures["p_error"]) == (1.0, 1.0)
    assert (judgement.figures["sessions"], judgement.figures["symbols"], judgement.figures["answered"]) == (250, 2, 1)


def test_a_worse_mean_is_refused_with_the_figures():
    judgement = judged(0.5)
    assert not judgement.passed
    assert judgement.reasons[0].startswith("Its squared error is larger than that of the random walk (ratio 1.")
    assert judgement.figures["p_error"] < 0.05


@pytest.mark.parametrize(("width", "where"), [(0.7, "under"), (1.6, "over")])
def test_intervals_that_do_not_cover_what_they_claim_are_refused(width, where):
    judgement = judged(0.0, width=width)
    assert not judgement.passed
    assert "outside" in next(reason for reason in judgement.reasons if "intervals covered" in reason)
    assert (judgement.figures["coverage"] < judgement.figures["band_lo"]) == (where == "under")


def test_intervals_wider_than_the_references_are_refused_by_their_score():
    base = walk()
    wide = base.assign(model="lasso", lo90=base["lo90"] * 1.5, hi90=base["hi90"] * 1.5)
    judgement = gate.judge(wide, None, base)
    assert any("interval score is larger" in reason for reason in judgement.reasons)


def test_a_gap_that_is_the_same_in_every_session_is_seen_although_it_has_no_spread():
    base = walk(symbols=("A",))
    base = base.assign(actual=0.0, lo90=-0.01, hi90=0.01)
    judgement = gate.judge(base.assign(model="lasso", lo90=-0.02, hi90=0.02), None, base)
    assert judgement.figures["p_interval"] == 0.0


def test_the_champion_is_the_reference_where_there_is_one():
    evidence = rows({WALK: 0.0, "lasso": 0.5, "old": 0.5}, seed=1)
    lasso, champion, base = (evidence[evidence["model"] == name] for name in ("lasso", "old", WALK))
    judgement = gate.judge(lasso, champion, base)
    assert judgement.passed, judgement.reasons
    assert "the champion old" in " ".join(judgement.reasons)
    assert judgement.figures["rmse_ratio"] > 1.05


def test_a_wild_symbol_counts_no_more_than_a_calm_one():
    evidence = rows({WALK: 0.0, "lasso": 0.5})
    wild = evidence["symbol"] == "A"
    scaled = evidence.copy()
    scaled.loc[wild, ["mean", "actual", "lo90", "hi90"]] *= 100
    figures = []
    for frame in (evidence, scaled):
        lasso, base = (frame[frame["model"] == name] for name in ("lasso", WALK))
        figures.append(gate.judge(lasso, None, base).figures["p_error"])
    assert figures[0] == pytest.approx(figures[1])


def test_silence_when_it_is_hard_is_refused():
    evidence = rows({WALK: 0.0, "lasso": 0.0})
    lasso, base = (evidence[evidence["model"] == name] for name in ("lasso", WALK))
    silent = lasso.assign(mean=lasso["mean"].where(np.arange(len(lasso)) % 10 > 0))
    judgement = gate.judge(silent, None, base)
    assert (judgement.passed, judgement.reasons[0][:17]) == (False, "It forecast 90.0%")
    assert judgement.figures["answered"] == pytest.approx(0.9, abs=0.01)


def test_symbols_with_fewer_than_100_sessions_in_common_do_not_count_and_are_named():
    evidence = rows({WALK: 0.0, "lasso": 0.0})
    lasso, base = (evidence[evidence["model"] == name] for name in ("lasso", WALK))
    short = base[(base["symbol"] == "A") | (base["as_of"] > base["as_of"].sort_values().iloc[-199])]
    judgement = gate.judge(lasso, None, short)
    assert judgement.passed
    assert (judgement.figures["symbols"], judgement.reasons[-1][-6:]) == (1, "BRK.B.")
    few = gate.judge(lasso, None, base[base["as_of"] > base["as_of"].sort_values().iloc[-199]])
    assert (few.passed, "nothing can be judged" in few.reasons[0]) == (False, True)


def test_the_order_of_the_rows_does_not_matter():
    evidence = rows({WALK: 0.0, "lasso": 0.2}, horizon=5)
    shuffled = evidence.sample(frac=1.0, random_state=1)
    both = [
        gate.judge(frame[frame["model"] == "lasso"], None, frame[frame["model"] == WALK]).figures
        for frame in (evidence, shuffled)
    ]
    assert both[0] == pytest.approx(both[1])


def test_symbols_that_move_as_one_are_worth_the_trials_of_one():
    base = walk(symbols=("A",))
    together = pd.concat([base.assign(symbol=symbol) for symbol in "ABCDEF"])
    alone, six = (gate.judge(frame.assign(model="lasso"), None, frame).figures for frame in (base, together))
    assert alone["trials"] == pytest.approx(250, abs=1)
    assert six["trials"] == pytest.approx(250, abs=2)
    assert judged(0.0, symbols=tuple("ABCDEF")).figures["trials"] > 800


def test_outcomes_that_overlap_are_worth_fewer_trials():
    trials = [judged(0.0, horizon=5, sessions=1000, seed=seed).figures["trials"] for seed in range(5)]
    assert 300 < np.mean(trials) < 900


@pytest.mark.parametrize(("horizon", "at_most"), [(1, 0.2), (5, 0.3)])
def test_a_calibrated_candidate_as_good_as_the_reference_is_seldom_refused(horizon, at_most):
    refused = [not judged(0.0, horizon=horizon, seed=seed).passed for seed in range(40)]
    assert np.mean(refused) <= at_most


def test_a_candidate_that_covers_80_percent_is_nearly_always_refused():
    refused = [not judged(0.0, width=0.78, seed=seed).passed for seed in range(15)]
    assert np.mean(refused) >= 0.9


def test_evidence_is_the_last_sessions_before_the_model_was_fitted_whose_outcome_is_known():
    evidence = rows({WALK: 0.0, "lasso": 0.1}, sessions=300)
    evidence.loc[evidence["as_of"] == evidence["as_of"].max(), "actual"] = np.nan
    kept = gate.recent(evidence, evidence["as_of"].max().to_datetime64(), 1, sessions=120)
    assert kept["as_of"].nunique() == 120
    assert kept["as_of"].max() < evidence["as_of"].max()
    middle = evidence["as_of"].median().to_datetime64()
    assert gate.recent(evidence, middle, 1)["as_of"].max() < middle
    assert len(evidence) == 1200


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.drop(columns="lo90"), "'lo90' is missing"),
        (lambda rows: rows.assign(horizon=5), "no outcome of 1 session"),
        (lambda rows: pd.concat([rows, rows.tail(1)]), "two forecasts of BRK.B"),
    ],
)
def test_evidence_that_cannot_be_judged_is_refused(change, says):
    with pytest.raises(ForecastError, match=says):
        gate.recent(change(rows({WALK: 0.0, "lasso": 0.1})), AS_OF, 1)


def test_rows_of_several_models_or_horizons_are_not_judged_as_one():
    with pytest.raises(ForecastError, match="one model at a time"):
        gate.judge(walk(), None, rows({WALK: 0.0, "lasso": 0.1}))
    with pytest.raises(ForecastError, match="one horizon at a time"):
        gate.judge(pd.concat([walk(), walk(horizon=5)]), None, walk())


def test_the_summary_has_a_line_a_model_with_ratios_to_the_random_walk():
    lines = {line["model"]: line for line in gate.summary(rows({WALK: 0.0, "lasso": 0.5}))}
    assert lines[WALK]["rmse_ratio"] == lines[WALK]["walk_interval_ratio"] == 1.0
    assert lines["lasso"]["rmse_ratio"] == pytest.approx(np.sqrt(1.25), rel=0.05)
    assert lines["lasso"]["n"] == 500
