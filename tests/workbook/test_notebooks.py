from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import RunError
from stockkit.workbook import notebooks
from stockkit.workbook.notebooks import Notebook


def notebook(name, reads=(), writes=()):
    return Notebook(name, Path(name), "?", {}, tuple(reads), tuple(writes))


def names(chain):
    return [notebook.name for notebook in chain]


def test_a_notebook_runs_after_those_that_write_what_it_reads():
    chain = [notebook("00", ["b", "a"]), notebook("01", ["b"], ["a"]), notebook("02", [], ["b"])]
    assert names(notebooks.in_order(chain)) == ["02", "01", "00"]


@given(st.permutations(["00", "01", "02", "03", "04"]))
def test_the_order_given_does_not_matter(order):
    needs = {"00": (["d"], []), "01": ([], ["a"]), "02": (["a"], []), "03": (["a"], ["c"]), "04": (["c"], ["d"])}
    chain = [notebook(name, *needs[name]) for name in order]
    assert names(notebooks.in_order(chain)) == ["01", "02", "03", "04", "00"]


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ([notebook("01", [], ["a"]), notebook("02", [], ["a"])], "both 01 and 02 write 'a'"),
        ([notebook("01", ["a"])], "reads 'a', which no notebook of the chain writes"),
        ([notebook("01", ["b"], ["a"]), notebook("02", ["a"], ["b"])], "wait for each other"),
    ],
)
def test_a_chain_that_cannot_run_is_refused(chain, says):
    with pytest.raises(RunError, match=says):
        notebooks.in_order(chain)


def test_a_table_that_exists_already_needs_no_writer():
    assert names(notebooks.in_order([notebook("02", ["a"])], have=["a"])) == ["02"]


def save(folder, *parameters, tag="parameters"):
    document = nbformat.v4.new_notebook(metadata={"stockkit": {"reads": ["a"], "writes": ["b"]}})
    document.cells = [nbformat.v4.new_markdown_cell("# Why?\n\nSo.")]
    document.cells += [nbformat.v4.new_code_cell(source, metadata={"tags": [tag]}) for source in parameters]
    nbformat.write(document, folder / "01_x.ipynb")


def test_a_notebook_tells_its_title_parameters_and_tables(tmp_path):
    save(tmp_path, 'lake = "x"  # where\nhorizon = 1\nsymbols = ["A"]')
    loaded = notebooks.load(tmp_path, "01_x")
    assert (loaded.title, loaded.reads, loaded.writes) == ("Why?", ("a",), ("b",))
    assert loaded.parameters == {"lake": "x", "horizon": 1, "symbols": ["A"]}


@pytest.mark.parametrize(
    "source", ["x = open('f')", "x: int = 1", "import os", "x = 1 +", "x = y = 1", "for i in x: pass"]
)
def test_a_parameters_cell_must_be_flat_literals(tmp_path, source):
    save(tmp_path, source)
    with pytest.raises(RunError, match="plain `name = literal` lines"):
        notebooks.load(tmp_path, "01_x")


def test_there_is_at_most_one_parameters_cell(tmp_path):
    save(tmp_path, "a = 1", "b = 2")
    with pytest.raises(RunError, match="2 cells tagged `parameters`"):
        notebooks.load(tmp_path, "01_x")
    save(tmp_path)
    assert notebooks.load(tmp_path, "01_x").parameters == {}


def test_an_unknown_a_hostile_and_a_broken_notebook_are_refused(tmp_path):
    save(tmp_path, "a = 1")
    with pytest.raises(RunError, match="Did you mean '01_x'"):
        notebooks.load(tmp_path, "01_y")
    with pytest.raises(RunError, match="no notebook"):
        notebooks.load(tmp_path, "../01_x")
    (tmp_path / "01_x.ipynb").write_text('{"cells": [')
    with pytest.raises(RunError, match="is not a notebook"):
        notebooks.load(tmp_path, "01_x")
