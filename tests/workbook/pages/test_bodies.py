"""A body is made once of an executed notebook, belongs to its bytes, and gives the page that the notebook gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from stockkit.workbook import report
from stockkit.workbook.pages import bodies

RUN = {"run": "20261121T070102Z", "status": "succeeded", "steps": [{"name": "01_a", "status": "succeeded"}]}


@pytest.fixture
def notebook(tmp_path) -> Path:
    path = tmp_path / "01_a.ipynb"
    printed = new_output("stream", text="costs $5\n")
    cells = [new_markdown_cell("# Is it?\n\n## Data"), new_code_cell("print(1)", outputs=[printed], execution_count=1)]
    write(new_notebook(cells=[*cells, new_markdown_cell("[next](02_b.ipynb)")]), path)
    return path


def page(notebook: Path) -> str:
    return report.render_notebook(notebook, manifest=RUN).read_text("utf-8")


def test_the_page_of_a_kept_body_is_that_of_the_notebook(notebook):
    from_notebook = page(notebook)
    bodies.keep(notebook)
    assert page(notebook) == from_notebook
    assert json.loads(bodies.place(notebook).read_bytes()).keys() >= {"title", "sections", "body", "failed", "unrun"}


def test_a_page_is_made_of_the_body_alone(notebook, monkeypatch):
    bodies.keep(notebook)
    monkeypatch.setattr(bodies, "_made", lambda content: pytest.fail("the body was made again"))
    assert "costs $5" in page(notebook)


@pytest.mark.parametrize("spoil", [lambda body: body[:-30], lambda body: b"[]", lambda body: b'{"notebook_hash": 1}'])
def test_a_damaged_body_is_made_again(notebook, spoil):
    bodies.keep(notebook)
    bodies.place(notebook).write_bytes(spoil(bodies.place(notebook).read_bytes()))
    assert "costs $5" in page(notebook)


def test_the_body_of_another_content_or_another_stockkit_is_made_again(notebook, monkeypatch):
    bodies.keep(notebook)
    notebook.write_text(notebook.read_text().replace("costs $5", "costs $6"))
    assert "costs $6" in page(notebook)
    made = bodies.kept(notebook)
    monkeypatch.setattr(bodies, "_maker", lambda: b"a later stockkit")
    assert bodies.kept(notebook).notebook_hash != made.notebook_hash


def test_what_is_no_notebook_has_no_body_and_fails_as_a_page(tmp_path):
    path = tmp_path / "01_a.ipynb"
    path.write_text("{}")
    bodies.keep(path)
    assert not bodies.place(path).exists()
    with pytest.raises((ValueError, AttributeError, KeyError)):
        page(path)


def test_bodies_are_dropped_when_the_pages_stand(notebook):
    bodies.keep(notebook)
    bodies.drop(notebook.parent)
    assert [path.name for path in notebook.parent.iterdir()] == ["01_a.ipynb"]


def test_pages_of_kept_bodies_import_no_nbconvert(notebook):
    bodies.keep(notebook)
    code = f"""
import json, sys
from pathlib import Path
from stockkit.workbook import report
run = json.loads({json.dumps(RUN)!r})
report.render_notebook(Path({str(notebook)!r}), manifest=run)
print([name for name in ("nbconvert", "nbformat", "papermill", "pandas", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
