"""`transform`: the newest quote of each symbol, and what is no tick among the dead letters."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError

from stockkit.cloud.lambdas import transform
from stockkit.cloud.lambdas.proof.doubles import refusal
from stockkit.cloud.lambdas.settings import Settings
from stockkit.market.signals import Rule
from tests.cloud.lambdas.services import BUCKET, FIRST, NOW, SECOND, Planted, body_of, event, key, tick


def function(services, symbols=None, **planted):
    chosen = Settings(Rule(), symbols, BUCKET, "quotes")
    clients = {name: services.client(name) for name in ("dynamodb", "s3")} | planted
    return transform.make(chosen, clients.get)


def price(services, symbol="A"):
    return int(services.item("quotes", symbol)["price"]["N"]) / 1e6


def failed_at(answer):
    (item,) = answer["batchItemFailures"]
    return int(item["itemIdentifier"]) - FIRST


def test_a_quote_is_that_of_the_newest_event_and_of_equal_ones_that_which_came_later(services):
    made = function(services)
    made.handle(event([tick("A", 1, 1), tick("A", 3, 3), tick("A", 2, 2)]))
    assert price(services) == 3
    made.handle(event([tick("A", 9, 2)], first=3))
    assert price(services) == 3
    made.handle(event([tick("A", 4, 4, event_time=NOW + 3 * SECOND)], first=4))
    assert price(services) == 4
    made.handle(event([tick("A", 3, 3)], first=1))
    assert price(services) == 4
    item = services.item("quotes", "A")
    assert (item["sequence"]["S"], item["arrival"]["N"]) == (str(FIRST + 4), str(NOW + 3_600 * SECOND))


def test_a_poison_record_in_the_middle_is_stored_once_and_counts_as_done(services):
    records = [tick("A", 1, 1), b"\xff", tick("B", 2, 2), tick("C", 3, 3)]
    made = function(services, frozenset({"A", "B"}))
    for _ in range(2):
        assert made.handle(event(records)) == {"batchItemFailures": []}
    assert {name: letter["reason"] for name, letter in services.letters().items()} == {
        key(1): "not JSON", key(3): "unknown symbol",
    }  # fmt: skip
    assert body_of(services.letters()[key(1)]) == b"\xff"
    assert price(services, "B") == 2


@pytest.mark.parametrize(
    "error", [refusal("ProvisionedThroughputExceededException"), EndpointConnectionError(endpoint_url="http://x")]
)
def test_a_failure_of_a_service_names_the_first_record_to_retry(services, error):
    def fails(call):
        raise error

    records = [tick("A", 1, 1), b"\xff", tick("B", 2, 2)]
    made = function(services, dynamodb=Planted(services.client("dynamodb"), "put_item", fails))
    assert failed_at(made.handle(event(records))) == 0
    made = function(services, s3=Planted(services.client("s3"), "put_object", fails))
    assert failed_at(made.handle(event(records))) == 1
    assert made.handle(event(records[1:], first=1)) == {"batchItemFailures": []}
    assert (price(services), price(services, "B")) == (1, 2)
    assert list(services.letters()) == [key(1)]


def test_an_error_that_no_retry_changes_goes_up(services):
    def fails(call):
        raise refusal("ValidationException")

    made = function(services, dynamodb=Planted(services.client("dynamodb"), "put_item", fails))
    with pytest.raises(Exception, match="ValidationException"):
        made.handle(event([tick("A", 1, 1)]))


def test_a_tick_is_judged_by_its_own_arrival_whenever_it_is_read(services):
    early, late = event([tick("A", 1, 90)], arrival=NOW), event([tick("B", 1, 90)], 1, arrival=NOW + 90 * SECOND)
    function(services).handle({"Records": early["Records"] + late["Records"]})
    assert services.letters()[key(0)]["reason"] == "from the future"
    assert price(services, "B") == 1
