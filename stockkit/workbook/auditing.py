"""The causality audit from the command line: a user's functions from files, bars from a lake, a table on the screen."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stockkit import causality
from stockkit.causality.isolation import ProcessEnded, isolated
from stockkit.errors import ParamError
from stockkit.lake.tables import open_lake
from stockkit.workbook import user_file

ENDS = "nothing was audited. Take that out, or put it under `if __name__ == '__main__':`."
WIDTH = 160  # columns where the output is no terminal


def audit(names: Sequence[str], functions: Sequence[str], lake: str | None, *, cuts: int,
          at_open: bool = False) -> causality.Audit:  # fmt: skip
    """Audit features by name and functions by place; the whole catalogue where neither is given.

    Args:
        names: of features or groups.
        functions: each as path/to/file.py:name or package.module:name.
        lake: whose prices to audit on; simulated bars by default.
        cuts: sessions after which rows are taken away.
        at_open: whether the values are used at the open of their day.

    Raises:
        ParamError: an unknown feature, a function that is not there. LakeError: no such lake or table.
    """
    own_names = [place.rpartition(":")[2] for place in functions]
    if len(set(own_names)) < len(own_names):
        raise ParamError(f"two of the functions {', '.join(functions)} have one name: audit them one at a time.")
    own = dict(zip(own_names, map(function_at, functions), strict=True))
    bars = open_lake(lake).read("prices") if lake else None
    asked: list[Any] = [list(names) or None] if names or not own else []
    asked += [own] if own else []
    return causality.combined([causality.audit(what, bars, cuts=cuts, at_open=at_open) for what in asked])


def function_at(place: str) -> Callable[..., Any]:
    """The function that `place` names: path/to/file.py:name, or package.module:name as seen from this folder.

    Raises:
        ParamError: no such file or module, one that fails when it is loaded, or no such function in it.
    """
    home, _, name = place.rpartition(":")
    if not home or not name.isidentifier():
        raise ParamError(f"{place!r} names no function: write path/to/file.py:name or module:name.")
    try:
        list(isolated(lambda: [_module(home) is None]))  # in a process of its own first: it may end the one it is in
    except ProcessEnded as ended:
        raise ParamError(f"{home} {ended} when it is loaded: {ENDS}") from ended
    module = _module(home)
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        near = get_close_matches(name, known, n=1)
        raise ParamError(f"{home} has no function {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
    return found  # type: ignore[no-any-return]


def _module(home: str) -> Any:
    try:
        if not home.endswith(".py"):
            if str(Path.cwd()) not in sys.path:
                sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(home)
        return user_file.module_of(home, ends=ENDS)
    except ParamError:
        raise
    except SystemExit as end:
        raise ParamError(f"{home} ends Python by sys.exit({end.code!r}) when it is loaded: {ENDS}") from end
    except Exception as error:  # a user's file may fail in any way while it is loaded
        raise ParamError(f"{home} cannot be loaded: {type(error).__name__}: {error}") from error


def show(found: causality.Audit, cuts: int) -> None:
    """Print the table: a feature a line, a column a check, what is wrong in bold red; and at how many cuts."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    told = found.table.drop(columns=["date", "what"])
    table = Table(*map(str, told.columns), box=None)
    bad = {*found.leaks, *found.untested}
    for row in told.itertuples(index=False):
        table.add_row(*map(str, row), style="bold red" if row[0] in bad else None)
    console.print(table, highlight=False)
    clean = len(told) - len(bad)
    console.print(f"{clean} of {len(told)} without a leak, tested at {cuts} cuts", highlight=False)


def faults(found: causality.Audit) -> list[str]:
    """What to say of an audit that is not ok: how many leak, then a line each with date, reason and way out."""
    counts = [f"{len(found.leaks)} leak: {', '.join(found.leaks)}"] if found.leaks else []
    counts += [f"{len(found.untested)} not tested: {', '.join(found.untested)}"] if found.untested else []
    return ["; ".join(counts), *found.complaints()]
