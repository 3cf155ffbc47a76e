from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, QuantileTransformer, StandardScaler, TargetEncoder

from stockkit import causality
from stockkit.errors import LeakError, ParamError
from stockkit.forecast.walk.folds import walk_forward

N = 240
FOLDS = walk_forward(N, horizon=1, min_train=100, step=40)
DATES = pd.bdate_range("2020-01-01", periods=N)


@pytest.fixture(scope="module")
def X() -> np.ndarray:
    walk = np.random.default_rng(2).normal(0, 1, (N, 6)).cumsum(axis=0)  # its mean drifts, so a scaler tells
    return walk + 3


@pytest.fixture(scope="module")
def y(X: np.ndarray) -> np.ndarray:
    return 0.1 * X[:, 0] + np.random.default_rng(4).normal(0, 1, N)


# --- folds: models that learn only what they may ------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        make_pipeline(StandardScaler(), PCA(3), Ridge()),
        make_pipeline(SimpleImputer(), SelectKBest(f_regression, k=2), KNeighborsRegressor()),
        RandomForestRegressor(5, random_state=0),
        DummyRegressor(),
        GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 10]}, cv=TimeSeriesSplit(3)),
        lambda a, b, c: Ridge().fit(a, b).predict(c),
        lambda X, y, train, test: Ridge().fit(X[train], y[train]).predict(X[test]),
    ],
)
def test_a_clean_walk_forward_is_not_accused(X, y, model):
    findings = causality.audit_fit(model, X, y, FOLDS)
    assert list(findings.table["feature"]) == [f"fold {k}" for k in range(len(FOLDS))]
    assert findings.ok, findings.table.T


def test_frames_classes_and_splitters_are_understood(X, y):
    frame = pd.DataFrame(X, index=DATES).assign(sector=np.where(X[:, 1] > 3, "a", "b")).rename(columns=str)
    encode = ColumnTransformer([("s", OneHotEncoder(), ["sector"])], remainder=StandardScaler())
    up = pd.Series(np.where(y > 0.3, "up", "down"), index=DATES)
    folds = TimeSeriesSplit(3, gap=1)
    assert causality.audit_fit(make_pipeline(encode, LogisticRegression()), frame, up, folds).ok


# --- folds: what is fitted outside them ---------------------------------------------------------------------------


def scaler_outside(X, y, train, test):
    scaled = StandardScaler().fit_transform(X)
    return KNeighborsRegressor().fit(scaled[train], y[train]).predict(scaled[test])


def selection_outside(X, y, train, test):
    chosen = SelectKBest(f_regression, k=1).fit_transform(X, y)
    return Ridge().fit(chosen[train], y[train]).predict(chosen[test])


def encoder_outside(X, y, train, test):
    weekday = (np.arange(len(X)) % 5).reshape(-1, 1)
    encoded = TargetEncoder(target_type="continuous", cv=3, shuffle=False).fit(weekday, y).transform(weekday)
    return Ridge().fit(encoded[train], y[train]).predict(encoded[test])


def imputed_outside(X, y, train, test):
    filled = SimpleImputer().fit_transform(np.where(X > 6, np.nan, X))
    return Ridge().fit(filled[train], y[train]).predict(filled[test])


def tuned_on_the_test(X, y, train, test):
    models = [Ridge(alpha).fit(X[train], y[train]) for alpha in (1e-3, 1e3, 1e6)]
    return min(models, key=lambda m: ((m.predict(X[test]) - y[test]) ** 2).sum()).predict(X[test])


def trained_on_all(X, y, train, test):
    return Ridge().fit(X, y).predict(X[test])


def scaled_by_the_test_rows(a, b, c):
    return Ridge().fit(StandardScaler().fit_transform(a), b).predict(StandardScaler().fit_transform(c))


def fitted_in_the_first_fold():
    seen = {}

    def predict(X, y, train, test):
        scaler = seen.setdefault("scaler", StandardScaler().fit(X))
        return Ridge().fit(scaler.transform(X[train]), y[train]).predict(scaler.transform(X[test]))

    return predict


@pytest.mark.parametrize(
    "model",
    [scaler_outside, selection_outside, encoder_outside, imputed_outside, tuned_on_the_test, trained_on_all,
     scaled_by_the_test_rows, fitted_in_the_first_fold()],
)  # fmt: skip
def test_what_is_fitted_outside_the_folds_is_found(X, y, model):
    findings = causality.audit_fit(model, X, y, FOLDS[:2])
    assert findings.leaks
    assert (findings.table["fitted"] == "leak").any()
    with pytest.raises(LeakError, match=r"\(fitted\).*fit the whole Pipeline on the training rows"):
        findings.raise_for_leaks()


