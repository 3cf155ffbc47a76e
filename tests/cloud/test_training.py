"""Training keeps SageMaker's contract: a whole model or none, and a reason that says what is wrong with the input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pandas as pd
import pytest

from stockkit.cloud.sagemaker import training, training_input
from stockkit.errors import ParamError
from stockkit.market import simulate
from tests.conftest import ROOT


@pytest.fixture
def prefix(tmp_path):
    """An empty /opt/ml; SIGTERM is given back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    (tmp_path / "input" / "config").mkdir(parents=True)
    (tmp_path / "input" / "data" / "training").mkdir(parents=True)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def channel(prefix):
    return prefix / "input" / "data" / "training"


def asked(prefix, **texts):
    (prefix / "input" / "config" / "hyperparameters.json").write_text(json.dumps(texts))


def frame(symbols=("AAA", "NA"), count=30):
    bars = simulate.bars(symbols, count=count, rng=np.random.default_rng(1))
    change = np.log(bars["close"]).groupby(bars["symbol"]).diff()
    return bars[["symbol", "date", "close"]].assign(change=change, change_2=change**2)


def put(prefix, frame, name="a.csv"):
    path = channel(prefix) / name
    frame.to_csv(path, index=False) if name.endswith("csv") else frame.to_parquet(path, index=False)
    return path


def read(prefix, *features):
    return training_input.panel(channel(prefix), features)


def test_csv_and_parquet_together_are_one_sorted_panel(prefix):
    data = frame()
    put(prefix, data[data["symbol"] == "NA"].sample(frac=1, random_state=1))
    put(prefix, data[data["symbol"] == "AAA"], "b.parquet")
    panel, features, version = read(prefix)
    assert features == ("change", "change_2")
    pd.testing.assert_frame_equal(panel, data.astype({"symbol": object}), check_dtype=False)
    assert version == read(prefix)[2]


def test_the_fingerprint_changes_with_one_byte(prefix):
    path = put(prefix, frame())
    before = read(prefix)[2]
    path.write_text(path.read_text().replace("100", "101", 1))
    assert read(prefix)[2] != before


def test_columns_of_prices_are_no_features_unless_asked_for(prefix):
    put(prefix, frame().assign(volume=1, open=2.0))
    assert read(prefix)[1] == ("change", "change_2")
    assert list(read(prefix, "volume")[0].columns) == ["symbol", "date", "close", "volume"]


def spoil(name, body):
    def do(prefix):
        put(prefix, frame())
        (channel(prefix) / name).write_bytes(body)

    return do


def spoil_frame(**columns):
    return lambda prefix: put(prefix, frame().assign(**columns))


def truncated(prefix):
    path = put(prefix, frame(), "b.parquet")
    path.write_bytes(path.read_bytes()[:-40])


def linked(prefix):
    put(prefix, frame())
    (channel(prefix) / "b.csv").symlink_to("/etc/passwd")


def twice(prefix):
    put(prefix, frame()), put(prefix, frame(), "b.parquet")


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (lambda prefix: None, "no files"),
        (spoil("b.csv", b""), "'b.csv' cannot be read"),
        (spoil("b.csv", "symbol,date,close,change\nAAA,ü".encode("utf-16")), "'b.csv' cannot be read"),
        (spoil("b.csv", b"symbol,date\nAAA,2023-01-03\n"), "'b.csv' lacks the column 'close'"),
        (spoil("b.csv", b"symbol,date,close,change,change_2\n../x,2023-01-03,1,1,1\n"), "'../x' is not a symbol"),
        (spoil("b.csv", b"symbol,date,close,change,change_2\n,2023-01-03,1,1,1\n"), "symbol must be a string"),
        (spoil("b.csv", b"symbol,date,close,change,change_2\nA,03/01/2023,1,1,1\n"), "date"),
        (spoil("b.csv", b"symbol,date,close,change,change_2\nA,,1,1,1\n"), "a day is missing"),
        (spoil("b.csv", b"symbol,date,close,change,change_2\nA,2023-01-03,one,1,1\n"), "column 'close'"),
        (
            spoil("b.csv", b"symbol,date,close,change\nA,2023-01-03,1,1\n"),
            "no feature 'change_2'. Did you mean 'change'",
        ),
        (spoil("b.exe\n; rm -rf x", b""), "neither .csv nor .parquet"),
        (spoil("b.pkl", b"\x80\x04."), "neither .csv nor .parquet"),
        (spoil_frame(change="x"), "column 'change'"),
        (truncated, "'b.parquet' cannot be read"),
        (linked, "a link out of the channel"),
        (twice, "twice"),
    ],
)
def test_a_channel_that_cannot_be_trained_on_is_refused_by_name(prefix, spoiled, message):
    spoiled(prefix)
    reason = training.run(prefix)
    assert message in reason
    assert (prefix / "output" / "failure").read_text() == reason
    assert not (prefix / "model").exists()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"modle": "lasso"}, "'modle' is unknown. Did you mean 'model'"),
        ({"horizon": "five"}, "'five' is no whole number"),
        ({"horizon": "1.0"}, "no whole number"),
        ({"horizon": "9" * 5000}, "no whole number"),
        ({"horizon": 5}, "must be a text"),
        ({"features": '["a", 3]'}, "must be names"),
        ({"features": "a,a"}, "each once"),
        ({"features": "["}, "no JSON list"),
        ({"features": "chance"}, "no feature 'chance'. Did you mean 'change'"),
        ({"features": "../../etc/passwd"}, "no feature"),
        ({"x" * 3000: "1"}, "is unknown"),
        ({"model": "\ud800"}, "no model"),
        ({"model": "lass"}, "no model"),
    ],
)
def test_hyperparameters_are_checked_by_name_and_type(prefix, texts, message):
    put(prefix, frame())
    asked(prefix, **texts)
    assert message in training.run(prefix)
    assert len((prefix / "output" / "failure").read_text()) <= 1024


