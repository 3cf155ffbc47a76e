"""Saved models, in a folder and on S3: what is saved is what is loaded, and nothing of a hostile file is run."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import uuid
import zipfile
from importlib import metadata

import numpy as np
import pandas as pd
import pytest

from stockkit import open_lake
from stockkit.aws import Session
from stockkit.errors import ForecastError, LakeError
from stockkit.forecast import models
from stockkit.forecast.judge import gate
from stockkit.forecast.models.naive import Constant, PrevailingMean
from stockkit.forecast.walk import backtest
from stockkit.forecast.walk.trained import Calibration, Trained
from stockkit.local_files import write_atomically
from stockkit.records import registry
from stockkit.records.registry import attachments, champions, encoding, saved_model, saving
from tests.aws import environment
from tests.conftest import ROOT, lacking
from tests.forecast.series import planted
from tests.records.saved_models import (
    AS_OF,
    NOW,
    OwnNetwork,
    OwnTrees,
    Unknown,
    boosted,
    ensemble,
    linear,
    network,
    origin,
    rows,
    series,
    torch_or_skip,
    trained,
)

FITS = {"linear": linear, "boosted": boosted, "network": network, "ensemble": ensemble,
        "constant": lambda: Constant(float("nan")), "prevailing": lambda: PrevailingMean(1)}  # fmt: skip


@pytest.fixture(params=["folder", "s3"])
def anywhere(request, tmp_path):
    """An empty lake in a folder, and one on S3."""
    if request.param == "folder":
        return open_lake(str(tmp_path / "lake"), root=ROOT)
    request.getfixturevalue("aws")
    bucket = f"b{uuid.uuid4().hex[:12]}"
    where = {"LocationConstraint": "eu-central-1"}
    Session().client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    return open_lake(f"s3://{bucket}/lake", root=ROOT)


def same(first: Trained, second: Trained) -> None:
    for symbol in first.symbols:
        forecast, loaded = (model.forecast(series(symbol)) for model in (first, second))
        assert {name: values.tobytes() for name, values in forecast.items()} == {
            name: values.tobytes() for name, values in loaded.items()
        }


@pytest.mark.parametrize("fit", FITS)
def test_forecasts_of_a_loaded_model_equal_those_of_the_saved_one_bit_for_bit(lake, fit):
    before = trained(FITS[fit]())
    saved = registry.save(lake, before, **origin())
    after = registry.load(lake, "lasso-h1", saved.version)
    same(before, after)
    assert (after.model, after.horizon, after.features, after.as_of) == ("lasso", 1, before.features, before.as_of)
    assert after.calibration == before.calibration


def test_a_model_is_saved_and_loaded_anywhere_with_its_evidence(anywhere):
    before = trained(ensemble())
    saved = registry.save(anywhere, before, **origin())
    same(before, registry.load(anywhere, "lasso-h1", "newest"))
    assert anywhere.files.names(f"models/{saved.key}") == [
        "estimators.skops", "evidence.parquet", "model.json", "parameters.json", "weights.pt"]  # fmt: skip
    kept = gate.recent(origin()["evidence"], AS_OF, 1)
    pd.testing.assert_frame_equal(registry.find(anywhere, "lasso-h1", saved.version).evidence(), kept)


def test_the_same_content_is_one_version_whenever_and_by_whichever_process_it_is_saved(anywhere):
    first = registry.save(anywhere, trained(ensemble()), **origin())
    again = registry.save(anywhere, trained(ensemble()), **origin(made_at=NOW + pd.Timedelta("1h")))
    assert first.version == again.version
    assert again.card["made_at"] == NOW.isoformat()
    other = registry.save(anywhere, trained(ensemble()), **origin(settings={"alphas": [0.2]}))
    assert other.version != first.version


SAVER = """
import sys
from stockkit import open_lake
from stockkit.records import registry
from tests.records.saved_models import boosted, linear, origin, trained
lake = open_lake(sys.argv[1])
for n in range(int(sys.argv[2])):
    fit = boosted() if sys.argv[3] == "boosted" else linear()
    print(registry.save(lake, trained(fit), **origin(settings={"n": n})).key, flush=True)
