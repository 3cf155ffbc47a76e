"""A study and what is saved of it: the newest forecasts are those that a served model gives."""

import numpy as np
import pandas as pd
import pytest

from stockkit.errors import ForecastError
from stockkit.forecast.models import Boosting, Drift, Lasso, MedianEnsemble, RandomWalk, Series
from stockkit.forecast.walk import study, trained
from tests.forecast.series import planted

RECIPES = (RandomWalk(), Drift(), Lasso(), Boosting(trees=5), MedianEnsemble())


def panel(*symbols: str) -> pd.DataFrame:
    parts = []
    for k, symbol in enumerate(symbols):
        history = planted(500, symbol=symbol, seed=k)
        columns = {"symbol": symbol, "date": history.date.astype("datetime64[ns]"), "close": history.close}
        parts.append(pd.DataFrame(columns | dict(zip(history.names, history.features.T, strict=True))))
    return pd.concat(parts, ignore_index=True).astype({"symbol": "string"})


NAMES = ["f0", "f1", "f2", "f3"]


@pytest.fixture(scope="module")
def done() -> study.Study:
    return study.run(panel("AAA", "BBB"), models=RECIPES, features=NAMES, horizon=2, step=120)


def series(symbol: str, last: int = 500) -> Series:
    frame = panel(symbol) if symbol == "AAA" else panel("AAA", symbol)
    history = frame[frame["symbol"] == symbol].tail(last)
    return Series(
        symbol, history["date"].to_numpy(), history["close"].to_numpy(), history[NAMES].to_numpy(), tuple(NAMES)
    )


@pytest.mark.parametrize("model", [model.name for model in RECIPES])
@pytest.mark.parametrize("symbol", ["AAA", "BBB"])
def test_what_is_served_of_the_newest_session_is_what_was_forecast(done: study.Study, model: str, symbol: str) -> None:
    rows = done.rows.query("model == @model and symbol == @symbol and fold == -1")
    served = trained.from_study(done, model).forecast(series(symbol))
    for column in ("mean", "sigma", "lo80", "hi80", "lo90", "hi90", "lo95", "hi95"):
        assert served[column][-1] == pytest.approx(rows[column].iloc[0], rel=1e-9, abs=1e-12), column


def test_one_row_is_enough_where_the_model_needs_no_more(done: study.Study) -> None:
    lasso = trained.from_study(done, "lasso")
    full, single = lasso.forecast(series("AAA")), lasso.forecast(series("AAA", last=1))
    assert single["mean"][0] == pytest.approx(full["mean"][-1])
    assert single["sigma"][0] == lasso.calibration["AAA"].sigma


def test_another_symbol_or_other_features_are_refused_by_name(done: study.Study) -> None:
    lasso, history = trained.from_study(done, "lasso"), series("AAA")
    with pytest.raises(ForecastError, match="symbol 'CCC': lasso was fitted on AAA, BBB"):
        lasso.forecast(Series("CCC", history.date, history.close, history.features, history.names))
    with pytest.raises(ForecastError, match=r"with the feature 'f0' .4 in all., which is not given"):
        lasso.forecast(Series("AAA", history.date, history.close, history.features[:, 1:], history.names[1:]))
    with pytest.raises(ForecastError, match="not fitted with the feature 'extra'"):
        lasso.forecast(Series("AAA", history.date, history.close, np.ones((500, 5)), (*history.names, "extra")))
    with pytest.raises(ForecastError, match="in another order: f0, f1"):
        lasso.forecast(Series("AAA", history.date, history.close, history.features, history.names[::-1]))


def test_a_model_that_was_not_in_the_study_has_nothing_to_save(done: study.Study) -> None:
    with pytest.raises(ForecastError, match="theta is fitted to no symbol"):
        trained.from_study(done, "theta")


def test_training_one_model_backtests_it_beside_the_random_walk() -> None:
    fitted, rows = trained.train(panel("AAA", "BBB"), model=Lasso(), features=NAMES, horizon=1)
    assert set(rows["model"]) == {"random_walk", "lasso"}
    assert fitted.symbols == ["AAA", "BBB"]
    assert fitted.as_of == series("AAA").date[-2].astype("datetime64[D]")


def test_studies_of_several_horizons_are_put_together(done: study.Study) -> None:
    both = [done, done]
    assert len(study.rows_of(both)) == 2 * len(done.rows)
    assert study.trials(both) == 2 * done.past.trials
    assert study.skipped(both) == {}


def test_a_fit_tells_which_features_it_uses_and_others_change_nothing(done: study.Study) -> None:
    result = trained.from_study(done, "lasso")
    assert "f0" in result.used
    assert set(result.used) < set(NAMES) or len(result.used) == len(NAMES)
    history = series("AAA")
    without = history.features.copy()
    without[:, [k for k, name in enumerate(NAMES) if name not in result.used]] = np.nan
    bare = Series("AAA", history.date, history.close, without, tuple(NAMES))
    np.testing.assert_array_equal(result.forecast(bare)["mean"], result.forecast(history)["mean"])
    assert trained.from_study(done, "drift").used == ()
