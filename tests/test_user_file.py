"""A user's own features and models from a file: tried before anything starts, then beside the catalogue's in a run."""

from __future__ import annotations

import numpy as np
import pytest

from stockkit import features
from stockkit.errors import ParamError
from stockkit.forecast import models
from stockkit.forecast.walk import study
from stockkit.lake import feature_table
from stockkit.lake.tables import open_lake
from stockkit.market import simulate
from stockkit.workbook import user_file
from tests import cells
from tests.conftest import make_workbook, stockkit
from tests.test_short_histories import own_data

FEATURE = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from stockkit import features
from stockkit.forecast import models
from stockkit.records.registry import allow
from stockkit.forecast.models import Forecast

features.register("range_5", lambda a: (a.high - a.low) / a.close, look_back=0, meaning="how far a day went")
"""
MODEL = """
@dataclass(frozen=True)
class Momentum:
    name: str = "momentum"

    def fit(self, train):
        return Slope(0.02 + 0.0 * float(np.nansum(train.targets[0])))

{decorator}
@dataclass(frozen=True)
class Slope:
    slope: float

    def forecast(self, series, first):
        past = np.log(series.close / np.roll(series.close, 5))
        past[:5] = 0.0
        return Forecast(self.slope * past[first:])

MODELS = [Momentum()]
"""
GOOD = FEATURE + MODEL.format(decorator="")
LEAK = FEATURE + 'features.register("tomorrow", lambda a: np.roll(a.close, -1) / a.close, look_back=0)\n'
PEEK = GOOD.replace("past[first:]", "(past + series.close[-1] / 1e4)[first:]")


@pytest.fixture(autouse=True)
def forgotten():
    yield
    user_file.load("")


def checked(folder, text, **used):
    (folder / "mine.py").write_text(text)
    user_file.check("mine.py", folder, used)


def test_a_sound_file_passes_and_leaves_nothing_behind(tmp_path):
    checked(tmp_path, GOOD, candidate="momentum")
    assert "range_5" not in features.CATALOGUE


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LEAK, "tomorrow: leak"),
        (PEEK, "momentum"),
        ("import", "cannot be loaded: SyntaxError"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "ends Python by sys.exit(0)"),
        ("import os\nos._exit(0)", "ends the process that it runs in (exit code 0)"),
        ("x = 1", "adds nothing"),
        (FEATURE + 'features.register("rsi_14", lambda a: a.close, look_back=0)', "'rsi_14' is in the catalogue"),
        (FEATURE + 'features.register("close", lambda a: a.close, look_back=0)', "a column of prices"),
        (GOOD.replace('"momentum"', '"lasso"'), "the name 'lasso' of a model is taken"),
        (GOOD.replace('"momentum"', '"best"'), "the name 'best' of a model is taken"),
        (GOOD.replace("[Momentum()]", "[Momentum(), Momentum()]"), "the name 'momentum' of a model is taken"),
        (GOOD.replace("[Momentum()]", "[Momentum]"), "write Momentum()"),
        (GOOD.replace("MODELS =", "OTHERS ="), "add MODELS = [Momentum()]"),
        (GOOD.replace("[Momentum()]", "[1]"), "a model has `name`"),
    ],
)
def test_a_file_that_cannot_enter_a_run_is_refused_in_a_line(tmp_path, text, says):
    with pytest.raises(ParamError) as refused:
        checked(tmp_path, text)
    assert says in str(refused.value)
    assert str(refused.value).startswith("mine.py")
    assert "\n" not in str(refused.value)


def test_what_a_run_cannot_do_with_a_file_is_refused(tmp_path):
    with pytest.raises(ParamError, match=r"there is no file none\.py"):
        user_file.check("none.py", tmp_path, {})
    with pytest.raises(ParamError, match="engine=spark"):
        checked(tmp_path, FEATURE, engine="spark")
    with pytest.raises(ParamError, match="'momentun' is no model"):
        checked(tmp_path, GOOD, candidate="momentun")
    with pytest.raises(ParamError, match=r"groups=\[user\] has no features"):
        user_file.check("", tmp_path, {"groups": ["user"]})


def test_a_leak_stops_the_command_before_anything_starts(tmp_path):
    workbook = make_workbook(tmp_path / "book")
    (workbook / "mine.py").write_text(LEAK)
    done = stockkit(workbook, "run", "params/sample.yaml", "-p", "user=mine.py", "-p", "candidate=random_walk")
    assert done.returncode == 2
    assert "mine.py: tomorrow: leak" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (workbook / "reports").exists()


def test_other_processes_fit_a_model_of_the_file(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    given = [models.RandomWalk(), *user_file.load("mine.py", tmp_path).models]
    panel = simulate.bars(["A", "B"], count=320, rng=np.random.default_rng(0))
    (done,) = study.several(panel, horizons=[1], models=given, features=[], jobs=2)
    assert done.newest.skipped == {}
    assert set(done.rows["model"]) == {"random_walk", "momentum"}
    assert type(done.newest.fitted["A", "momentum"]).__name__ == "Slope"


@pytest.mark.parametrize("decorator", ["", "@allow"])
def test_a_run_computes_stores_and_tries_what_the_file_adds(tmp_path, decorator):
    workbook = own_data(tmp_path, {"S0": 420, "S1": 420})
    (workbook / "mine.py").write_text(FEATURE + MODEL.format(decorator=decorator))
    given = {
        "source": f"folder:{workbook / 'csv'}", "symbols": ["S0", "S1"], "tried": ["random_walk", "lasso"],
        "user": "mine.py", "groups": ["lags"], "candidate": "momentum", "horizons": [1],
    }  # fmt: skip
    cells.run(workbook, "01_ingest", **given)
    for _ in range(2 if decorator else 1):
        pages = cells.chain(workbook, ["03_features", "04_model"], **given)
    lake = open_lake("data/lake", root=workbook)
    assert lake.read("features")["range_5"].notna().all()
    assert "range_5" in pages["03_features"].text
    assert pages["04_model"].names["names"] == ["range_5"]
    assert "momentum" in set(lake.read("forecasts")["model"])
    assert ("`momentum`, 1 ahead, is not saved" in pages["04_model"].text) == (decorator == "")
    if decorator == "":
        feature_table.update(lake, ["weekday"])
        again = cells.run(workbook, "04_model", **given)
        assert "Left out: range_5 of mine.py is not in the features yet: run 03_features." in again.text
