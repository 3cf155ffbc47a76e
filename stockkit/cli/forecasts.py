"""`stockkit forecasts`: the forecasts that were sealed, and the proof that nobody changed them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import stockkit
from stockkit.cli.shared import EXIT_FAILED, LakeOption, fail

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look at the sealed forecasts, and prove them unchanged."
)


@app.command("list", epilog="Example: stockkit forecasts list --symbol AAPL --model random_walk --csv")
def list_(
    symbol: Annotated[str | None, typer.Option(help="Of this symbol alone.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    lake: LakeOption = "data/lake",
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, all columns.")] = False,
) -> None:
    """Show the newest forecast of each symbol, model and horizon, in percent."""
    from stockkit.lake import frames
    from stockkit.market import schema
    from stockkit.records import ledger

    wanted = {"symbol": symbol and schema.check_symbol(symbol), "model": model}
    rows = ledger.newest(ledger.sealed(stockkit.open_lake(lake)))
    for name, value in wanted.items():
        rows = rows[rows[name] == value] if value else rows
    if rows.empty:
        asked = ", ".join(f"{name} {value!r}" for name, value in wanted.items() if value)
        fail(f"no forecast of {asked} is sealed." if asked else "no forecast is sealed yet.")
        raise typer.Exit(EXIT_FAILED)
    if csv:
        print(frames.to_csv(rows), end="")
        return
    shown = rows[["number", "symbol", "model", "horizon", "as_of", "target_session"]].copy()
    for name in ("mean", "sigma", "lo90", "hi90"):
        shown[f"{name} %"] = rows[name].map(lambda value: f"{value * 100:.2f}", na_action="ignore")
    print(shown.to_string(index=False, na_rep="-"))


@app.command()
def verify(
    head: Annotated[str | None, typer.Option(metavar="HASH", help="A head that you kept: it must be there.")] = None,
    lake: LakeOption = "data/lake",
) -> None:
    """Prove that no sealed forecast was edited, removed or added; exit code 1 where one was."""
    from stockkit.records import ledger

    opened = stockkit.open_lake(lake)
    problems = ledger.verify(opened, head)
    if len(problems):
        print(problems.to_string(index=False, na_rep="-"))
        fail(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the forecasts of {opened.files}")
        raise typer.Exit(EXIT_FAILED)
    print(f"{opened.count(ledger.TABLE):,} forecasts are sealed, head {ledger.head(opened)}")


@app.command(epilog="Example: stockkit forecasts export AAPL --all")
def export(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOLS]...", help="Whose; all by default.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every sealed forecast, not only the newest.")] = False,
    lake: LakeOption = "data/lake",
) -> None:
    """Write predictions/SYMBOL.csv below the lake: the newest forecast of each model and horizon."""
    from stockkit.records import ledger

    opened = stockkit.open_lake(lake)
    written = ledger.export(opened, symbols or None, every=every)
    for file in written.values():
        print(opened.files.uri(file))
    if missing := [symbol for symbol in symbols or [] if symbol not in written]:
        fail(f"no forecast is sealed of {', '.join(missing)}; the others were written.")
        raise typer.Exit(EXIT_FAILED)
    print(f"{len(written)} files written", file=sys.stderr)
