"""Notebooks as the runner sees them: title, parameters, the tables they declare, and the order that follows."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from stockkit.errors import RunError, did_you_mean
from stockkit.workbook.cache import keys
from stockkit.workbook.formats import notebook_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
DEVICES = ("con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(1, 10)))
RESERVED = {"index": "a report's front page is called so", **dict.fromkeys(DEVICES, "Windows has no file of that name")}


@dataclass(frozen=True)
class Notebook:
    """A notebook of the workbook: what it asks, its parameters with their defaults, what it reads and writes.

    Attributes:
        code: a hash of each of its code cells when it was read (`cache.keys.code`); None where that is not known.
    """

    name: str
    path: Path
    title: str
    parameters: dict[str, Any]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    code: list[str] | None = None

    def is_changed(self) -> bool:
        """Whether the file has other code now, so that what was checked is not what would run.

        Raises:
            OSError, ValueError: the file is gone, or is no notebook any more.
        """
        return self.code is not None and keys.code(notebook_file.content(self.path)) != self.code


def load(folder: Path, name: str) -> Notebook:
    """Read ``folder/name.ipynb``.

    Raises:
        RunError: no such notebook (names the nearest), not a notebook, or its parameters cell is not one flat
            list of literals.
    """
    path = folder / f"{name}.ipynb"
    if not NAME.fullmatch(name) or not path.is_file():
        if path.is_file() and path.parent == folder:
            plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "my_notebook"
            raise RunError(
                f"the notebook {name[:80]!a} has a name that cannot be part of a report's addresses: rename it with "
                f"letters, digits, `_` and `-`, as in {plain[:80]}.ipynb."
            )
        known = sorted(notebook.stem for notebook in folder.glob("*.ipynb"))
        hint = did_you_mean(name, known, f"It has {', '.join(known) or 'none'}.")
        raise RunError(f"there is no notebook {name!r} in {folder}.{hint}")
    if name.lower() in RESERVED:
        raise RunError(f"the notebook {path} cannot be called so: {RESERVED[name.lower()]}. Rename it.")
    try:
        document = notebook_file.content(path)
        cells, metadata = document["cells"], document["metadata"]
        notebook_file.check_language(metadata, name)
        tables = [_tables(metadata, key, name) for key in ("reads", "writes")]
        keys.wishes(metadata.get("stockkit") or {}, name)
        skipped = [cell for cell in cells if "skip-execution" in cell["metadata"]["tags"]]
        title, parameters = _title(cells, name), _parameters(cells, name)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError, MemoryError) as error:
        why = str(error) if isinstance(error, notebook_file.NoNotebook) else f"{type(error).__name__}: {error}"
        raise RunError(f"{path} is not a notebook that can be run: {' '.join(why.split())[:200]}.") from error
    if skipped:
        first = " ".join(skipped[0]["source"].split())[:60]
        raise RunError(
            f"notebook {name} has a cell tagged `skip-execution` ({first!r}): a run is green only where every "
            "cell ran. Take out the tag, or the cell."
        )
    return Notebook(name, path, title, parameters, tables[0], tables[1], keys.code(document))


def _tables(metadata: Mapping[str, Any], key: str, name: str) -> tuple[str, ...]:
    about = {} if metadata.get("stockkit") is None else metadata["stockkit"]
    if not isinstance(about, dict):
        raise RunError(f"notebook {name}: `stockkit` in its metadata must be a mapping, found {str(about)[:60]!r}.")
    declared = about.get(key) or ()
    if isinstance(declared, str) or not all(isinstance(table, str) for table in declared):
        raise RunError(
            f"notebook {name}: `{key}` in its metadata must be a list of tables, found {str(declared)[:60]!r}."
        )
    return tuple(declared)


def _title(cells: Sequence[Mapping[str, Any]], name: str) -> str:
    texts = (cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    lines = (line for text in texts for line in text.splitlines() if line.startswith("# "))
    return str(next(lines, f"# {name}"))[2:].strip()


def _parameters(cells: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The parameters with their defaults; none where no cell is tagged so, as in a notebook that was made elsewhere."""
    tagged = [cell["source"] for cell in cells if "parameters" in cell["metadata"]["tags"]]
    if len(tagged) > 1:
        raise RunError(f"notebook {name} has {len(tagged)} cells tagged `parameters`: let one have them all.")
    parameters: dict[str, Any] = {}
    try:
        for statement in ast.parse("".join(tagged)).body:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise ValueError(f"{ast.unparse(statement)!r} is no plain assignment")
            target, value = ast.unparse(statement.targets[0]), ast.literal_eval(statement.value)
            if json.loads(json.dumps(value, allow_nan=False)) != value:
                raise ValueError(f"{target} is no text, number, truth value or list of them")
            parameters[target] = value
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise RunError(f"the parameters cell of {name} must hold plain `name = literal` lines: {error}.") from error
    return parameters


def in_order(notebooks: Sequence[Notebook], *, have: Sequence[str] = ()) -> list[Notebook]:
    """Sort notebooks so that each comes after those that write what it reads; by name where that leaves a choice.

    Args:
        notebooks: the chain, in any order.
        have: tables that exist already.

    Raises:
        RunError: two notebooks write the same table, nobody writes one that is read, or they need each other.
    """
    writer: dict[str, Notebook] = {}
    for notebook in notebooks:
        for table in notebook.writes:
            if table in writer:
                raise RunError(f"both {writer[table].name} and {notebook.name} write {table!r}: let one do it.")
            writer[table] = notebook
    for notebook in notebooks:
        for table in notebook.reads:
            if table not in writer and table not in have:
                raise RunError(
                    f"{notebook.name} reads {table!r}, which no notebook of the chain writes; run the one first."
                )
    needs = {n.name: {writer[t].name for t in n.reads if t in writer} - {n.name} for n in notebooks}
    sorter = TopologicalSorter({name: sorted(needs[name]) for name in sorted(needs)})
    try:
        sorter.prepare()
    except CycleError as error:
        raise RunError(f"these notebooks wait for each other: {' → '.join(error.args[1])}.") from error
    by_name = {notebook.name: notebook for notebook in notebooks}
    order: list[Notebook] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        order.append(by_name[ready.pop(0)])
        sorter.done(order[-1].name)
    return order
