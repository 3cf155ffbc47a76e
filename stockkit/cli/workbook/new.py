"""`stockkit new`: a start for something of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stockkit.errors import ParamError, RunError, StockkitError

app = typer.Typer(no_args_is_help=True, help="A start for something of your own.")
EXAMPLE = "Example: stockkit new notebook 07_mine --reads prices --writes my_table --into params/sample.yaml"


@app.command(epilog=EXAMPLE)
def notebook(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in 07_mine; notebooks/NAME.ipynb is written.")],
    reads: Annotated[list[str] | None, typer.Option(metavar="TABLE", help="A table it reads; prices.")] = None,
    writes: Annotated[list[str] | None, typer.Option(metavar="TABLE", help="A table of your own it writes.")] = None,
    title: Annotated[str, typer.Option(help="Its question.")] = "",
    into: Annotated[Path | None, typer.Option(metavar="PARAMS", help="A chain that it is added to.")] = None,
) -> None:
    """Write a notebook that passes at once: it reads, shows, draws, writes and hands over."""
    from stockkit.lake.tables import workbook_root
    from stockkit.workbook.formats import new_notebook

    tables = list(dict.fromkeys(reads or ["prices"])), list(dict.fromkeys(writes or []))
    new_notebook.check(name, *tables)
    root = workbook_root(into.resolve().parent if into else None)
    if not (root / "notebooks").is_dir():
        raise RunError(f"there is no folder `notebooks` in {root} or above: go to the workbook's folder.")
    path = root / "notebooks" / f"{name}.ipynb"
    if any(other.name.lower() == path.name.lower() for other in path.parent.iterdir()):
        raise RunError(f"{path} is there already, and is left as it is: choose another name.")
    question = " ".join(title.split()) or f"What do we see in {tables[0][0]}?"
    _write(path, new_notebook.text(question, *tables), into)
    where = f"added to {into}" if into else f"add {name} to the `notebooks` of a file in params/"
    print(f"written: {path}\n{where}; this runs it alone, on the tables that there are:")
    print(f"stockkit run {into or 'params/FILE.yaml'} --only {name}")


def _write(path: Path, text: str, into: Path | None) -> None:
    """Write the notebook and add it to a chain: both, or neither where the chain could then not run.

    Raises:
        ParamError, RunError, LakeError: says why.
    """
    from stockkit.local_files import write_atomically
    from stockkit.workbook import params
    from stockkit.workbook.formats.chain_file import with_notebook

    before = None
    if into:
        params.load(into)  # whether it is a parameters file at all
        before, after = into.read_bytes(), with_notebook(into, path.stem)
    if not write_atomically(path, text.encode(), way_out="Make the folder writable.", replace=False):
        raise RunError(f"{path} is there already, and is left as it is: choose another name.")
    if into is None or before is None:
        return
    try:
        write_atomically(into, after, way_out="Make the folder writable.")
        _check_chain(into)
    except StockkitError:
        path.unlink()
        write_atomically(into, before, way_out="Make the folder writable.")
        raise


def _check_chain(into: Path) -> None:
    from stockkit.lake.tables import open_lake
    from stockkit.workbook import notebooks
    from stockkit.workbook.chain import plan

    root, chain, values = plan.resolve(into)
    have = open_lake(values.get("lake", "data/lake"), root=root).tables()
    try:
        notebooks.in_order(chain, have=have)
    except RunError as error:
        raise ParamError(f"nothing was written, as {into} could not run with it: {error}") from error
