"""The card of a saved model as a page to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stockkit.errors import counted
from stockkit.forecast.models.protocol import RANDOM_WALK
from stockkit.records.registry.lookup import figures
from stockkit.records.registry.saved_model import SavedModel


def card(saved: SavedModel) -> str:
    """The card of a saved model as Markdown: what it is, its evidence, its calibration, its limits, and how to check.

    Figures are those of the card; nothing else of the model is read.
    """
    facts = saved.card
    ahead = counted(facts["horizon"], "session")
    widths = _widths(facts["calibration"])
    lines = [
        f"## {facts['model']}, {ahead} ahead",
        "",
        f"Forecasts the log return of {ahead} of {_count(facts['symbols'], 'symbol')}: a mean, its standard deviation "
        f"and intervals. Fitted on all sessions up to {facts['as_of']}.",
        *([f"Each symbol has the model that won there: {_members(facts['members'])}."] if "members" in facts else []),
        "",
        "| | |",
        "|---|---|",
        f"| Version | `{saved.key}` |",
        f"| Features | {_features(facts)} |",
        f"| Settings | {_settings(facts['settings'])} |",
        f"| Data, code | `{facts['data_version']}`, `{facts['code_version']}` |",
        f"| Libraries | {', '.join(f'{name} {number}' for name, number in facts['libraries'].items())} |",
        f"| Made at | {facts['made_at']} |",
        "",
        "### Evidence",
        "",
        "Out of sample, from the backtest, on the last sessions before it was fitted; ratios are to the random walk, "
        "under 1 is better.",
        "",
        "| model | forecasts | RMSE | interval score | 90 % intervals covered |",
        "|---|---:|---:|---:|---:|",
        *(_line(line, facts["model"]) for line in facts["scores"]),
        "",
        _verdict(figures(saved)["rmse_ratio"], str(facts["model"])),
        "",
        "### Calibration",
        "",
        f"Half a 90 % interval measures {widths} forecast standard deviations.",
        "",
        "### Limits",
        "",
        f"It knows nothing after {facts['as_of']}, nor of symbols or features that it was not fitted on. Intervals are "
        "as wide as past errors ask for; what has not happened before is not in them. It is not advice to trade.",
        "",
        "### How to check",
        "",
        f"`stockkit models show {saved.key}` reads every file and compares it with the SHA-256 in `model.json`; "
        f"`{saved.version[-12:]}`, the end of the version, starts the SHA-256 of that card but for when it was made.",
    ]
    return "\n".join(lines) + "\n"


def _line(line: dict[str, Any], model: str) -> str:
    numbers = [line.get(name) for name in ("rmse_ratio", "walk_interval_ratio")]
    ratios = " | ".join("–" if ratio is None else f"{ratio:.3f}" for ratio in numbers)
    covered = "–" if line.get("coverage90") is None else f"{line['coverage90']:.1%}"
    name = f"**{line['model']}**" if line["model"] == model else str(line["model"])
    return f"| {name} | {int(line['n']):,} | {ratios} | {covered} |"


def _verdict(ratio: float, model: str) -> str:
    if model == RANDOM_WALK:
        return "It is the random walk: what it offers is the width of its intervals, not a direction."
    if np.isnan(ratio) or ratio >= 1:
        return "On these sessions its mean was no better than the random walk's."
    return (
        f"Its RMSE was {1 - ratio:.1%} below the random walk's on these sessions. That alone is no proof: "
        "the test corrected for all models tried is in the scores."
    )


def _members(members: Mapping[str, str]) -> str:
    groups: dict[str, list[str]] = {}
    for symbol, model in members.items():
        groups.setdefault(model, []).append(symbol)
    return "; ".join(f"{model} for {_count(symbols, 'symbol')}" for model, symbols in sorted(groups.items()))


def _widths(calibration: dict[str, Any]) -> str:
    known = [widths[1] for _, widths in calibration.values() if isinstance(widths[1], float | int)]
    if not known:
        return "an unknown number of"
    low, high = min(known), max(known)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}, by symbol,"


def _count(names: list[str], what: str) -> str:
    few = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'} ({few})"


def _features(facts: Mapping[str, Any]) -> str:
    """How many features it was given, and which its forecasts depend on; the first cards lack these."""
    if not facts["features"]:
        return "none: the closes alone"
    given = _count(facts["features"], "feature")
    used = facts.get("used")
    if used is None:
        return given
    return f"{given}, of which the forecasts depend on {_count(used, 'feature') if used else 'none'}"


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items()) or "none"
