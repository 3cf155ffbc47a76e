"""No file of a run's folder holds a value once it was looked through, whatever it is and wherever the value stands."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import nbformat
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.masking import scanning
from stockkit.workbook.masking.scanning import scan
from tests.workbook.execution.test_redactions import FORMS, VALUE

CANARY = "Canary0123456789"


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def picture(*texts):
    """A PNG of one point, with more chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(texts) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    )


PACKED = [
    chunk(b"tEXt", b"Author\0" + CANARY.encode()),
    chunk(b"zTXt", b"Author\0\0" + zlib.compress(CANARY.encode())),
    chunk(b"iTXt", b"Author\0\1\0en\0\0" + zlib.compress(CANARY.encode())),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["01_x.html", "run.json", "log/kernel.log"])
def test_a_value_is_masked_in_every_form_in_every_text(tmp_path, form, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"before {form} after\n")
    (tmp_path / "other.html").write_text("nothing")
    assert scan(tmp_path, Redaction([VALUE])) == [f"{name} held a secret, which was struck out."]
    assert form[8:-8] not in path.read_text()
    assert path.read_text().startswith("before ")
    assert path.read_text().endswith(" after\n")
    assert scan(tmp_path, Redaction([VALUE])) == []


def test_json_that_is_looked_through_as_a_text_stays_json(tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "LARGEST_DOCUMENT", 10)
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"a": "\nanary0123", "b": "x\\nanary0123", "c": ["nanary0123"]}))
    scan(tmp_path, Redaction(["nanary0123"]))
    assert json.loads(path.read_text()) == {"a": "\n***", "b": "x\\***", "c": ["***"]}


SIGNS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=8, max_size=30)


@settings(max_examples=50)
@given(SIGNS, st.text(max_size=12), st.text(max_size=12), st.booleans())
def test_json_stays_json_whatever_the_value(value, before, after, ascii):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        path.write_bytes(
            json.dumps({"k": before + value + after, "l": value[1:]}, ensure_ascii=ascii).encode("utf-8", "replace")
        )
        scan(path.parent, Redaction([value]))
        assert value.lower() not in json.loads(path.read_bytes())["k"].lower().replace("***", "")


def test_numbers_and_keys_and_what_json_forgets_are_cleared(tmp_path):
    (tmp_path / "run.json").write_text('{"a": 8765432109, "b": [87654321099], "8765432109": 1, "c": "x", "c": "y"}')
    (tmp_path / "twice.json").write_text('{"c": "8765432109", "c": "y"}')
    assert len(scan(tmp_path, Redaction(["8765432109"]))) == 2
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": "***", "b": [87654321099], "***": 1, "c": "y"}
    assert (tmp_path / "twice.json").read_text() == '{\n  "c": "y"\n}\n'


