"""A backtest with kept fits is the same, bit for bit, as one that fits everything anew."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockkit.aws import Session
from stockkit.files import Bucket, Folder
from stockkit.forecast.models import (
    Boosting,
    Drift,
    Ewma,
    Forecast,
    GarchT,
    Lasso,
    MedianEnsemble,
    RandomWalk,
    Recipe,
    Series,
    Training,
)
from stockkit.forecast.walk import kept_fits as keys
from stockkit.forecast.walk import study
from stockkit.lake.tables import Lake
from stockkit.records import kept_fits
from stockkit.records.kept_fits import file_format, sources
from tests.forecast.test_backtest import panel

WHERE = {"LocationConstraint": "eu-central-1"}
MODELS: tuple[Recipe, ...] = (RandomWalk(), Drift(), Ewma(), Lasso(alphas=3), Boosting(trees=2), MedianEnsemble())


@dataclass(frozen=True)
class Copied:
    """Forecasts the first feature."""

    def forecast(self, series: Series, first: int) -> Forecast:
        return Forecast(series.features[first:, 0])


@dataclass(frozen=True)
class Feature:
    """Learns nothing, so that what it forecasts is in the rows alone."""

    name: str = "feature"

    def fit(self, train: Training) -> Copied:
        return Copied()


@dataclass(frozen=True, eq=False)
class Case:
    """What a study is made of."""

    panel: pd.DataFrame
    models: Sequence[Recipe] = MODELS
    features: tuple[str, ...] = ("ret_1", "ret_5")
    how: tuple[tuple[str, Any], ...] = (("min_train", 150), ("step", 60))
    horizon: int = 2

    def run(self, store: kept_fits.LakeFits | None = None) -> study.Study:
        how: dict[str, Any] = dict(self.how)
        return study.run(
            self.panel, models=self.models, features=self.features, horizon=self.horizon, store=store, **how
        )


FURTHER = panel(count=292)


def until(count: int) -> pd.DataFrame:
    return FURTHER[FURTHER.groupby("symbol").cumcount() < count].reset_index(drop=True)


BASE = Case(until(290))


def assert_same(one: study.Study, other: study.Study) -> None:
    for mine, theirs in ((one.past, other.past), (one.newest, other.newest)):
        assert mine.rows.to_csv() == theirs.rows.to_csv()
        pd.testing.assert_frame_equal(mine.rows, theirs.rows, check_exact=True)
        pd.testing.assert_frame_equal(mine.fits, theirs.fits, check_exact=True)
        assert mine.skipped == theirs.skipped
        assert list(mine.fitted) == list(theirs.fitted)
    pd.testing.assert_frame_equal(one.rows, other.rows, check_exact=True)


def changed(case: Case, row: int, column: str, by: float) -> Case:
    frame = case.panel.copy()
    frame.loc[row % len(frame), column] *= by
    return replace(case, panel=frame)


def setting(case: Case, **new: Any) -> Case:
    return replace(case, how=tuple((dict(case.how) | new).items()))


def model(case: Case, new: Recipe) -> Case:
    return replace(case, models=tuple(new if item.name == new.name else item for item in case.models))


def without_row(case: Case, row: int) -> Case:
    return replace(case, panel=case.panel.drop(index=row % len(case.panel)).reset_index(drop=True))


def another_day(case: Case, row: int) -> Case:
    """The date of one row, moved to the Saturday after it where that is free."""
    frame, at = case.panel.copy(), row % len(case.panel)
    following = frame["date"].get(at + 1, pd.Timestamp.max)
    moved = frame.loc[at, "date"] + pd.Timedelta(hours=1)
    frame.loc[at, "date"] = moved if moved < following else frame.loc[at, "date"]
    frame["date"] = frame["date"].dt.normalize()
    return replace(case, panel=frame)


def swapped(case: Case) -> Case:
    """The two features under each other's name."""
    named = {"ret_1": "ret_5", "ret_5": "ret_1"}
    return replace(case, panel=case.panel.rename(columns=named))


