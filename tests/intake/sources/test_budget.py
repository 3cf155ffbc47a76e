"""The count of requests: never one too many, whoever asks, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.errors import BudgetSpent, LakeError, SourceError
from stockkit.intake.sources.budget import Budget, share_out

NOON = pd.Timestamp("2026-11-20 12:00", tz="America/New_York").timestamp()
TAKER = """
import sys
from pathlib import Path
from stockkit.errors import BudgetSpent
from stockkit.intake.sources.budget import Budget

budget = Budget(Path(sys.argv[1]), per_day=int(sys.argv[2]), per_second=float(sys.argv[3]), clock=lambda: {clock})
print("ready", flush=True)
sys.stdin.readline()
try:
    while True:
        budget.take()
        print("taken", flush=True)
except BudgetSpent:
    print("spent", flush=True)
"""


class Clock:
    """A clock that only moves when it is told to or slept on."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    def opening(**settings) -> Budget:
        return Budget(tmp_path / "lake" / "budget.sqlite", clock=clock, sleep=clock.sleep, **settings)

    return opening


def takers(path, count: int, per_day: int, per_second: float = 0, clock: str = str(NOON)):
    command = [sys.executable, "-c", TAKER.format(clock=clock), str(path), str(per_day), str(per_second)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ})
        for _ in range(count)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    return started


def go(process) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def test_the_day_has_so_many_requests_and_no_more(opened):
    budget = opened(per_day=3, per_second=0)
    for left in (3, 2, 1):
        assert budget.left() == left
        budget.take()
    with pytest.raises(BudgetSpent, match=r"all 3 requests of 2026-11-20 .*2026-11-21 05:00 UTC"):
        budget.take()
    assert issubclass(BudgetSpent, SourceError)


def test_a_restart_does_not_give_the_requests_back(opened):
    opened(per_day=2).take()
    opened(per_day=2).take()
    with pytest.raises(BudgetSpent):
        opened(per_day=2).take()


def test_the_day_ends_at_midnight_in_new_york(opened, clock):
    budget = opened(per_day=1, per_second=0)
    clock.now = pd.Timestamp("2026-11-20 23:59:59", tz="America/New_York").timestamp()
    budget.take()
    assert budget.left() == 0
    clock.now += 1
    budget.take()


def test_the_reset_knows_of_summer_time(opened, clock):
    clock.now = pd.Timestamp("2026-03-07 12:00", tz="America/New_York").timestamp()
    assert opened().resets_at() == pd.Timestamp("2026-03-08 05:00", tz="UTC")
    clock.now += 86_400
    assert opened().resets_at() == pd.Timestamp("2026-03-09 04:00", tz="UTC")


def test_requests_keep_their_distance(opened, clock):
    budget, moments = opened(per_second=2), []
    for _ in range(4):
        budget.take()
        moments.append(clock.now - NOON)
    assert moments == pytest.approx([0, 0.55, 1.1, 1.65], abs=1e-3)


def test_a_request_that_has_to_wait_past_midnight_counts_for_the_next_day(opened, clock):
    clock.now = pd.Timestamp("2026-11-20 23:59:59.5", tz="America/New_York").timestamp()
    budget = opened(per_day=1)
    budget.take()
    budget.take()
    with pytest.raises(BudgetSpent, match="2026-11-21"):
        budget.take()


def test_a_clock_set_back_does_not_stop_the_requests_for_long(opened, clock):
    budget = opened(per_day=0)
    budget.take()
    clock.now -= 86_400
    before = clock.now
    budget.take()
    assert clock.now - before <= 1.1


def test_a_refused_request_is_not_counted_and_keeps_no_place(opened, clock):
    budget = opened(per_day=1)
    budget.take()
    for _ in range(50):
        with pytest.raises(BudgetSpent):
            budget.take()
    assert clock.now == NOON
    assert opened(per_day=2).left() == 1


def test_providers_are_counted_apart(opened):
    opened(per_day=1).take()
    assert opened(per_day=1, provider="another").left() == 1


def test_no_limits_need_no_file(opened):
    budget = opened(per_day=0, per_second=0)
    budget.take()
    assert budget.left() is None
    assert not budget.path.exists()


def test_a_broken_count_is_said_with_the_way_out(opened):
    budget = opened()
    budget.path.parent.mkdir()
    budget.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LakeError, match=r"budget.sqlite cannot be used.*delete it"):
        budget.take()


def test_processes_at_once_never_take_more_than_the_day_has(tmp_path):
    path = tmp_path / "budget.sqlite"
    started = takers(path, 4, per_day=25)
    for process in started:
        go(process)
    output = "".join(process.communicate(timeout=300)[0] for process in started)
    assert (output.count("taken"), output.count("spent")) == (25, 4)


def test_threads_at_once_never_take_more_than_the_day_has(opened):
    budget = opened(per_day=25, per_second=0)

    def taken(_: int) -> bool:
        try:
            budget.take()
        except BudgetSpent:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(taken, range(60))) == 25


def test_processes_at_once_keep_the_pace_together(tmp_path):
    started = takers(tmp_path / "budget.sqlite", 2, per_day=11, per_second=10, clock="__import__('time').time()")
    began = time.monotonic()
    for process in started:
        go(process)
    for process in started:
        process.communicate(timeout=300)
    assert time.monotonic() - began > 10 * 0.11


def test_a_process_killed_at_any_moment_takes_its_requests_with_it(tmp_path):
    path = tmp_path / "budget.sqlite"
    taken = 0
    for wait in (0.0, 0.004, 0.011, 0.023):
        (process,) = takers(path, 1, per_day=100_000)
        go(process)
        assert process.stdout.readline() == "taken\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        taken += 1 + process.communicate()[0].count("taken")
        counted = 100_000 - Budget(path, per_day=100_000, clock=lambda: NOON).left()
        assert taken <= counted <= taken + 4, "at most the request under way is counted for nothing, each time"


def test_what_the_provider_calls_spent_is_spent_for_all(opened):
    assert "2026-11-21 05:00 UTC" in str(opened().spend())
    assert opened().left() == 0


def test_symbols_without_data_come_first_and_then_the_oldest():
    oldest = {"NEW": None, "OLD": pd.Timestamp("2026-01-02"), "MID": pd.Timestamp("2026-03-02")}
    assert share_out(["MID", "OLD", "NEW", "ABSENT"], oldest, 3) == (["ABSENT", "NEW", "OLD"], ["MID"])
    assert share_out(["MID", "OLD"], oldest, None) == (["OLD", "MID"], [])
    assert share_out(["MID", "OLD"], oldest, 0) == ([], ["OLD", "MID"])


@given(
    st.dictionaries(st.text("ABC", min_size=1, max_size=3), st.none() | st.integers(0, 5), max_size=12),
    st.none() | st.integers(0, 15),
)
def test_every_symbol_is_planned_once_and_none_before_an_older_one(ages, left):
    oldest = {symbol: None if age is None else pd.Timestamp(age, unit="D") for symbol, age in ages.items()}
    now, later = share_out(list(ages), oldest, left)
    assert sorted(now + later) == sorted(ages)
    assert len(now) == (len(ages) if left is None else min(left, len(ages)))
    age_of = [-1 if ages[symbol] is None else ages[symbol] for symbol in now + later]
    assert age_of == sorted(age_of)
