"""`stockkit lake`: look into the lake's tables; splits and dividends that a source lacks."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import stockkit
from stockkit.cli.shared import (
    EXIT_FAILED,
    EXIT_INCOMPLETE,
    AllowOption,
    AnswersOption,
    CalendarOption,
    DatesOption,
    LakeOption,
    checked,
    fail,
)
from stockkit.errors import StockkitError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into the lake's tables.")
actions = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Splits and dividends that a source lacks.")
app.add_typer(actions, name="actions")

SQL_EXAMPLE = """Example: stockkit lake sql "SELECT count(*) AS n FROM prices WHERE symbol = :s" -p s=META --csv
--time-limit 60 --memory-limit 2 --row-limit 1000"""
REBUILD_EXAMPLE = """Example: stockkit lake rebuild --as-of 2023-06-30 --into prices_then --source folder
--calendar XHKG --dates DMY --allow fractional_volume"""
SUGGEST_EXAMPLE = """Example: stockkit lake actions suggest --source folder --calendar XHKG --dates DMY
--allow fractional_volume --into my.csv"""

NEXT = """Look through {file}: the evidence stands above each line. Then put its lines into the folder's actions.csv,
or for any source run `stockkit lake actions add {file}`, and run the chain again."""


@app.command()
def tables(lake: LakeOption = "data/lake") -> None:
    """List the tables with version, rows and what a row is."""
    from stockkit.lake.contracts import TABLES

    opened = stockkit.open_lake(lake)
    names = opened.tables()
    if not names:
        raise StockkitError(f"{opened.files} has no tables yet: `stockkit run params/sample.yaml` makes them.")
    for name in names:
        grain = TABLES[name].grain if name in TABLES else ""
        print(f"{name:<12} version {opened.version(name):<4} {opened.count(name):>9,} rows   {grain}")


@app.command(epilog=SQL_EXAMPLE)
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT in Athena's dialect, or @FILE.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="NAME=VALUE", help="A value for :NAME, bound as text; given again it makes a list."),
    ] = None,
    lake: LakeOption = "data/lake",
    csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="Print CSV, all rows; text that a spreadsheet would take for a formula gets a ' before it."
        ),
    ] = False,
    time_limit: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.")] = 300.0,
    memory_limit: Annotated[
        float | None, typer.Option(metavar="GB", help="Memory that it may take; 4, or half of the machine's.")
    ] = None,
    row_limit: Annotated[int, typer.Option(metavar="ROWS", help="Rows that the answer may have.")] = 10_000_000,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="DAY", help="What current_date and now() stand for; now.")
    ] = None,
) -> None:
    """Answer one SELECT over the tables, or SHOW TABLES, SHOW COLUMNS FROM t, DESCRIBE t."""
    from stockkit.lake import frames

    given: dict[str, list[str]] = {}
    for name, _, value in (pair.partition("=") for pair in parameter or []):
        given.setdefault(name, []).append(value)
    text = _text_of(Path(statement[1:])) if statement.startswith("@") else statement
    limits: dict[str, Any] = {
        "time_limit": time_limit,
        "memory_limit": memory_limit,
        "row_limit": row_limit,
        "as_of": as_of,
    }
    if taken := sorted(set(given) & set(limits)):
        raise StockkitError(f"-p {taken[0]}: this name is an option of its own, --{taken[0].replace('_', '-')}.")
    values: dict[str, Any] = {name: texts if len(texts) > 1 else texts[0] for name, texts in given.items()}
    answer = stockkit.open_lake(lake).sql(text, **limits, **values)
    print(frames.to_csv(answer), end="") if csv else print(answer.to_string(index=False, max_rows=40))
    if moment := answer.attrs.get("as_of"):
        print(f"the statement's clock stood at {moment}", file=sys.stderr)
    if bill := answer.attrs.get("athena"):
        print(bill["text"], file=sys.stderr)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StockkitError(f"the question {path} cannot be read: {error}.") from error


@app.command(epilog=REBUILD_EXAMPLE)
def rebuild(
    as_of: Annotated[str, typer.Option("--as-of", metavar="DAY", help="YYYY-MM-DD, or latest.")] = "latest",
    source: AnswersOption = None,
    into: Annotated[str, typer.Option(help="The table to write.")] = "prices",
    calendar: CalendarOption = "XNYS",
    dates: DatesOption = "auto",
    allow: AllowOption = None,
    lake: LakeOption = "data/lake",
) -> None:
    """Make the prices anew from the raw zone, as they were knowable at the end of a day; latest undoes it."""
    opened = stockkit.open_lake(lake)
    how = checked(as_of=as_of, calendar=calendar, dates=dates, allow=allow or [])
    made = stockkit.ingest.rebuild(opened, source=source, into=into, **how)
    when = "as known now" if as_of == "latest" else f"as knowable at the end of {as_of}"
    print(f"{into} version {opened.version(into)}: {len(made.prices):,} rows {when}")
    if made.missing:
        fail("Incomplete: " + "; ".join(made.missing.values()))
        raise typer.Exit(EXIT_INCOMPLETE)


@app.command("features", epilog="Example: stockkit lake features basic -s 0005.HK --calendar XHKG --whole")
def update_features(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAMES]...", help="Features or groups.")] = None,
    symbols: Annotated[list[str] | None, typer.Option("-s", help="Whom; all of prices by default.")] = None,
    dtype: Annotated[str, typer.Option(help="float64, or float32 for half the space.")] = "float64",
    calendar: CalendarOption = "XNYS",
    recompute: Annotated[bool, typer.Option("--whole", help="Compute everything, whatever is stored.")] = False,
    lake: LakeOption = "data/lake",
) -> None:
    """Bring the features up to date with the prices; the group basic by default."""
    from stockkit.workbook import progress

    chosen = stockkit.features.named(names or ["basic"])
    how: dict[str, Any] = {"symbols": symbols, "dtype": dtype, "recompute": recompute, **checked(calendar=calendar)}
    with progress.bar("features") as bar:
        print(stockkit.feature_table.update(stockkit.open_lake(lake), chosen, **how, on_done=bar))


@app.command()
def crawl(lake: LakeOption = "data/lake") -> None:
    """Catalogue the raw zone, one partition a source and symbol; print what changed since the last time."""
    print(stockkit.open_lake(lake).crawl(show=lambda line: print(line, file=sys.stderr)))


@app.command(epilog="Example: stockkit lake history prices")
def history(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    lake: LakeOption = "data/lake",
) -> None:
    """Tell every commit of TABLE, newest first, with the run that made it."""
    commits = stockkit.open_lake(lake).history(table)
    print(commits.assign(timestamp=commits["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S UTC")).to_string(index=False))


@app.command(epilog="Example: stockkit lake vacuum features --keep 24 --delete")
def vacuum(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    keep: Annotated[float, typer.Option(metavar="HOURS", help="How far back versions stay readable.")] = 168.0,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the files; without it they are only named.")] = False,
    lake: LakeOption = "data/lake",
) -> None:
    """Delete the files of TABLE that no version of the last HOURS uses."""
    names = stockkit.open_lake(lake).vacuum(table, keep=keep, dry_run=not delete)
    print(*names, f"{len(names)} files {'deleted' if delete else 'would be deleted; add --delete to do it'}", sep="\n")


@app.command("clear-fits", epilog="Example: stockkit lake clear-fits")
def clear_fits(lake: LakeOption = "data/lake") -> None:
    """Delete the fits of models that runs keep; the next run makes them anew."""
    from stockkit.records import kept_fits

    number = kept_fits.clear(stockkit.open_lake(lake))
    print(f"{number} files of kept fits are deleted")


@app.command()
def optimize(
    table: Annotated[str, typer.Argument(metavar="TABLE")],
    lake: LakeOption = "data/lake",
) -> None:
    """Put the many small files of TABLE into one a symbol, or a date; no row changes."""
    done = stockkit.open_lake(lake).optimize(table)
    print(f"{table}: {done['files_removed']} files became {done['files_added']}")


@app.command()
def verify(lake: LakeOption = "data/lake") -> None:
    """Check every raw file, and every file and row of every table; exit code 1 where something is wrong."""
    opened = stockkit.open_lake(lake)
    problems = opened.verify()
    if len(problems):
        print(problems.to_string(index=False, max_colwidth=None))
        fail(f"{len(problems)} problems in {opened.files}")
        raise typer.Exit(EXIT_FAILED)
    print(f"{len(opened.tables())} tables are whole: {', '.join(opened.tables()) or 'none there'}")


@app.command("lease", epilog="Example: stockkit lake lease --lake s3://bucket/lake --break")
def show_lease(
    lake: LakeOption = "data/lake",
    break_: Annotated[
        bool, typer.Option("--break", help="Take it away from the run that has it, or had it when it died.")
    ] = False,
) -> None:
    """Tell which run has the lake to itself, since when, and whether it still lives."""
    from stockkit.workbook.chain import claims, lease

    opened = stockkit.open_lake(lake)
    if break_:
        me = claims.this_process("")
        try:
            print(lease.break_(opened, f"{me.user} on {me.host}"))
        except StockkitError as error:
            fail(str(error))
            raise typer.Exit(EXIT_FAILED) from error
        return
    holder, words = lease.state(opened)
    print(f"{holder} has it; {words}" if holder else words)


@actions.command(epilog=SUGGEST_EXAMPLE)
def suggest(
    source: AnswersOption = None,
    calendar: CalendarOption = "XNYS",
    dates: DatesOption = "auto",
    allow: AllowOption = None,
    into: Annotated[Path, typer.Option(help="The file to write.")] = Path("actions.suggested.csv"),
    lake: LakeOption = "data/lake",
) -> None:
    """List the jumps that no split explains, each with the ratio that would, and write them down to look through."""
    from stockkit.local_files import write_atomically
    from stockkit.market import jumps

    how = checked(calendar=calendar, dates=dates, allow=allow or [])
    suggestions = stockkit.ingest.suggest(stockkit.open_lake(lake), source=source, **how)
    if not len(suggestions):
        print("no jump is unexplained: nothing to suggest")
        return
    text = jumps.csv_lines(suggestions)
    if into.exists() and _body(into) != text.encode():
        raise StockkitError(f"{into} is there already and says something else: move it away, or name another: --into.")
    write_atomically(into, text.encode(), way_out="Name another file: --into.")
    for row in suggestions.to_dict("records"):
        what = f"split {jumps.spelt(row['ratio'])}" if row["kind"] == jumps.SPLIT else row["kind"]
        print(f"{row['symbol']:<8} {row['ex_date']:%Y-%m-%d}  {what:<17} {row['evidence']}")
    print(NEXT.format(file=into))


@actions.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV of symbol, ex_date, kind, value.")],
    lake: LakeOption = "data/lake",
) -> None:
    """Add the splits and dividends of FILE for every source; they are kept with the raw answers."""
    import pandas as pd

    now = pd.Timestamp(datetime.now(UTC)).floor("s")
    kept = stockkit.ingest.add_actions(stockkit.open_lake(lake), _body(file), file=str(file), now=now)
    print(f"{len(kept)} actions are added to what sources say; run the chain again, or `stockkit lake rebuild`")


def _body(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StockkitError(f"{path} cannot be read: {error.strerror}.") from error
