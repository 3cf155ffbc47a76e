"""A notebook file as this workbook runs it whichever program wrote it: Jupyter, Colab, Kaggle, VS Code, conda.

What came of an earlier run is left out (outputs, counts, the state of widgets): neither its size nor what it says
matters. What is missing or doubled and means nothing (ids of cells, empty metadata) is made good. nbformat, which takes
a second to import, is asked only for the formats before today's.
"""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from stockkit import imports
from stockkit.errors import RunError

Json = dict[str, Any]
KINDS = ("code", "markdown", "raw")
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
FORMAT, MINOR = 4, 5
STALE = ("widgets", "papermill", "signature")  # of a notebook's metadata: of an earlier run
STALE_OF_CELLS = ("execution", "papermill", "ExecuteTime")
KERNELS = {"ir": "R", "irkernel": "R", "xr": "R", "python2": "python2"}  # of kernelspecs without a language
KERNEL = re.compile(r"(julia|scala|ruby|rust|javascript)\b.*|conda-env-.*-(r|jl)", re.I)


class NoNotebook(ValueError):
    """A file that is no notebook, with the reason."""


def library() -> ModuleType:
    """nbformat, without the grammars of web addresses, which take a second and are in no notebook."""
    with imports.without("rfc3987_syntax"):
        import nbformat
    return nbformat


