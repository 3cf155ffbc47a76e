"""Stored ticks come again in the order of their arrival, at the pace of their times, and bad lines as they are."""

from __future__ import annotations

import gzip
import itertools

import pandas as pd
import pytest

from stockkit.errors import LakeError, ParamError, StreamError
from stockkit.lake import commits
from stockkit.lake.contracts import TABLES
from stockkit.lake.tables import open_lake
from stockkit.market import ticks
from stockkit.market.ticks import Tick
from stockkit.stream import producers, setup
from stockkit.stream.producers import Settings, replay, sending
from tests.conftest import ROOT
from tests.stream.test_sending import Bus, Time

START = 1_695_303_000_000_000
SECOND = 1_000_000


def tick(number, *, symbol="AAPL", second=None):
    moment = START + (number if second is None else second) * SECOND
    return Tick(symbol, 189_370_000 + number, 100, moment, 'sim "7"', number)


def lines(count):
    return [ticks.encode(tick(number)) for number in range(count)]


def batches(path, **how):
    return list(producers.open_producer(f"replay:{path}", Settings(**how)))


def bodies(path, **how):
    return [message.body for batch in batches(path, **how) for message in batch.messages]


@pytest.mark.parametrize("packed", [False, True])
def test_the_lines_of_a_file_come_as_they_are_in_their_order(tmp_path, packed):
    kept = lines(2_500)
    kept[3], kept[1_000] = b"no JSON", b'{"v":1,"symbol":"AAPL","price":-1}'
    text = b"\n".join([*kept[:5], b"", *kept[5:]])
    path = tmp_path / "ticks.jsonl"
    path.write_bytes(gzip.compress(text) if packed else text)
    assert bodies(path) == kept
    assert {message.key for batch in batches(path) for message in batch.messages} == {"AAPL", "unreadable"}


def test_only_the_symbols_that_are_named_come_and_what_is_no_tick_of_any(tmp_path):
    kept = [ticks.encode(tick(1)), ticks.encode(tick(2, symbol="META")), b"no JSON"]
    path = tmp_path / "ticks.jsonl"
    path.write_bytes(b"\r\n".join(kept))
    assert bodies(path, symbols=["META"]) == kept[1:]


def test_a_replay_keeps_the_pace_of_its_times_and_late_lines_do_not_turn_it_back(tmp_path):
    kept = [ticks.encode(tick(n, second=second)) for n, second in enumerate([0, 10, 4, 30])]
    path = tmp_path / "ticks.jsonl"
    path.write_bytes(b"\n".join([*kept[:2], b"no JSON", *kept[2:]]))
    time, sent = Time(), []

    class Noting(Bus):
        def send(self, messages):
            sent.extend((round(time.seconds, 6), message.body) for message in messages)
            return []

    sending.send(batches(path), Noting(None, 1), speed=10.0, clock=time)
    assert sent == [(0, kept[0]), (1, kept[1]), (1, b"no JSON"), (1, kept[2]), (3, kept[3])]


def test_of_a_file_that_is_cut_off_the_readable_lines_come_and_then_an_error_that_says_so(tmp_path):
    path = tmp_path / "ticks.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines(20_000)))[:-2_000])
    bus = Bus(None, 1)
    bus.send = lambda messages: bus.taken.extend(messages) or []
    says = r"cannot be read behind line [\d,]+ .*cut off or damaged.* Until then: [\d,]+ messages sent"
    with pytest.raises(StreamError, match=says):
        sending.send(producers.open_producer(f"replay:{path}", Settings()), bus, clock=Time())
    assert [message.body for message in bus.taken] == lines(20_000)[: len(bus.taken)]
    assert len(bus.taken) > 10_000


def test_of_a_line_of_any_length_the_beginning_comes_and_the_next_line_whole(tmp_path):
    path = tmp_path / "ticks.jsonl"
    kept = [b"x" * 10_000_000, *lines(1), b"y" * (replay.LONGEST - 1), *lines(2)]
    path.write_bytes(b"\n".join(kept))
    assert bodies(path) == [b"x" * 100_000, *kept[1:]]


