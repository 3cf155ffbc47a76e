from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stockkit import causality, features
from stockkit.causality import checks, scenes
from stockkit.errors import LeakError, ParamError, SchemaError
from stockkit.forecast.models import Series, target
from stockkit.market import simulate
from tests.causality.leaks import CLEAN, LEAKS, by_symbol

CHECKS = ["runs", "cut", "corrupt", "order", "neighbour", "look_back", "split"]


@pytest.fixture(scope="module")
def leaking() -> causality.Audit:
    return causality.audit({name: function for name, _, function in LEAKS})


@pytest.fixture(scope="module")
def clean() -> causality.Audit:
    return causality.audit({name: function for name, _, function in CLEAN})


@pytest.fixture(scope="module")
def catalogue() -> causality.Audit:
    return causality.audit()


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return simulate.bars(["AAA", "BBB"], count=320, rng=np.random.default_rng(7))


def row(audit: causality.Audit, name: str | None = None) -> pd.Series:
    return audit.table.set_index("feature").loc[name] if name else audit.table.iloc[0]


def ret(b: pd.DataFrame) -> pd.Series:
    return by_symbol(b, lambda s: s.pct_change())


# --- the corpus -------------------------------------------------------------------------------------------------


def test_every_leak_of_the_corpus_is_found(leaking):
    assert len(LEAKS) == 49
    assert [name for name, _, _ in LEAKS if name not in leaking.leaks] == []
    assert leaking.table["date"].notna().all()
    assert not leaking.ok


def test_no_clean_look_alike_is_accused(clean):
    assert len(CLEAN) == 49
    assert clean.leaks == []
    assert clean.untested == []
    assert clean.ok
    assert clean.raise_for_leaks() is clean


def test_leaks_of_symbols_are_seen_by_neighbour(leaking):
    table = leaking.table.set_index("feature")
    assert (table.loc[[name for name, kind, _ in LEAKS if kind == "symbols"], "neighbour"] == "leak").all()


def test_some_leaks_are_seen_by_one_check_only(leaking):
    table = leaking.table.set_index("feature")
    for name, kind, _ in LEAKS:
        if kind in ("cut only", "corrupt only"):
            assert table.loc[name, ["cut", "corrupt"]].tolist() == [
                "leak" if kind == "cut only" else "ok", "leak" if kind == "corrupt only" else "ok",
            ], name  # fmt: skip


def test_the_verdicts_do_not_hang_on_the_seed():
    some = {name: function for name, _, function in LEAKS[1::5]}
    assert len(some) == 10
    assert causality.audit(some, seed=1).leaks == list(some)


def test_real_bars_give_the_same_verdicts(prices):
    two_symbols = prices[prices["symbol"].isin(["AAPL", "NVDA"]) & (prices["date"] >= "2020-06-01")]
    wanted = ["tomorrow's close", "global z-score", "chikou span", "on Fridays only", "adjusted for later splits"]
    cases = {name: function for name, _, function in [*LEAKS, *CLEAN]}
    assert causality.audit({name: cases[name] for name in wanted}, two_symbols).leaks == wanted
    assert causality.audit(
        {name: cases[name] for name in ("yesterday's close", "ewm", "zigzag when confirmed")}, two_symbols
    ).ok


# --- the catalogue ----------------------------------------------------------------------------------------------


def test_nothing_of_the_catalogue_leaks(catalogue):
    assert catalogue.leaks == []
    assert list(catalogue.table["feature"]) == features.names("all")
    assert list(catalogue.table.columns) == ["feature", *CHECKS, "verdict", "date", "what"]
    assert (catalogue.table[["runs", "cut", "corrupt", "order"]] == "ok").all(axis=None)


def test_a_feature_in_price_units_is_causal_but_not_for_models(catalogue):
    assert row(catalogue, "sma_20")["verdict"] == "causal, not for models"
    assert "later split" in row(catalogue, "sma_20")["what"]
    assert row(catalogue, "to_sma_20")["verdict"] == "causal"


def test_what_smooths_over_all_history_is_known_as_such(catalogue):
    """A new day is computed from the look-back alone, but for these."""
    smooths = set(catalogue.table.loc[catalogue.table["look_back"] == "smooths", "feature"])
    assert smooths == {name for name, feature in features.CATALOGUE.items() if feature.smoothed}