def content(path: Path) -> Json:
    """Read a notebook file as a mapping of today's format: without outputs, each cell with its text, metadata and id.

    Raises:
        NoNotebook: it is none; says what it is instead, as far as that can be told. OSError: it cannot be read.
    """
    try:
        written = _parsed(path.read_bytes())
        return _of_today(written)
    except (KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise NoNotebook(f"{type(error).__name__}: {error}") from error


def language(metadata: Json) -> str:
    """The language that a notebook's metadata names; ``python`` where it names none."""
    spec, info = (_mapping(metadata.get(part)) for part in ("kernelspec", "language_info"))
    kernel, version = str(spec.get("name") or "").lower(), str(info.get("version") or "")
    other = KERNEL.fullmatch(kernel)
    by_kernel = KERNELS.get(kernel) or (other and (other[1] or other[2])) or "python"
    named = str(spec.get("language") or info.get("name") or by_kernel).strip()
    is_python = named.lower() in ("python", "ipython")
    return (
        "python2"
        if is_python and (kernel == "python2" or version.startswith("2."))
        else "python"
        if is_python
        else named
    )


def check_language(metadata: Json, name: str) -> None:
    """Refuse a notebook in any other language than Python 3.

    Raises:
        RunError: it is; names the language, and what to do where only its name is odd.
    """
    written_in = language(metadata)
    if written_in == "python":
        return
    way_out = ""
    if re.fullmatch(r"i?python ?2[0-9.]*", written_in, re.I):
        way_out = " Convert it to Python 3, which a run has, and save it with such a kernel."
    elif re.fullmatch(r"i?python.*", written_in, re.I):
        way_out = ' Jupyter\'s name for that is "python": write it as `language` of the kernelspec in its metadata.'
    raise RunError(f"notebook {name} is written in {written_in[:40]!r}: a run has Python alone.{way_out}")


def _parsed(body: bytes) -> Json:
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in body[:2]:
        raise NoNotebook("it is UTF-16 text, and notebooks are UTF-8. Save it as UTF-8")
    if not body.strip():
        raise NoNotebook("the file is empty")
    if body.startswith(b"version https://git-lfs"):
        raise NoNotebook("it is a pointer of Git LFS: `git lfs pull` brings the notebook itself")
    try:
        written = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NoNotebook(f"it is not UTF-8 text (byte {error.start})") from error
    except ValueError as error:
        conflict = ": it holds the marks of a merge that was not finished" if b"\n<<<<<<< " in body else ""
        raise NoNotebook(f"it is not JSON{conflict} ({error})") from error
    if not isinstance(written, dict):
        raise NoNotebook(f"it holds a {type(written).__name__}, where a notebook is a mapping")
    return written


def _of_today(written: Json) -> Json:
    number = written.get("nbformat")
    if not isinstance(number, int) or not 1 <= number <= FORMAT:
        known = f"nbformat {str(number)[:20]}, and up to {FORMAT} is known" if number else "no `nbformat`"
        raise NoNotebook(f"its format has {known}")
    if number < FORMAT:
        written = _upgraded(written)
    if not isinstance(written.get("cells"), list):
        raise NoNotebook("it has no list of cells")
    cells = [_cell(cell, number) for number, cell in enumerate(written["cells"], 1)]
    _identify(cells)
    metadata = _metadata(_mapping(written.get("metadata")))
    return {"nbformat": FORMAT, "nbformat_minor": MINOR, "metadata": metadata, "cells": cells}


def _upgraded(written: Json) -> Json:
    """One of the formats before 2015 as one of today's; its outputs are not looked at."""
    nbformat = library()
    for sheet in written.get("worksheets", [written]):
        for cell in sheet["cells"]:
            cell |= {part: _text(cell[part]) for part in ("source", "input") if part in cell}
            cell |= {"outputs": []} if "outputs" in cell else {}
    written.setdefault("metadata", {}).setdefault("name", "")
    try:
        return dict(nbformat.convert(nbformat.from_dict(written), FORMAT))
    except Exception as error:  # of its validation, which has errors of many kinds
        raise NoNotebook(f"its format {written['nbformat']} cannot be brought up to {FORMAT}: {error}") from error


def _metadata(given: Json) -> Json:
    """What a notebook says of itself, without what is of an earlier run or no mapping where one has to be."""
    metadata = {key: value for key, value in given.items() if key not in STALE and value is not None}
    for part, needs in (("kernelspec", ()), ("language_info", ("name",))):
        if not isinstance(metadata.get(part), dict) or any(key not in metadata[part] for key in needs):
            metadata.pop(part, None)
    if spec := metadata.get("kernelspec"):
        name = str(spec.get("name") or "python3")
        metadata["kernelspec"] = {**spec, "name": name, "display_name": str(spec.get("display_name") or name)}
    return metadata


def _cell(cell: Any, number: int) -> Json:
    kind = cell.get("cell_type") if isinstance(cell, dict) else None
    if kind not in KINDS:
        raise NoNotebook(f"its cell {number} is of no known type ({str(kind)[:40]!r})")
    metadata = {key: value for key, value in _mapping(cell.get("metadata")).items() if key not in STALE_OF_CELLS}
    tags = metadata.get("tags", [])
    metadata["tags"] = [tag for tag in ([tags] if isinstance(tags, str) else tags or []) if isinstance(tag, str)]
    fresh: Json = {
        "cell_type": kind,
        "metadata": metadata,
        "source": _text(cell.get("source", "")),
        "id": cell.get("id"),
    }
    if kind == "code":
        return fresh | {"outputs": [], "execution_count": None}
    attachments = _mapping(cell.get("attachments"))
    return fresh | ({"attachments": attachments} if attachments else {})


def _text(source: Any) -> str:
    """The text of a cell, which a file may hold as a list of lines, and with line ends of Windows."""
    text = source if isinstance(source, str) else "".join(source or ())
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _identify(cells: list[Json]) -> None:
    """Give an id to each cell that has none, or another's."""
    taken: set[str] = set()
    for number, cell in enumerate(cells):
        given = cell["id"]
        if not isinstance(given, str) or not ID.fullmatch(given) or given in taken:
            given = next(name for k in range(len(cells) + 1) if (name := f"cell-{number}-{k}") not in taken)
        cell["id"] = given
        taken.add(given)


def _mapping(value: Any) -> Json:
    return dict(value) if isinstance(value, dict) else {}
