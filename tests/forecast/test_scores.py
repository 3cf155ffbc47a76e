import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stockkit.errors import ForecastError
from stockkit.forecast.judge.scores import Board, board, score
from stockkit.forecast.judge.verdicts import from_board

pytestmark = pytest.mark.filterwarnings("error")

ACTUAL = [0.02, -0.01, 0.0, 0.04, np.nan]


def rows(means: dict[str, list[float]], actual: list[float] = ACTUAL, horizon: int = 1) -> pd.DataFrame:
    days = pd.bdate_range("2023-01-02", periods=len(actual))
    fixed = {"as_of": days, "actual": actual, "symbol": "AAA", "horizon": horizon, "scale": 0.02}
    return pd.concat([pd.DataFrame({"model": name, "mean": mean, **fixed}) for name, mean in means.items()])


def line(frame: pd.DataFrame, model: str) -> pd.Series:
    return score(frame).set_index("model").loc[model]


ZERO = [0.0] * 5
KNOWN = rows({"random_walk": ZERO, "guess": [0.01, 0.01, 0.01, 0.02, 0.01]})


def test_errors_are_over_known_outcomes_and_relative_to_the_random_walk() -> None:
    row = line(KNOWN, "guess")
    assert (row["n"], row["first"], row["last"]) == (4, pd.Timestamp("2023-01-02"), pd.Timestamp("2023-01-05"))
    assert row["mae"] == pytest.approx((0.01 + 0.02 + 0.01 + 0.02) / 4)
    assert row["rmse"] == pytest.approx(np.sqrt((1 + 4 + 1 + 4) * 1e-4 / 4))
    assert row["mae_ratio"] == pytest.approx(0.06 / 0.07)
    assert row["rmse_ratio"] == pytest.approx(np.sqrt(10 / 21))
    assert row["mase"] == pytest.approx(0.75)


def test_signs_count_where_both_the_forecast_and_the_market_moved() -> None:
    row = line(KNOWN, "guess")
    assert (row["n_hit"], row["hit_rate"], row["up_rate"]) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    base = line(KNOWN, "random_walk")
    assert base["n_hit"] == 0
    assert base[["hit_rate", "hit_lo", "hit_hi", "dm_p", "p_holm"]].isna().all()
    assert (base["mae_ratio"], base["rmse_ratio"]) == (1.0, 1.0)


def test_a_model_is_compared_on_its_own_dates_only() -> None:
    frame = rows({"random_walk": ZERO, "picky": [np.nan, np.nan, 0.0, 0.04, 0.0]})
    row = line(frame, "picky")
    assert (row["n"], row["mae_ratio"]) == (2, 0.0)


def test_dates_without_the_random_walk_are_left_out() -> None:
    frame = rows({"random_walk": [0.0, np.nan, 0.0, 0.0, 0.0], "guess": [0.01] * 5})
    assert line(frame, "guess")["n"] == 3


def test_coverage_and_width_are_over_rows_with_intervals() -> None:
    bands = {"lo80": -0.01, "hi80": 0.01, "lo90": -0.02, "hi90": 0.02, "lo95": -0.05, "hi95": 0.05}
    frame = KNOWN.assign(**bands).reset_index(drop=True)
    frame.loc[frame["as_of"] == pd.Timestamp("2023-01-02"), list(bands)] = np.nan
    row = line(frame, "guess")
    assert row[["coverage80", "coverage90", "coverage95"]].tolist() == pytest.approx([2 / 3, 2 / 3, 1.0])
    assert row["width90"] == pytest.approx(0.04)
    assert line(KNOWN, "guess")[["coverage80", "width90"]].isna().all()


def test_a_model_that_says_what_the_random_walk_says_is_no_try_at_beating_it() -> None:
    row = line(rows({"random_walk": ZERO, "shrunk": ZERO, "other": [0.01] * 5}), "shrunk")
    assert np.isnan([row["dm_p"], row["p_holm"]]).all()
    assert row["mae_ratio"] == 1.0
    assert from_board(board(rows({"random_walk": ZERO, "shrunk": ZERO, "other": [0.01] * 5}))).tried == 1


@pytest.mark.parametrize("actual", [[np.nan] * 5, [0.01, *[np.nan] * 4], [0.0] * 5])
def test_too_little_to_judge_gives_p_one_not_an_error(actual: list[float]) -> None:
    row = line(rows({"random_walk": ZERO, "guess": [0.01] * 5}, actual), "guess")
    assert (row["dm_p"], row["p_holm"], row["n"]) == (1.0, 1.0, np.isfinite(actual).sum())


