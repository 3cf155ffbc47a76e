"""The files around the package agree with each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.test_architecture import imports, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = {"matplotlib": "matplotlib-base", "duckdb": "python-duckdb", "torch": "pytorch", "arch": "arch-py",
         "confluent-kafka": "python-confluent-kafka"}  # fmt: skip
MODULES = {"pyyaml": "yaml", "scikit-learn": "sklearn", "ta-lib": "talib", "exchange-calendars": "exchange_calendars"}
USED_AS_TOOLS = {"jupyterlab"}


def requirement(text: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(.*)", text).groups()
    return name.lower(), version


def declared(*groups: str) -> dict[str, str]:
    extras = PROJECT["optional-dependencies"]
    texts = [text for group in groups for text in (PROJECT["dependencies"] if group == "core" else extras[group])]
    return dict(requirement(text) for text in texts)


def test_environment_yml_has_the_same_dependencies_as_pyproject():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (by_pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))  # what conda-forge does not have
    names = [text for text in listed if isinstance(text, str) and text != "pip"]
    conda = dict(re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", text).groups() for text in [*names, *by_pip])
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda.pop("openjdk") == "=17"
    ours = declared("core", *PROJECT["optional-dependencies"])
    assert conda == {CONDA.get(name, name): version for name, version in ours.items()}


def test_every_core_dependency_is_imported_or_a_tool():
    used = {name.split(".")[0] for path in modules() for name in imports(path.read_text())}
    unused = {name for name in declared("core") if MODULES.get(name, name) not in used}
    assert unused == USED_AS_TOOLS


def test_the_lock_pins_every_dependency_and_names_no_index():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {re.split(r"[=\[ ;]", line)[0].lower() for line in lines if "==" in line}
    assert set(declared("core", "dev")) <= pinned
    assert not [line for line in lines if "://" in line or line.startswith("-")]


def test_every_make_target_is_explained_by_make_help():
    makefile = (ROOT / "Makefile").read_text()
    explained = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "spark", "deep", "lab", "bench", "clean", "lint"):
        assert f"make {target} " in explained
        assert re.search(rf"^{target}:", makefile, re.M)


@pytest.mark.parametrize("target", ["run", "test", "lint"])
@pytest.mark.parametrize(("needed", "package"), [("spark", "pyspark"), ("deep", "torch")])
def test_only_its_own_target_installs_a_large_package(target, needed, package):
    def steps(target):
        made = subprocess.run(["make", "-n", "-B", target], cwd=ROOT, capture_output=True, text=True, check=True)
        return made.stdout

    assert package in steps(needed)
    assert package not in steps(target)


FENCED = re.compile(r"^( *)```.*\n(?:.*\n)*?\1```$", re.M)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path, text: str) -> list[str]:
    """The links of a page to files or headings that are not there."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", FENCED.sub("", text)) if "://" not in link]
    broken = []
    for link in links:
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_and_heading_that_a_page_links_to_exists(path):
    assert broken_links(path, path.read_text()) == []


def test_a_broken_link_is_found():
    text = "[a](docs/runs.md#parameters) [b](docs/runs.md#none) [c](none.md) [d](https://example.com)"
    assert broken_links(ROOT / "README.md", text) == ["docs/runs.md#none", "none.md"]


def test_the_changelog_knows_the_version():
    import stockkit

    assert f"## {stockkit.__version__}" in (ROOT / "CHANGELOG.md").read_text()
