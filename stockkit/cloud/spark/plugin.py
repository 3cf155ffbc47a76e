"""A user's own module of features, carried as text: the driver and every worker execute the same lines."""

from __future__ import annotations

import hashlib
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from stockkit.errors import ParamError


@dataclass(frozen=True)
class Plugin:
    """A module's name and source; it calls `features.register`."""

    name: str
    source: str

    def load(self) -> ModuleType:
        """Execute the module, once a process and text; a worker that lives on gets an edited one anew.

        Raises:
            ParamError: it cannot be executed; names its line.
        """
        mark = hashlib.sha256(self.source.encode()).hexdigest()
        loaded = sys.modules.get(self.name)
        if loaded is not None and getattr(loaded, "__stockkit__", None) == mark:
            return loaded
        module = ModuleType(self.name)
        module.__dict__["__stockkit__"] = mark
        try:
            exec(compile(self.source, f"{self.name}.py", "exec"), module.__dict__)
        except Exception as error:
            raise ParamError(f"module {self.name}.py cannot be executed: {_where(error)}{error!r}") from error
        sys.modules[self.name] = module
        return module


def read(path: str | Path) -> Plugin:
    """A plugin from a file.

    Raises:
        ParamError: it is no readable Python file, or a package of the machine has its name.
    """
    file = Path(path)
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise ParamError(f"--module must name a Python file such as my_features.py, found {str(path)!r}.")
    loaded = sys.modules.get(file.stem)
    if file.stem in sys.stdlib_module_names or (loaded is not None and not hasattr(loaded, "__stockkit__")):
        raise ParamError(f"a module {file.stem!r} exists already: give {file.name} another name.")
    try:
        return Plugin(file.stem, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ParamError(f"module {file} cannot be read: {error}") from error


def _where(error: Exception) -> str:
    """The line of the module that raised, or that is no Python."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)]
    return f"line {lines[1]}: " if len(lines) > 1 else ""
