"""`stockkit lake actions`: splits and dividends that a source lacks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from stockkit.cli.shared import LakeOption
from stockkit.errors import StockkitError

app = typer.Typer(no_args_is_help=True, help="Splits and dividends that a source lacks.")

SUGGEST_EXAMPLE = """Example: stockkit lake actions suggest --source folder --calendar XHKG --dates DMY
--allow fractional_volume --into my.csv"""

NEXT = """Look through {file}: the evidence stands above each line. Then put its lines into the folder's actions.csv,
or for any source run `stockkit lake actions add {file}`, and run the chain again."""


@app.command(epilog=SUGGEST_EXAMPLE)
def suggest(
    source: Annotated[str | None, typer.Option(help="Whose answers, where the raw zone holds several.")] = None,
    calendar: Annotated[str, typer.Option(help="The exchange, as an ISO market code.")] = "XNYS",
    dates: Annotated[str, typer.Option(help="DMY, MDY or YMD, where files do not tell.")] = "auto",
    allow: Annotated[list[str] | None, typer.Option(help="A rule that is not applied; as in a run.")] = None,
    into: Annotated[Path, typer.Option(help="The file to write.")] = Path("actions.suggested.csv"),
    lake: LakeOption = "data/lake",
) -> None:
    """List the jumps that no split explains, each with the ratio that would, and write them down to look through."""
    from stockkit.files import write_atomically
    from stockkit.intake import ingest
    from stockkit.lake.tables import open_lake
    from stockkit.market import jumps
    from stockkit.workbook import params

    how: dict[str, Any] = {"calendar": calendar, "dates": dates, "allow": allow or []}
    checked = {name: params.check(name, value) for name, value in how.items()}
    found = ingest.suggest(open_lake(lake), source=source, **checked)
    if not len(found):
        print("no jump is unexplained: nothing to suggest")
        return
    text = jumps.csv_lines(found)
    if into.exists() and _body(into) != text.encode():
        raise StockkitError(f"{into} is there already and says something else: move it away, or name another: --into.")
    write_atomically(into, text.encode(), way_out="Name another file: --into.")
    for row in found.to_dict("records"):
        what = f"split {jumps.spelt(row['ratio'])}" if row["kind"] == jumps.SPLIT else row["kind"]
        print(f"{row['symbol']:<8} {row['ex_date']:%Y-%m-%d}  {what:<17} {row['evidence']}")
    print(NEXT.format(file=into))


@app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV of symbol, ex_date, kind, value.")],
    lake: LakeOption = "data/lake",
) -> None:
    """Add the splits and dividends of FILE for every source; they are kept with the raw answers."""
    import pandas as pd

    from stockkit.intake import ingest
    from stockkit.lake.tables import open_lake

    now = pd.Timestamp(datetime.now(UTC)).floor("s")
    kept = ingest.add_actions(open_lake(lake), _body(file), file=str(file), now=now)
    print(f"{len(kept)} actions are added to what sources say; run the chain again, or `stockkit lake rebuild`")


def _body(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StockkitError(f"{path} cannot be read: {error.strerror}.") from error
