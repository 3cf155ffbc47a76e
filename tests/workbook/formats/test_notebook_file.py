"""Notebooks of any origin run in this environment's kernel, or are refused in words."""

from __future__ import annotations

import json
import re

import nbformat
import pytest

from stockkit.errors import RunError
from stockkit.workbook import notebooks
from stockkit.workbook.formats import notebook_file
from stockkit.workbook.report import render_notebook
from tests.conftest import make_workbook, manifest_of, stockkit
from tests.workbook.formats.foreign import AS_BYTES, REFUSED, RUNS, code, notebook


def put(folder, name, content):
    path = folder / f"{name}.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, indent=1).encode())
    return path


@pytest.mark.parametrize("name", RUNS)
def test_a_notebook_of_any_origin_is_one_of_today(tmp_path, name):
    content = notebook_file.content(put(tmp_path, name, RUNS[name]))
    nbformat.validate(nbformat.from_dict(content))
    cells = content["cells"]
    assert [cell["outputs"] for cell in cells if cell["cell_type"] == "code" and cell["outputs"]] == []
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert any("print(total)" in cell["source"] for cell in cells)
    assert "\r" not in json.dumps(content)
    loaded = notebooks.load(tmp_path, name)
    assert (loaded.parameters, loaded.reads, loaded.writes) == ({}, (), ())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_run_is_refused_with_the_reason(tmp_path, name):
    put(tmp_path, name, REFUSED[name][0])
    with pytest.raises(RunError, match=re.escape(REFUSED[name][1])):
        notebooks.load(tmp_path, name)


@pytest.mark.parametrize("name", AS_BYTES)
def test_what_is_no_notebook_is_refused_with_what_it_is(tmp_path, name):
    put(tmp_path, name, AS_BYTES[name][0])
    with pytest.raises(RunError, match=re.escape(AS_BYTES[name][1])):
        notebooks.load(tmp_path, name)


@pytest.mark.parametrize("declared", ["prices", ["prices"], {"reads": "prices"}, {"writes": [1]}])
def test_a_declaration_of_no_tables_is_refused(tmp_path, declared):
    put(tmp_path, "odd", notebook(stockkit=declared))
    with pytest.raises(RunError, match=r"must be a (mapping|list of tables), found"):
        notebooks.load(tmp_path, "odd")


def test_a_name_that_is_no_address_is_refused_with_another_one(tmp_path):
    put(tmp_path, "My notebook (1)", RUNS["colab"])
    with pytest.raises(RunError, match=r"rename it .* as in My_notebook_1\.ipynb"):
        notebooks.load(tmp_path, "My notebook (1)")


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing(tmp_path):
    text = json.dumps(RUNS["vs_code"], indent=1)
    plain = notebook_file.content(put(tmp_path, "plain", text.encode()))
    marked = put(tmp_path, "marked", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert notebook_file.content(marked) == plain


def test_a_hundred_megabytes_of_stale_outputs_are_not_taken_along(tmp_path):
    image = {"output_type": "display_data", "data": {"image/png": "A" * 10_000_000}, "metadata": {}}
    path = put(tmp_path, "large", notebook(code(outputs=[image] * 10)))
    assert path.stat().st_size > 100_000_000
    assert len(json.dumps(notebook_file.content(path))) < 1_000


def test_what_means_something_is_kept(tmp_path):
    content = notebook_file.content(put(tmp_path, "attached", RUNS["attachments"]))
    assert content["cells"][0]["attachments"]["a.png"]["image/png"].startswith("iVBOR")
    assert content["cells"][1]["metadata"]["raw_mimetype"] == "text/restructuredtext"
    kept = notebook_file.content(put(tmp_path, "kept", notebook(code(id="my-id"), minor=5, mine={"a": 1})))
    assert (kept["cells"][0]["id"], kept["metadata"]["mine"]) == ("my-id", {"a": 1})


def test_they_run_in_one_chain_and_have_pages(tmp_path):
    book = make_workbook(tmp_path / "book", own_notebooks=True)
    sources = []
    for name in ("colab", "old", "magics", "conda"):
        cells = notebook_file.content(put(tmp_path, name, RUNS[name]))["cells"]
        sources.append((name, cells))
        put(book / "notebooks", name, RUNS[name])
    (book / "params" / "own.yaml").write_text(f"notebooks: [{', '.join(name for name, _ in sources)}]\n")
    done = stockkit(book, "run", "params/own.yaml")
    assert done.returncode == 0, done.stderr
    manifest = manifest_of(book)
    assert [step["status"] for step in manifest["steps"]] == ["succeeded"] * len(sources)
    for name, cells in sources:
        executed = nbformat.read(manifest["folder"] / f"{name}.ipynb", as_version=4)
        nbformat.validate(executed)
        assert executed.metadata.kernelspec.name == "python3"
        texts = [output.get("text", "") for cell in executed.cells for output in cell.get("outputs", [])]
        assert any(text.startswith("2\n") for text in texts)
        assert len(executed.cells) == len(cells)
        assert "stale" not in str(executed)
        assert (manifest["folder"] / f"{name}.html").is_file()


def test_a_page_of_an_attachment_shows_its_picture(tmp_path):
    path = put(tmp_path, "drawn", notebook_file.content(put(tmp_path, "attached", RUNS["attachments"])))
    assert "data:image/png;base64,iVBOR" in render_notebook(path, manifest={}).read_text()
