"""`stockkit audit`: whether features of the catalogue, or a user's functions, see the future."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import stockkit
from stockkit.cli.shared import EXIT_FAILED, fail
from stockkit.errors import ParamError, did_you_mean

if TYPE_CHECKING:
    from stockkit.causality import Audit

ENDS = "nothing was audited. Take that out, or put it under `if __name__ == '__main__':`."
WIDTH = 160  # columns where the output is no terminal


def audit(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAMES]...", help="Features; all by default.")] = None,
    function: Annotated[
        list[str] | None,
        typer.Option("--function", metavar="FILE.py:NAME", help="A function of your own, or MODULE:NAME; repeatable."),
    ] = None,
    bars: Annotated[
        str | None, typer.Option("--bars", metavar="LAKE", help="Audit on a lake's prices, not on simulated ones.")
    ] = None,
    cuts: Annotated[int, typer.Option(help="Sessions after which rows are taken away.")] = 20,
    at_open: Annotated[
        bool, typer.Option("--at-open", help="Used at the open: of its day a value knows the open only.")
    ] = False,
) -> None:
    """Test whether features see the future; exit code 1 where one does, or could not be tested."""
    result = run(names or [], function or [], bars, cuts=cuts, at_open=at_open)
    _show(result, cuts)
    if not result.ok:
        fail(*_faults(result))
        raise typer.Exit(EXIT_FAILED)


def run(names: Sequence[str], functions: Sequence[str], lake: str | None, *, cuts: int, at_open: bool = False) -> Audit:
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
    from stockkit import causality

    function_names = [place.rpartition(":")[2] for place in functions]
    if len(set(function_names)) < len(function_names):
        raise ParamError(f"two of the functions {', '.join(functions)} have one name: audit them one at a time.")
    by_name = dict(zip(function_names, map(function_at, functions), strict=True))
    prices = stockkit.open_lake(lake).read("prices") if lake else None
    subjects: list[Any] = [list(names) or None] if names or not by_name else []
    subjects += [by_name] if by_name else []
    return causality.combined([causality.audit(subject, prices, cuts=cuts, at_open=at_open) for subject in subjects])


def function_at(place: str) -> Callable[..., Any]:
    """The function that `place` names: path/to/file.py:name, or package.module:name as seen from this folder.

    Raises:
        ParamError: no such file or module, one that fails when it is loaded, or no such function in it.
    """
    from stockkit.causality.isolation import ProcessEnded, isolated

    home, _, name = place.rpartition(":")
    if not home or not name.isidentifier():
        raise ParamError(f"{place!r} names no function: write path/to/file.py:name or module:name.")
    try:
        list(isolated(lambda: [_module(home) is None]))  # in a process of its own first: it may end the one it is in
    except ProcessEnded as ended:
        raise ParamError(f"{home} {ended} when it is loaded: {ENDS}") from ended
    module = _module(home)
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ParamError(f"{home} has no function {name!r}.{did_you_mean(name, known)}")
    return function  # type: ignore[no-any-return]


def _module(home: str) -> Any:
    from stockkit.workbook import user_file

    if home.endswith(".py"):
        return user_file.module_of(home, ends=ENDS)
    if sys.path[0] != str(Path.cwd()):  # first, as for `python -m`: a module of this folder is meant
        sys.path.insert(0, str(Path.cwd()))
    with user_file.loading(home, ENDS):
        return importlib.import_module(home)


def _show(result: Audit, cuts: int) -> None:
    """Print the table: a feature a line, a column a check, what is wrong in bold red; and at how many cuts."""
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    rows = result.table.drop(columns=["date", "what"])
    table = Table(*map(str, rows.columns), box=None)
    bad = {*result.leaks, *result.untested}
    for row in rows.itertuples(index=False):
        table.add_row(*map(str, row), style="bold red" if row[0] in bad else None)
    console.print(table, highlight=False)
    console.print(f"{len(rows) - len(bad)} of {len(rows)} without a leak, tested at {cuts} cuts", highlight=False)


def _faults(result: Audit) -> list[str]:
    """What to say of an audit that is not ok: how many leak, then a line for each with date, reason and way out."""
    counts = [f"{len(result.leaks)} leak: {', '.join(result.leaks)}"] if result.leaks else []
    counts += [f"{len(result.untested)} not tested: {', '.join(result.untested)}"] if result.untested else []
    return ["; ".join(counts), *result.complaints()]
