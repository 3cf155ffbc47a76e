"""Imports of heavy libraries without parts of them that take long and that nothing here uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(module: str) -> Iterator[None]:
    """In this block `module` is as if it were not installed, unless it is imported already.

    For libraries that try to import it and go on where they cannot.
    """
    absent = module not in sys.modules
    if absent:
        sys.modules[module] = None  # type: ignore[assignment]  # what Python takes for "not to be found"
    try:
        yield
    finally:
        if absent:
            del sys.modules[module]
