from __future__ import annotations

import importlib
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