# --- folds: the rows themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folds", "horizon", "check"),
    [
        (KFold(3, shuffle=True, random_state=0), 1, "forward"),
        (KFold(3), 1, "forward"),
        ([(np.arange(100), np.arange(90, 120))], 1, "overlap"),
        ([(np.arange(100, 200), np.arange(50))], 1, "forward"),
        (TimeSeriesSplit(3), 5, "purge"),
        (walk_forward(N, horizon=2, min_train=100, step=40), 5, "purge"),
    ],
)
def test_folds_that_overlap_run_backwards_or_are_not_purged_are_found(X, y, folds, horizon, check):
    findings = causality.audit_fit(Ridge(), X, y, folds, horizon=horizon)
    assert "leak" in set(findings.table[check])
    assert "leak" in set(findings.table["fitted"]), "the refits see what the positions tell"
    assert findings.leaks


@pytest.mark.parametrize(("gap", "state"), [(0, "leak"), (3, "leak"), (4, "touches"), (5, "ok"), (9, "ok")])
def test_the_purge_is_measured_in_sessions(X, y, gap, state):
    findings = causality.audit_fit(Ridge(), X, y, TimeSeriesSplit(3, gap=gap), horizon=5)
    assert set(findings.table["purge"]) == {state}
    assert findings.ok == (state != "leak")


def test_sessions_of_a_panel_are_counted_by_their_dates(X, y):
    dates = np.repeat(DATES[: N // 2], 2)  # two symbols a session
    by_row = [(np.arange(100), np.arange(102, 140))]
    assert causality.audit_fit(Ridge(), X, y, by_row, horizon=3).ok
    assert causality.audit_fit(Ridge(), X, y, by_row, horizon=3, dates=dates).leaks == ["fold 0"]
    within_a_day = [(np.arange(101), np.arange(101, 140))]
    assert causality.audit_fit(Ridge(), X, y, within_a_day, dates=dates).leaks == ["fold 0"]


def test_the_input_is_left_as_it_was(X, y):
    before = X.copy(), y.copy()
    causality.audit_fit(scaler_outside, X, y, FOLDS[:1])
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [
        (lambda a, b, c: np.zeros(len(c)), "nothing", "do not depend on X and y"),
        (lambda a, b, c: np.zeros(3), "raises", r"shape \(3,\) for"),
        (lambda a, b, c: np.random.default_rng().random(len(c)), "random", "random_state"),
        (lambda a, b, c: a.nothing, "raises", "AttributeError"),
    ],
)
def test_a_model_that_cannot_be_judged_gets_a_finding_of_its_own(X, y, model, state, words):
    findings = causality.audit_fit(model, X, y, FOLDS[:1])
    assert findings.table["runs"].tolist() == [state]
    assert findings.table["what"].str.contains(words).all()
    assert not findings.ok
    assert findings.leaks == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": 3}, "cannot be fitted"),
        ({"model": lambda a, b: a}, "a function of 2 arguments"),
        ({"y": np.zeros(3)}, "X has 240 rows and y 3"),
        ({"dates": DATES[:5]}, "dates 5"),
        ({"folds": []}, "there are no folds"),
        ({"folds": [(np.arange(5), np.arange(0))]}, "5 training and 0 test rows"),
        ({"folds": [(np.arange(5), np.array([900]))]}, "positions from 0 to 239"),
        ({"folds": [(np.arange(5),)]}, "1 parts"),
        ({"horizon": -1}, "horizon -1"),
    ],
)
def test_what_cannot_be_audited_is_refused(X, y, change, words):
    with pytest.raises(ParamError, match=words):
        causality.audit_fit(**({"model": Ridge(), "X": X, "y": y, "folds": FOLDS[:1]} | change))


# --- pipelines that are fitted already ----------------------------------------------------------------------------

PIPELINES = {
    "linear": make_pipeline(StandardScaler(), Ridge()),
    "imputed": make_pipeline(SimpleImputer(), QuantileTransformer(n_quantiles=20), LinearRegression()),
    "components": make_pipeline(PowerTransformer(), PCA(2, svd_solver="full"), KNeighborsRegressor()),
    "forest": make_pipeline(SelectKBest(f_regression, k=3), RandomForestRegressor(3, random_state=1)),
    "union": Pipeline(
        [("u", FeatureUnion([("s", StandardScaler()), ("p", PCA(1, svd_solver="full"))])), ("m", Ridge())]
    ),
    "columns": make_pipeline(ColumnTransformer([("s", StandardScaler(), [0, 1])], remainder="passthrough"), Ridge()),
    "searched": GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 10]}, cv=TimeSeriesSplit(3)
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_fitted_up_to_the_cut_is_not_accused(X, y, name):
    findings = causality.audit_fitted(PIPELINES[name].fit(X[:150], y[:150]), X, y, 150)
    assert findings.leaks == []
    assert (findings.table["verdict"] == "causal").sum() >= 3


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_fitted_on_all_rows_is_found(X, y, name):
    findings = causality.audit_fitted(PIPELINES[name].fit(X, y), X, y, 150)
    assert findings.leaks