def test_an_average_that_smooths_over_all_history_keeps_its_look_back(catalogue):
    assert row(catalogue, "rsi_14")["look_back"] == "smooths"
    assert row(catalogue, "sma_20")["look_back"] == "ok"


@pytest.mark.parametrize(
    ("look_back", "state"), [(19, "ok"), (18, "longer"), (10, "longer"), (5, "longer"), (25, "early")]
)
def test_a_look_back_that_is_not_so_is_found(look_back, state):
    def mean(a: features.Arrays) -> np.ndarray:
        return pd.Series(a.close).rolling(20).mean().to_numpy()

    findings = causality.audit(features.Feature("mean", mean, look_back, "price", "", ""))
    assert row(findings)["look_back"] == state
    assert findings.leaks == []
    assert findings.ok == (state == "ok")


def test_a_look_back_that_is_not_so_is_found_in_the_catalogue(monkeypatch):
    monkeypatch.setitem(features.CATALOGUE, "sma_20", replace(features.CATALOGUE["sma_20"], look_back=18))
    findings = causality.audit(["sma_20", "ret_5"])
    assert [row(findings, name)["look_back"] for name in ("sma_20", "ret_5")] == ["longer", "ok"]


def test_a_feature_that_raises_where_it_is_shown_more_than_its_look_back_is_longer():
    def mean(a: features.Arrays) -> np.ndarray:
        if 20 < len(a.close) < 60:
            raise ValueError("planted")
        return pd.Series(a.close).rolling(30, min_periods=11).mean().to_numpy()

    findings = causality.audit(features.Feature("mean", mean, 10, "price", "", ""))
    assert (row(findings)["look_back"], findings.ok) == ("longer", False)


@pytest.mark.parametrize("span", [2, 5, 50])
def test_no_smoothing_is_taken_for_a_window(span):
    def smooth(a: features.Arrays) -> np.ndarray:
        return pd.Series(a.close).ewm(span=span).mean().to_numpy() / a.close

    assert row(causality.audit(smooth, look_back=0))["look_back"] == "smooths"


def test_a_sum_over_all_history_needs_more_than_its_look_back():
    def total(a: features.Arrays) -> np.ndarray:
        return np.cumsum(np.sign(np.diff(a.close, prepend=a.close[0])) * a.volume)

    assert row(causality.audit(total, look_back=0))["look_back"] == "longer"


def test_a_feature_that_wrongly_claims_to_be_scale_free_leaks():
    findings = causality.audit(lambda b: by_symbol(b, lambda s: s.rolling(5).mean()), scale_free=True)
    assert row(findings)[["cut", "split", "verdict"]].tolist() == ["ok", "leak", "leak"]


def test_a_cross_sectional_feature_is_allowed_the_other_symbols_where_declared():
    def ranked(b: pd.DataFrame) -> pd.Series:
        return b.groupby("date")["volume"].rank(pct=True)

    assert causality.audit(ranked, cross=True).ok
    assert row(causality.audit(ranked))["neighbour"] == "leak"
    assert row(causality.audit(lambda b: ranked(b).shift(-1), cross=True))["verdict"] == "leak"


@pytest.mark.parametrize(("name", "leaks"), [("lead", ["lead"]), ("lag", [])])
def test_a_feature_put_into_the_catalogue_is_audited_by_name(monkeypatch, name, leaks):
    functions = {"lead": lambda a: np.append(a.close[1:], np.nan) / a.close,
                 "lag": lambda a: np.append(np.nan, a.close[:-1]) / a.close}  # fmt: skip
    monkeypatch.setitem(features.CATALOGUE, name, features.Feature(name, functions[name], 0 + (name == "lag"), "ratio",
                                                                   "", ""))  # fmt: skip
    findings = causality.audit(["ret_1", name])
    assert findings.leaks == leaks
    assert findings.ok is not bool(leaks)


# --- what the audit says ----------------------------------------------------------------------------------------


def test_a_leak_is_told_with_its_date_and_the_way_out():
    findings = causality.audit({"lead": lambda b: by_symbol(b, lambda s: s.shift(-1))})
    date = f"{row(findings)['date']:%Y-%m-%d}"
    assert row(findings)["what"].startswith(f"the value at {date} (AAA) changes when the rows after it are taken away")
    assert "sees 1 session ahead or more" in row(findings)["what"]
    with pytest.raises(LeakError, match=rf"lead: leak \(cut\).*{date}.*The way out: .*shift\(1\)"):
        findings.raise_for_leaks()


