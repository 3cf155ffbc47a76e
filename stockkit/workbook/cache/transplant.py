"""Kept outputs under new words: the markdown of a notebook as it is now, the results of an earlier execution.

Example:
    >>> old = {"cells": [{"cell_type": "code", "source": "1", "outputs": ["one"], "metadata": {}}], "metadata": {}}
    >>> new = {"cells": [{"cell_type": "markdown", "source": "# Why?", "metadata": {}},
    ...                  {"cell_type": "code", "source": "1", "outputs": [], "metadata": {}}], "metadata": {}}
    >>> [cell.get("outputs") for cell in transplanted(new, old)["cells"]]
    [None, ['one']]
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stockkit.workbook.cache.keys import INJECTED, code, source, tags

RESULT = ("outputs", "execution_count")


def transplanted(document: Mapping[str, Any], executed: Mapping[str, Any]) -> dict[str, Any]:
    """A notebook as it would be after an execution, from what an earlier one put out.

    Args:
        document: the notebook as it is now; its code cells are those of `executed`, in the same order. executed: as
            the earlier execution left it, with the cell of values that papermill adds. Both stay as they are.

    Raises:
        ValueError: the code cells are others.
    """
    if code(document) != code(executed):
        raise ValueError("the code cells are not those that were executed")
    results = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    cells = list(_cells(document["cells"], deque(results)))
    return {**copy.deepcopy(dict(executed)), "cells": [{**cell, "id": f"cell-{k}"} for k, cell in enumerate(cells)]}


def _cells(cells: Iterable[Mapping[str, Any]], results: deque[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The cells of now with their results, and behind the parameters the cell of values."""
    for cell in cells:
        fresh = copy.deepcopy({**cell, "source": source(cell).splitlines(keepends=True)})
        for volatile in ("papermill", "execution"):
            fresh["metadata"].pop(volatile, None)
        fresh["metadata"].setdefault("tags", [])  # as papermill leaves them
        if cell["cell_type"] == "code":
            yield from _values(results)  # before all others where no cell is tagged `parameters`
            result = results.popleft()
            yield fresh | {part: copy.deepcopy(result[part]) for part in RESULT if part in result}
            yield from _values(results)
        else:
            yield fresh


def _values(results: deque[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    if results and INJECTED in tags(results[0]):
        yield copy.deepcopy(dict(results.popleft()))
