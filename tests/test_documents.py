"""README, docs/ and CONTRIBUTING stay true: each link, command, option and parameter in them is one that there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from stockkit.cli import app
from stockkit.intake import sources
from stockkit.workbook import params
from stockkit.workbook.execution import limits
from stockkit.workbook.notebooks import load
from tests.conftest import ROOT
from tests.test_architecture import ROOMS

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(path.read_text() for path in PAGES)
UsageError = typer.BadParameter.__mro__[1]  # of the click that typer brings
FENCED = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.M)


def commands(command: Any = None, words: tuple[str, ...] = ("stockkit",)) -> Iterator[tuple[str, Any]]:
    """Every command that help shows, with the words that call it."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield " ".join(words), command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


COMMANDS = dict(commands())
PARAMETERS = {*limits.DEFAULTS, *params.NOTIFYING}.union(
    *(load(path.parent, path.stem).parameters for path in (ROOT / "notebooks").glob("*.ipynb"))
)


def lines_of(text: str) -> list[str]:
    """The command lines of a text: those of its console blocks, and what stands in backticks in its prose."""
    lines = [line for _, language, body in FENCED.findall(text) if language == "console" for line in body.splitlines()]
    lines += re.findall(r"`((?:stockkit|make) [^`]+)`", FENCED.sub("", text))
    return [" ".join(shlex.split(line, comments=True)) and line.strip() for line in lines]


def fault_of(line: str) -> str:
    """What is wrong with a command line of stockkit; "" where the command takes it."""
    words = shlex.split(re.split(r" [>|] ", line)[0], comments=True)
    if "…" in words:  # a group of commands
        group = " ".join(words[: words.index("…")])
        return "" if any(name.startswith(f"{group} ") for name in COMMANDS) else f"{group} is no group of commands"
    name = next((" ".join(words[:n]) for n in (4, 3, 2) if " ".join(words[:n]) in COMMANDS), "")
    if not name:
        return f"{line} names no command"
    given = words[len(name.split()) :]
    try:
        if given:  # a bare name is a mention
            COMMANDS[name].make_context(name, given)
    except UsageError as error:
        return f"{line}: {error.message}"
    return ""


def faults(text: str) -> list[str]:
    """The command lines that no command takes, and the parameters that no notebook has."""
    lines = lines_of(text)
    problems = [fault for line in lines if line.startswith("stockkit ") and (fault := fault_of(line))]
    settings = [line for line in [*lines, *re.findall(r"`(-p [^`]+)`", text)] if "lake sql" not in line]
    named = {name for line in settings for name in re.findall(r"-p ['\"]?(\w+)=", line)}
    return problems + [f"no notebook has a parameter {name}" for name in sorted(named - PARAMETERS - {"name"})]


def table_of_parameters(text: str) -> set[str]:
    """The parameters in the first column of the table of parameters."""
    table = re.search(r"\| name \| default \| meaning \|\n\|.*\n((?:\|.*\n)+)", text)
    return set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table[1].splitlines()))) if table else set()


def undocumented(text: str) -> set[str]:
    """The commands and the notebooks' parameters that a text lacks."""
    named = {line for line in COMMANDS for shown in lines_of(text) if f"{shown} ".startswith(f"{line} ")}
    named |= {line for line in COMMANDS if f"`{line}`" in text}
    return (set(COMMANDS) - named) | (PARAMETERS - table_of_parameters(text))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_and_parameter_of_a_page_is_one_that_there_is(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        ("```console\nstockkit lake nonsense\n```", "names no command"),
        ("see `stockkit lake vacuum prices --keeep 3`.", "No such option"),
        ("see `stockkit lake vacuum prices --keep many`.", "should be a valid number"),
        ("see `stockkit models promote a b`.", "unexpected extra argument"),
        ("see `stockkit tables …`.", "no group of commands"),
        ("with `-p horizn=5`", "parameter horizn"),
        ("```console\nmake run ARGS=\"-p symbol='[IBM]'\"\n```", "parameter symbol"),
        ("```console\nstockkit run params/sample.yaml -p 'hrizons=[1]'\n```", "parameter hrizons"),
    ],
)
def test_a_planted_fault_is_found(planted, says):
    (problem,) = faults(f"words\n\n{planted}\n")
    assert says in problem


def test_every_command_and_every_parameter_is_documented():
    assert undocumented(TEXT) == set()
    assert table_of_parameters(TEXT) - PARAMETERS == set()


@pytest.mark.parametrize("name", ["stockkit lake history", "stockkit models show", "stockkit report", "seed", "refit"])
def test_what_is_taken_out_of_the_pages_is_missed(name):
    assert undocumented(re.sub(rf"(?<=[`\n]){name}\b", "", TEXT)) == {name}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_a_page_or_in_an_example_of_its_help(name):
    text = f"{TEXT}\n{COMMANDS[name].epilog or ''}"
    options = [
        max(parameter.opts, key=len) for parameter in COMMANDS[name].params if parameter.param_type_name == "option"
    ]
    assert [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)] == []


EXAMPLES = [
    " ".join(line.split())
    for command in COMMANDS.values()
    for line in re.findall(r"stockkit [^;]+", command.epilog or "")
]


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_examples_of_help_are_lines_that_the_command_takes(line):
    assert fault_of(line) == ""


def test_every_source_is_documented():
    page = (ROOT / "docs" / "data.md").read_text()
    assert [name for name in sources.NAMES if f"`{name}`" not in page] == []
    assert [entry.key for entry in sources.SOURCES.values() if entry.key not in page] == []


def test_the_pages_are_short_and_the_first_one_leads_to_all():
    assert len(README.read_text().splitlines()) <= 120
    assert [path.name for path in PAGES[1:] if len(path.read_text().splitlines()) >= 150] == []
    assert [path.name for path in PAGES[1:] if f"](docs/{path.name})" not in README.read_text()] == []


def changes(text: str) -> dict[str, list[str]]:
    """The imagined changes of CONTRIBUTING, each with the files that it touches."""
    rows = re.findall(r"^\| (an? .+?|something .+?) \| (.+?) \| .+ \|$", text, re.M)
    return {change: re.findall(r"\]\(([^)]+)\)|`(stockkit/[^`]+)`", touched) for change, touched in rows}


TEN = [
    "source",
    "price column",
    "score",
    "parameter",
    "table",
    "command",
    "SQL function",
    "page's header",
    "calendar",
    "tick bus",
]


def test_a_change_touches_at_most_three_files():
    named = changes(CONTRIBUTING.read_text())
    assert [name for name in TEN if not any(name in change for change in named)] == []
    assert {change: files for change, files in named.items() if not 1 <= len(files) <= 3} == {}
    assert changes("| a thing | [a](a), [b](b), `stockkit/c/`, [d](d) | x |\n") == {
        "a thing": [("a", ""), ("b", ""), ("", "stockkit/c/"), ("d", "")]
    }


def test_the_rooms_of_contributing_are_those_of_the_architecture_in_its_order():
    table = CONTRIBUTING.read_text().partition("| room | what is in it |")[2]
    rooms = [room for row in re.findall(r"^\| (`.+?) \|", table, re.M) for room in re.findall(r"`(\w+)`", row)]
    assert rooms == ROOMS
