"""What a handler does not declare to read of the parse tree is refused by name; `test_athena` sees the rest read."""

from __future__ import annotations

import copy
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlglot import exp

from stockkit import athena
from stockkit.athena import expressions, reads
from stockkit.errors import QueryError
from tests.athena import corpus, corpus_functions, corpus_kinds

STATEMENTS = [
    "SELECT :given",
    *(text for text, _ in [*corpus.QUERIES, *corpus_kinds.ANSWERED, *corpus_functions.QUERIES]),
    *(f"SELECT {text}" for pairs in corpus.CORPUS.values() for text, _ in pairs),
    *(f"SELECT {text}" for pairs in corpus_functions.VALUES.values() for text, _ in pairs),
]


@pytest.fixture(scope="module")
def samples() -> dict[str, exp.Expression]:
    """A node of every class, as the parser makes it; of no more statements than it takes."""
    nodes: dict[str, exp.Expression] = {}
    for text in STATEMENTS:
        if set(nodes) == set(reads.READS):
            break
        nodes |= {type(node).__name__: node for node in athena.parse(text).tree.walk()}
    return nodes


def test_every_class_that_has_a_handler_declares_what_it_reads(samples):
    handled = set(expressions.KINDS)
    assert handled <= set(reads.READS)
    assert set(reads.READS) == set(samples), "a class is declared that no statement of the corpus uses"


@pytest.mark.parametrize("planted", [False, True, [], "x", exp.Identifier(this="x")], ids=repr)
def test_an_argument_that_no_handler_reads_is_refused_by_name(samples, planted, monkeypatch):
    monkeypatch.setattr(reads, "shown", lambda node: "")  # a tree that no parser makes cannot be written out
    for name, node in samples.items():
        spare = [one for one in [*type(node).arg_types, "invented"] if one not in reads.READS[name]]
        for one in spare:
            if reads.ALWAYS.get((name, one), node) == planted:
                continue
            carrying = copy.deepcopy(node)
            carrying.args[one] = planted
            with pytest.raises(QueryError, match=rf"(?i){one.strip('_').replace('_', ' ')}|DISTINCT|NATURAL"):
                reads.only(carrying, *reads.READS[name])


def test_a_class_without_a_handler_is_refused_by_name():
    with pytest.raises(QueryError, match="BITWISENOT is not translated"):
        reads.check(exp.select(exp.BitwiseNot(this=exp.Literal.number(1))))


def test_the_versions_of_the_parser_are_those_that_this_was_proved_with():
    stated = re.search(r'"sqlglot>=([\d.]+),<([\d.]+)"', Path("pyproject.toml").read_text())
    low, high = (tuple(map(int, one.split("."))) for one in stated.groups())
    assert low == (30, 22)
    assert low <= tuple(map(int, version("sqlglot").split("."))) < high == (31,)
