"""A claim on a lake against a store of a few lines, in schedules of any order, with a clock that the test moves."""

from __future__ import annotations

import hashlib
import math
import queue
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stockkit.errors import LakeError
from stockkit.files import Stored
from stockkit.workbook.chain import claims, lease
from stockkit.workbook.chain.claims import KEY, Claim, Holder


@dataclass
class Memory:
    """A store with conditional puts, whose tags are sums of the bytes, as those of S3 are."""

    now: float = 1_000_000.0
    there: tuple[bytes, str, float] | None = None
    late: list = field(default_factory=list)

    def stored(self, key, most=None):
        if self.there is None:
            return None
        body, tag, written = self.there
        return Stored(body[:most], tag, math.floor(self.now) - math.floor(written))

    def replace(self, key, body, tag):
        if (self.there[1] if self.there else None) != tag:
            return None
        return self.overwrite(body)

    def overwrite(self, body):
        self.there = (body, hashlib.md5(body).hexdigest(), self.now)
        return self.there[1]


class Naive(Claim):
    """Looks first, then puts: what everybody writes at first."""

    def _put(self, holder, tag):
        sent, there = self.now(), self.store.stored(KEY)
        if there is not None and not self._is_free(there):
            return claims.read_holder(there.body)
        self.store.overwrite(claims.encode(holder, write=str(sent)))
        self.renewed = sent
        return None

    def _check_conditions(self):
        pass


class Run:
    """A run in a thread of its own, which goes on to its next call of the store only when it is told how that ends."""

    def __init__(self, memory, name, kind):
        self.memory, self.heard, self.reply = memory, queue.Queue(), queue.Queue()
        self.claim = kind(self, Holder(run=name, token=name), now=lambda: memory.now)
        self.has, self.at_call = False, False
        threading.Thread(target=self.work, daemon=True).start()

    def believes(self):
        return self.has and self.memory.now - self.claim.renewed <= lease.MOST

    def stored(self, key, most=None):
        return self.call(lambda: self.memory.stored(key, most))

    def replace(self, key, body, tag):
        return self.call(lambda: self.memory.replace(key, body, tag))

    def overwrite(self, body):
        return self.call(lambda: self.memory.overwrite(body))

    def call(self, act):
        self.reply.put("call")
        fate = self.heard.get()
        if fate == "late":
            self.memory.late.append(act)
        answer = act() if fate in ("answered", "lost") else None
        if fate != "answered":
            raise LakeError("planted")
        return answer

    def work(self):
        while (what := self.heard.get()) is not None:
            try:
                if what == "take":
                    self.has = self.claim.take() is None
                elif what == "renew":
                    self.has = self.claim.renew() is None and self.has
                else:
                    self.claim.release()
            except LakeError:
                pass
            self.reply.put("done")

    def step(self, fate, releases):
        if not self.at_call:
            fate = "take" if not self.has else "release" if releases else "renew"
            self.has = self.has and fate != "release"
        self.heard.put(fate)
        self.at_call = self.reply.get(timeout=60) == "call"

    def end(self):
        while self.at_call:
            self.step("failed", False)
        self.heard.put(None)


FATES = st.sampled_from(["answered"] * 6 + ["failed", "lost", "late"])
SECONDS = st.sampled_from([0.0] * 4 + [7.3, 31.0])
STEP = st.tuples(st.integers(0, 2), FATES, st.sampled_from([False] * 5 + [True]), SECONDS)
STEPS = st.lists(STEP, min_size=40, max_size=80)


def both_at_once(kind, steps):
    """The moments at which two runs believe that the lake is theirs; and how often one did at all."""
    memory, twice, once = Memory(), 0, 0
    runs = [Run(memory, name, kind) for name in ("a", "b", "c")]
    try:
        for number, fate, releases, seconds in steps:
            memory.now += seconds
            if memory.late and fate == "late":
                memory.late.pop(0)()  # arrives after all
            runs[number].step(fate, releases)
            believers = sum(run.believes() for run in runs)
            twice, once = twice + (believers > 1), once + (believers == 1)
    finally:
        for run in runs:
            run.end()
    return twice, once


@settings(max_examples=200)
@given(STEPS)
def test_never_do_two_runs_have_the_lake_at_once(steps):
    assert both_at_once(Claim, steps)[0] == 0


