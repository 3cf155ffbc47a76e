"""What a page shows of an executed notebook: made once, when its step has ended, and kept as a file beside it.

A body belongs to the bytes of its notebook and to what made it; any other is made anew, so the file may be copied,
lost or damaged. Pages need nothing but bodies and the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from stockkit import provenance
from stockkit.local_files import write_atomically
from stockkit.workbook.formats.notebook_file import library
from stockkit.workbook.pages import cells, markup

ENDING = ".body.json"


@dataclass(frozen=True)
class Body:
    """What a page shows of a notebook.

    Attributes:
        title: its first heading; "" where it has none.
        sections: level, id and text of its headings of the second and third level.
        body: the HTML of its cells.
        failed: whether a cell failed.
        unrun: how many code cells have no result.
        notebook_hash: of the notebook's file and of what made the body.
    """

    title: str
    sections: list[markup.Section]
    body: str
    failed: bool
    unrun: int
    notebook_hash: str


def keep(notebook: Path) -> None:
    """Keep the body of an executed notebook beside it, made now unless it is there; what goes wrong shows when its page
    is made."""
    with suppress(Exception):
        write_atomically(place(notebook), as_file(kept(notebook)))


def kept(notebook: Path) -> Body:
    """The body of an executed notebook: the one beside it if it is of this very notebook, else made now.

    Raises:
        OSError, ValueError, KeyError, AttributeError: it is no notebook.
    """
    content = notebook.read_bytes()
    with suppress(OSError, ValueError, TypeError, KeyError):
        there = from_file(place(notebook).read_bytes())
        if there.notebook_hash == _hash(content):
            return there
    return _made(content)


def place(notebook: Path) -> Path:
    """Where the body of an executed notebook is kept: beside it."""
    return notebook.with_suffix(ENDING)


def as_file(body: Body) -> bytes:
    """A body as the bytes that are kept: JSON with the fields of `Body`."""
    return json.dumps(asdict(body), ensure_ascii=False).encode("utf-8", "replace")


def from_file(content: bytes) -> Body:
    """What `as_file` made of a body.

    Raises:
        ValueError, TypeError, KeyError: it is none.
    """
    fields: Mapping[str, Any] = json.loads(content)
    sections = [(int(level), str(name), str(text)) for level, name, text in fields["sections"]]
    return Body(**{**fields, "sections": sections})


def drop(folder: Path) -> None:
    """Delete the bodies in the folder of a run: they are of no use once its pages stand."""
    for path in folder.glob(f"*{ENDING}"):
        with suppress(OSError):
            path.unlink()


@cache
def warm() -> None:
    """Import what makes bodies, and make one: for a thread beside the first kernel, which takes as long to start."""
    with suppress(Exception):  # it shows when a page is made
        nbformat = library()
        source = "import pandas as pd\n\npd.DataFrame({'a': [1.0]})  # a comment"
        small = [nbformat.v4.new_markdown_cell("# A\n\n| a |\n|---|\n| 1 |"), nbformat.v4.new_code_cell(source)]
        cells.markup(nbformat.v4.new_notebook(cells=small))


def _made(content: bytes) -> Body:
    notebook = _notebook(content.decode("utf-8"))
    failed, unrun = cells.prepare(notebook)
    return Body(*markup.arranged(cells.markup(notebook)), failed, unrun, _hash(content))


def _notebook(text: str) -> Any:
    """A notebook of any version; one of today's without a check of its schema, which takes longer than its page."""
    nbformat = library()
    content = json.loads(text)
    if content.get("nbformat") == 4:
        return nbformat.v4.reads(text)
    try:
        return nbformat.reads(text, as_version=4)
    except nbformat.ValidationError as error:
        raise ValueError(f"it is no notebook: {error.message[:200]}") from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(_maker() + content).hexdigest()


@cache
def _maker() -> bytes:
    """A hash of what makes bodies: these modules, the template of cells, and nbconvert."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), cells.TEMPLATES / "cells.html.j2"]
    known = [path.read_bytes() for path in sources]
    known += [provenance.version().encode(), metadata.version("nbconvert").encode()]
    return hashlib.sha256(b"\0".join(known)).digest()
