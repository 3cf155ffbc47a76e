"""Whether a step has to run: `decide` before it, `keep` after it.

Nothing here is an error: what cannot be read, told or written means that the step runs, and the reason says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stockkit.errors import LakeError
from stockkit.files import Files
from stockkit.local_files import WAY_OUT, write_atomically
from stockkit.workbook.cache import keys, observed, records, table_states
from stockkit.workbook.cache.observed import Unkept
from stockkit.workbook.cache.records import Record
from stockkit.workbook.cache.transplant import transplanted
from stockkit.workbook.formats import notebook_file
from stockkit.workbook.pages import bodies


@dataclass(frozen=True)
class Kept:
    """A result that can be taken over.

    Attributes:
        run: the id of the run that made it. notebook: the executed notebook, under the markdown of now.
        warnings: of its execution. stem: the key that it is kept under, without an ending.
        body: what its page shows, as `pages.bodies` keeps it; None where that is not kept.
    """

    run: str
    notebook: bytes
    warnings: list[str]
    stem: str
    body: bytes | None


@dataclass(frozen=True)
class Decision:
    """Why a step runs, or why it need not; in the latter case with the result in its place."""

    why: str
    kept: Kept | None = None
    basis: keys.Basis | None = field(default=None, repr=False)


@dataclass
class Hashes:
    """Files and folders as they are now, each looked at once in a decision."""

    root: Path
    known: dict[tuple[str, str], str] = field(default_factory=dict)

    def file(self, name: str) -> str:
        """The hash of a file by its kept name."""
        return self._once("file", name)

    def folder(self, name: str) -> str:
        """The hash of the names in a folder by its kept name."""
        return self._once("folder", name)

    def _once(self, kind: str, name: str) -> str:
        if (kind, name) not in self.known:
            look = observed.hash_of if kind == "file" else observed.names_in
            self.known[kind, name] = look(observed.path_of(name, self.root))
        return self.known[kind, name]


def decide(
    notebook: Path,
    values: Mapping[str, Any],
    files: Files,
    root: Path,
    *,
    pins: Mapping[str, int] | None = None,
    force: bool = False,
) -> Decision:
    """Whether a kept result of a notebook still stands.

    To be asked when all steps before it have ended, as what they wrote counts.

    Args:
        notebook: the file. values: of its parameters.
        files: of the lake. root: the workbook's folder.
        pins: versions of tables that the step would read, where others may have committed since.
        force: it runs whatever is kept.

    Raises:
        RunError: the notebook's metadata asks the cache for what cannot be. LakeError: the lake cannot be read.
    """
    try:
        document = notebook_file.content(notebook)
        declared = document.get("metadata", {}).get("stockkit") or {}
        basis = keys.basis(document, values, root)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Decision("it cannot be read as a notebook of today's format")
    wishes = keys.wishes(declared, notebook.stem)
    if force:
        return Decision("it was asked for (--force)", basis=basis)
    if wishes.always:
        return Decision("its metadata says that it runs each time (`always`)", basis=basis)
    why, hashes = "", Hashes(root)
    for record, fault in records.newest_first(files, notebook.stem, basis.key):
        reason = fault if record is None else _difference(record, basis, files, hashes, pins or {})
        if record is not None and not reason:
            reason, kept = _taken(record, document, files)
            if kept:
                return Decision(reason, kept, basis)
        why = why or reason
    return Decision(why or "no result is kept", basis=basis)


def _difference(record: Record, basis: keys.Basis, files: Files, hashes: Hashes, pins: Mapping[str, int]) -> str:
    """In a sentence what is no longer as it was for a kept result; "" where all is."""
    seen = record.observed
    if words := keys.change(record.basis, basis):
        return words
    if seen.always:
        return seen.always
    if seen.until and datetime.now(UTC).isoformat() >= seen.until:
        return f"since {seen.until[:16].replace('T', ' ')} UTC another day counts as the newest"
    return _file_difference(seen, hashes) or _lake_difference(seen, files, pins)


def _file_difference(seen: observed.Observed, hashes: Hashes) -> str:
    for name, digest in seen.files.items():
        if hashes.file(name) != digest:
            is_code = name.endswith(".py")
            return f"{'' if is_code else 'the file '}{name} {'changed' if hashes.file(name) else 'is gone'}"
    for name, digest in seen.folders.items():
        if hashes.folder(name) != digest:
            return f"the folder {name} has other files"
    for name, digest in seen.made.items():
        if hashes.file(name) != digest:
            return f"the file {name}, which it wrote, {'was changed since' if hashes.file(name) else 'is gone'}"
    return ""


def _lake_difference(seen: observed.Observed, files: Files, pins: Mapping[str, int]) -> str:
    for table, state in seen.tables.items():
        if words := table_states.difference(files, table, state, pinned=pins.get(table)):
            return words
    for table, state in seen.written.items():
        if words := table_states.difference(files, table, state):
            return f"{words}, which it wrote"
    for key, size in seen.stored.items():
        if files.size(key) != size:
            return f"{key} of the lake is {'gone' if files.size(key) is None else 'damaged'}"
    for operation, key, answer in seen.lake:
        if observed.ask(files, operation, key) != answer:
            return f"{key} of the lake changed"
    return ""


def _taken(record: Record, document: Mapping[str, Any], files: Files) -> tuple[str, Kept | None]:
    """The kept notebook of a record under the markdown of now; None with the reason where it cannot be used."""
    body = records.executed(files, record)
    if body is None:
        return "the kept notebook is damaged or gone", None
    try:
        fresh = transplanted(document, json.loads(body))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        return f"the kept notebook cannot be used ({' '.join(str(error).split())[:100]})", None
    text = json.dumps(fresh, ensure_ascii=False, indent=1, sort_keys=True) + "\n"  # as nbformat writes them
    return f"nothing that it read has changed since run {record.run}", Kept(
        record.run, text.encode(), record.warnings, record.stem, files.read(record.stem + bodies.ENDING)
    )


def restore(kept: Kept, output: Path, *, way_out: str = WAY_OUT) -> None:
    """Put a kept notebook where an execution would have put it.

    Raises:
        LakeError: it cannot be written.
    """
    write_atomically(output, kept.notebook, way_out=way_out)
    if kept.body is not None:
        write_atomically(bodies.place(output), kept.body, way_out=way_out)


def keep(
    decision: Decision,
    output: Path,
    trace: Path,
    files: Files,
    root: Path,
    *,
    run: str,
    reads: Mapping[str, int],
    writes: Mapping[str, int],
    stored: Mapping[str, int],
    warnings: Sequence[str] = (),
    redact: Callable[[str], str] = str,
) -> tuple[str, str]:
    """Keep the result of a step that has succeeded: the key that it is kept under, without an ending, and "".

    Where it is not kept "" and in a sentence why.

    Args:
        decision: that led to it. output: the executed notebook. trace: the file of notes that `trace.begin` made.
        files: of the lake. root: the workbook's folder. run: the run's id.
        reads, writes: the tables that it handed over, each with its version.
        stored: the data files of the tables written, by their keys in the lake, each with its bytes, counted.
        warnings: of its execution, without secrets.
        redact: strikes secrets out of a text.
    """
    if decision.basis is None:
        return "", decision.why
    try:
        executed = output.read_bytes()
        document = json.loads(executed)
        if keys.code(document) != decision.basis.code:
            return "", "the notebook changed while it ran, or holds a secret"
        wishes = keys.wishes(json.loads(decision.basis.declared) or {}, output.stem)
        seen = observed.observe(trace, files, root, reads=reads, writes=writes, wishes=wishes)
        seen = replace(seen, stored=dict(stored))
        shown = {name: redact(value) for name, value in decision.basis.shown.items()}
        record = Record(run, replace(decision.basis, shown=shown), seen, "", list(warnings))
        return records.put(files, output.stem, record, executed), ""
    except (Unkept, LakeError, OSError, ValueError, KeyError) as error:
        return "", " ".join(str(error).split())[:300]


def keep_body(files: Files, stem: str, output: Path) -> None:
    """Keep what the page of a kept notebook shows beside it, where it is not kept so already.

    Args:
        files: of the lake. stem: the key that the notebook is kept under, without an ending.
        output: the executed notebook, with the file of `pages.bodies` beside it.
    """
    with suppress(LakeError, OSError):  # it can be made anew
        body = bodies.place(output).read_bytes()
        if files.read(stem + bodies.ENDING) != body:
            files.note(stem + bodies.ENDING, body)


def withdraw_others(files: Files, stems: Mapping[str, str], folder: Path) -> None:
    """Delete what was kept of notebooks in which a secret was struck out since: what is kept is what was published.

    Args:
        files: of the lake. stems: by the name of a notebook the key that it is kept under, without an ending.
        folder: of the run.
    """
    for name, stem in stems.items():
        with suppress(LakeError, OSError):
            published = folder / f"{name}.ipynb"
            if not published.is_file() or published.read_bytes() != files.read(f"{stem}.ipynb"):
                for ending in (".json", ".ipynb", bodies.ENDING):
                    files.remove(stem + ending)