def test_looking_first_and_putting_then_lets_two_in():
    @settings(max_examples=300, database=None, derandomize=True, phases=[Phase.generate])
    @given(STEPS)
    def holds(steps):
        assert both_at_once(Naive, steps)[0] == 0

    with pytest.raises(AssertionError):
        holds()


def quietly(run, *, to="answered"):
    """Let a run finish what it does."""
    run.step(to, False)
    while run.at_call:
        run.step(to, False)


@pytest.fixture
def three():
    memory = Memory()
    runs = [Run(memory, name, Claim) for name in ("a", "b", "c")]
    yield memory, *runs
    for run in runs:
        run.end()


def test_a_run_gets_the_lake_renews_it_and_lets_the_next_one_in(three):
    memory, a, b, _ = three
    quietly(a)
    memory.now += 50
    quietly(a)
    memory.now += 50
    quietly(b)
    assert (a.has, b.has) == (True, False)
    a.step("release", True)
    while a.at_call:
        a.step("answered", False)
    quietly(b)
    assert b.has


def test_a_dead_run_is_replaced_and_knows_it_when_it_wakes(three):
    memory, a, b, c = three
    quietly(a)
    memory.now += claims.DEAD + 2
    quietly(b)
    quietly(c)
    assert (b.has, c.has) == (True, False)
    quietly(a)
    assert not a.has


def test_of_two_successors_that_both_saw_a_dead_run_one_wins(three):
    memory, a, b, c = three
    quietly(a)
    memory.now += claims.DEAD + 2
    for successor in (b, c, b, c):
        successor.step("answered", False)  # both have read before either puts
    for successor in (b, c):
        while successor.at_call:
            successor.step("answered", False)
    assert [b.has, c.has].count(True) == 1


@pytest.mark.parametrize(("unique", "renewed"), [(True, True), (False, False)])
def test_a_renewal_after_the_successor_has_looked_is_heeded_as_its_bytes_are_new(three, monkeypatch, unique, renewed):
    if not unique:  # planted: the same bytes have the same tag
        plain = claims.encode
        monkeypatch.setattr(claims, "encode", lambda holder, **more: plain(holder))
    memory, a, b, _ = three
    quietly(a) if unique else [a.step("answered", False) for _ in range(3)]
    memory.now += claims.DEAD + 2
    b.step("answered", False)
    b.step("answered", False)  # has read that the holder is dead
    if unique:
        quietly(a)
    else:
        a.memory.overwrite(claims.encode(a.claim.me))
    b.step("answered", False)
    assert (claims.read_holder(memory.there[0]).token == "a") is renewed


GARBAGE = [b"", b"{", b"[]", b"null", b'{"run": 5}', b"\xff" * 20_000, b"[" * 9_000, b'{"run": "\\u001b[31m"}',
           b'{"pid": -1, "run": "x"}']  # fmt: skip


@pytest.mark.parametrize("body", GARBAGE)
def test_what_is_no_lease_counts_as_a_run_that_may_live_and_then_as_a_dead_one(three, body):
    memory, a, *_ = three
    memory.overwrite(body)
    quietly(a)
    assert not a.has
    assert str(claims.read_holder(body)) == "a holder that does not say which run it is"
    memory.now += claims.DEAD + 2
    quietly(a)
    assert a.has


def test_a_store_that_heeds_no_conditions_is_refused():
    class Careless(Memory):
        def replace(self, key, body, tag):
            return self.overwrite(body)

    with pytest.raises(LakeError, match="does not heed the conditions of a put"):
        Claim(Careless(), Holder(run="a", token="a")).take()


@pytest.mark.parametrize(("seconds", "words"), [(4.7, "4 s"), (185, "3 min 5 s"), (7_260, "2 h 1 min")])
def test_durations_are_told_in_words(seconds, words):
    assert claims.duration(seconds) == words


def test_a_store_that_fails_for_less_than_a_minute_takes_the_lake_from_nobody():
    class Away(Memory):
        def replace(self, key, body, tag):
            raise LakeError("planted")

    memory = Memory()
    claim = Claim(memory, Holder(run="a", token="a"), now=lambda: memory.now)
    assert claim.take() is None
    claim.store = Away()
    memory.now += lease.MOST - 1
    assert lease._confirmed(claim) == ""
    memory.now += 2
    assert lease._confirmed(claim) == "as it could not be renewed for 46 s: planted"
