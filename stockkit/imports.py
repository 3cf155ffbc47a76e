"""Imports of heavy libraries: only when they are used, or without parts that take long and that nothing here uses.

``from stockkit.imports import pandas as pd`` is for modules that a command loads before it knows whether it needs a
table at all: the library itself, which takes a second, is imported when something of it is first asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any


class Deferred(ModuleType):
    """Stands for a module, and imports it when an attribute is first asked for; it is the same from any thread."""

    def __getattr__(self, name: str) -> Any:
        """What the module has by this name, kept here so that it is looked up once."""
        value = getattr(importlib.import_module(self.__name__), name)
        if not isinstance(value, ModuleType):
            vars(self)[name] = value
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)


if TYPE_CHECKING:
    import numpy as numpy
    import pandas as pandas
else:
    numpy, pandas = Deferred("numpy"), Deferred("pandas")


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