EDITS: dict[str, Callable[[Case, int], Case]] = {
    "one more day": lambda case, n: replace(case, panel=until(291)),
    "two more days": lambda case, n: replace(case, panel=until(292)),
    "a day less": lambda case, n: replace(case, panel=until(289)),
    "a corrected close": lambda case, n: changed(case, n, "close", 1.001),
    "a close of another last bit": lambda case, n: changed(case, n, "close", 1 + 2**-52),
    "a corrected feature": lambda case, n: changed(case, n, "ret_1", -1.0),
    "a split": lambda case, n: replace(case, panel=case.panel.assign(close=case.panel["close"] / 3)),
    "a row less": without_row,
    "features under each other's name": lambda case, n: swapped(case),
    "features in another order": lambda case, n: replace(case, features=case.features[::-1]),
    "a feature less": lambda case, n: replace(case, features=case.features[:1]),
    "another horizon": lambda case, n: replace(case, horizon=3),
    "other penalties": lambda case, n: model(case, Lasso(alphas=4)),
    "other trees": lambda case, n: model(case, Boosting(trees=3)),
    "another decay": lambda case, n: model(case, Ewma(decay=0.9)),
    "a model less": lambda case, n: replace(case, models=case.models[:3]),
    "a symbol less": lambda case, n: replace(case, panel=case.panel[case.panel["symbol"] == "AAA"]),
    "a later start": lambda case, n: replace(
        case, panel=case.panel[case.panel.groupby("symbol").cumcount() > n % 5].reset_index(drop=True)
    ),
    "another step": lambda case, n: setting(case, step=50),
    "a longer start": lambda case, n: setting(case, min_train=151),
    "an embargo": lambda case, n: setting(case, embargo=3),
    "a window": lambda case, n: setting(case, window=155),
}