@pytest.mark.parametrize(("ahead", "distance"), [(5, "5 sessions"), (26, "26 sessions")])
def test_it_tells_how_far_a_leak_looks(ahead, distance):
    what = row(causality.audit(lambda b: by_symbol(b, lambda s: s.shift(-ahead))))["what"]
    assert f"sees {distance} ahead" in what


def test_the_input_is_left_as_it_was_and_may_come_in_any_order(bars):
    shuffled = bars.sample(frac=1, random_state=1)
    before = shuffled.copy()
    assert causality.audit(ret, shuffled).ok
    pd.testing.assert_frame_equal(shuffled, before)


def test_the_same_seed_gives_the_same_audit():
    pd.testing.assert_frame_equal(causality.audit("rsi_14").table, causality.audit("rsi_14").table)


# --- what a user's function may return, and what it may do wrong ------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda b: ret(b),
        lambda b: ret(b).to_numpy(),
        lambda b: ret(b).sample(frac=1, random_state=0),
        lambda b: b.assign(r=ret(b)).set_index(["symbol", "date"])["r"],
        lambda b: b.assign(r=ret(b))[["symbol", "date", "r"]],
        lambda b: b.groupby("symbol")["close"].rolling(3).max() / b["close"].max() ** 0,
        lambda b: (ret(b) > 0).astype("boolean"),
        lambda b: pd.cut(ret(b), [-9, 0, 9]),
        lambda b: ret(b).round(2).astype("Float64"),
        lambda b: features.compute(b, ["ret_1", "rsi_14"]),
    ],
)
def test_any_sensible_kind_of_answer_is_understood(function):
    findings = causality.audit(function)
    assert findings.ok, findings.table.T


def test_each_column_of_a_frame_is_judged_by_itself():
    def both(b: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"lag": by_symbol(b, lambda s: s.shift(1)), "lead": by_symbol(b, lambda s: s.shift(-1))})

    assert causality.audit(both).leaks == ["both.lead"]


def test_a_function_of_arrays_is_told_by_its_annotation_or_by_the_argument():
    def annotated(a: features.Arrays) -> np.ndarray:
        return np.append(np.nan, np.diff(np.log(a.close)))

    assert causality.audit(annotated).ok
    assert causality.audit(lambda a: np.append(np.diff(a.close), np.nan), arrays=True).leaks == ["<lambda>"]


def adds_a_column(b: pd.DataFrame) -> pd.Series:
    b["r"] = ret(b)
    return b["r"]


def spoils_a_column(b: pd.DataFrame) -> pd.Series:
    b.loc[b.index[0], "close"] = 1.0
    return ret(b)


def needs_history(b: pd.DataFrame) -> pd.Series:
    if b["date"].nunique() < 50:
        raise IndexError("not enough rows")
    return ret(b)


@pytest.mark.parametrize(
    ("function", "state", "words"),
    [
        (lambda b: ret(b).dropna(), "wrong length", "values for"),
        (lambda b: ret(b).to_numpy()[1:], "wrong length", "values for"),
        (lambda b: ret(b).set_axis(range(1, len(b) + 1)), "wrong index", "keep bars.index"),
        (lambda b: 1.0, "wrong type", "gives a float"),
        (lambda b: None, "wrong type", "gives a NoneType"),
        (lambda b: b["cloze"], "raises", "KeyError: 'cloze'"),
        (needs_history, "raises", "IndexError: not enough rows given 1 session"),
        (adds_a_column, "mutates", "adds the column 'r'"),
        (spoils_a_column, "mutates", "changes the column 'close'"),
        (lambda b: b.sort_values("date", inplace=True) or ret(b), "mutates", "changes the rows"),
        (lambda b: np.random.default_rng().random(len(b)), "random", "seed its random numbers"),
    ],
)
def test_a_function_that_cannot_be_judged_gets_a_finding_of_its_own(function, state, words):
    findings = causality.audit({"mine": function})
    assert row(findings)[["runs", "verdict"]].tolist() == [state, "fault"]
    assert words in row(findings)["what"]
    assert findings.untested == ["mine"]
    assert not findings.ok
    with pytest.raises(LeakError, match=r"mine: fault \(runs\)"):
        findings.raise_for_leaks()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda b: np.full(len(b), 3.0), "it is 3 wherever"),
        (lambda b: by_symbol(b, lambda s: s * np.nan), "no values"),
        (lambda b: by_symbol(b, lambda s: s.rolling(5).mean() * 0), "it is 0 wherever"),
        (lambda b: by_symbol(b, lambda s: s.rolling(2000).mean()), "no values"),
        (lambda b: by_symbol(b, lambda s: s.rolling(558).mean()), "too few of the rows"),
    ],
)
def test_where_there_is_nothing_to_check_it_is_not_green(function, words):
    findings = causality.audit({"mine": function})
    assert row(findings)["verdict"] == "nothing to check"
    assert words in row(findings)["what"]
    assert not findings.ok
    with pytest.raises(LeakError, match="give bars on which"):
        findings.raise_for_leaks()


