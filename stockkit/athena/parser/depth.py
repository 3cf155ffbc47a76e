"""How deeply a statement may be nested, and work on one that is nested deeper than Python recurses."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from stockkit.errors import QueryError

Result = TypeVar("Result")
DEEPEST = 300  # parentheses, brackets and CASE inside one another
NESTED = 8  # arrays and rows in one another
LONGEST = 4_000_000  # characters of the translation: nested functions that name an argument twice double it each time
FRAMES, STACK = 100_000, 2**28  # calls, and bytes of the stack that they run on
SPLIT = "give its inner parts names with WITH"
_one_at_a_time = threading.Lock()


def check_depth(tokens: list[Any]) -> None:
    """Refuse a statement that is nested deeper than is worked on.

    Raises:
        QueryError: says how deep it is.
    """
    open_: list[bool] = []
    deepest = nested = inside = 0
    for before, token in zip(["", *(earlier.token_type.name for earlier in tokens)], tokens, strict=False):
        kind = token.token_type.name
        if kind in ("L_PAREN", "L_BRACKET", "CASE"):
            open_.append(kind == "L_BRACKET" or before == "STRUCT")
            inside += open_[-1]
            deepest, nested = max(deepest, len(open_)), max(nested, inside)
        elif kind in ("R_PAREN", "R_BRACKET", "END") and open_:
            inside -= open_.pop()
    if deepest > DEEPEST:
        raise QueryError(f"the statement is nested {deepest} deep, at most {DEEPEST} are translated: {SPLIT}.")
    if nested > NESTED:  # the parser's work doubles at each
        raise QueryError(f"arrays and rows are nested {nested} deep, at most {NESTED} are translated: {SPLIT}.")


def check_length(sql: str) -> None:
    """Refuse a translation that outgrows what the engine can read.

    Raises:
        QueryError: it is longer than LONGEST.
    """
    if len(sql) > LONGEST:
        raise QueryError(f"the translation of this statement is longer than {LONGEST} characters: {SPLIT}.")


def deeply(work: Callable[[], Result]) -> Result:
    """The result of `work`, which may recurse deeper than the caller's stack allows.

    Raises:
        QueryError: it recurses deeper than a stack that is 100 times as large.
    """
    try:
        return work()
    except RecursionError:
        pass
    with _one_at_a_time:
        limit, size = sys.getrecursionlimit(), threading.stack_size(STACK)
        try:
            sys.setrecursionlimit(max(limit, FRAMES))
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(work).result()
        except RecursionError:
            raise QueryError(f"the statement is nested too deeply: {SPLIT}.") from None
        finally:
            sys.setrecursionlimit(limit)
            threading.stack_size(size)
