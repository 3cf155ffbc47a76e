from __future__ import annotations

import sys
import threading

import pytest

from stockkit.athena.parser import depth
from stockkit.errors import QueryError


def nested(levels):
    return 0 if not levels else 1 + nested(levels - 1)


def test_work_that_recurses_deeper_than_python_allows_ends_and_leaves_the_limits_as_they_were():
    before = sys.getrecursionlimit(), threading.stack_size()
    assert depth.deeply(lambda: nested(20_000)) == 20_000
    assert (sys.getrecursionlimit(), threading.stack_size()) == before


def test_work_without_an_end_is_refused_in_a_line():
    with pytest.raises(QueryError, match="nested too deeply"):
        depth.deeply(lambda: nested(-1))


def test_a_failure_in_the_depth_is_the_callers():
    def work():
        nested(5_000)
        raise QueryError("what is wrong")

    with pytest.raises(QueryError, match="what is wrong"):
        depth.deeply(work)
