"""The rooms import only from rooms above them, and heavy or impure things only where they belong."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = [
    *("errors", "imports", "provenance", "aws", "aws_errors", "local_files", "files", "forked", "market", "features"),
    *("causality", "forecast", "plots", "athena", "lake", "intake", "records", "stream", "workbook", "cloud", "cli"),
]
SUBROOMS = {"forecast": ["models", "judge", "walk", "trading"]}  # in their order, where they have one
PACKAGE = ROOT / "stockkit"
ONLY = {
    "matplotlib": {"plots"}, "seaborn": {"plots"}, "papermill": {"workbook"}, "nbconvert": {"workbook"},
    "boto3": {"aws"}, "deltalake": {"lake"}, "duckdb": {"lake"}, "typer": {"cli"},
}  # fmt: skip
IMPURE = {"os", "sys", "subprocess", "socket", "pathlib", "tempfile", "shutil", "httpx", "requests", "urllib", "time",
          "random", "glob"}  # fmt: skip
# what has to do with processes and files in a room that is pure otherwise, and why
EXCEPTIONS = {
    "causality/isolation.py": ("os:", "sys:", "open("),  # a user's function in its own process
    "athena/parser/depth.py": ("sys:",),  # how deep Python may recurse
}
PURE_ROOMS = {"errors", "market", "features", "causality", "forecast", "plots", "athena"}
CLOCKS = (
    "datetime.now",
    "Timestamp.now",
    "Timestamp.today",
    "date.today",
    "Timestamp.utcnow",
    "default_rng()",
    "open(",
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(source: str) -> set[str]:
    """Every module that a source names, in full; for `from a import b` both a and a.b."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def faults(place: str, source: str) -> list[str]:
    problems = []
    for name in imports(source):
        parts = name.split(".")
        if (
            parts[0] == "stockkit"
            and len(parts) > 1
            and parts[1] in ROOMS
            and ROOMS.index(parts[1]) > ROOMS.index(place)
        ):
            problems.append(f"{place} imports {name} from a room below it")
        if parts[0] in ONLY and place not in ONLY[parts[0]]:
            problems.append(f"{place} imports {parts[0]}")
        if place in PURE_ROOMS and parts[0] in IMPURE:
            problems.append(f"{place} imports {parts[0]}: it may do no I/O")
    if place in PURE_ROOMS:
        code = ast.unparse(ast.parse(source))
        problems += [f"{place} calls {clock}" for clock in CLOCKS if clock in code]
    return problems


@pytest.mark.parametrize("path", [p for p in modules() if p.parent != PACKAGE or p.stem != "__init__"], ids=str)
def test_a_module_keeps_to_its_room(path):
    allowed = EXCEPTIONS.get(path.relative_to(PACKAGE).as_posix(), ())
    kept = [fault for fault in faults(room(path), path.read_text()) if not any(part in fault for part in allowed)]
    assert kept == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("market", "from stockkit.lake import tables"),
        ("market", "from stockkit import lake"),
        ("forecast", "import stockkit.plots"),
        ("lake", "def f():\n    from stockkit.workbook.chain import runner"),
        ("lake", "import boto3"),
        ("workbook", "import matplotlib.pyplot as plt"),
        ("market", "import os"),
        ("forecast", "import pandas as pd\nx = pd.Timestamp.now()"),
        ("market", "def f(p):\n    return open(p)"),
    ],
)
def test_a_planted_fault_is_found(place, source):
    assert faults(place, source)


def below(place: str, subroom: str, source: str) -> list[str]:
    """The modules of later subrooms of a room that a source imports, also inside of a function."""
    later = SUBROOMS[place][SUBROOMS[place].index(subroom) + 1 :]
    return [name for name in imports(source) if name.startswith(tuple(f"stockkit.{place}.{part}" for part in later))]


@pytest.mark.parametrize("path", [p for p in modules() if p.parent.name in SUBROOMS.get(room(p), [])], ids=str)
def test_a_module_imports_only_from_subrooms_above_it(path):
    assert below(room(path), path.parent.name, path.read_text()) == []


def test_an_import_from_a_subroom_below_is_found():
    assert below("forecast", "judge", "def f():\n    from stockkit.forecast.walk import folds")
    assert not below("forecast", "trading", "from stockkit.forecast.walk import folds")


def cycle(sources: dict[str, str]) -> list[str]:
    """A cycle among modules, by what they import at any level, also inside of a function; nothing where none is."""
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        named = set[str]()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:  # what is no module is of the package
                parts = [f"{node.module}.{alias.name}" for alias in node.names]
                named |= {part if part in sources else node.module for part in parts}
        graph[module] = (named & set(sources)) - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_the_modules_have_an_order_in_which_each_imports_only_from_those_before_it():
    named = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in modules()}
    assert cycle({name: path.read_text() for name, path in named.items()}) == []


def test_a_cycle_inside_of_functions_is_found():
    lazily = {"a.b": "def f():\n    from a import c", "a.c": "from a.b import f", "a": ""}
    assert set(cycle(lazily)) == {"a.b", "a.c"}


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_is_short_enough_to_read(path):
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("folder", sorted({path.parent for path in modules()} - {PACKAGE}), ids=str)
def test_a_room_has_few_enough_files_to_know(folder):
    assert len(list(folder.glob("*.py"))) <= 12
