"""Results that are kept with the lake: the executed notebook and what it rests on, a few a notebook.

``runs/steps/<notebook>/<UTC time>-<key>-<number>.json`` and beside it the ``.ipynb``. The record is put last and holds
the hash of the notebook, so that one which is half there, damaged or another hand's is as if it were not there.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from stockkit.files import Files
from stockkit.workbook.cache.keys import FORMAT, Basis, sha
from stockkit.workbook.cache.observed import Observed
from stockkit.workbook.cache.table_states import TableState

NAME = re.compile(r"(\d{8}T\d{12}Z)-([0-9a-f]{16})-([0-9a-f]{8})\.json")
OURS = re.compile(r"[\w-]+\.(json|ipynb|body\.json)")
KEPT = 6  # results a notebook


@dataclass(frozen=True)
class Record:
    """A kept result.

    Attributes:
        run: the id of the run that made it. basis, observed: what it rests on.
        notebook: the hash of the executed notebook. warnings: of its execution.
        stem: the key that record and notebook are kept under, without an ending.
    """

    run: str
    basis: Basis
    observed: Observed
    notebook: str
    warnings: list[str]
    stem: str = ""


def folder(notebook: str) -> str:
    """The key of the folder of a notebook's results."""
    return f"runs/steps/{notebook}"


def put(files: Files, notebook: str, record: Record, executed: bytes) -> str:
    """Keep a result, and drop those that are too old; the key it is kept under, without an ending.

    Raises:
        LakeError, OSError: it cannot be written; nothing of it counts then.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    stem = f"{folder(notebook)}/{stamp}-{record.basis.key}-{uuid.uuid4().hex[:8]}"
    facts = {"format": FORMAT, **asdict(record), "notebook": sha(executed)}
    del facts["stem"]
    body = json.dumps(facts, ensure_ascii=False, sort_keys=True)
    files.put(f"{stem}.ipynb", executed)
    files.put(f"{stem}.json", json.dumps({"sha256": sha(body), "record": facts}, ensure_ascii=False).encode())
    _prune(files, notebook)
    return stem


def _prune(files: Files, notebook: str) -> None:
    """Leave the newest results, and among what is older nothing."""
    names = files.names(folder(notebook))
    stems = {name.removesuffix(".json") for name in sorted(filter(NAME.fullmatch, names))[-KEPT:]}
    for name in names:
        if OURS.fullmatch(name) and name < min(stems, default="") and name.partition(".")[0] not in stems:
            files.remove(f"{folder(notebook)}/{name}")


def newest_first(files: Files, notebook: str, key: str) -> Iterator[tuple[Record | None, str]]:
    """The results of a notebook with this key, newest first, then the newest of the others; each record that cannot be
    used as None with the reason."""
    names = sorted((name for name in files.names(folder(notebook)) if NAME.fullmatch(name)), reverse=True)
    same = [name for name in names if name.split("-")[1] == key]
    for name in [*same, *[name for name in names if name not in same][:1]]:
        stem = f"{folder(notebook)}/{name.removesuffix('.json')}"
        try:
            yield read(files.read(f"{stem}.json") or b"", stem), ""
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            yield None, f"the kept result {name} cannot be used ({' '.join(str(error).split())[:100]})"


def read(body: bytes, stem: str) -> Record:
    """A record from its bytes.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, RecursionError: it is none, is damaged, or of another version.
    """
    envelope = json.loads(body)
    facts: dict[str, Any] = envelope["record"]
    if sha(json.dumps(facts, ensure_ascii=False, sort_keys=True)) != envelope["sha256"]:
        raise ValueError("it is damaged")
    if facts.pop("format") != FORMAT:
        raise ValueError("another version of stockkit kept it")
    seen = dict(facts.pop("observed"))
    if absent := {field.name for field in fields(Observed)} - seen.keys():
        raise ValueError(f"it lacks {min(absent)}")
    for part in ("tables", "written"):
        seen[part] = {name: state and TableState(**state) for name, state in seen[part].items()}
    basis = Basis(**facts.pop("basis"))
    _check_kinds(basis, Observed(**seen), facts)
    return Record(**facts, basis=basis, observed=Observed(**seen), stem=stem)


def _check_kinds(basis: Basis, seen: Observed, facts: Mapping[str, Any]) -> None:
    """Refuse a record whose parts are of other kinds than ours, whoever wrote it."""
    kinds = {"dict": dict, "list": list, "str": str}
    for part in (basis, seen):
        for field in fields(part):
            kind = kinds[str(field.type).partition("[")[0]]
            if type(getattr(part, field.name)) is not kind:
                raise ValueError(f"{field.name} is no {kind.__name__}")
    if type(facts["run"]) is not str or not all(type(text) is str for text in facts["warnings"]):
        raise ValueError("it names no run")


def executed(files: Files, record: Record) -> bytes | None:
    """The executed notebook of a record; None where it is gone or damaged."""
    body = files.read(f"{record.stem}.ipynb")
    return body if body and sha(body) == record.notebook else None