def test_a_file_that_is_not_there_is_refused_at_once(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(ParamError, match=r"replay:.* cannot be read: (No such file|Is a directory)"):
            producers.open_producer(f"replay:{path}", Settings())


def with_ticks(lake, known, arrivals):
    """The table of ticks as the pipeline writes it: numbered by symbol in the order of `known`."""
    import pyarrow as pa

    counts = {}
    numbers = [counts.setdefault(tick.symbol, itertools.count(1)) for tick in known]
    frame = pd.DataFrame(known, columns=Tick._fields).assign(
        number=[next(number) for number in numbers], partition="memory:x/0", offset="0", late=False,
        price=[tick.price / ticks.SCALE for tick in known], arrival=pd.to_datetime(arrivals, unit="us", utc=True),
    )  # fmt: skip
    frame["event_time"] = pd.to_datetime(frame["event_time"], unit="us", utc=True)
    frame["date"] = frame["event_time"].dt.date
    micro = pa.timestamp("us", "UTC")
    fields = {"date": pa.date32(), "event_time": micro, "arrival": micro, "late": pa.bool_(), "price": pa.float64()}
    texts = ("symbol", "source", "partition", "offset")
    columns = list(TABLES["ticks"].contract)
    schema = pa.schema([(name, fields.get(name, pa.string() if name in texts else pa.int64())) for name in columns])
    rows = pa.Table.from_pandas(frame[columns], schema=schema, preserve_index=False)
    lake.commit("ticks", lambda now: commits.Rows(rows, None, partition="date"))


def test_the_ticks_of_the_lake_come_by_arrival_and_those_of_a_symbol_by_their_number(lake):
    known = [tick(0), tick(2), tick(1), tick(0, symbol="META"), tick(3)]
    with_ticks(lake, known, [START, START + 5, START + 4, START + 4, START + 9])  # a clock that was set back
    expected = [known[0], known[3], known[1], known[2], known[4]]
    assert bodies("lake", lake=lake) == [ticks.encode(tick) for tick in expected]
    (batch,) = batches("lake", lake=lake)
    assert batch.due == [START, START, START + 2 * SECOND, START + 2 * SECOND, START + 3 * SECOND]
    assert bodies("lake", lake=lake, symbols=["META"]) == [ticks.encode(known[3])]


def test_of_the_lake_the_newest_day_comes_or_those_that_are_named(lake):
    day = 24 * 3_600
    known = [tick(number, second=number * day) for number in range(3)]
    with_ticks(lake, known, [tick.event_time for tick in known])
    assert bodies("lake", lake=lake) == [ticks.encode(known[2])]
    assert bodies("lake", lake=lake, day="2023-09-21..2023-09-22") == [ticks.encode(tick) for tick in known[:2]]
    with pytest.raises(ParamError, match=r"no ticks of 2020-01-02; it has those from 2023-09-21 to 2023-09-23"):
        batches("lake", lake=lake, day="2020-01-02")


def test_a_lake_without_ticks_is_refused(lake):
    with pytest.raises(LakeError, match="no table 'ticks'"):
        batches("lake", lake=lake)
    with pytest.raises(ParamError, match="name the one that has the ticks"):
        batches("lake")


def test_what_a_stream_took_into_the_lake_comes_out_of_it_in_the_same_order(tmp_path):
    how = {"symbols": ["META", "NFLX"], "day": "2023-09-21", "ticks": 200}
    setup.run(setup.Parameters(lake=str(tmp_path / "lake"), alerts=[], **how), root=ROOT)
    batches_of = producers.open_producer("simulator", Settings(root=ROOT, **how))
    sent = ticks.transform([m.body for batch in batches_of for m in batch.messages], now=2 * START)
    out = ticks.transform(bodies("lake", lake=open_lake(str(tmp_path / "lake"))), now=2 * START)
    for symbol in how["symbols"]:
        known = dict.fromkeys(tick for tick in sent if isinstance(tick, Tick) and tick.symbol == symbol)
        assert [tick for tick in out if tick.symbol == symbol] == list(known)