def test_hyperparameters_as_the_python_sdk_and_a_tuning_job_write_them(prefix):
    asked(prefix, model='"lasso"', horizon="5", features='["a", "b"]', sagemaker_region='"x"',
          _tuning_objective_metric="rmse_ratio")  # fmt: skip
    parameters = training_input.hyperparameters(prefix / "input" / "config" / "hyperparameters.json")
    assert parameters == training_input.Hyperparameters("lasso", 5, ("a", "b"))
    assert training_input.hyperparameters(prefix / "none.json") == training_input.Hyperparameters()


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '{"a": '])
def test_a_broken_document_is_refused(prefix, text):
    path = prefix / "hyperparameters.json"
    path.write_text(text)
    with pytest.raises(ParamError, match=r"hyperparameters\.json"):
        training_input.hyperparameters(path)


@pytest.mark.parametrize(
    ("name", "document", "message"),
    [
        ("inputdataconfig.json", {"training": {"TrainingInputMode": "Pipe"}}, "'Pipe': take File"),
        ("resourceconfig.json", {"hosts": ["algo-1", "algo-2"]}, "2 instances"),
    ],
)
def test_a_job_that_we_cannot_do_is_refused(prefix, name, document, message):
    (prefix / "input" / "config" / name).write_text(json.dumps(document))
    put(prefix, frame())
    assert message in training.run(prefix)


def test_a_fault_of_ours_is_written_down_and_raised(prefix, monkeypatch):
    put(prefix, frame())

    def fail(*_):
        raise RuntimeError("x" * 3000)

    monkeypatch.setattr(training, "fit", fail)
    with pytest.raises(RuntimeError):
        training.run(prefix)
    assert (prefix / "output" / "failure").read_text() == ("RuntimeError: " + "x" * 3000)[:1024]


def test_sigterm_during_the_write_waits_for_its_end(prefix):
    done = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(training.INTERRUPTED))

    def write():
        with training._uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            done.append("written")

    with pytest.raises(SystemExit, match="143"):
        write()
    assert done == ["written"]


def command(prefix):
    return [sys.executable, "-m", "stockkit.cli", "train", "--prefix", str(prefix)]


def test_the_command_fails_with_exit_code_1_and_the_reason(prefix):
    (channel(prefix) / "a.csv").write_text("symbol,date\n")
    done = subprocess.run(command(prefix), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "lacks the column 'close'" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_train_wrote_is_served_and_a_second_run_writes_the_same_bytes(prefix):
    data = frame(("AAA", "BBB"), 450)
    put(prefix, data)
    asked(prefix, model="lasso", horizon="1", step="200")
    done = subprocess.run(command(prefix), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert {"rmse_ratio", "coverage90"} <= {line.split("=")[0] for line in done.stdout.splitlines()}
    assert all(line.endswith(";") and float(line.split("=")[1][:-1]) for line in done.stdout.splitlines())
    first = {path: path.read_bytes() for path in prefix.rglob("*") if path.is_file()}
    subprocess.run(command(prefix), cwd=ROOT, capture_output=True, timeout=300, check=True)
    assert {path: path.read_bytes() for path in prefix.rglob("*") if path.is_file()} == first
    rows = json.loads(data.tail(30).assign(date=data["date"].dt.strftime("%Y-%m-%d")).to_json(orient="records"))
    answer = ask(prefix / "model", {"rows": rows})
    assert [row["symbol"] for row in answer["forecasts"]] == ["BBB"] * 30
    assert all(row["lo95"] < row["mean"] < row["hi95"] for row in answer["forecasts"])


def ask(folder, body):
    """Start `stockkit serve` on a folder, wait for it, ask once, and end it."""
    from tests.cloud.test_serving import until

    words = [sys.executable, "-m", "stockkit.cli", "serve", "--model", str(folder), "--port", "0"]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            port = until(process.stderr, "event=listening").split("port=")[1].strip()
            until(process.stderr, "event=loaded")
            return httpx.post(f"http://127.0.0.1:{port}/invocations", json=body).raise_for_status().json()
        finally:
            process.terminate()


def test_sigterm_while_it_trains_leaves_no_model(prefix):
    put(prefix, frame(("AAA", "BBB"), 2000))
    asked(prefix, model="lasso", step="1")
    with subprocess.Popen(command(prefix), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr if "event=read" in line)
        time.sleep(0.3)
        process.terminate()
        assert process.wait(60) == training.INTERRUPTED
    assert not (prefix / "model").exists()
    assert not (prefix / "output" / "failure").exists()