def frames(pairs: dict[tuple[str, str], float], overall: dict[str, float] | None = None, horizon: int = 1) -> Board:
    """A board with these corrected p values."""
    walk = {"symbol": "NVDA", "model": "random_walk", "horizon": horizon, "p_holm": np.nan}
    by_symbol = [{**walk, "symbol": symbol, "model": model, "p_holm": p} for (symbol, model), p in pairs.items()]
    all_symbols = [{**walk, "symbols": 6, "model": model, "p_holm": p} for model, p in (overall or {}).items()]
    return Board(
        pd.DataFrame([walk, *by_symbol]), pd.DataFrame(all_symbols, columns=["model", "horizon", "symbols", "p_holm"])
    )


def test_the_verdict_claims_only_what_the_corrected_test_shows() -> None:
    claim = from_board(frames({("NVDA", "lasso"): 0.012, ("NVDA", "drift"): 0.05, ("AAPL", "lasso"): 1.0}))
    count = "3 symbol and model pairs tried, smallest Holm-corrected p = 0.012."
    assert claim.text == f"Lasso beats the random walk for NVDA (Holm-corrected p = 0.012). {count}"
    assert (claim.beats, claim.overall, claim.tried, claim.level) == ((("NVDA", "lasso"),), (), 3, 0.05)


def test_a_claim_over_all_symbols_comes_first_and_names_no_symbol() -> None:
    claim = from_board(frames({("NVDA", "lasso"): 0.01, ("AAPL", "lasso"): 0.02}, {"lasso": 0.0002, "drift": 0.9}))
    assert claim.text.startswith(
        "Lasso beats the random walk over all 6 symbols (Holm-corrected p < 0.001); "
        "Lasso beats the random walk for NVDA and AAPL (Holm-corrected p = 0.020). "
        "2 symbol and model pairs and 2 models over all symbols tried"
    )
    assert (claim.overall, claim.tried) == (("lasso",), 4)


def test_a_long_list_of_symbols_is_cut_in_the_text_and_whole_in_the_verdict() -> None:
    claim = from_board(frames({(f"S{k}", "lasso"): 0.01 for k in range(8)}))
    assert "for S0, S1, S2, S3, S4 and 3 more (" in claim.text
    assert len(claim.beats) == 8


def test_the_verdict_says_so_when_nothing_is_shown() -> None:
    claim = from_board(frames({("NVDA", "lasso"): 0.34, ("NVDA", "drift"): 1.0}), trials=1200)
    count = "2 symbol and model pairs tried, smallest Holm-corrected p = 0.340. The fits compared 1,200 settings."
    assert claim.text == f"Not distinguishable from the random walk. {count}"
    assert from_board(board(KNOWN[:0])).text.startswith("Nothing could be judged.")
    alone = from_board(board(rows({"random_walk": ZERO})))
    assert alone.text == "Not distinguishable from the random walk. No other model was tried."


def test_the_verdict_names_the_horizon_where_there_are_several() -> None:
    single, five = frames({("NVDA", "lasso"): 0.0001}), frames({("NVDA", "lasso"): 0.5}, horizon=5)
    both = Board(pd.concat([single.by_symbol, five.by_symbol]), single.overall)
    assert from_board(both).text.startswith(
        "Lasso beats the random walk for NVDA 1 session ahead (Holm-corrected p < 0.001"
    )


def test_the_finding_is_in_large_type_and_the_rest_is_not() -> None:
    shown = from_board(frames({("A&B", "lasso"): 0.0001}))._repr_html_()
    assert "for A&amp;B (Holm-corrected p &lt; 0.001).</p><p>1 symbol and model pair tried" in shown


def test_a_level_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ForecastError, match="level 5"):
        from_board(frames({}), level=5)


def test_scores_without_the_random_walk_are_refused() -> None:
    with pytest.raises(ForecastError, match="no forecast of 'random_walk' of AAA 1 session"):
        score(rows({"guess": ZERO}))
    other = rows({"guess": ZERO}).assign(symbol="BBB")
    with pytest.raises(ForecastError, match="of BBB"):
        score(pd.concat([KNOWN, other]))
    assert score(KNOWN[:0]).empty


