"""The event source does what the Lambda Developer Guide says of a Kinesis mapping."""

from __future__ import annotations

import base64
from itertools import chain
from random import Random

import pytest

from stockkit.stream.proof.event_source import Crash, EventSource, Sent, Shard, first_failed, kinesis_event


def shard(name="shardId-0", first=1, count=6, parents=()):
    return Shard(name, [Sent(number, "A", str(number).encode()) for number in range(first, first + count)], parents)


def numbers(event):
    return [int(base64.b64decode(record["kinesis"]["data"])) for record in event["Records"]]


def batches(source, *answers):
    """The batches that a function gets which answers this, one after the other, and succeeds after that."""
    seen, left = [], list(answers)

    def handler(event):
        seen.append(numbers(event))
        answer = left.pop(0) if left else None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    source.run(handler)
    return seen


def one_batch(**settings):
    """A source whose first batch has all six records."""
    for seed in range(1_000):
        if _first_size(seed) == 6:
            return EventSource([shard()], Random(seed), batch_size=6, **settings)
    raise AssertionError


def _first_size(seed):
    rng = Random(seed)
    rng.choice([0])
    return rng.randint(1, 6)


def failure(number):
    return {"batchItemFailures": [{"itemIdentifier": number}]}


def test_the_records_of_a_shard_come_in_order_in_batches_up_to_the_size():
    seen = batches(EventSource([shard(count=100)], Random(0), batch_size=7))
    assert list(chain(*seen)) == list(range(1, 101))
    assert {len(batch) for batch in seen} >= {1, 7}
    assert max(map(len, seen)) == 7


def test_the_batch_is_retried_from_the_lowest_number_that_was_reported():
    assert batches(one_batch(), failure("3")) == [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6]]
    lowest = {"batchItemFailures": [{"itemIdentifier": "5"}, {"itemIdentifier": "2"}]}
    assert batches(one_batch(), lowest) == [[1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6]]


def test_a_function_that_fails_gets_all_of_the_batch_again_or_halves_of_it():
    batch = [1, 2, 3, 4, 5, 6]
    assert batches(one_batch(), ValueError()) == [batch, batch]
    assert batches(one_batch(), Crash()) == [batch, batch]
    assert batches(one_batch(bisect=True), ValueError(), ValueError()) == [batch, [1, 2, 3], [1], [2, 3], [4, 5, 6]]


def test_what_fails_too_often_goes_to_the_destination_and_the_rest_goes_on():
    given_up = []
    source = one_batch(retries=2, bisect=True, on_failure=lambda name, records: given_up.extend(records))

    def handler(event):
        if 4 in numbers(event):
            raise ValueError

    source.run(handler)
    assert [record.sequence for record in given_up] == [4]


def test_children_of_a_shard_come_after_it():
    family = [shard("b", 7, 6, parents=["a"]), shard("a"), shard("c", 13, 6, parents=["b"])]
    for seed in range(20):
        seen = batches(EventSource(family, Random(seed), batch_size=4))
        assert list(chain(*seen)) == list(range(1, 19))


def test_batches_that_had_succeeded_come_again_and_shards_mix():
    source = EventSource([shard("a"), shard("b", 101)], Random(3), batch_size=2, duplicates=0.5)
    seen = list(chain(*batches(source)))
    assert len(seen) > 12
    assert set(seen) == {*range(1, 7), *range(101, 107)}
    assert seen != sorted(seen)


def test_an_invocation_beside_another_one_has_the_same_records_or_another_shards():
    beside = set()
    for seed in range(20):
        source = EventSource([shard("a"), shard("b", 101)], Random(seed), batch_size=6)
        first = []

        def handler(event, source=source, first=first):
            if not first:
                first.extend(numbers(event))
                source.beside(lambda other: beside.add(numbers(other) == first))

        source.run(handler)
    assert beside == {True, False}


@pytest.mark.parametrize(
    ("answer", "failed"),
    [(None, None), ({}, None), ({"batchItemFailures": []}, None), ({"batchItemFailures": None}, None),
     (failure(""), 0), (failure(None), 0), ({"batchItemFailures": [{"wrong": "3"}]}, 0), (failure("3"), 2)],
)  # fmt: skip
def test_answers_mean_what_the_guide_says(answer, failed):
    assert first_failed(answer, shard().records) == failed


def test_an_event_looks_like_lambdas():
    [record] = kinesis_event("ticks", "shardId-000000000006", [Sent(7, "A", b"body", 1_545_084_650_987_000)])["Records"]
    assert record["eventID"] == "shardId-000000000006:7"
    assert record["eventSourceARN"].endswith(":stream/ticks")
    assert record["kinesis"]["approximateArrivalTimestamp"] == 1_545_084_650.987
    assert base64.b64decode(record["kinesis"]["data"]) == b"body"
