"""However quotes are written, the newest one of each symbol is there in the end."""

from __future__ import annotations

import random
import threading
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.aws import Session
from stockkit.errors import ParamError, StreamError
from stockkit.market.ticks import Tick, quote_write
from stockkit.stream.quotes import Copies, DynamoDb, Sqlite, newest, open_quotes
from stockkit.stream.store import Batch, Quote, Store

QUOTES = [
    Quote(symbol, 1_000_000 + 10 * time + number, number, time, 99 + number, number)
    for symbol in ("AAPL", "ON", "BRK.B")
    for number, time in enumerate([50, 50, 51, 49, 53, 53, 52], start=1)
]
NEWEST = [Quote("AAPL", 1_000_536, 6, 53, 105, 6), Quote("BRK.B", 1_000_536, 6, 53, 105, 6),
          Quote("ON", 1_000_536, 6, 53, 105, 6)]  # fmt: skip


def shuffled(seed: int) -> list[Quote]:
    """The quotes in any order, some of them twice."""
    rng = random.Random(seed)
    return rng.sample(QUOTES, len(QUOTES)) + rng.choices(QUOTES, k=5)


def make_table() -> str:
    name = f"quotes-{uuid.uuid4().hex[:8]}"
    Session().client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "symbol", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "symbol", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.fixture(params=["sqlite", "dynamodb"])
def opened(request, tmp_path):
    """A way to open one and the same place of quotes again."""
    name = "sqlite"
    if request.param == "dynamodb":
        request.getfixturevalue("aws")
        name = f"dynamodb:{make_table()}"
    path = tmp_path / "stream.sqlite"
    Store(path).close()
    return lambda: open_quotes(name, path)


@given(st.permutations(QUOTES), st.lists(st.sampled_from(QUOTES)), st.integers(0, len(QUOTES)))
def test_the_newest_quotes_do_not_depend_on_order_repetition_or_batches(quotes, again, cut):
    quotes = [*quotes, *again]
    expected = {quote.symbol: quote for quote in NEWEST}
    assert newest(quotes) == expected
    assert newest([*newest(quotes[:cut]).values(), *newest(quotes[cut:]).values()]) == expected


@pytest.mark.parametrize("size", [1, 4, 26])
def test_quotes_written_out_of_order_and_twice_by_several_end_at_the_newest(opened, size):
    writers, quotes = [opened(), opened()], shuffled(size)
    for turn, start in enumerate(range(0, len(quotes), size)):
        writers[turn % 2].write(quotes[start : start + size])
    assert opened().read() == NEWEST
    assert opened().read(["ON", "NONE", "ON"]) == NEWEST[2:]


def test_writers_at_the_same_time_end_at_the_newest(tmp_path):  # moto does not judge and write in one step
    path = tmp_path / "stream.sqlite"

    def write(seed: int) -> None:
        for quote in shuffled(seed):
            Sqlite(path).write([quote])

    Store(path).close()
    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Sqlite(path).read() == NEWEST


def test_a_version_that_writes_what_comes_last_is_found_out(aws):
    table = make_table()
    client = Session().client("dynamodb")
    put = client.put_item
    client.put_item = lambda TableName, Item, **condition: put(TableName=TableName, Item=Item)
    session = Session()
    session._clients["dynamodb"] = client
    for quote in QUOTES:
        DynamoDb(table, session).write([quote])
    assert DynamoDb(table).read() != NEWEST


def test_hundreds_of_symbols_are_written_and_read(opened):
    quotes = [Quote(f"S{k:04}", k + 1, 1, 5, 6, 1) for k in range(130)]
    opened().write(quotes)
    assert opened().read() == quotes
    assert opened().read([quote.symbol for quote in quotes]) == quotes


def test_an_item_that_lambda_wrote_is_read_and_a_newer_quote_replaces_it(aws):
    place = DynamoDb(table := make_table())
    lambda_s = quote_write(Tick("AAPL", 5, 1, 50, "", 0), 51, sequence="0" * 56)
    Session().client("dynamodb").put_item(TableName=table, **lambda_s)
    assert place.read() == [Quote("AAPL", 5, 1, 50, 51, 0)]
    place.write([Quote("AAPL", 6, 1, 49, 52, 9)])
    assert place.read()[0].price == 5
    place.write([Quote("AAPL", 7, 1, 51, 52, 10)])
    assert place.read() == [Quote("AAPL", 7, 1, 51, 52, 10)]


def test_copies_bring_what_changed_and_all_of_it_again_after_a_failure(tmp_path):
    store = Store(tmp_path / "stream.sqlite")
    store.commit(Batch(quotes=QUOTES))

    class Place:
        def __init__(self):
            self.written, self.down = [], True

        def write(self, quotes):
            if self.down:
                raise StreamError("gone")
            self.written.append(list(quotes))

    place = Place()
    copies = Copies(place)
    with pytest.raises(StreamError):
        copies.bring(store)
    place.down = False
    assert [copies.bring(store), copies.bring(store)] == [3, 0]
    store.commit(Batch(quotes=[newer := Quote("ON", 7, 7, 54, 110, 8)]))
    assert copies.bring(store) == 1
    assert place.written == [NEWEST, [newer]]


def test_a_table_that_is_not_there_and_aws_that_is_not_are_told_with_the_way_out(aws, monkeypatch):
    with pytest.raises(StreamError, match=r"nowhere.*ResourceNotFoundException.*`symbol` as its partition key"):
        DynamoDb("nowhere").write(NEWEST)
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(StreamError, match="set AWS_REGION"):
        DynamoDb("nowhere").read()


@pytest.mark.parametrize("name", ["", "sqlite:x", "dynamodb", "dynamodb:", "dynamodb:a/b", "dinamodb:quotes"])
def test_a_place_that_cannot_be_is_refused(tmp_path, name):
    with pytest.raises(ParamError, match="quotes: "):
        open_quotes(name, tmp_path / "stream.sqlite")
