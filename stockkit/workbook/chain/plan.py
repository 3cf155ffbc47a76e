"""A run that was checked: the notebooks in order, the value of every parameter, and where things are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockkit.errors import RunError
from stockkit.lake.tables import Lake, open_lake
from stockkit.workbook import notebooks, params, preflight
from stockkit.workbook.notebooks import Notebook


@dataclass(frozen=True)
class RunPlan:
    """What a run will do.

    Attributes:
        root: the workbook's folder.
        params_file: where the parameters come from.
        chain: the notebooks, in an order in which they may run one after the other.
        parameters: the value of every parameter of the chain.
        lake: where its tables are.
    """

    root: Path
    params_file: Path
    chain: list[Notebook]
    parameters: dict[str, Any]
    lake: Lake

    def needs(self) -> dict[str, set[str]]:
        """For every notebook by name the notebooks of the chain that write what it reads."""
        writer = {table: notebook.name for notebook in self.chain for table in notebook.writes}
        return {n.name: {writer[table] for table in n.reads if table in writer} - {n.name} for n in self.chain}


def plan(
    params_file: Path,
    overrides: Sequence[str] = (),
    *,
    until: str | None = None,
    only: str | None = None,
    among: Sequence[str] | None = None,
) -> RunPlan:
    """Check everything that can be checked before a kernel starts.

    Args:
        params_file: a flat YAML file in the workbook's `params` folder.
        overrides: ``name=value`` words, stronger than the file.
        until: run only what this notebook needs, and it.
        only: run only this notebook, on the tables that there are.
        among: run only these of the notebooks; None for all.

    Raises:
        ParamError, SymbolError, RunError, LakeError: what is wrong, and the way out.
    """
    root, every, values = resolve(params_file, overrides)
    lake = open_lake(values.get("lake", "data/lake"), root=root)
    for name in (until, only):
        if name and name not in [notebook.name for notebook in every]:
            known = ", ".join(notebook.name for notebook in every)
            raise RunError(f"{name[:60]!a} is no notebook of {params_file.name}: it runs {known}.")
    every = [notebook for notebook in every if among is None or notebook.name in among]
    chain = [n for n in every if n.name == only] if only else notebooks.in_order(every, have=lake.tables())
    if until:
        chain = chain[: [n.name for n in chain].index(until) + 1]
    chain = notebooks.in_order(chain, have=lake.tables())
    preflight.check(chain, values, lake, root)
    return RunPlan(root, params_file, chain, values, lake)


def resolve(params_file: Path, overrides: Sequence[str] = ()) -> tuple[Path, list[Notebook], dict[str, Any]]:
    """The workbook's folder, the notebooks that a file names, and the value of each of their parameters.

    Raises:
        ParamError, SymbolError, RunError: what is wrong, and the way out.
    """
    given = params.load(params_file)
    root = root_of(params_file)
    every = [notebooks.load(root / "notebooks", name) for name in given.notebooks]
    return root, every, params.resolve(every, given.values, params.parse_overrides(overrides))


def root_of(params_file: Path) -> Path:
    """The workbook's folder, in which a parameters file lies.

    Raises:
        RunError: no folder above it has notebooks.
    """
    for folder in params_file.resolve().parents:
        if (folder / "notebooks").is_dir():
            return folder
    raise RunError(f"no folder above {params_file} has `notebooks`: keep parameter files in the workbook's params/.")
