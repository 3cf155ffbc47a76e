"""What a notebook passes on to the runner: headline figures, and the tables it read and wrote.

Both travel as outputs of the notebook itself (one mime type), so an executed notebook is its own evidence.
In JupyterLab they show as an ordinary table, or not at all.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stockkit.errors import RunError
from stockkit.imports import pandas as pd
from stockkit.lake.contracts import TABLES
from stockkit.lake.tables import Lake
from stockkit.provenance import PROGRESS_VARIABLE, RUN_VARIABLE
from stockkit.workbook.execution.outputs import HANDOVER, PROGRESS

LEAST = 0.25  # seconds between two of what a cell tells of itself
PARTS = {"reads": int, "writes": int, "empty": str, "headlines": object}


def headline(**figures: Any) -> None:
    """Pass figures (anything JSON can hold) on to the run's manifest and its front page; shows nothing.

    Example:
        >>> headline(as_of="2023-09-21", rows=2699)  # doctest: +SKIP
    """
    _display({"headlines": figures})


def hand_over(lake: Lake, symbols: Sequence[str] = (), *, empty: Mapping[str, str] | None = None) -> None:
    """End a notebook: show which tables it read and wrote, and let the runner compare them with its declaration.

    Args:
        lake: the one that the notebook opened.
        symbols: those that the notebook was asked for; which of them have no prices is said.
        empty: tables that rightly have no rows or no numbers, each with the reason; any other such table fails the run.

    Example:
        >>> hand_over(open_lake("data/lake"), ["AAPL"])  # doctest: +SKIP
    """
    partitions = lake.delta("prices").partitions() if symbols and lake.count("prices") else []
    priced = {partition["symbol"] for partition in partitions}
    absent = [symbol for symbol in symbols if symbol not in priced]
    if absent:
        why = "the lake has no prices of it: run 01_ingest with it"
        _display({}, pd.DataFrame({"symbol": absent, "absent": why}))
    rows = [
        (table, action, version, lake.count(table), TABLES[table].grain if table in TABLES else "")
        for action, touched in (("read", lake.reads), ("written", lake.writes))
        for table, version in sorted(touched.items())
    ]
    shown = pd.DataFrame(rows, columns=["table", "", "version", "rows", "a row is"])
    _display({"reads": dict(lake.reads), "writes": dict(lake.writes), "empty": dict(empty or {})}, shown)


def ensure(holds: Any, otherwise: str) -> None:
    """Stop the notebook with a sentence unless something holds; unlike `assert`, no setting of Python skips it.

    Raises:
        RunError: it does not hold.

    Example:
        >>> ensure(1 + 1 == 2, "the sum is wrong")
    """
    if not holds:
        raise RunError(otherwise)


def fault(payload: Any) -> str:
    """What is malformed in something handed over; "" where nothing is."""
    if not isinstance(payload, dict):
        return f"a {type(payload).__name__} in place of a mapping"
    for part, kind in PARTS.items():
        values = payload.get(part, {})
        if not isinstance(values, dict) or not all(type(value) is kind or kind is object for value in values.values()):
            return f"{part} must map names to {kind.__name__} values"
    figures = payload.get("headlines", {})
    missing, warnings = figures.get("missing_symbols", {}), figures.get("warnings", [])
    if not isinstance(missing, dict) or not all(isinstance(reason, str) for reason in missing.values()):
        return "missing_symbols must map symbols to reasons"
    if not isinstance(warnings, list) or not all(isinstance(warning, str) for warning in warnings):
        return "warnings must be a list of texts"
    try:
        json.dumps(payload, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return f"it is no plain JSON: {error}"
    return ""


def counting(what: str) -> Callable[[str, int, int], None]:
    """A callback that shows how many are done, in one line that is written over: ``4 of 6 symbols, AAPL last``.

    In a headless run the line goes to whoever watches the run, and the executed notebook stays free of it.

    Example:
        >>> on_done = counting("symbols")
        >>> on_done("AAPL", 1, 6)
    """
    from IPython.display import display

    line: list[Any] = []
    if PROGRESS_VARIABLE in os.environ:
        return _telling(what)
    if RUN_VARIABLE in os.environ:
        return lambda name, done, total: None

    def count(name: str, done: int, total: int) -> None:
        text = f"{done} of {total} {what}" + (f", {name} last" if done < total else "")
        if line:
            line[0].update({"text/plain": text}, raw=True)
        else:
            line.append(display({"text/plain": text}, raw=True, display_id=True))  # type: ignore[no-untyped-call]

    return count


def _telling(what: str) -> Callable[[str, int, int], None]:
    """A callback that tells the runner how many are done, a few times a second."""
    from IPython.core.getipython import get_ipython
    from IPython.display import display

    last = -LEAST

    def tell(name: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if get_ipython() is not None and (done == total or now - last >= LEAST):  # type: ignore[no-untyped-call]
            last = now
            text = f"{done} of {total} {what}" + (f", {name}" if done < total else "")
            display({PROGRESS: text}, raw=True)  # type: ignore[no-untyped-call]

    return tell


def payloads(notebook: Any) -> Iterator[dict[str, Any]]:
    """Everything that an executed notebook (its JSON, or an nbformat node) handed over, in order."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if HANDOVER in output.get("data", {}):
                yield output["data"][HANDOVER]


def _display(payload: dict[str, Any], shown: pd.DataFrame | None = None) -> None:
    from IPython.display import display

    data: dict[str, Any] = {HANDOVER: payload, "text/plain": "" if shown is None else shown.to_string(index=False)}
    if shown is not None:
        data["text/html"] = shown.to_html(index=False, border=0)
    display(data, raw=True)  # type: ignore[no-untyped-call]
