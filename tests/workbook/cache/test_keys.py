"""What is known before a step runs, and what a notebook's metadata may ask."""

from __future__ import annotations

import site
import sys

import pytest

from stockkit.errors import RunError
from stockkit.workbook import notebooks
from stockkit.workbook.cache import keys
from tests.workbook.cache.planted import plant


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"files": "data.csv"}, "`files` in its metadata must be a list of files or folders, found 'data.csv'"),
        ({"files": [1]}, "must be a list of files or folders"),
        ({"files": [""]}, "must be a list of files or folders"),
        ({"always": "yes"}, "`always` in its metadata must be true or false, found 'yes'"),
        ({"always": 1}, "must be true or false, found 1"),
    ],
)
def test_a_wrong_declaration_is_refused_before_anything_starts(tmp_path, declared, says):
    plant(tmp_path, "01_a", **declared)
    with pytest.raises(RunError, match=says):
        notebooks.load(tmp_path / "notebooks", "01_a")


def test_a_package_that_is_installed_or_updated_is_another_environment(tmp_path, monkeypatch):
    places = site.getsitepackages()

    def packages():
        return keys.basis({"cells": []}, {}, tmp_path).packages

    before = packages()
    monkeypatch.setattr(site, "getsitepackages", lambda: [*places, str(tmp_path)])
    assert packages() == before  # an empty place adds nothing
    (tmp_path / "planted-1.0.dist-info").mkdir()
    installed = packages()
    (tmp_path / "planted-1.0.dist-info").rename(tmp_path / "planted-1.1.dist-info")
    assert len({before, installed, packages()}) == 3


def test_another_python_is_said(tmp_path, monkeypatch):
    document = {"cells": [], "metadata": {}}
    before = keys.basis(document, {}, tmp_path)
    monkeypatch.setattr(keys.platform, "python_version", lambda: "3.99.0")
    now = keys.basis(document, {}, tmp_path)
    assert "made by another Python" in keys.change(before, now)
    assert before.key != now.key
    assert sys.platform in before.python


def test_tags_that_change_what_a_cell_does_count_and_others_do_not():
    def with_tags(*tags):
        cell = {"cell_type": "code", "source": "1", "metadata": {"tags": list(tags)}}
        return keys.code({"cells": [cell]})

    assert with_tags("hide-input") == with_tags()
    assert with_tags("raises-exception") != with_tags()