def test_a_constant_made_of_all_rows_leaks():
    assert causality.audit({"mean": lambda b: pd.Series(b["close"].mean(), b.index)}).leaks == ["mean"]


def remembering() -> object:
    seen: dict[str, float] = {}

    def function(b: pd.DataFrame) -> pd.Series:
        seen.setdefault("mean", b["close"].mean())
        return b["close"] / seen["mean"]

    return function


class Scaler:
    """Fits in its first call."""

    mean = None

    def __call__(self, b: pd.DataFrame) -> pd.Series:
        self.mean = self.mean or b["close"].mean()
        return b["close"] / self.mean


MEMORY: dict[str, float] = {}


def global_memory(b: pd.DataFrame) -> pd.Series:
    MEMORY.setdefault("mean", b["close"].mean())
    return b["close"] / MEMORY["mean"]


@pytest.mark.parametrize("function", [remembering(), Scaler(), global_memory])
def test_a_scaler_fitted_in_the_first_call_does_not_hide_in_the_later_ones(function):
    assert len(causality.audit(function).leaks) == 1


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("rsi14", ParamError, "Did you mean 'rsi_14'"),
        ([], ParamError, "nothing to audit"),
        (7, ParamError, "nothing to audit"),
        ({"x": 7}, ParamError, "x is a int, not a function"),
    ],
)
def test_what_cannot_be_audited_is_refused(what, error, words):
    with pytest.raises(error, match=words):
        causality.audit(what)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: b.drop(columns="date"), "lacks the column 'date'"),
        (lambda b: b.assign(date=b["date"].astype(str)), "must be datetime64"),
        (lambda b: b.assign(date=b["date"].dt.tz_localize("UTC")), r"found datetime64\[ns, UTC\]"),
        (lambda b: b[b["date"] < b["date"].unique()[20]], "20 sessions are too few"),
        (lambda b: pd.concat([b, b.head(1)]), "AAA .* twice"),
        (lambda b: b["close"], "found Series"),
    ],
)
def test_bars_that_cannot_be_cut_are_refused(bars, spoil, words):
    with pytest.raises(SchemaError, match=words):
        causality.audit(ret, spoil(bars))


def test_too_few_cuts_are_refused():
    with pytest.raises(ParamError, match="cuts 2: give at least 5"):
        causality.audit("ret_1", cuts=2)


# --- labels -----------------------------------------------------------------------------------------------------


def label(horizon: int):
    return lambda b: np.concatenate(
        [target(Series(name, rows["date"].to_numpy(), rows["close"].to_numpy(), np.empty((len(rows), 0))), horizon)
         for name, rows in b.groupby("symbol")]
    )  # fmt: skip


@pytest.mark.parametrize("horizon", [1, 5, 21])
def test_a_label_may_look_its_horizon_ahead_and_no_farther(horizon):
    assert causality.audit_label(label(horizon), horizon=horizon).ok
    assert causality.audit_label(label(horizon + 1), horizon=horizon).leaks == ["<lambda>"]
    assert causality.audit(label(horizon)).leaks == ["<lambda>"]


