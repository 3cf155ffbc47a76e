"""`stockkit models`: the saved models, and which of them is champion."""

from __future__ import annotations

from typing import Annotated

import typer

import stockkit
from stockkit.cli.shared import EXIT_FAILED, LakeOption, fail

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List and show saved models; change who is champion, through the gate.",
)

VersionArgument = Annotated[str, typer.Argument(metavar="MODEL-hN/VERSION", help="As `stockkit models list` shows it.")]


@app.command("list")
def list_all(lake: LakeOption = "data/lake") -> None:
    """List every saved model with its evidence, the champion marked; exit code 1 where one is broken."""
    from stockkit.records import registry

    opened = stockkit.open_lake(lake)
    models = registry.list_models(opened)
    if models.empty:
        print(f"{opened.files} has no saved models yet.")
        return
    shown = models.drop(columns=["problem", "model"]).fillna({"as_of": "", "made_at": "", "champion": ""})
    shown["made_at"] = shown["made_at"].str.slice(0, 16)
    print(shown.reset_index().to_string(index=False, na_rep="", float_format=lambda value: f"{value:.3f}"))
    broken = models[models["problem"] != ""]
    if len(broken):
        fail(*(f"{version}: {problem}" for version, problem in broken["problem"].items()))
        raise typer.Exit(EXIT_FAILED)


@app.command(epilog="Example: stockkit models show h1")
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="h1 (the champion), lasso-h1 (the newest) or lasso-h1/VERSION.")
    ],
    lake: LakeOption = "data/lake",
) -> None:
    """Show the card of one model, its files checked, and the history of its horizon's champions."""
    from stockkit.records import registry

    opened = stockkit.open_lake(lake)
    model, _, version = name.partition("/")
    saved = registry.find(opened, model, version or ("newest" if "-" in model else "champion"))
    saved.trained()
    saved.evidence()
    print(registry.card(saved))
    print(f"### Champions of horizon {saved.card['horizon']}\n")
    for entry in registry.history(opened, saved.card["horizon"]):
        print(f"{entry.number}. {entry.at[:16]} {entry.action}: {entry.version or 'no champion'} (run {entry.run})")
        print(*(f"   - {reason}" for reason in entry.reasons), sep="\n")


@app.command()
def promote(version: VersionArgument, lake: LakeOption = "data/lake") -> None:
    """Make a saved model champion of its horizon if it passes the gate; else exit code 1 and nothing changed."""
    import pandas as pd

    from stockkit.records import registry

    decision = registry.promote(stockkit.open_lake(lake), version, at=pd.Timestamp.now("UTC"))
    if decision.entry is None:
        fail(f"{version} did not pass the gate; nothing was changed.", *decision.judgement.reasons)
        raise typer.Exit(EXIT_FAILED)
    print(f"{version} is champion of horizon {decision.entry.horizon} (entry {decision.entry.number}).")
    print(*decision.judgement.reasons, sep="\n")


@app.command()
def rollback(
    horizon: Annotated[int, typer.Argument(metavar="HORIZON", help="Whose champion, in sessions.")],
    lake: LakeOption = "data/lake",
) -> None:
    """Go back to the champion before; nothing is deleted."""
    import pandas as pd

    from stockkit.records import registry

    entry = registry.rollback(stockkit.open_lake(lake), horizon, at=pd.Timestamp.now("UTC"))
    print(
        f"{entry.version or 'no model'} is champion of horizon {horizon} (entry {entry.number}).",
        *entry.reasons,
        sep="\n",
    )
