"""The `stockkit` command: run the chain, show reports, look into the lake.

Exit codes: 0 all green; 1 a step failed; 2 the command or its parameters are wrong, nothing was started;
3 the chain ran but is incomplete (a symbol is missing); 130 interrupted.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

import stockkit
from stockkit.errors import LakeError, StockkitError

EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Stock-market notebooks that can be trusted."
)
lake_app = typer.Typer(no_args_is_help=True, help="Look into the lake's tables.")
app.add_typer(lake_app, name="lake")

LakeOption = Annotated[str, typer.Option("--lake", help="The lake's folder, or s3://bucket/prefix.")]


def main() -> None:
    """Run the command; an expected error is one paragraph and an exit code, never a traceback."""
    try:
        app()
    except StockkitError as error:
        _fail(str(error))
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        _fail("interrupted; the run is marked as failed.")
        sys.exit(EXIT_INTERRUPTED)


@app.callback(invoke_without_command=True)
def root_options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Stock-market notebooks that can be trusted."""
    if version:
        print(f"stockkit {stockkit.__version__}")
        raise typer.Exit


@app.command()
def run(
    params_file: Annotated[Path, typer.Argument(metavar="PARAMS", help="A YAML file of parameters.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Set one parameter; may be repeated.")
    ] = None,
    reports: Annotated[Path | None, typer.Option(help="Where reports go; reports/ by default.")] = None,
    until: Annotated[str | None, typer.Option(metavar="NOTEBOOK", help="Stop after this notebook.")] = None,
    only: Annotated[str | None, typer.Option(metavar="NOTEBOOK", help="Run this notebook alone.")] = None,
) -> None:
    """Run the notebooks that PARAMS names and write an HTML report; the last line is its path."""
    from stockkit.workbook import progress, runner

    todo = runner.plan(params_file, parameter or [], until=until, only=only)
    folder = (reports or todo.root / "reports").resolve()
    try:
        manifest = runner.run(todo, folder, progress.for_terminal())
    except LakeError as error:  # after the start: the reports cannot be written
        _fail(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    if manifest["status"] != runner.SUCCEEDED:
        _explain(manifest)
    print(_shown(folder / manifest["run"] / "index.html"))
    failed = any(step["status"] == runner.FAILED for step in manifest["steps"])
    raise typer.Exit(0 if manifest["status"] == runner.SUCCEEDED else EXIT_FAILED if failed else EXIT_INCOMPLETE)


def _explain(manifest: dict[str, Any]) -> None:
    """Say in at most five lines which notebook and cell failed, why, and where the evidence is."""
    failed = next((step for step in manifest["steps"] if step["error"]), None)
    if failed is None:
        _fail(manifest["reason"])
        return
    error = failed["error"]
    where = f"cell [{error['cell']}]" if error["cell"] is not None else "after its last cell"
    cause = textwrap.shorten(f"{error['ename']}: {error['evalue']}", 400, placeholder=" …")
    left = [step["name"] for step in manifest["steps"] if step["status"] == "not run"]
    _fail(f"notebook {failed['name']}, {where}", f"cause: {cause}", f"not run: {', '.join(left) or 'none'}")


def _fail(*lines: str) -> None:
    print("error: " + "\n       ".join(lines), file=sys.stderr)


def _shown(path: Path) -> str:
    """A path as a user would type it: relative where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A folder of reports/, or its name.")],
) -> None:
    """Make the pages of a run anew from its notebooks and manifest."""
    from stockkit.lake.tables import workbook_root
    from stockkit.workbook import runner

    folder = run_folder if run_folder.is_dir() else workbook_root() / "reports" / run_folder.name
    runner.render_again(folder)
    print(_shown((folder / "index.html").resolve()))


@app.command()
def doctor() -> None:
    """Tell what is installed, which keys are present (never their values) and how much disk is left."""
    from rich.console import Console
    from rich.table import Table

    from stockkit.lake.tables import workbook_root
    from stockkit.workbook.doctor import findings

    rows = findings(workbook_root())
    table = Table(box=None, show_header=False)
    for what, found, bad in rows:
        table.add_row(what, f"[bold red]{found}[/]" if bad else found)
    Console().print(table, highlight=False)
    raise typer.Exit(1 if any(bad for _, _, bad in rows) else 0)


@app.command()
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
) -> None:
    """Prove that features see nothing of the future; exit code 1 where one does, or cannot be proved not to."""
    from stockkit.workbook import auditing

    found = auditing.audit(names or [], function or [], bars, cuts=cuts)
    auditing.show(found)
    if not found.ok:
        _fail(*auditing.faults(found))
        raise typer.Exit(EXIT_FAILED)


@lake_app.command()
def tables(lake: LakeOption = "data/lake") -> None:
    """List the tables with version, rows and what a row is."""
    from stockkit.lake.tables import TABLES, open_lake

    opened = open_lake(lake)
    names = opened.tables()
    if not names:
        raise StockkitError(f"{opened.path} has no tables yet: `stockkit run params/sample.yaml` makes them.")
    for name in names:
        grain = TABLES[name].grain if name in TABLES else ""
        print(f"{name:<12} version {opened.version(name):<4} {opened.count(name):>9,} rows   {grain}")


@lake_app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT in Athena's dialect, or @FILE.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="NAME=VALUE", help="A value for :NAME, bound as text; given again it makes a list."),
    ] = None,
    lake: LakeOption = "data/lake",
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, all rows.")] = False,
) -> None:
    """Answer one SELECT over the tables."""
    from stockkit.lake.tables import open_lake

    given: dict[str, list[str]] = {}
    for name, _, value in (pair.partition("=") for pair in parameter or []):
        given.setdefault(name, []).append(value)
    text = _text_of(Path(statement[1:])) if statement.startswith("@") else statement
    answer = open_lake(lake).sql(text, **{name: one if len(one) > 1 else one[0] for name, one in given.items()})
    print(answer.to_csv(index=False), end="") if csv else print(answer.to_string(index=False, max_rows=40))
    if bill := answer.attrs.get("athena"):
        print(bill["text"], file=sys.stderr)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StockkitError(f"the question {path} cannot be read: {error}.") from error


@lake_app.command()
def rebuild(
    as_of: Annotated[str, typer.Option("--as-of", metavar="DAY", help="YYYY-MM-DD, or latest.")] = "latest",
    source: Annotated[str | None, typer.Option(help="Whose answers, where the raw zone holds several.")] = None,
    into: Annotated[str, typer.Option(help="The table to write.")] = "prices",
    calendar: Annotated[str, typer.Option(help="The exchange, as an ISO market code.")] = "XNYS",
    lake: LakeOption = "data/lake",
) -> None:
    """Make the prices anew from the raw zone, as they were knowable at the end of a day; latest undoes it."""
    from stockkit.lake import ingest
    from stockkit.lake.tables import open_lake
    from stockkit.workbook import params

    opened = open_lake(lake)
    made = ingest.rebuild(opened, params.check("as_of", as_of), source=source, into=into, calendar=calendar)
    when = "as known now" if as_of == "latest" else f"as knowable at the end of {as_of}"
    print(f"{into} version {opened.version(into)}: {len(made.prices):,} rows {when}")


@lake_app.command()
def features(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAMES]...", help="Features or groups.")] = None,
    symbols: Annotated[list[str] | None, typer.Option("-s", help="Whom; all of prices by default.")] = None,
    dtype: Annotated[str, typer.Option(help="float64, or float32 for half the space.")] = "float64",
    calendar: Annotated[str, typer.Option(help="The exchange, as an ISO market code.")] = "XNYS",
    whole: Annotated[bool, typer.Option("--whole", help="Compute everything, whatever is stored.")] = False,
    lake: LakeOption = "data/lake",
) -> None:
    """Bring the features up to date with the prices; the group basic by default."""
    from stockkit.lake import feature_table
    from stockkit.lake.tables import open_lake
    from stockkit.market import features as catalogue
    from stockkit.workbook import progress

    chosen = catalogue.named(names or ["basic"])
    how: dict[str, Any] = {"symbols": symbols, "dtype": dtype, "calendar": calendar, "whole": whole}
    with progress.bar("features") as bar:
        print(feature_table.update(open_lake(lake), chosen, **how, on_done=bar))


@lake_app.command()
def crawl(lake: LakeOption = "data/lake") -> None:
    """Catalogue the raw zone, one partition a source and symbol; print what changed since the last time."""
    from stockkit.lake.tables import open_lake

    print(open_lake(lake).crawl(show=lambda line: print(line, file=sys.stderr)))


@lake_app.command()
def history(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    lake: LakeOption = "data/lake",
) -> None:
    """Tell every commit of TABLE, newest first, with the run that made it."""
    from stockkit.lake.tables import open_lake

    told = open_lake(lake).history(table)
    print(told.assign(timestamp=told["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S UTC")).to_string(index=False))


@lake_app.command()
def vacuum(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    keep: Annotated[float, typer.Option(metavar="HOURS", help="How far back versions stay readable.")] = 168.0,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the files; without it they are only named.")] = False,
    lake: LakeOption = "data/lake",
) -> None:
    """Delete the files of TABLE that no version of the last HOURS uses."""
    from stockkit.lake.tables import open_lake

    names = open_lake(lake).vacuum(table, keep=keep, dry_run=not delete)
    print(*names, f"{len(names)} files {'deleted' if delete else 'would be deleted; add --delete to do it'}", sep="\n")


@lake_app.command()
def optimize(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    lake: LakeOption = "data/lake",
) -> None:
    """Put the many small files of TABLE into one a symbol; no row changes."""
    from stockkit.lake.tables import open_lake

    done = open_lake(lake).optimize(table)
    print(f"{table}: {done['files_removed']} files became {done['files_added']}")


@lake_app.command()
def verify(lake: LakeOption = "data/lake") -> None:
    """Check every file and row of every table; exit code 1 where something is wrong."""
    from stockkit.lake.tables import open_lake

    opened = open_lake(lake)
    problems = opened.verify()
    if len(problems):
        print(problems.to_string(index=False))
        _fail(f"{len(problems)} problems in {opened.path}")
        raise typer.Exit(EXIT_FAILED)
    print(f"{len(opened.tables())} tables are whole: {', '.join(opened.tables()) or 'none there'}")


if __name__ == "__main__":
    main()
