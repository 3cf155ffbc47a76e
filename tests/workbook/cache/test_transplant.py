"""Kept outputs under new markdown."""

from __future__ import annotations

import pytest

from stockkit.workbook.cache.transplant import transplanted

VALUES = {"tags": ["injected-parameters"]}


def text(source):
    return {"cell_type": "markdown", "id": "x", "metadata": {}, "source": source}


def code(source, outputs=(), count=None, **metadata):
    ran = {"outputs": list(outputs), "execution_count": count}
    return {"cell_type": "code", "id": "x", "metadata": metadata, "source": source, **ran}


def book(*cells):
    return {"cells": list(cells), "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}


DONE = book(text("# A"), code("h = 1", count=1), code("h = 5", count=2, **VALUES), text("b"), code("h", ["five"], 3))


def shown(document):
    return [(cell["cell_type"][0], "".join(cell["source"]), cell.get("outputs")) for cell in document["cells"]]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ([text("# Z"), code("h = 1"), text("b"), code("h")], "# Z,h = 1,h = 5,b,h"),
        ([code("h = 1"), code("h")], "h = 1,h = 5,h"),
        ([code("h = 1"), text("n\nn"), text("m"), code("h"), text("end")], "h = 1,h = 5,n\nn,m,h,end"),
        ([text("b"), text("# A"), code("h = 1"), code("h")], "b,# A,h = 1,h = 5,h"),
    ],
)
def test_markdown_is_that_of_now_and_results_are_those_of_then(now, expected):
    made = transplanted(book(*now), DONE)
    assert ",".join(source for _, source, _ in shown(made)) == expected
    assert [cell["id"] for cell in made["cells"]] == [f"cell-{k}" for k in range(len(made["cells"]))]
    assert [outputs for _, source, outputs in shown(made) if source == "h"] == [["five"]]
    assert [cell["execution_count"] for cell in made["cells"] if cell["cell_type"] == "code"] == [1, 2, 3]


def test_nothing_changed_gives_what_was_there():
    ids = book(*({**cell, "id": f"cell-{k}"} for k, cell in enumerate(DONE["cells"])))
    now = book(*(cell for cell in DONE["cells"] if cell["metadata"] != VALUES))
    assert shown(transplanted(now, ids)) == shown(ids)


@pytest.mark.parametrize("now", [[code("h = 1")], [code("h"), code("h = 1")], [code("h = 1"), code("h "), text("b")]])
def test_other_code_is_refused(now):
    with pytest.raises(ValueError, match="not those that were executed"):
        transplanted(book(*now), DONE)