def test_a_label_known_too_early_is_found():
    findings = causality.audit_label(lambda b: by_symbol(b, lambda s: s.shift(-5) / s - 1).fillna(0.0), horizon=5)
    assert row(findings)["tail"] == "filled"
    assert not findings.ok
    assert row(causality.audit_label(label(1), horizon=5))["tail"] == "filled"


def test_a_label_scaled_with_all_labels_leaks():
    findings = causality.audit_label(lambda b: by_symbol(b, lambda s: s.pct_change(5).shift(-5).rank()), horizon=5)
    assert findings.leaks == ["<lambda>"]


def test_a_label_needs_a_horizon():
    with pytest.raises(ParamError, match="horizon 0"):
        causality.audit_label(label(1), horizon=0)


# --- the audit itself, with a fault planted in it ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "kind"), [("cut", "cut only"), ("corrupt", "corrupt only"), ("neighbour", "symbols")]
)
def test_without_a_check_a_leak_of_its_kind_goes_unseen(monkeypatch, check, kind):
    cases = {name: function for name, its, function in LEAKS if its == kind}
    kept = checks.compare
    monkeypatch.setattr(
        checks, "compare", lambda one, scene, bars: () if scene.check == check else kept(one, scene, bars)
    )
    assert set(causality.audit(cases).leaks) < set(cases)


def test_a_corruption_that_changes_nothing_would_find_nothing(monkeypatch):
    cases = {name: function for name, kind, function in LEAKS if kind == "corrupt only"}
    monkeypatch.setattr(scenes, "corrupted", lambda bars, *_: bars)
    assert causality.audit(cases).leaks == []


def test_cuts_on_mondays_only_would_miss_a_leak_on_fridays(monkeypatch):
    def mondays(bars: pd.DataFrame, count: int, rng: np.random.Generator) -> list[pd.Timestamp]:
        days = pd.DatetimeIndex(bars["date"].unique())
        return list(days[days.weekday == 0][-count:])

    cases = {name: function for name, kind, function in LEAKS if name == "on Fridays only"}
    assert len(causality.audit(cases).leaks) == 1
    monkeypatch.setattr(scenes, "cut_dates", mondays)
    assert causality.audit(cases).leaks == []


def test_cuts_fall_on_every_weekday_and_month_and_near_the_end():
    bars = scenes.practice_bars(np.random.default_rng(3))
    days = pd.DatetimeIndex(np.sort(bars["date"].unique()))
    for seed in range(10):
        cuts = pd.DatetimeIndex(scenes.cut_dates(bars, 20, np.random.default_rng(seed)))
        assert len(cuts) == 20
        assert set(cuts.weekday) == set(range(5))
        assert len(set(cuts.month)) >= 10
        assert days[-2] in cuts
        assert days[-1] not in cuts


@pytest.mark.parametrize("days", [(6, 1), (0, 1), (300, 1)])
def test_a_leak_near_either_end_of_the_bars_is_found(days):
    at, _ = days

    def near(b: pd.DataFrame) -> pd.Series:
        place = b.groupby("symbol").cumcount(ascending=at == 0)
        here = place.between(0, 4) if at != 300 else b["date"] >= "2023-09-14"
        return b["close"].where(~here, by_symbol(b, lambda s: s.shift(-1)))

    assert len(causality.audit(near).leaks) == 1


@pytest.mark.parametrize("how", scenes.CORRUPTIONS)
def test_corrupted_bars_are_bars_and_only_the_rows_asked_for_change(bars, how):
    where = (bars["date"] > bars["date"].unique()[200]).to_numpy()
    corrupted = scenes.corrupted(bars, where, how, np.random.default_rng(1))
    pd.testing.assert_frame_equal(corrupted[~where], bars[~where])
    assert (corrupted.loc[where, "close"] != bars.loc[where, "close"]).all()
    features.compute(corrupted)
    if how != "mild":
        assert np.log10(corrupted.loc[where, "close"] / bars.loc[where, "close"]).abs().max() > 1


def test_rounding_is_no_leak_but_a_small_leak_is():
    drift = 1e-14

    def rounded(b: pd.DataFrame) -> pd.Series:
        return ret(b) * (1 + drift * len(b) / 1000)

    assert row(causality.audit(rounded))["cut"] == "rounding"
    drift = 1e-7
    assert causality.audit(rounded).leaks == ["rounded"]
