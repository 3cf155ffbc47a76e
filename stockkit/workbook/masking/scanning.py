"""The last look at everything that a run is about to publish: no file of it holds a value that is known by then.

Files are read in parts, so that one of any size is looked through. A text is masked; what is no text, and holds a value
that cannot be taken out of it, is withheld.
"""

from __future__ import annotations

import codecs
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.masking import pictures
from stockkit.workbook.masking.unpacking import unpacked

PART = 4_000_000  # bytes that are read at once
LARGEST_DOCUMENT = 64_000_000  # bytes up to which JSON is looked through text by text, not as one text
MARGIN = 4_096  # bytes that two parts share beside the longest form of a value
LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    ".ipynb": {"indent": 1, "sort_keys": True, "separators": (",", ": ")},  # as nbformat writes it
    ".json": {"indent": 2},
}
STRUCK_OUT = "held a secret, which was struck out"


def scan(folder: Path, redaction: Redaction) -> list[str]:
    """Take every known value out of the files of a folder, and out of their names; a sentence for each that had one.

    Args:
        folder: of a run, before it is published; what is in folders in it is looked through as well.
        redaction: knows the values.
    """
    notes = list[str]()
    if not redaction.knows_any():
        return notes
    for path in _files(folder):
        shown = redaction.text(str(path.relative_to(folder)))
        try:
            done = _cleared(path, redaction)
        except OSError as error:  # what cannot be looked through, or not be written anew, is not shown
            path.unlink(missing_ok=True)
            done = f"was withheld: it cannot be looked through for secrets ({error.strerror or error})"
        notes += [f"{shown} {done}."] if done else []
    return notes + _renamed(folder, redaction)


def _cleared(path: Path, redaction: Redaction) -> str:
    """Take the values out of one file; what was done, "" for nothing."""
    kind = path.lstat().st_mode
    if stat.S_ISLNK(kind):
        return _clear_link(path, redaction)
    if not stat.S_ISREG(kind):  # reading a pipe would wait for ever
        return ""
    small = path.stat().st_size <= LARGEST_DOCUMENT
    if small and path.suffix in LAYOUTS and (done := _clear_document(path, redaction)) is not None:
        return done
    done = _clear_picture(path, redaction) if small and path.suffix == ".png" else ""
    is_text = _is_text(path)
    plain, packed = _readings(path), unpacked(path) if not is_text else iter(())
    if not any(redaction.is_in(part, prose=is_text) for part in _overlapping(chain(plain, packed), redaction)):
        return done
    if not is_text:
        path.unlink()
        return "was withheld: it holds a secret, and is no text in which that could be struck out"
    with _anew(path) as out, open(path, "rb") as file:
        for part in _masked(file, redaction):
            out.write(part)
    return STRUCK_OUT


def _clear_link(path: Path, redaction: Redaction) -> str:
    """A link shows what is in the file that it leads to, which is not ours to change."""
    target = path.resolve()
    reading = _overlapping(_readings(target), redaction) if target.is_file() else ()
    if not any(redaction.is_in(part) for part in (os.fsencode(os.readlink(path)), *reading)):
        return ""
    path.unlink()
    return "was withheld: the file that it leads to holds a secret"


def _clear_document(path: Path, redaction: Redaction) -> str | None:
    """Clear the texts of a JSON file, which stays one; None where it is none."""
    body = path.read_bytes()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_hit = redaction.is_in(body)
    clean = redaction.all(document) if is_hit else document
    changed = clean != document
    if path.suffix == ".ipynb":
        changed |= _clear_outputs(clean, redaction)
    fresh = json.dumps(clean, ensure_ascii=False, **LAYOUTS[path.suffix]).encode("utf-8", "replace") + b"\n"
    if not changed and (not is_hit or redaction.is_in(fresh)):  # a hit across the signs of JSON is none
        return ""
    with _anew(path) as out:
        out.write(fresh)
    return STRUCK_OUT


def _clear_outputs(document: Any, redaction: Redaction) -> bool:
    """Clear, in place, what outputs hold in parts, or in the metadata of a picture; whether there was anything."""
    changed = False
    with suppress(KeyError, TypeError, AttributeError):  # it is no notebook, but JSON like any other
        outputs = [output for cell in document["cells"] for output in cell.get("outputs", ())]
        changed = redaction.outputs(outputs)
        for data in (output["data"] for output in outputs if "image/png" in output.get("data", ())):
            before = "".join(data["image/png"])
            data["image/png"] = redaction.all({"image/png": before})["image/png"]
            changed |= data["image/png"] != before
    return changed


def _clear_picture(path: Path, redaction: Redaction) -> str:
    body = path.read_bytes()
    clean = pictures.cleaned(body, redaction.is_in)
    if clean == body:
        return ""
    with _anew(path) as out:
        out.write(clean)
    return STRUCK_OUT


def _readings(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while part := file.read(PART):
            yield part


def _overlapping(parts: Iterable[bytes], redaction: Redaction) -> Iterator[bytes]:
    """Parts, each with the end of what came before it."""
    end = b""
    for part in parts:
        yield end + part
        end = (end + part)[-_overlap(redaction) :]


def _masked(file: IO[bytes], redaction: Redaction) -> Iterator[bytes]:
    """A text in parts without the values, also without one that lies across the border of two."""
    left = b""
    while True:
        part = file.read(PART)
        both = left + part
        if redaction.is_in(both):
            text = both.decode("utf-8", "surrogateescape")
            both = redaction.text(text).encode("utf-8", "surrogateescape")
        at = max(0, len(both) - _overlap(redaction)) if part else len(both)
        yield both[:at]
        left = both[at:]
        if not part:
            return


def _overlap(redaction: Redaction) -> int:
    return redaction.longest() + MARGIN


def _is_text(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open(path, "rb") as file:
            while part := file.read(PART):
                if b"\0" in part:
                    return False
                decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def _anew(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` once it is whole, with its rights."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with open(handle, "wb") as out:
            yield out
        shutil.copymode(path, name)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _files(folder: Path) -> list[Path]:
    return sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names)


def _renamed(folder: Path, redaction: Redaction) -> list[str]:
    """Give a new name to what has a value in its name, the deepest first."""
    notes = list[str]()
    for place, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            if (clean := redaction.text(name)) != name:
                clean = _free(Path(place), clean)
                os.replace(os.path.join(place, name), os.path.join(place, clean))
                notes.append(f"{clean} had a secret in its name.")
    return notes


def _free(folder: Path, name: str) -> str:
    """A name that nothing in a folder has."""
    names = chain([name], (f"{number}-{name}" for number in count(2)))
    return next(free for free in names if not os.path.lexists(folder / free))
