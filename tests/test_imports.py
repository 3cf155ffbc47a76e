from __future__ import annotations

import importlib
import pickle
import sys

import pytest

from stockkit import imports


def test_a_module_is_missing_in_the_block_alone(tmp_path, monkeypatch):
    (tmp_path / "planted_module.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with imports.without("planted_module"), pytest.raises(ImportError):
        importlib.import_module("planted_module")
    with imports.without("planted_module"), pytest.raises(ValueError, match="planted"):
        raise ValueError("planted")
    assert importlib.import_module("planted_module") is sys.modules.pop("planted_module")


def test_a_module_that_is_imported_stays():
    with imports.without("json"):
        assert importlib.import_module("json").loads("1") == 1
    assert "json" in sys.modules


def test_a_deferred_module_is_imported_when_something_of_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "planted_later.py").write_text("import json\nANSWER = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    later = imports.Deferred("planted_later")
    assert "planted_later" not in sys.modules
    assert later.ANSWER == 42
    assert later.json is sys.modules["json"]
    assert pickle.loads(pickle.dumps(later)) is sys.modules.pop("planted_later")
    with pytest.raises(AttributeError, match="has no attribute 'QUESTION'"):
        later.QUESTION  # noqa: B018
