"""The code that a class comes from: its module, and all that this imports, wherever in its text, but for packages.

Packages are told by their versions (`surroundings`). Not seen: what is imported under a name that is put together while
it runs, and files that the code reads.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

OURS = "stockkit"
PACKAGE = Path(__file__).parents[2]


# what calls a model, fills its forecast in, and keeps it; the data that they pass on are in the key themselves
CALLERS = (
    *("forecast.walk.fold_fits", "forecast.walk.kept_fits", "forecast.walk.processes", "forecast.models.volatility"),
    *("records.registry.encoding", "records.kept_fits.coder"),
)


def fingerprint(cls: type) -> str | None:
    """A hash of the code of a class and of those that it inherits from, and of what calls it.

    None where some of that code is in no file, as of a class that a notebook or a function makes.
    """
    files = {name: PACKAGE / f"{name.replace('.', '/')}.py" for name in CALLERS}
    for ancestor in cls.__mro__:
        name = ancestor.__module__
        file = getattr(sys.modules.get(name), "__file__", None)
        if name == "__main__" or "<locals>" in ancestor.__qualname__:
            return None
        if name in sys.builtin_module_names or (file and _is_packaged(name, file)):
            continue
        if not file or not file.endswith(".py") or not os.path.isfile(file):
            return None
        _collect(name, Path(file), files)
    return hashlib.sha256(b"".join(_line(name, path) for name, path in sorted(files.items()))).hexdigest()


def _line(name: str, path: Path) -> bytes:
    return f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()


def _collect(name: str, path: Path, files: dict[str, Path]) -> None:
    """Add a module and all that it imports."""
    if name in files:
        return
    files[name] = path
    body = path.read_bytes()
    for wanted in _imports(body, name, path.name == "__init__.py"):
        module_file = _file_of(wanted)
        if module_file and not _is_packaged(wanted, module_file):
            _collect(wanted, Path(module_file), files)


@functools.lru_cache(maxsize=500)
def _imports(body: bytes, name: str, is_package: bool) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_named(ast.parse(body), name, is_package)))


def _named(tree: ast.AST, name: str, is_package: bool) -> Iterator[str]:
    """The modules that a source names; of `from a import b` a.b where that is one, else a."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            here = parts[: len(parts) - node.level + is_package] if node.level else []
            base = ".".join([*here, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                yield f"{base}.{alias.name}" if _file_of(f"{base}.{alias.name}") else base


def _file_of(name: str) -> str | None:
    """The source of a module, if it is loaded or can be found without loading anything but its package."""
    module = sys.modules.get(name)
    if module is not None:
        return getattr(module, "__file__", None)
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or (top != name and _is_packaged(top, _file_of(top) or "")):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    return spec.origin if spec and spec.has_location else None


def _is_packaged(name: str, file: str) -> bool:
    """Whether a module is of Python itself or of an installed package, which its version tells."""
    if name.partition(".")[0] == OURS:
        return False
    return os.path.realpath(file).startswith(_installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    places = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(os.path.join(os.path.realpath(place), "") for place in places)
