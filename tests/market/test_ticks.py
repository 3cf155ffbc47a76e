"""Records of a bus become ticks, or rejects with their reason; nothing in them raises."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.market import ticks
from stockkit.market.ticks import Reject, Sequences, Tick

NOW = 1_700_000_000_000_000
GOOD = {"v": 1, "symbol": "AAPL", "price": 189.37, "size": 100, "event_time": NOW - 5, "source": "sim", "sequence": 17}
TICK = Tick("AAPL", 189_370_000, 100, NOW - 5, "sim", 17)


def record(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def read(*bodies: bytes, **options: object) -> list[Tick | Reject]:
    return ticks.transform(bodies, now=NOW, **options)


def reason(body: bytes, **options: object) -> str:
    [result] = read(body, **options)
    assert isinstance(result, Reject), result
    assert result.body == body
    assert result.reason in ticks.REASONS
    return result.reason


@pytest.mark.parametrize(
    "body",
    [
        record(),
        gzip.compress(record()),
        record(more={"nested": [1]}, text="}{"),
        record(event_time="2023-11-14T22:13:19.999995Z"),
        record(event_time="2023-11-14T17:13:19.999995-05:00"),
        record(size=100.0, sequence=17.0),
        b"\n" + record().replace(b", ", b",\n ") + b"\n",
    ],
)
def test_a_record_is_read_however_it_is_written(body):
    assert read(body) == [TICK]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not JSON"),
        (b"{bad", "not JSON"),
        (record()[:-1], "not JSON"),
        (record().decode().encode("utf-16"), "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"v":' + b"[" * 30_000, "not JSON"),
        (b'{"v":1,"price":' + b"9" * 5_000 + b"}", "not JSON"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (record(v=2), "unknown version"),
        (record(v=True), "unknown version"),
        (without("v"), "unknown version"),
        (without("symbol"), "bad symbol"),
        (record(symbol=""), "bad symbol"),
        (record(symbol="../etc"), "bad symbol"),
        (record(symbol="A'; DROP TABLE x"), "bad symbol"),
        (record(symbol="A" * 60_000), "bad symbol"),
        (record(symbol=["AAPL"]), "bad symbol"),
        (record(symbol=None), "bad symbol"),
        (without("price"), "bad price"),
        (record(price=0), "bad price"),
        (record(price=-1.5), "bad price"),
        (record(price=float("nan")), "bad price"),
        (record(price=float("inf")), "bad price"),
        (record(price=1e308), "bad price"),
        (record(price=1e9), "bad price"),
        (record(price="189.37"), "bad price"),
        (record(price=True), "bad price"),
        (record(price=0.0000001), "bad price"),
        (record(price=189.3700001), "bad price"),
        (record(size=-1), "bad size"),
        (record(size=1.5), "bad size"),
        (record(size=None), "bad size"),
        (record(size=False), "bad size"),
        (record(event_time=1_700_000_000), "bad time"),
        (record(event_time=0), "bad time"),
        (record(event_time="2023-11-14T22:13:19"), "bad time"),
        (record(event_time="yesterday"), "bad time"),
        (record(event_time=1.7e15), "bad time"),
        (record(event_time=NOW + ticks.AHEAD + 1), "from the future"),
        (record(event_time=10**30), "from the future"),
        (record(source=""), "bad source"),
        (record(source="\ud800"), "bad source"),
        (record(source="a\nb"), "bad source"),
        (record(source="x" * 65), "bad source"),
        (record(sequence=-1), "bad sequence"),
        (record(sequence=2**63), "bad sequence"),
        (record(sequence="17"), "bad sequence"),
        (record(pad="x" * ticks.MAX_BYTES), "too large"),
        (b"x" * 10_000_000, "too large"),
        (gzip.compress(b" " * 50_000_000), "too large"),
        (gzip.compress(record())[:-3], "bad gzip"),
        (b"\x1f\x8bnonsense", "bad gzip"),
    ],
    ids=range(53),
)
def test_a_record_that_is_no_tick_is_rejected_with_its_reason(body, expected):
    assert reason(body) == expected
    # in the middle of a batch the rest goes through, in order
    assert [type(result) for result in read(record(), body, record(sequence=18))] == [Tick, Reject, Tick]


def test_a_symbol_that_nobody_listens_to_is_rejected():
    assert reason(record(), symbols={"META"}) == "unknown symbol"
    assert read(record(), symbols={"AAPL"}) == [TICK]


@pytest.mark.parametrize(
    "bodies",
    [
        (b'{"a":1},{"b":2', b'"c":3}'),
        (b'{"v":1', b'"w":2},{"x":3}'),
        (record() + b",", b"," + record()),
        (record() + b"\n" + record(), b""),
        (b"", record() + b"}\n{" + record()),
        (record()[:-1] + b', "t":[{}', b"{}]}"),
        (b"{", b"}"),
    ],
)
def test_records_that_only_make_sense_together_make_none(bodies):
    assert read(*bodies) == [result for body in bodies for result in read(body)]


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]))
objects = st.dictionaries(st.sampled_from(list(GOOD)), values).map(lambda changes: record(**changes))
pieces = st.one_of(objects, st.binary(max_size=30), st.sampled_from([record(), b"{", b"}", b",", b"\n", b"[]"]))


@given(st.lists(st.lists(pieces, max_size=3).map(b"".join), max_size=5))
def test_reading_at_once_equals_reading_one_by_one(bodies):
    assert read(*bodies) == [result for body in bodies for result in read(body)]


@given(objects)
def test_the_quick_look_takes_nothing_that_the_close_look_rejects(body):
    quick = ticks._tick(json.loads(body), NOW + ticks.AHEAD, None)
    assert quick is None or quick == ticks._read(body, NOW + ticks.AHEAD, None)


@given(st.integers(1, 10**15 - 1))
def test_every_price_of_whole_millionths_survives_json_and_the_lakes_float(price):
    tick = TICK._replace(price=price)
    assert read(ticks.encode(tick)) == [tick]
    assert round(price / ticks.SCALE * ticks.SCALE) == price


def test_ticks_and_signals_import_the_standard_library_alone():
    code = "import sys; old = set(sys.modules); import stockkit.market.signals; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in done.stdout.split()}
    assert names - set(sys.stdlib_module_names) == {"stockkit"}


@given(st.lists(st.integers(0, 60), max_size=80))
def test_sequences_tell_new_from_seen_in_any_order(sequences):
    seen, read_before = Sequences(), set()
    for sequence in sequences:
        assert seen.add(sequence) == ("duplicate" if sequence in read_before else "new")
        read_before.add(sequence)
        seen = Sequences(*json.loads(json.dumps(seen.dump())))


def test_a_gap_given_up_is_neither_new_nor_a_duplicate_and_the_memory_has_an_end():
    seen = Sequences()
    assert {seen.add(sequence) for sequence in range(0, 4 * Sequences.RANGES, 2)} == {"new"}
    assert seen.add(1) == "too late"
    assert seen.add(4 * Sequences.RANGES - 3) == "new"
    assert len(json.dumps(seen.dump())) < 40 * Sequences.RANGES