"""


def saver(place, count, fit):
    command = [sys.executable, "-c", SAVER, str(place), str(count), fit]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip


def test_processes_that_save_the_same_model_at_once_make_one_version(tmp_path):
    running = [saver(tmp_path / "lake", 2, "boosted") for _ in range(2)]
    outputs = [process.communicate() for process in running]
    assert outputs[0][0] == outputs[1][0] != "", outputs
    lake = open_lake(str(tmp_path / "lake"), root=ROOT)
    assert list(registry.list_models(lake)["problem"]) == ["", ""]


def test_a_save_killed_at_any_moment_leaves_whole_models_and_no_half_ones(tmp_path):
    lake = open_lake(str(tmp_path / "lake"), root=ROOT)
    with saver(tmp_path / "lake", 1000, "linear") as process:
        for _ in range(3):
            process.stdout.readline()
        threading.Event().wait(0.013)
        process.kill()
    complete = [
        key for key in registry.list_models(lake).index if lake.files.size(f"models/{key}/model.json") is not None
    ]
    assert len(complete) >= 3
    assert set(registry.list_models(lake).loc[complete, "problem"]) == {""}


def test_a_save_cut_short_before_its_card_is_no_model_and_is_finished_by_saving_again(lake):
    saved = registry.save(lake, trained(), **origin())
    (lake.folder / saved.folder / "model.json").unlink()
    (lake.folder / saved.folder / "parameters.json").write_bytes(b"{")
    with pytest.raises(LakeError, match="no saved model 'lasso-h1'"):
        registry.load(lake, "lasso-h1", "newest")
    assert "cut short" in registry.list_models(lake)["problem"].iloc[0]
    assert registry.save(lake, trained(), **origin()).version == saved.version
    same(trained(), registry.load(lake, "lasso-h1", "newest"))


def test_a_pooled_fit_and_nan_calibrations_are_kept(lake):
    before = Trained("gbm", 5, series().names, AS_OF, {"": linear()}, {"A": Calibration(np.nan, (1, np.inf, 2))})
    evidence = rows({"random_walk": 0, "gbm": 0.1}, horizon=5)
    saved = registry.save(lake, before, **origin(evidence=evidence))
    after = registry.load(lake, "gbm-h5", saved.version)
    assert after.symbols == ["A"]
    assert np.isnan(after.calibration["A"].sigma)
    assert after.calibration["A"].widths == (1, np.inf, 2)


def test_a_class_that_is_not_registered_cannot_be_saved_and_the_error_says_how(lake):
    with pytest.raises(ForecastError, match=r"Unknown cannot be saved.*registry\.allow\(Unknown\)"):
        registry.save(lake, trained(Unknown(0.1)), **origin())
    assert not lake.files.has_folder("models")


def test_the_fitted_classes_of_forecast_models_are_known_without_a_list_and_nothing_else_there_is():
    known = encoding.fitted_classes()
    assert {"Constant", "PrevailingMean", "Linear", "Boosted", "Arma", "Smoothing", "ThetaLines", "RollingWindow",
            "WeightedAverage", "Garch", "MedianFitted", "Curve", "Network"} <= set(known)  # fmt: skip
    assert {cls.__module__.rpartition(".")[0] for cls in known.values()} == {"stockkit.forecast.models"}
    assert not [name for name, cls in known.items() if hasattr(cls, "fit")]  # no recipe, protocol or frame


SAVED_BEFORE = ROOT / "tests/records/saved_by_0.1"  # a fit of each class but Boosted, saved by commit b5c256e


def test_a_model_saved_by_an_earlier_version_opens_forecasts_the_same_and_is_saved_as_the_same_bytes():
    saved = registry.load_folder(SAVED_BEFORE)
    bars = planted(300)
    expected = json.loads((SAVED_BEFORE / "forecasts.json").read_text())
    assert sorted(expected) == saved.symbols
    for symbol, newest in expected.items():
        forecast = saved.forecast(dataclasses.replace(bars, symbol=symbol))
        assert {name: values[-1] for name, values in forecast.items()} == pytest.approx(newest, rel=1e-9), symbol
    for name, body in saving.fit_files(saved).items():
        assert body == (SAVED_BEFORE / name).read_bytes()


def test_what_is_allowed_must_be_a_fitted_dataclass_with_a_name_of_its_own():
    with pytest.raises(ForecastError, match="must be a dataclass"):
        registry.allow(int)
    second_constant = dataclasses.make_dataclass("Constant", ["mean"], namespace={"forecast": None})
    with pytest.raises(ForecastError, match="called Constant"):
        registry.allow(second_constant)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": {"x": object()}}, "settings"),
        ({"settings": {"x": float("nan")}}, "settings"),
        ({"evidence": rows({"random_walk": 0.0})}, "no row of lasso"),
        ({"evidence": rows({"lasso": 0.0})}, "no row of random_walk"),
    ],
)
def test_what_cannot_be_judged_or_kept_is_refused_before_anything_is_written(lake, change, says):
    with pytest.raises(ForecastError, match=says):
        registry.save(lake, trained(), **origin(**change))
    assert not lake.files.has_folder("models")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "champion", "a b", "a-h1"])
def test_a_model_whose_name_is_no_folder_is_refused(lake, name):
    with pytest.raises(ForecastError, match="a name takes letters"):
        registry.save(lake, trained(model=name), **origin(evidence=rows({"random_walk": 0, name: 0})))


@pytest.mark.parametrize("name", ["../x", "lasso", "lasso-h1/..", "h0x", "champion-h1", ""])
def test_a_name_that_is_none_is_refused(lake, name):
    for version in ("champion", "newest", "2023-12-29-0123456789ab", "../../x"):
        with pytest.raises(LakeError):
            registry.load(lake, name, version)


@pytest.mark.parametrize("value", [np.array([object()]), np.longdouble(1), b"x", {1, 2}, lambda: 0])
def test_a_value_that_cannot_be_kept_exactly_is_refused(value):
    with pytest.raises(ForecastError, match="cannot be saved"):
        encoding.encode(value, attachments.Attachments())


def test_an_estimator_that_could_not_be_loaded_safely_is_refused_when_saved():
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(2).fit(np.arange(20.0)[:, None], np.arange(20.0))
    with pytest.raises(ForecastError, match="RandomForestRegressor cannot be saved"):
        attachments.dump_estimators([forest])


# --- hostile files -------------------------------------------------------------------------------------------------


class Bomb:
    """What a pickle of this runs when it is loaded."""

    def __reduce__(self):
        return (open, (str(BOMBED), "w"))


BOMBED = ROOT / ".bombed"  # what a hostile file would make; no test may leave it


@pytest.fixture
def unharmed():
    yield
    bombed = BOMBED.exists()
    BOMBED.unlink(missing_ok=True)
    assert not bombed, "code of the file was run"


def torch_bomb() -> bytes:
    torch = torch_or_skip()
    out = io.BytesIO()
    torch.save({"0": Bomb()}, out)
    return out.getvalue()


def skops_bomb() -> bytes:
    """A skops archive that would call open() if its types were trusted."""
    import functools

    import skops.io

    return skops.io.dumps([functools.partial(open, str(BOMBED), "w")])


def skops_of(value) -> bytes:
    import skops.io

    return skops.io.dumps(value)


def wandering_trees(**change) -> bytes:
    fit = boosted().estimator
    nodes = fit._predictors[0][0].nodes
    for name, value in change.items():
        nodes[name][0] = value
    return skops_of([fit])


def zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 1000)
    body = out.getvalue()
    place = body.index(b"PK\x01\x02") + 24  # the size after unpacking, in the archive's directory
    return body[:place] + (2**32 - 2).to_bytes(4, "little") + body[place + 4 :]


def stored_bomb() -> bytes:
    """Stored, but its directory names more bytes than there are."""
    body = zip_bomb()
    for mark, skip in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = body.index(mark) + skip
        body = body[:place] + b"\0\0" + body[place + 2 :]
    return body


def packed() -> bytes:
    """As skops wrote it, but packed."""
    out = io.BytesIO()
    plain = zipfile.ZipFile(io.BytesIO(skops_of([boosted().estimator])))
    with plain as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return out.getvalue()


def forge(lake, saved, *, card=None, **bodies):
    """Put other files in, as one who can write the lake could: with a card that fits them."""
    folder = lake.folder / saved.folder
    forged = json.loads((folder / "model.json").read_text()) | (card or {})
    for name, body in bodies.items():
        name = {"skops": "estimators.skops", "weights": "weights.pt"}.get(name, f"{name}.json")
        (folder / name).write_bytes(body)
        forged["files"][name] = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    forged["libraries"].setdefault("scikit-learn", metadata.version("scikit-learn"))
    forged["version"] = f"{forged['as_of']}-{saved_model.seal(forged)}"
    (folder / "model.json").write_text(json.dumps(forged))
    target = folder.with_name(forged["version"])
    folder.rename(target)
    return forged["version"]


FITTED = '{"dict": [["A", {"fitted": "Constant", "fields": %s}]]}'


@pytest.mark.parametrize(
    ("bodies", "says"),
    [
        ({"skops": pickle.dumps(Bomb())}, "estimators.skops: is no archive"),
        ({"skops": b""}, "estimators.skops: is no archive"),
        ({"skops": skops_bomb}, r"estimators.skops: .*[Uu]ntrusted.*partial"),
        ({"skops": lambda: skops_of(["no estimator"])}, "list of scikit-learn estimators"),
        ({"skops": zip_bomb()}, "packed entries"),
        ({"skops": packed}, "packed entries"),
        ({"skops": stored_bomb()}, "more bytes than it has"),
        ({"weights": zip_bomb()}, "packed entries"),
        ({"skops": lambda: wandering_trees(left=10**6)}, "nodes point outside"),
        ({"skops": lambda: wandering_trees(right=0)}, "nodes point outside"),
        ({"skops": lambda: wandering_trees(feature_idx=3)}, "nodes point outside"),
        ({"skops": lambda: wandering_trees(feature_idx=-1)}, "nodes point outside"),
        ({"skops": lambda: wandering_trees(is_categorical=1)}, "nodes point outside"),
        ({"weights": pickle.dumps(Bomb(), 2)}, "weights.pt: is no file of weights alone"),
        ({"weights": torch_bomb}, "weights.pt: is no file of weights alone"),
        ({"weights": b"PK"}, "weights.pt: is no file of weights alone"),
        ({"parameters": b"{"}, "parameters.json: is no JSON"),
        ({"parameters": b"[" * 10**5}, "parameters.json: is no JSON"),
        ({"parameters": b"NaN"}, "parameters.json: is no JSON: NaN"),
        ({"parameters": b"[1]"}, "does not hold fitted models"),
        ({"parameters": (FITTED % '{"mean": 1.0}').replace("Constant", "Bomb").encode()}, "'Bomb' is not registered"),
        ({"parameters": (FITTED % "{}").encode()}, "the file has none"),
        ({"parameters": (FITTED % '{"mean": "x"}').encode()}, "Constant.mean should be float"),
        ({"parameters": (FITTED % '{"mean": {"os": "x"}}').encode()}, "'os' is no kind of value"),
        ({"parameters": (FITTED % '{"mean": {"estimator": 5}}').encode()}, "IndexError"),
        ({"parameters": (FITTED % '{"mean": {"tensor": "9"}}').encode()}, "KeyError"),
        ({"parameters": (FITTED % '{"mean": {"array": {"dtype": "O", "shape": [1], "values": [1]}}}').encode()},
         "no dtype"),
        ({"parameters": (FITTED % '{"mean": {"array": {"dtype": "f8", "shape": [9], "values": [1]}}}').encode()},
         "reshape"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_by_name_and_nothing_of_it_is_run(lake, unharmed, bodies, says):
    if "weights" in bodies:
        torch_or_skip()
    bodies = {name: body() if callable(body) else body for name, body in bodies.items()}
    saved = registry.save(lake, trained(), **origin())
    version = forge(lake, saved, **bodies)
    with pytest.raises(LakeError, match=says) as caught:
        registry.load(lake, "lasso-h1", version)
    assert str(lake.folder) in str(caught.value)


def test_the_hostile_files_would_run_if_they_were_trusted():
    pickle.loads(pickle.dumps(Bomb())).close()
    assert BOMBED.exists()
    BOMBED.unlink()


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"format": 2}, "format 2, this stockkit knows 1"),
        ({"files": {"../../x": {"size": 1, "sha256": ""}}}, "no file of a model"),
        ({"files": {"model.json": {"size": 1, "sha256": ""}}}, "no file of a model"),
        ({"files": {"weights.pt": {"size": "1", "sha256": ""}}}, "size and sha256"),
        ({"files": {}}, "names no such file"),
        ({"model": "../x"}, "is no model"),
        ({"horizon": -1}, "is no model"),
        ({"horizon": True}, "is no model"),
        ({"features": "x"}, "'features' should be a list"),
        ({"symbols": [1]}, "must be texts"),
        ({"calibration": {"A": [1]}}, "calibration"),
        ({"calibration": {"A": ["x", [1, 2, 3]]}}, "calibration"),
        ({"calibration": {"A": [1, [1, 2, {"os": "x"}]]}}, "'os'"),
        ({"as_of": "2023-99-99"}, "model.json"),
    ],
)
def test_a_forged_card_is_refused(lake, card, says):
    version = forge(lake, registry.save(lake, trained(), **origin()), card=card)
    with pytest.raises(LakeError, match=says):
        registry.load(lake, "lasso-h1", version)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda f: (f / "parameters.json").unlink(), "parameters.json is missing"),
        (lambda f: (f / "model.json").unlink(), "model.json is missing"),
        (lambda f: (f / "parameters.json").write_bytes((f / "parameters.json").read_bytes()[:-1]), "cut or changed"),
        (lambda f: (f / "parameters.json").write_bytes((f / "parameters.json").read_bytes().replace(b"0.1", b"0.2")),
         "SHA-256"),
        (lambda f: (f / "model.json").write_text((f / "model.json").read_text().replace("rsi_14", "rsi_15")),
         "no longer has the hash"),
        (lambda f: (f / "model.json").write_text("[]"), "no card of a stockkit model"),
        (lambda f: (f / "model.json").write_bytes(b"\xff"), "is no JSON"),
        (lambda f: (f / "model.json").write_bytes(b" " * (2**26 + 1)), "a card has at most"),
    ],
)  # fmt: skip
def test_a_file_that_is_missing_cut_or_changed_is_named(lake, harm, says):
    saved = registry.save(lake, trained(), **origin())
    harm(lake.folder / saved.folder)
    with pytest.raises(LakeError, match=says):
        registry.load(lake, "lasso-h1", saved.version)
    assert says.split()[-1] in registry.list_models(lake)["problem"].iloc[0]


def test_a_changed_byte_anywhere_is_found(lake):
    saved = registry.save(lake, trained(ensemble()), **origin())
    rng = np.random.default_rng(0)
    for name in [*saved.card["files"], "model.json"]:
        path = lake.folder / saved.folder / name
        body = path.read_bytes()
        for place in rng.integers(0, len(body), 3):
            if name == "model.json" and b"made_at" in body[max(0, place - 50) : place]:
                continue
            path.write_bytes(body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])
            assert registry.list_models(lake)["problem"].iloc[0] != "", (name, place)
        path.write_bytes(body)
    assert registry.list_models(lake)["problem"].iloc[0] == ""


def test_a_model_moved_to_another_name_is_refused(lake):
    saved = registry.save(lake, trained(), **origin())
    (lake.folder / "models" / "gbm-h1").mkdir()
    (lake.folder / saved.folder).rename(lake.folder / "models" / "gbm-h1" / saved.version)
    with pytest.raises(LakeError, match="is the card of lasso-h1"):
        registry.load(lake, "gbm-h1", saved.version)


def test_estimators_of_another_scikit_learn_are_refused(lake):
    saved = registry.save(lake, trained(boosted()), **origin())
    version = forge(lake, saved, card={"libraries": {"scikit-learn": "1.2.0"}})
    with pytest.raises(LakeError, match=r"saved with scikit-learn 1\.2\.0"):
        registry.load(lake, "lasso-h1", version)


# --- folders outside a lake ----------------------------------------------------------------------------------------


def test_a_folder_outside_any_lake_holds_the_same_files_and_is_loaded_and_adopted(anywhere, tmp_path):
    before = trained(ensemble())
    (tmp_path / "model").mkdir()
    written = registry.write_folder(before, tmp_path / "model", **origin())
    same(before, registry.load_folder(tmp_path / "model"))
    adopted = registry.adopt(anywhere, tmp_path / "model")
    assert adopted.key == written.key == registry.save(anywhere, before, **origin()).key
    registry.export(adopted, tmp_path / "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()
    }


def test_a_folder_with_another_model_is_not_written_over(tmp_path):
    registry.write_folder(trained(), tmp_path / "model", **origin())
    with pytest.raises(LakeError, match="holds another model"):
        registry.write_folder(trained(linear(0.5)), tmp_path / "model", **origin())
    same(trained(), registry.load_folder(tmp_path / "model"))


def test_evidence_of_more_rows_than_memory_could_hold_is_refused_before_it_is_read(lake, monkeypatch):
    monkeypatch.setattr(saved_model, "MOST_ROWS", 10)
    with pytest.raises(LakeError, match=r"evidence\.parquet has [0-9,]+ rows"):
        candidate(lake).evidence()


# --- the champion --------------------------------------------------------------------------------------------------


def candidate(lake, model="lasso", noise=0.0, mean=0.0, seed=0, as_of=AS_OF, **evidence):
    noises = {"random_walk": 0.0, "drift": 0.0, "lasso": 0.0, model: noise}
    forecasts = rows(noises, seed=seed, until=as_of, **evidence)
    return registry.save(lake, trained(linear(mean), model=model, as_of=as_of), **origin(evidence=forecasts))


def promoted(lake, saved):
    return registry.promote(lake, saved.key, at=NOW)


def test_the_first_champion_is_judged_against_the_random_walk_and_the_entry_says_who_when_and_why(anywhere):
    saved = candidate(anywhere)
    decision = promoted(anywhere, saved)
    assert decision.promoted, decision.judgement.reasons
    (entry,) = registry.history(anywhere, 1)
    assert entry == decision.entry
    assert (entry.version, entry.before, entry.action, entry.at) == (saved.key, None, "promoted", NOW.isoformat())
    assert "the random walk" in " ".join(entry.reasons)
    assert entry.figures["error_ratio"] == 1.0
    same(trained(linear(0.0)), registry.load(anywhere, "h1"))
    assert registry.load(anywhere, "lasso-h1").model == "lasso"


def test_a_candidate_that_fails_the_gate_leaves_everything_as_it_was(anywhere):
    good, bad = candidate(anywhere), candidate(anywhere, "gbm", noise=0.5)
    promoted(anywhere, good)
    decision = promoted(anywhere, bad)
    assert not decision.promoted
    assert "squared error is larger than that of the champion lasso" in decision.judgement.reasons[0]
    assert champions.champion(anywhere, 1) == good.key
    assert len(registry.history(anywhere, 1)) == 1


def test_a_retrained_champion_is_compared_with_the_forecasts_it_was_saved_with(lake):
    promoted(lake, candidate(lake))
    worse = rows({"random_walk": 0.0, "lasso": 0.5})
    saved = registry.save(lake, trained(linear(0.1)), **origin(evidence=worse))
    decision = promoted(lake, saved)
    assert not decision.promoted
    assert "the champion lasso" in decision.judgement.reasons[0]


def test_a_champion_too_old_to_share_sessions_with_its_own_successor_gives_way_to_the_random_walk(lake):
    promoted(lake, candidate(lake))
    later = candidate(lake, mean=0.1, as_of=AS_OF + np.timedelta64(300, "D"))
    decision = promoted(lake, later)
    assert decision.promoted
    assert "judged against the random walk" in decision.judgement.reasons[-1]


def test_a_model_that_is_champion_already_is_told_the_decision_of_then(lake):
    saved = candidate(lake)
    then = promoted(lake, saved)
    assert str(promoted(lake, saved)) == str(then)
    assert len(registry.history(lake, 1)) == 1


def test_a_broken_candidate_is_not_promoted(lake):
    saved = candidate(lake)
    (lake.folder / saved.folder / "parameters.json").unlink()
    with pytest.raises(LakeError, match=r"parameters\.json is missing"):
        promoted(lake, saved)
    assert registry.history(lake, 1) == []


def test_each_horizon_has_a_champion_of_its_own(lake):
    promoted(lake, candidate(lake))
    with pytest.raises(LakeError, match="horizon 5 has no champion"):
        registry.load(lake, "h5")
    with pytest.raises(LakeError, match="the champion of horizon 1 is lasso-h1"):
        registry.load(lake, "gbm-h1")


def test_rollback_goes_back_one_champion_at_a_time_and_the_history_keeps_all(anywhere):
    three = [candidate(anywhere, mean=mean) for mean in (0.1, 0.2, 0.3)]
    for saved in three:
        assert promoted(anywhere, saved).promoted
    assert registry.rollback(anywhere, 1, at=NOW).version == three[1].key
    assert registry.rollback(anywhere, 1, at=NOW).version == three[0].key
    with pytest.raises(LakeError, match="none to go back to"):
        registry.rollback(anywhere, 1, at=NOW)
    assert promoted(anywhere, three[2]).promoted
    assert registry.rollback(anywhere, 1, at=NOW).version == three[0].key
    actions = [entry.action for entry in registry.history(anywhere, 1)]
    assert actions == ["promoted"] * 3 + ["rolled back"] * 2 + ["promoted", "rolled back"]
    assert list(registry.list_models(anywhere)["champion"].sort_values()) == ["champion", "was", "was"]


def test_nothing_to_roll_back_is_an_error(lake):
    with pytest.raises(LakeError, match="horizon 1 has no champion"):
        registry.rollback(lake, 1, at=NOW)


def test_a_broken_champion_names_the_way_back_and_rollback_passes_over_broken_ones(lake):
    first, two, three = (candidate(lake, mean=mean) for mean in (0.1, 0.2, 0.3))
    for saved in (first, two, three):
        promoted(lake, saved)
    for saved in (two, three):
        (lake.folder / saved.folder / "parameters.json").write_bytes(b"{}")
    with pytest.raises(LakeError, match=r"parameters\.json.*stockkit models rollback 1"):
        registry.load(lake, "h1")
    entry = registry.rollback(lake, 1, at=NOW)
    assert entry.version == first.key
    assert f"{two.key} was passed over" in entry.reasons[1]


def test_a_champion_whose_files_are_gone_names_the_way_back_and_without_another_there_is_none(lake):
    import shutil

    saved = candidate(lake)
    promoted(lake, saved)
    shutil.rmtree(lake.folder / saved.folder)
    with pytest.raises(LakeError, match=r"model\.json is missing.*stockkit models rollback 1"):
        registry.load(lake, "h1")
    with pytest.raises(LakeError, match="stockkit models rollback 1"):
        promoted(lake, candidate(lake, mean=0.2))
    assert registry.list_models(lake).loc[saved.key, "problem"] == "its files are gone"
    assert registry.rollback(lake, 1, at=NOW).version is None
    assert promoted(lake, candidate(lake, mean=0.2)).promoted


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(anywhere):
    two = [candidate(anywhere, mean=mean) for mean in (0.1, 0.2)]
    judged, refusals = threading.Barrier(2), []

    def promote(saved):
        entries = registry.history(anywhere, 1)
        judged.wait()
        try:
            champions._append(anywhere, 1, entries, version=saved.key, before=None, action="promoted", at="",
                              reasons=(), figures={})  # fmt: skip
        except LakeError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=promote, args=[saved]) for saved in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (entry,) = registry.history(anywhere, 1)
    (lost,) = refusals
    assert f"another champion at the same time, {entry.version}" in lost


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"[" * 10**5, json.dumps({"number": 2, "horizon": 1, "version": None, "before": None,
             "action": "", "at": "", "run": "", "reasons": [], "figures": {}}).encode()])  # fmt: skip
def test_an_entry_that_is_not_ours_is_named(lake, body):
    lake.files.put("models/champion-h1/00000001.json", body)
    with pytest.raises(LakeError, match=r"champion-h1/00000001\.json"):
        registry.load(lake, "h1")


@pytest.fixture
def thrice(lake):
    """A lake in which the champion of horizon 1 changed three times."""
    for mean in (0.1, 0.2, 0.3):
        assert promoted(lake, candidate(lake, mean=mean)).promoted
    return lake


def entry_file(lake, number):
    return lake.folder / f"models/champion-h1/{number:08}.json"


def test_entries_are_chained_by_the_hashes_of_their_files_and_the_head_names_the_last(thrice):
    hashes = ["0" * 64, *(hashlib.sha256(entry_file(thrice, n).read_bytes()).hexdigest() for n in (1, 2, 3))]
    assert [entry.previous for entry in registry.history(thrice, 1)] == hashes[:3]
    assert json.loads(thrice.files.read("models/champion-h1/head.json")) == {"number": 3, "sha256": hashes[3]}


@pytest.mark.parametrize(
    ("number", "says"),
    [(1, r"00000001\.json, is gone"), (2, r"00000002\.json, is gone"), (3, r"00000003\.json, a change .* is gone")],
)
def test_an_entry_that_was_taken_away_is_an_error_and_not_the_champion_of_before(thrice, number, says):
    entry_file(thrice, number).unlink()
    for ask in (lambda: registry.load(thrice, "h1"), lambda: registry.rollback(thrice, 1, at=NOW)):
        with pytest.raises(LakeError, match=says):
            ask()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_edited_entry_is_an_error(thrice, number):
    fields = json.loads(entry_file(thrice, number).read_text())
    entry_file(thrice, number).write_text(json.dumps(fields | {"at": "2020-01-01"}))
    with pytest.raises(LakeError, match="edited"):
        registry.load(thrice, "h1")


@pytest.mark.parametrize("previous", [None, "0" * 64])
def test_an_entry_added_by_hand_is_not_obeyed_and_taking_it_away_helps(thrice, previous):
    last = registry.history(thrice, 1)[-1]
    forged = dataclasses.asdict(last) | {
        "number": 4,
        "version": registry.history(thrice, 1)[0].version,
        "previous": previous,
    }
    entry_file(thrice, 4).write_text(json.dumps(forged))
    with pytest.raises(LakeError, match=r"00000004\.json .*[Tt]ake it away"):
        registry.load(thrice, "h1")
    entry_file(thrice, 4).unlink()
    assert champions.champion(thrice, 1) == last.version


def test_a_promotion_cut_short_before_its_head_counts_and_the_next_mends_the_head(thrice):
    head = thrice.folder / "models/champion-h1/head.json"
    before = head.read_bytes()
    assert promoted(thrice, candidate(thrice, mean=0.4)).promoted
    head.write_bytes(before)
    assert len(registry.history(thrice, 1)) == 4
    assert promoted(thrice, candidate(thrice, mean=0.5)).promoted
    assert json.loads(head.read_text())["number"] == 5


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"number": "x", "sha256": 1}', b"[" * 10**5])
def test_a_head_that_is_none_is_named_with_the_way_out(thrice, body):
    head = thrice.folder / "models/champion-h1/head.json"
    head.write_bytes(body)
    with pytest.raises(LakeError, match=r"head\.json: is no head .* Take head\.json .* away"):
        registry.load(thrice, "h1")
    head.unlink()
    assert len(registry.history(thrice, 1)) == 3


def test_entries_of_before_they_were_chained_are_obeyed_and_the_next_is_chained_to_them(thrice):
    folder = thrice.folder / "models/champion-h1"
    (folder / "head.json").unlink()
    for number in (1, 2, 3):
        fields = json.loads(entry_file(thrice, number).read_text())
        entry_file(thrice, number).write_text(json.dumps({k: v for k, v in fields.items() if k != "previous"}))
    assert promoted(thrice, candidate(thrice, mean=0.4)).promoted
    last = hashlib.sha256(entry_file(thrice, 3).read_bytes()).hexdigest()
    assert registry.history(thrice, 1)[-1].previous == last


# --- the storage beneath -------------------------------------------------------------------------------------------


def test_put_tells_whether_it_created_and_never_overwrites(anywhere):
    assert anywhere.files.put("models/x/1.json", b"one") is True
    assert anywhere.files.put("models/x/1.json", b"two") is False
    assert anywhere.files.read("models/x/1.json") == b"one"
    assert anywhere.files.names("models/x") == ["1.json"]


def test_of_many_that_put_at_once_exactly_one_created_on_a_real_store_too(anywhere, seaweed_address, monkeypatch):
    one_is_created(anywhere)
    environment(seaweed_address, monkeypatch)
    one_is_created(open_lake(f"s3://lake/{uuid.uuid4().hex[:8]}", root=ROOT, session=Session()))


def one_is_created(anywhere):
    start, created = threading.Barrier(8), []

    def put(n):
        start.wait()
        if anywhere.files.put("models/x/1.json", b"%d" % n):
            created.append(b"%d" % n)

    threads = [threading.Thread(target=put, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert created == [anywhere.files.read("models/x/1.json")]


def test_put_does_not_overwrite_what_came_between_its_look_and_its_write(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"first")
    assert write_atomically(path, b"second", replace=False) is False
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


# --- the card ------------------------------------------------------------------------------------------------------


def test_the_card_says_what_it_is_its_evidence_its_limits_and_how_to_check(lake):
    saved = candidate(lake, "gbm", noise=0.5)
    page = registry.card(saved)
    for words in ("## gbm, 1 session ahead", "2 symbols (A, BRK.B)", "up to 2023-12-29", "3 features (ret_1",
                  "prices@3", "no better than the random walk", "1.65 forecast", saved.key):  # fmt: skip
        assert words in page
    assert "| **gbm** | 500 | 1." in page


def test_writing_and_reading_agree_on_the_version_of_a_card():
    card, _ = saving.contents(trained(), **origin())
    assert card["version"].endswith(saved_model.seal({**card, "made_at": "another time"}))


def test_weights_and_estimators_are_equal_bytes_each_time():
    assert attachments.dump_estimators([boosted().estimator]) == attachments.dump_estimators([boosted().estimator])
    assert attachments.dump_tensors(network().weights) == attachments.dump_tensors(network().weights)
    assert isinstance(boosted(), OwnTrees)
    assert isinstance(network(), OwnNetwork)


def test_a_loaded_model_saved_again_is_the_same_version(lake):
    first = registry.save(lake, trained(), **origin())
    assert registry.save(lake, registry.load(lake, "lasso-h1", "newest"), **origin()).version == first.version


def test_every_model_of_ours_forecasts_the_same_after_saving_and_loading(tmp_path):
    for part in ("torch", "prophet"):
        if importlib.util.find_spec(part) is None:
            lacking(part, f"{part} is missing")
    bars = planted(300)
    panel = pd.DataFrame({"symbol": "A", "date": bars.date.astype("datetime64[ns]"), "close": bars.close})
    panel = panel.assign(**dict(zip(bars.names, bars.features.T, strict=True))).astype({"symbol": "string"})
    tried = [model for model in (*models.CORE, *models.EXTRAS) if model.name != "auto_arima"]
    newest = backtest.latest(panel, models=tried, features=bars.names, horizon=2)
    assert newest.skipped == {}
    for (_, name), fitted in newest.fitted.items():
        before = Trained(name, 2, bars.names, AS_OF, {"AAA": fitted}, {"AAA": Calibration(0.02, (1.3, 1.6, 2.0))})
        kept = registry.write_folder(
            before, tmp_path / name, **origin(evidence=rows({"random_walk": 0.0, name: 0.1}, horizon=2))
        )
        again = registry.load_folder(tmp_path / name).forecast(bars)
        assert kept.card["model"] == name
        for column, values in before.forecast(bars).items():
            assert values.tobytes() == again[column].tobytes(), (name, column)
