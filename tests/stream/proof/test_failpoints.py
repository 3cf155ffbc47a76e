"""An end of the process at any storage call loses nothing and doubles nothing; versions that do are told."""

from __future__ import annotations

import pytest

from stockkit.stream.proof import failpoints, naive
from stockkit.stream.proof.event_source import Crash, Violation
from stockkit.stream.proof.points import Points, Watched


@pytest.mark.parametrize("seed", [0, 1])
def test_a_process_may_end_before_and_after_every_storage_call(seed):
    assert failpoints.prove(seed) > 60


def test_with_tables_on_the_disk_as_well():
    assert failpoints.prove_on_disk(2, one_in=9) > 8


@pytest.mark.parametrize("name", naive.NAIVE)
def test_each_naive_version_is_told(name):
    with pytest.raises(Violation, match="seed 0, ends at"):
        failpoints.prove(0, naive.NAIVE[name])


def test_a_moment_lies_before_and_after_each_call():
    calls = []
    for end in range(4):
        watched = Watched(calls, Points([end]), ["append"])
        try:
            watched.append(end)
            watched.append(end)
        except Crash:
            continue
    assert calls == [1, 2, 3, 3]
