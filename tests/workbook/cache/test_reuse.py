"""The table of mutations: a change makes a step run again where it read what changed, and only there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stockkit.workbook.cache import observed
from tests.workbook.cache.planted import Steps, plant, rewrite

CELLS = [
    "import helper",
    "open('data.csv').read()",
    "import os\nfor name in os.listdir('answers'):\n    open(f'answers/{name}').read()",
    "import runpy\nrunpy.run_path('mine.py')",
    "from stockkit.market import ticks\nPath(stockkit.__file__).with_name('market').joinpath('clean.py').read_text()",
]
FILES = {
    "helper.py": "import deeper\n", "deeper.py": "ANSWER = 41\n", "unread.py": "ANSWER = 41\n",
    "mine.py": "MODELS = []\n",
    "data.csv": "1\n", "other.csv": "1\n", "answers/a.csv": "1\n", "requirements.lock": "pandas==2.3\n",
}  # fmt: skip


NOTEBOOK = ""  # its hash, once it is planted


def edit(root, name, text):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def replant(root, *cells, **how):
    return plant(root, "01_a", *(cells or CELLS), **how)


def commit(root):
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)


def of_stockkit(name):
    return lambda root: edit(root.parent / "stockkit", name, "# another\n")


MUTATIONS = {  # what is done, and why the step then runs; "kept" where it need not
    "nothing": (lambda root: None, "kept"),
    "helper": (lambda root: edit(root, "helper.py", "import deeper\nx = 1\n"), "helper.py changed"),
    "imported by a helper": (lambda root: edit(root, "deeper.py", "ANSWER = 42\n"), "deeper.py changed"),
    "helper gone": (lambda root: (root / "deeper.py").unlink(), "deeper.py is gone"),
    "module not imported": (lambda root: edit(root, "unread.py", "ANSWER = 42\n"), "kept"),
    "stockkit": (of_stockkit("market/ticks.py"), "stockkit/market/ticks.py changed"),
    "stockkit, before all else": (of_stockkit("__init__.py"), "stockkit/__init__.py changed"),
    "stockkit, not imported": (of_stockkit("market/clean.py"), "kept"),
    "data": (lambda root: edit(root, "data.csv", "2\n"), "the file data.csv changed"),
    "data of others": (lambda root: edit(root, "other.csv", "2\n"), "kept"),
    "the same bytes anew": (lambda root: edit(root, "data.csv", "1\n"), "kept"),
    "a file of a listed folder": (lambda root: edit(root, "answers/a.csv", "2\n"), "the file answers/a.csv changed"),
    "a new file in it": (lambda root: edit(root, "answers/b.csv", "1\n"), "the folder answers has other files"),
    "a user's file": (lambda root: edit(root, "mine.py", "MODELS = [1]\n"), "mine.py changed"),
    "lock": (lambda root: edit(root, "requirements.lock", "pandas==2.4\n"), "requirements.lock changed"),
    "markdown": (lambda root: replant(root, text="# Another question?"), "kept"),
    "code": (lambda root: replant(root, CELLS[0], "1", *CELLS[2:]), "its code cell 3 changed"),
    "a cell more": (lambda root: replant(root, *CELLS, "1"), "it has 7 code cells, had 6"),
    "order of cells": (lambda root: replant(root, *reversed(CELLS)), "its code cell 2 changed"),
    "comment in a cell": (lambda root: replant(root, values="horizon = 1  # days"), "its code cell 1 changed"),
    "declaration": (lambda root: replant(root, writes=["t1"]), "what its metadata declares changed"),
    "time": (lambda root: [os.utime(path) for path in root.rglob("*.*")], "kept"),
    "commit": (commit, "kept"),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A workbook whose step has run once."""
    root = tmp_path_factory.mktemp("ran") / "book"
    (root / "notebooks").mkdir(parents=True)
    for name, text in FILES.items():
        edit(root, name, text)
    steps = Steps(root)
    assert steps.run(replant(root)) == "no result is kept"
    assert steps.unkept == ""
    shutil.copytree(observed.PACKAGE, root.parent / "stockkit", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def root(ran, tmp_path, monkeypatch):
    """A copy of that workbook, of its lake and of the package."""
    shutil.copytree(ran.parent, tmp_path / "copy")
    monkeypatch.setattr(observed, "PACKAGE", str(tmp_path / "copy" / "stockkit"))
    return tmp_path / "copy" / "book"


def outcome(root: Path, **values) -> str:
    decision = Steps(root).decide(root / "notebooks" / "01_a.ipynb", **values)
    return "kept" if decision.kept else decision.why


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_change_makes_a_step_run_where_it_read_what_changed_and_only_there(root, mutation):
    change, why = MUTATIONS[mutation]
    change(root)
    assert outcome(root) == why


def test_another_value_of_a_parameter_makes_a_step_run(root):
    assert outcome(root, horizon=5) == "parameter horizon was 1, is 5"


@pytest.mark.parametrize(
    ("tamper", "change"),
    [
        (lambda seen: seen["files"].pop("deeper.py"), "imported by a helper"),  # as if direct imports counted alone
        (lambda seen: seen["files"].pop("data.csv"), "data"),
        (lambda seen: seen["files"].pop("stockkit/market/ticks.py"), "stockkit"),
        (lambda seen: seen["folders"].clear(), "a new file in it"),
        (lambda seen: seen["files"].update({"unread.py": seen["files"]["deeper.py"]}), "module not imported"),
        (lambda seen: seen["files"].update({"notebooks/01_a.ipynb": NOTEBOOK}), "markdown"),
    ],
)
def test_a_wrong_key_does_not_pass_the_table(root, tamper, change, monkeypatch):
    (path,) = root.glob("data/lake/runs/steps/01_a/*.json")
    monkeypatch.setattr(sys.modules[__name__], "NOTEBOOK", observed.hash_of(root / "notebooks" / "01_a.ipynb"))
    rewrite(path, lambda facts: tamper(facts["observed"]))
    assert outcome(root) == "kept"
    do, why = MUTATIONS[change]
    do(root)
    assert outcome(root) != why