def test_it_says_which_step_saw_more_and_what(X, y):
    findings = causality.audit_fitted(PIPELINES["linear"].fit(X, y), X, y, 150)
    assert findings.leaks[0].startswith("standardscaler.")
    assert {"standardscaler.mean_", "standardscaler.scale_", "ridge.coef_"} <= set(findings.leaks)
    what = findings.table.set_index("feature").loc["standardscaler.n_samples_seen_", "what"]
    assert what == "standardscaler.n_samples_seen_ saw more than the first 150 rows: it is 240, and 150 of those"
    with pytest.raises(LeakError, match=r"standardscaler.mean_: leak \(fitted\).*fit the whole Pipeline"):
        findings.raise_for_leaks()


def test_a_scaler_fitted_on_all_in_a_pipeline_that_was_refitted_is_found(X, y):
    pipeline = make_pipeline(StandardScaler(), Ridge()).fit(X[:150], y[:150])
    pipeline.steps[0][1].fit(X)
    findings = causality.audit_fitted(pipeline, X, y, 150)
    assert {name.split(".")[0] for name in findings.leaks} == {"standardscaler"}


def test_the_cut_may_be_a_date(X, y):
    frame = pd.DataFrame(X, index=DATES)
    pipeline = make_pipeline(StandardScaler(), Ridge()).fit(frame[:150], y[:150])
    assert causality.audit_fitted(pipeline, frame, y, DATES[149]).ok
    assert causality.audit_fitted(pipeline, X, y, str(DATES[140].date()), dates=DATES).leaks


def test_what_differs_from_fit_to_fit_is_not_green(X, y):
    findings = causality.audit_fitted(RandomForestRegressor(3).fit(X[:150], y[:150]), X, y, 150)
    assert findings.leaks == []
    assert "estimators_" in findings.untested
    assert not findings.ok


@pytest.mark.parametrize(
    ("model", "cut", "words"),
    [
        (Ridge(), 150, "learned nothing yet"),
        (Ridge().fit([[1.0]], [1.0]), 0, "leaves 0 of 240"),
        (Ridge().fit([[1.0]], [1.0]), 240, "leaves 240 of 240"),
        (Ridge().fit([[1.0]], [1.0]), "2020-06-01", "there are no dates"),
    ],
)
def test_a_cut_or_model_that_cannot_be_audited_is_refused(X, y, model, cut, words):
    with pytest.raises(ParamError, match=words):
        causality.audit_fitted(model, X, y, cut)


# --- what is no leak, and what hides in a kept fit ----------------------------------------------------------------


def yesterdays_label(X, y, train, test):
    """Adds half of the last label that has ended (of a horizon of 1: the row before) to a ridge."""
    before = np.concatenate([[0.0], np.asarray(y)[:-1]])
    return Ridge().fit(X[train], y[train]).predict(X[test]) + 0.5 * before[test]


def todays_label(X, y, train, test):
    return Ridge().fit(X[train], y[train]).predict(X[test]) + 0.5 * y[test]


def todays_label_on_some_days(X, y, train, test):
    return Ridge().fit(X[train], y[train]).predict(X[test]) + np.where(test % 7 == 3, 0.5 * y[test], 0.0)


@pytest.mark.parametrize(
    ("model", "leaks"), [(yesterdays_label, False), (todays_label, True), (todays_label_on_some_days, True)]
)
def test_a_label_that_has_ended_may_be_used_and_no_other(X, y, model, leaks):
    assert bool(causality.audit_fit(model, X, y, FOLDS[:2]).leaks) == leaks


class Learned:
    scaler: StandardScaler | None = None


def scaled_once(X, y, train, test):
    Learned.scaler = Learned.scaler or StandardScaler().fit(X)
    scaled = Learned.scaler.transform(X)
    return KNeighborsRegressor().fit(scaled[train], y[train]).predict(scaled[test])


def test_a_scaler_kept_in_a_class_from_the_first_fit_does_not_hide(X, y):
    assert causality.audit_fit(scaled_once, X, y, FOLDS[:2]).leaks
    assert Learned.scaler is None


def test_a_search_is_compared_without_the_times_it_took(X, y):
    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 10]}, cv=TimeSeriesSplit(3))
    assert causality.audit_fitted(search.fit(X[:150], y[:150]), X, y, 150).ok
    assert causality.audit_fitted(search.fit(X, y), X, y, 150).leaks