@pytest.mark.parametrize("at", [0, 89, 90, 99, 100, 105, 199, 200, 201, 250])
def test_a_value_across_the_border_of_two_parts_is_masked(tmp_path, monkeypatch, at):
    monkeypatch.setattr(scanning, "PART", 100)
    monkeypatch.setattr(scanning, "MARGIN", 10)
    monkeypatch.setattr(Redaction, "longest", lambda self: 20)
    (tmp_path / "x.txt").write_text("é" * (at // 2) + CANARY + "." * 100)
    assert len(scan(tmp_path, Redaction([CANARY]))) == 1
    assert (tmp_path / "x.txt").read_text() == "é" * (at // 2) + "***" + "." * 100


def test_what_is_no_text_is_withheld_and_the_rest_stays_as_it_is(tmp_path):
    (tmp_path / "bad.bin").write_bytes(b"\0\1" + CANARY.encode())
    (tmp_path / "wide.bin").write_bytes(b"\0" + CANARY.encode("utf-16-le"))
    (tmp_path / "good.bin").write_bytes(b"\0\1\2")
    withheld = "was withheld: it holds a secret, and is no text in which that could be struck out."
    assert scan(tmp_path, Redaction([CANARY])) == [f"bad.bin {withheld}", f"wide.bin {withheld}"]
    assert os.listdir(tmp_path) == ["good.bin"]


def written(kind, text):
    """Bytes that pack a text."""
    body = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/b.txt", text * 3)
    elif kind == "parquet":
        parquet.write_table(pa.table({"x": pa.array([text] * 3), "n": [1, 2, 3]}), body, compression="zstd")
    else:
        return {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(text.encode() * 3)
    return body.getvalue()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip", "parquet"])
def test_what_packs_a_value_is_withheld_and_so_is_what_cannot_be_unpacked(tmp_path, kind):
    (tmp_path / f"good.{kind}").write_bytes(written(kind, "Something else"))
    (tmp_path / f"bad.{kind}").write_bytes(written(kind, CANARY))
    (tmp_path / f"torn.{kind}").write_bytes(written(kind, CANARY)[:-20])
    bad, torn = scan(tmp_path, Redaction([CANARY]))
    assert bad.startswith(f"bad.{kind} was withheld: it holds a secret")
    assert torn.startswith(f"torn.{kind} was withheld: it ")
    assert os.listdir(tmp_path) == [f"good.{kind}"]


@pytest.mark.parametrize("text", PACKED)
def test_a_picture_keeps_all_but_the_text_with_the_value(tmp_path, text):
    other = chunk(b"tEXt", b"Software\0drawn")
    (tmp_path / "x.png").write_bytes(picture(other, text))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    data = {"image/png": base64.b64encode(picture(text, other)).decode()}
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data)]
    nbformat.write(notebook, tmp_path / "01_x.ipynb")
    assert len(scan(tmp_path, Redaction([CANARY]))) == 2
    assert (tmp_path / "x.png").read_bytes() == picture(other)
    (output,) = nbformat.read(tmp_path / "01_x.ipynb", as_version=4).cells[0].outputs
    assert base64.b64decode(output.data["image/png"]) == picture(other)


def test_a_figure_of_matplotlib_shows_as_before_without_the_value_in_its_metadata(tmp_path):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(1, 1))
    drawn, plain = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Author": CANARY})
    figure.savefig(plain, format="png")
    plt.close(figure)
    (tmp_path / "x.png").write_bytes(drawn.getvalue())
    scan(tmp_path, Redaction([CANARY]))
    assert (tmp_path / "x.png").read_bytes() == plain.getvalue()


def outputs(*texts, name="stdout"):
    return [nbformat.v4.new_output("stream", name=name, text=text) for text in texts]


SPLIT = [
    [outputs("a Canary01", "23456789 b")],
    [outputs("a Canary01\n", "23456789\n")],
    [outputs("a Canary01\n"), outputs("23456789\n")],
    [[*outputs("Canary01"), *outputs("x", name="stderr"), *outputs("23456789")]],
    [[*outputs("Canary01"), *outputs("23456789", name="stderr")]],
    [[nbformat.v4.new_output("display_data", {"text/html": f"<b>{part}</b>", "text/plain": "<HTML object>"})
      for part in ("Canary01", "23456789")]],
    [[*outputs("Canary01"), nbformat.v4.new_output("error", ename="E", evalue="23456789", traceback=["x", "y"])]],
    [outputs(*CANARY)],
    [outputs("C a n a r y 0 1 2 3 4 5 6 7 8 9")],
]  # fmt: skip


@pytest.mark.parametrize("cells", SPLIT)
def test_a_value_that_is_split_over_outputs_and_cells_is_struck_out(tmp_path, cells):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1") for _ in cells])
    for cell, shown in zip(notebook.cells, cells, strict=True):
        cell.outputs = shown
    notebook.cells.insert(0, nbformat.v4.new_code_cell("1", outputs=outputs("before ")))
    notebook.cells.append(nbformat.v4.new_code_cell("1", outputs=outputs(" after")))
    nbformat.write(notebook, tmp_path / "01_x.ipynb")
    assert scan(tmp_path, Redaction([CANARY])) == ["01_x.ipynb held a secret, which was struck out."]
    left = (tmp_path / "01_x.ipynb").read_text()
    nbformat.validate(nbformat.reads(left, as_version=4))
    assert "23456789" not in left.replace(" ", "")
    assert "before" in left
    assert "after" in left


def test_figures_in_a_table_that_happen_to_be_a_short_number_stay(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    notebook.cells[0].outputs = outputs("1 2 3 4 5 6 7 8")
    nbformat.write(notebook, tmp_path / "01_x.ipynb")
    assert scan(tmp_path, Redaction(["12345678"])) == []


def test_names_links_and_pipes(tmp_path):
    folder, secret = tmp_path / "run", tmp_path / "secret.env"
    (folder / f"of-{CANARY}").mkdir(parents=True)
    for name in (CANARY, CANARY.lower(), CANARY.upper()):
        (folder / f"of-{CANARY}" / f"{name}.txt").write_text("x")
    secret.write_text(CANARY)
    (folder / "link").symlink_to(secret)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe")
    notes = scan(folder, Redaction([CANARY]))
    assert "link was withheld: the file that it leads to holds a secret." in notes
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == ["gone", "of-***", "of-***/***.txt", "of-***/2-***.txt", "of-***/3-***.txt", "pipe"]
    assert secret.read_text() == CANARY
    assert CANARY not in str(notes)


def test_what_cannot_be_written_anew_is_withheld(tmp_path, monkeypatch):
    (tmp_path / "x.html").write_text(CANARY)
    monkeypatch.setattr(scanning.tempfile, "mkstemp", lambda **_: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert scan(tmp_path, Redaction([CANARY])) == [
        "x.html was withheld: it cannot be looked through for secrets (No space left)."
    ]
    assert not (tmp_path / "x.html").exists()


BIG = """
import pathlib, resource, sys
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.masking.scanning import scan
import numpy
resource.setrlimit(resource.RLIMIT_AS, (int(open('/proc/self/statm').read().split()[0]) * 4096 + 80_000_000,) * 2)
print(scan(pathlib.Path(sys.argv[1]), Redaction(['Canary0123456789'])))
"""


def test_a_large_notebook_is_looked_through_in_little_memory(tmp_path):
    path = tmp_path / "01_big.ipynb"
    line = b'"The close of AAPL on 2023-09-21 was 173.93 <td>12</td>\\n",\n' * 20_000
    with open(path, "wb") as file:
        for part in range(100_000_000 // len(line)):
            file.write(line + (b'"Canary0123456789",\n' if part == 50 else b""))
    done = subprocess.run([sys.executable, "-c", BIG, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "['01_big.ipynb held a secret, which was struck out.']\n", done.stderr
    assert path.stat().st_size > 90_000_000
    assert not any(CANARY.encode() in part for part in scanning._readings(path))
    path.unlink()
