"""What a run needs is looked at before a kernel starts; sources and engines are entries of registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from stockkit.errors import ParamError, RunError
from stockkit.intake import sources
from stockkit.workbook import doctor, param_values, preflight
from stockkit.workbook.notebooks import Notebook
from tests.conftest import ROOT, mounted


def check(lake, **parameters):
    preflight.check([Notebook("01_x", Path("01_x.ipynb"), "?", parameters, (), ())], parameters, lake, ROOT)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"source": "folder:/nowhere"}, "source folder /nowhere does not exist"),
        ({"source": "alphavantage"}, "STOCKKIT_SECRET_ALPHAVANTAGE"),
        ({"check": "nonsense"}, "'nonsense' is not known"),
        ({"horizon": 20, "horizons": [1, 5]}, r"horizons=\[1, 5, 20\]"),
        ({"horizon": 5, "horizons": [1, 5], "source": "sample", "check": ""}, None),
        ({"horizon": 20}, None),
    ],
)
def test_surroundings_are_looked_at_before_a_kernel_starts(lake, monkeypatch, parameters, says):
    monkeypatch.delenv("STOCKKIT_SECRET_ALPHAVANTAGE", raising=False)
    if says is None:
        check(lake, **parameters)
        return
    with pytest.raises(ParamError, match=says):
        check(lake, **parameters)


def test_a_run_does_not_start_on_a_full_disk(lake, tmp_path):
    preflight.check_space(tmp_path / "reports", lake)
    with mounted(tmp_path / "small", "size=1m") as folder, pytest.raises(RunError, match="MB left, and a run needs 20"):
        preflight.check_space(folder / "reports", lake)


def test_a_source_is_known_by_its_entry_alone(lake, monkeypatch):
    opened = []
    entry = sources.Entry(opened.append, key="STOCKKIT_SECRET_PLANTED")
    monkeypatch.setitem(sources.SOURCES, "planted", entry)
    check(lake, source="planted")
    assert [opening.name for opening in opened] == ["planted"]
    assert ("key STOCKKIT_SECRET_PLANTED", "not set", False) in doctor.findings(ROOT)


def test_an_engine_is_known_by_its_entry_alone(lake, monkeypatch):
    monkeypatch.setitem(param_values.ENGINES, "planted", param_values.Engine(extra="absent"))
    monkeypatch.setattr(doctor, "extras", lambda: {"absent": ["no-such-package"]})
    assert param_values.check("engine", "planted") == "planted"
    with pytest.raises(
        ParamError, match=r"engine=planted needs the package no-such-package: pip install 'stockkit\[absent\]'"
    ):
        check(lake, engine="planted")
    with pytest.raises(ParamError, match="engine must be local or spark or planted, found 'other'"):
        param_values.check("engine", "other")


def test_the_doctor_says_whether_a_bus_knows_where_its_brokers_are(monkeypatch):
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert ("bus KAFKA_BOOTSTRAP_SERVERS", "not set", False) in doctor.findings(ROOT)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    assert ("bus KAFKA_BOOTSTRAP_SERVERS", "present", False) in doctor.findings(ROOT)


def test_the_doctor_knows_the_extras_that_are_declared():
    extras = doctor.extras()
    assert sorted(extras) == ["deep", "kafka", "prophet", "serve", "spark", "yfinance"]
    assert (extras["spark"], extras["deep"], "uvicorn" in extras["serve"]) == (["protobuf", "pyspark"], ["torch"], True)