@pytest.fixture
def store(tmp_path):
    return kept_fits.LakeFits(Folder(tmp_path))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A store with the fits of the base case."""
    folder = tmp_path_factory.mktemp("filled")
    BASE.run(kept_fits.LakeFits(Folder(folder)))
    return folder


def copied(filled, folder):
    for path in filled.rglob("*.fits"):
        Folder(folder).note(f"{kept_fits.FOLDER}/{path.name}", path.read_bytes())
    return kept_fits.LakeFits(Folder(folder))


@given(edits=st.lists(st.tuples(st.sampled_from(sorted(EDITS)), st.integers(0, 579)), min_size=1, max_size=2))
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_run_with_kept_fits_is_the_run_anew_whatever_was_changed_before_it(edits, filled, tmp_path):
    store, case = copied(filled, tmp_path), BASE
    for name, number in edits:
        case = EDITS[name](case, number)
        assert_same(case.run(store), case.run())


def fits_made(case: Case, store: kept_fits.LakeFits, monkeypatch) -> list[tuple[str, int]]:
    """Which model was fitted to how many sessions."""
    made = []
    for kind in {type(item) for item in case.models if hasattr(item, "fit")}:

        def fit(self, train, kind=kind, original=kind.fit):
            made.append((self.name, len(train.series[0])))
            return original(self, train)

        monkeypatch.setattr(kind, "fit", fit)
    case.run(store)
    monkeypatch.undo()
    return made


def test_a_new_day_fits_the_newest_forecasts_alone(filled, tmp_path, monkeypatch):
    made = fits_made(replace(BASE, panel=until(291)), copied(filled, tmp_path), monkeypatch)
    newest = [name for name, sessions in made if sessions == 290]
    assert sorted(newest) == sorted([*[item.name for item in MODELS[:4]] * 2, "boosting"])
    assert len(made) == len(newest) + 1  # the trees of the open fold, which are not kept, forecast one day more


def test_the_same_day_again_fits_nothing_but_the_newest_trees(filled, tmp_path, monkeypatch):
    assert fits_made(BASE, copied(filled, tmp_path), monkeypatch) == [("boosting", 289)]


def test_a_changed_setting_fits_that_model_alone(filled, tmp_path, monkeypatch):
    case = replace(BASE, models=MODELS[:4])
    made = fits_made(model(case, Lasso(alphas=4)), copied(filled, tmp_path), monkeypatch)
    assert {name for name, _ in made} == {"lasso"}


def test_horizons_asked_together_after_one_alone_and_before_it_are_as_made_anew(store):
    def several(horizons, store=None):
        how = {"models": MODELS, "features": list(BASE.features), **dict(BASE.how)}
        return study.several(BASE.panel, horizons=horizons, store=store, **how)

    for horizons in ([2], [2, 5], [2], [5, 2]):
        for kept, anew in zip(several(horizons, store), several(horizons), strict=True):
            assert_same(kept, anew)


FAULTS = {
    "past_of": lambda train: keys.hashed(str(train.horizon), *(s.date for s in train.series)),
    "seen_of": lambda series, first, sigma: keys.hashed(str(first), series.date),
    "settings_of": lambda model: model.name,
}


@pytest.mark.parametrize(
    ("faults", "edit", "row"),
    [
        (["past_of"], "a corrected close", 10),
        (["past_of"], "a split", 0),
        (["past_of", "seen_of"], "a corrected feature", 200),
        (["settings_of"], "other penalties", 0),
        (["settings_of"], "other trees", 0),
    ],
)
def test_a_key_that_lacks_something_is_found(faults, edit, row, tmp_path, monkeypatch):
    for fault in faults:
        monkeypatch.setattr(keys, fault, FAULTS[fault])
    store, case = kept_fits.LakeFits(Folder(tmp_path)), replace(BASE, models=(*MODELS, Feature()))
    case.run(store)
    case = EDITS[edit](case, row)
    with pytest.raises(AssertionError):
        assert_same(case.run(store), case.run())


def damaged(body: bytes) -> dict[str, bytes]:
    entries, ages = file_format.unpack(body)
    short = {
        key: keys.KeptForecast(entry.mean[:-1], entry.sigma[:-1]) if isinstance(entry, keys.KeptForecast) else entry
        for key, entry in entries.items()
    }
    odd = {
        key: replace(entry, parameters={"fitted": "Constant", "fields": {"mean": "high"}})
        if isinstance(entry, keys.KeptFit)
        else entry
        for key, entry in entries.items()
    }
    swapped_kinds = dict(zip(entries, reversed(entries.values()), strict=True))
    return {
        "empty": b"",
        "truncated": body[:-9],
        "a changed bit": body[:-5] + bytes([body[-5] ^ 1]) + body[-4:],
        "foreign": b"PAR1" + body,
        "of another format": body.replace(b"fits 1 ", b"fits 0 ", 1),
        "of another shape": file_format.pack(short, ages),
        "of unknown fits": file_format.pack(odd, ages),
        "of another kind": file_format.pack(
            {key: item for key, item in swapped_kinds.items() if type(item) is not type(entries[key])}, ages
        ),
    }


@pytest.mark.parametrize("name", list(damaged(file_format.pack({}, {}))))
def test_what_is_damaged_or_foreign_is_made_anew(name, filled, tmp_path):
    case = replace(BASE, models=MODELS[:3])
    store = copied(filled, tmp_path)
    for path in sorted(tmp_path.rglob("*.fits")):
        path.write_bytes(damaged(path.read_bytes())[name])
    assert_same(case.run(store), case.run())
    assert_same(case.run(store), case.run())


def test_fits_go_on_where_nothing_can_be_kept(filled, tmp_path, caplog):
    (tmp_path / "runs").write_text("a file where a folder should be")
    case = replace(BASE, models=MODELS[:2])
    assert_same(case.run(kept_fits.LakeFits(Folder(tmp_path))), case.run())
    assert "are not kept" in caplog.text


def test_a_fresh_run_takes_nothing_up_and_replaces_what_was_kept(filled, tmp_path, monkeypatch):
    copied(filled, tmp_path)
    monkeypatch.setenv("STOCKKIT_FRESH", "1")
    fresh = kept_fits.in_lake(Lake(Folder(tmp_path), tmp_path))
    case = replace(BASE, models=MODELS[:3], panel=BASE.panel[BASE.panel["symbol"] == "AAA"])
    assert len(fits_made(case, fresh, monkeypatch)) == 3 * 4
    monkeypatch.setenv("STOCKKIT_FRESH", "0")
    assert not kept_fits.in_lake(Lake(Folder(tmp_path), tmp_path)).fresh
    assert kept_fits.clear(Lake(Folder(tmp_path), tmp_path)) == 3
    assert list(tmp_path.rglob("*.fits")) == []


def test_what_is_not_used_goes_after_some_runs(store):
    one = {"a": keys.KeptFit(1, "")}
    for run in range(file_format.UNUSED + 2):
        store.save("symbol=A", one if run == 0 else {"b": keys.KeptFit(2, "")})
        assert ("a" in store.load("symbol=A")) == (run <= file_format.UNUSED)


def test_a_file_stays_below_its_size_and_what_was_used_last_stays(store, monkeypatch):
    monkeypatch.setattr(file_format, "MOST_BYTES", 40_000)
    for k in range(6):
        rows = np.full(500, float(k))
        store.save("symbol=A", {f"forecast {k}": keys.KeptForecast(rows, rows)})
    assert list(store.load("symbol=A")) == ["forecast 5", "forecast 4", "forecast 3", "forecast 2"]
    assert store.load("symbol=A")["forecast 4"].mean.tolist() == [4.0] * 500


def test_one_of_two_runs_that_save_at_once_wins_whole(store):
    from concurrent.futures import ThreadPoolExecutor

    def save(k: int) -> None:
        rows = np.full(2000, float(k))
        store.save("symbol=A", {f"{k}": keys.KeptForecast(rows, rows)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(20)))
    left = store.load("symbol=A")
    assert left
    assert all((entry.mean == float(key)).all() for key, entry in left.items())


USER = """
from dataclasses import dataclass
import numpy as np
import mine_below
from stockkit.forecast.models import Forecast