def test_a_session_that_stands_twice_is_refused() -> None:
    with pytest.raises(ForecastError, match="guess has two forecasts of AAA"):
        score(pd.concat([KNOWN, KNOWN.iloc[-1:]]))


@pytest.mark.parametrize("column", ["scale", "as_of", "model"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(ForecastError, match=f"no column '{column}'"):
        score(KNOWN.drop(columns=column))


def test_a_row_of_no_session_is_refused() -> None:
    with pytest.raises(ForecastError, match="without a symbol, model, horizon or as_of"):
        score(KNOWN.assign(as_of=pd.NaT))


def panel(symbols: int, models: int = 3, n: int = 40, seed: int = 0) -> pd.DataFrame:
    """Forecasts of white noise with normal intervals, some of them missing."""
    rng = np.random.default_rng(seed)
    actual = np.repeat(rng.normal(0, 0.02, (symbols, 1, n)), models, axis=1)
    mean = rng.normal(0, 0.003, (symbols, models, n))
    mean[:, 0] = 0
    place = pd.MultiIndex.from_product(
        [
            [f"S{k:02}" for k in range(symbols)],
            ["random_walk", *(f"m{k}" for k in range(1, models))],
            pd.bdate_range("2023-01-02", periods=n),
        ],
        names=["symbol", "model", "as_of"],
    )
    frame = place.to_frame(index=False).assign(horizon=1, mean=mean.ravel(), actual=actual.ravel(), scale=0.016)
    frame["sigma"] = 0.02 + rng.uniform(0, 0.01, len(frame))
    for level, z in ((80, 1.2816), (90, 1.6449), (95, 1.96)):
        frame[f"lo{level}"] = frame["mean"] - z * frame["sigma"]
        frame[f"hi{level}"] = frame["mean"] + z * frame["sigma"]
    frame.loc[rng.random(len(frame)) < 0.05, "mean"] = np.nan
    return frame


PANEL = panel(6)
ONE = PANEL[(PANEL["symbol"] == "S01") & (PANEL["model"] == "m2")].dropna(subset="mean")
WALK = PANEL[(PANEL["symbol"] == "S01") & (PANEL["model"] == "random_walk")].dropna(subset="mean")
ONE = ONE[ONE["as_of"].isin(WALK["as_of"])]
FOUND = score(PANEL).set_index(["symbol", "model"]).loc[("S01", "m2")]


def test_pinball_is_the_mean_of_scikit_learns_over_seven_quantiles() -> None:
    from sklearn.metrics import mean_pinball_loss

    shares = {"lo95": 0.025, "lo90": 0.05, "lo80": 0.1, "mean": 0.5, "hi80": 0.9, "hi90": 0.95, "hi95": 0.975}
    losses = [mean_pinball_loss(ONE["actual"], ONE[name], alpha=share) for name, share in shares.items()]
    assert FOUND["pinball"] == pytest.approx(np.mean(losses))


def test_crps_is_the_integral_of_the_squared_distance_of_distributions() -> None:
    grid = np.linspace(-0.4, 0.4, 80_001)
    distance = [
        (stats.norm.cdf(grid, row.mean_, row.sigma) - (grid >= row.actual)) ** 2
        for row in ONE.rename(columns={"mean": "mean_"}).head(5).itertuples()
    ]
    expected = np.trapezoid(distance, grid, axis=1)
    few = pd.concat([ONE.head(5), WALK])
    assert score(few).set_index("model").loc["m2", "crps"] == pytest.approx(expected.mean(), rel=1e-3)


def test_a_miss_costs_twenty_times_its_distance_from_a_90_per_cent_interval() -> None:
    bands = {"lo90": -0.02, "hi90": 0.02}
    frame = rows({"random_walk": ZERO, "guess": ZERO}).assign(**bands)
    frame.loc[frame["model"] == "guess", "lo90"] = -0.01
    row = line(frame, "guess")  # outcomes 0.02, -0.01, 0.0 and 0.04: the last is out by 0.02
    assert row["winkler90"] == pytest.approx(0.03 + 20 * 0.02 / 4)
    assert row["winkler90_ratio"] == pytest.approx((0.03 + 0.1) / (0.04 + 0.1))


def test_interval_scores_are_compared_where_both_have_an_interval() -> None:
    frame = rows({"random_walk": ZERO, "guess": ZERO}).assign(lo90=-0.02, hi90=0.02)
    frame.loc[(frame["model"] == "random_walk") & (frame["actual"] == 0.04), ["lo90", "hi90"]] = np.nan
    assert line(frame, "guess")[["winkler90", "winkler90_ratio"]].tolist() == pytest.approx([0.04 + 20 * 0.02 / 4, 1])


def test_correlations_over_time_are_scipys() -> None:
    assert FOUND["ic"] == pytest.approx(stats.pearsonr(ONE["mean"], ONE["actual"])[0])
    assert FOUND["rank_ic"] == pytest.approx(stats.spearmanr(ONE["mean"], ONE["actual"])[0])


def test_a_constant_forecast_has_no_correlation() -> None:
    actual = np.random.default_rng(1).normal(size=7).tolist()
    row = line(rows({"random_walk": [0.0] * 7, "drift": [0.1] * 7}, actual), "drift")  # whose mean is not quite 0.1
    assert row[["ic", "rank_ic"]].isna().all()


def test_what_a_series_scores_does_not_hang_on_the_others_or_on_the_order_of_rows() -> None:
    single = PANEL[PANEL["symbol"] == "S03"]
    counted = ["ic_80", "p_holm", "winkler90_holm", "rank_ic_holm"]  # which hang on how many are tested
    both = score(PANEL.sample(frac=1, random_state=1)).set_index("symbol").loc["S03"].drop(columns=counted)
    alone = score(single).set_index("symbol").drop(columns=counted)
    pd.testing.assert_frame_equal(both.sort_values("model"), alone.sort_values("model"))


@pytest.mark.parametrize("text", ["object", "category"])
def test_forecasts_as_users_of_pandas_make_them_score_the_same(text: str) -> None:
    users = PANEL.astype({"symbol": text, "model": text, "as_of": "datetime64[s]", "horizon": "int32"})
    pd.testing.assert_frame_equal(score(users), score(PANEL))


def test_scores_come_in_the_order_of_rows_and_leave_them_alone() -> None:
    before = PANEL.copy()
    table = score(PANEL[::-1])
    assert table["symbol"].drop_duplicates().tolist() == ["S05", "S04", "S03", "S02", "S01", "S00"]
    pd.testing.assert_frame_equal(PANEL, before)


def test_symbols_and_models_may_be_categories() -> None:
    kinds = {"symbol": "category", "model": "category"}
    pd.testing.assert_frame_equal(score(PANEL.astype(kinds)), score(PANEL))


def test_a_copy_of_a_symbol_adds_nothing_to_the_overall_test() -> None:
    two = PANEL[PANEL["symbol"].isin(["S00", "S01"])]
    four = pd.concat([two, two.assign(symbol=two["symbol"] + "B")])
    shown = ["mae_ratio", "rmse_ratio", "winkler90_ratio", "coverage90", "dm_p"]
    single, other = (board(frame).overall.set_index("model")[shown] for frame in (two, four))
    pd.testing.assert_frame_equal(single, other)
    assert board(four).overall["symbols"].tolist() == [4, 4, 4]


def test_the_overall_rank_ic_is_the_mean_of_each_sessions() -> None:
    by_symbol = PANEL.merge(
        PANEL.loc[PANEL["model"] == "random_walk", ["symbol", "as_of", "mean"]].dropna()[["symbol", "as_of"]]
    )
    by_symbol = by_symbol[by_symbol["model"] == "m1"].dropna(subset="mean")
    days = [day for _, day in by_symbol.groupby("as_of") if len(day) >= 5]
    expected = np.mean([stats.spearmanr(day["mean"], day["actual"])[0] for day in days])
    table = board(PANEL).overall.set_index("model")["rank_ic"]
    assert table["m1"] == pytest.approx(expected)
    assert np.isnan(table["random_walk"])
    assert board(panel(4)).overall["rank_ic"].isna().all()


def test_of_one_symbol_there_is_no_overall_row() -> None:
    assert board(KNOWN).overall.empty


def test_holm_counts_every_test_of_both_tables() -> None:
    both = board(PANEL)
    p = pd.concat([both.by_symbol, both.overall])[["dm_p", "p_holm"]].dropna()
    assert len(p) == 6 * 2 + 2
    assert p["p_holm"].min() == pytest.approx(min(1.0, p["dm_p"].min() * 14))