@dataclass(frozen=True)
class Flat:
    mean: float

    def forecast(self, series, first):
        return Forecast(np.full(len(series) - first, self.mean))


@dataclass(frozen=True)
class Mine:
    name: str = "mine"

    def fit(self, train):
        from mine_inside import more
        return Flat(mine_below.mean + more)
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A file of a user that imports another one above, and a third one inside of a function."""
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "mine_below.py").write_text("mean = 0.001\n")
    (folder / "mine_inside.py").write_text("import mine_last\nmore = 0.0\n")
    (folder / "mine_last.py").write_text("")
    (folder / "mine.py").write_text(USER)
    (folder / "other.py").write_text("")
    monkeypatch.syspath_prepend(folder)

    def load() -> Any:
        for name in [name for name in sys.modules if name.startswith("mine")]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        return importlib.import_module("mine")

    return folder, load


@pytest.mark.parametrize("name", ["mine.py", "mine_below.py", "mine_inside.py", "mine_last.py"])
def test_a_users_model_is_known_by_its_file_and_all_that_this_imports(name, user_module):
    folder, load = user_module
    before = sources.fingerprint(load().Mine)
    (folder / "other.py").write_text("# changed")
    assert before == sources.fingerprint(load().Mine) is not None
    (folder / name).write_text((folder / name).read_text() + "# changed\n")
    assert before != sources.fingerprint(load().Mine) is not None


def test_a_changed_file_of_the_user_is_fitted_anew(user_module, store):
    folder, load = user_module
    case = replace(BASE, models=(RandomWalk(), load().Mine()))
    assert_same(case.run(store), case.run())
    (folder / "mine_below.py").write_text("mean = 0.25\n")
    case = replace(BASE, models=(RandomWalk(), load().Mine()))
    again = case.run(store)
    assert set(again.rows.loc[again.rows["model"] == "mine", "mean"]) == {0.25}


def test_models_are_known_by_their_own_modules():
    lasso, garch = sources.fingerprint(Lasso), sources.fingerprint(GarchT)
    assert None not in (lasso, garch)
    assert lasso != garch


@dataclass
class Changing:
    name: str = "changing"


@dataclass(frozen=True)
class Holding:
    name: str = "holding"
    kept: Any = None


def test_a_model_that_may_change_or_is_not_told_by_its_settings_is_not_kept():
    assert keys.settings_of(Changing()) is None
    assert keys.settings_of(Holding(kept=[1])) is None
    assert keys.settings_of(Holding(kept=np.float64(1))) is None
    assert keys.settings_of(Holding(kept=(1, ("a", None, 0.5)))) is not None
    hiding = Holding()
    object.__setattr__(hiding, "count", 3)
    assert keys.settings_of(hiding) is None
    facts = [keys.settings_of(Holding(kept=one)) for one in (1, 1.0, True, "1", None)]
    assert len(set(facts)) == len(facts)


def test_a_class_that_a_cell_or_a_function_makes_is_not_kept():
    @dataclass(frozen=True)
    class Inside:
        name: str = "inside"

    assert sources.fingerprint(Inside) is None
    assert sources.fingerprint(type("Made", (), {"__module__": "__main__"})) is None


def test_what_raises_raises_again(store):
    """A refusal is not kept: its reason is the same each time."""
    case = replace(BASE, models=(RandomWalk(), Lasso()), features=())
    assert_same(case.run(store), case.run())
    assert_same(case.run(store), case.run())


def test_fits_are_kept_on_s3_as_in_a_folder(aws):
    session = Session()
    session.client("s3").create_bucket(Bucket="kept-fits", CreateBucketConfiguration=WHERE)
    store = kept_fits.LakeFits(Bucket("kept-fits", "lake", session))
    case = replace(BASE, models=MODELS[:3])
    assert_same(case.run(store), case.run())
    assert store.load("symbol=AAA")
    assert_same(case.run(store), case.run())
    assert kept_fits.clear(Lake(store.files, Path())) == 2
    assert not store.load("symbol=AAA")
