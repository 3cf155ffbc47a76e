"""`trend`: states, signals and alerts, each once, whatever goes wrong between two calls."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError

from stockkit import aws
from stockkit.cloud.lambdas import trend
from stockkit.cloud.lambdas.outbox import LEASE
from stockkit.cloud.lambdas.proof.doubles import refusal
from stockkit.cloud.lambdas.settings import Settings
from stockkit.market.signals import Rule, SymbolState
from tests.cloud.lambdas.services import BUCKET, FIRST, NOW, Planted, body_of, event, key, signal_id, tick

PRICES = [3, 2, 4, 1, 1, 5]  # with averages of 1 and 2: down, up, down, -, up
GONE = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")


class Clock:
    def __init__(self):
        self.time = NOW

    def __call__(self):
        return self.time


def function(services, clock=None, **planted):
    chosen = Settings(Rule(1, 2, gap=0), None, BUCKET, "", "states", "outbox", services.topic)
    clients = {name: services.client(name) for name in ("dynamodb", "sns", "s3")} | planted
    return trend.make(chosen, clients.get, clock or Clock(), lambda seconds: None)


def ticks(prices=PRICES, symbol="A", first=0):
    return [tick(symbol, price, first + number) for number, price in enumerate(prices)]


def succeeded(answer):
    return answer == {"batchItemFailures": []}


def failed_at(answer):
    (item,) = answer["batchItemFailures"]
    return int(item["itemIdentifier"]) - FIRST


def lost(call):
    """The service acts and the answer is lost."""
    call()
    raise GONE


def refused(call):
    raise refusal("ThrottlingException")


def test_a_batch_gives_a_state_a_quote_and_each_alert_once_with_its_id(services):
    assert succeeded(function(services).handle(event(ticks())))
    item = services.item("states", "A")
    assert (item["price"]["N"], item["number"]["N"], item["version"]["N"]) == ("5000000", "6", "1")
    assert item["last_sequence"]["S"] == str(FIRST + 5)
    messages = services.messages()
    assert [name for name, _ in messages] == [signal_id(2), signal_id(3), signal_id(5)]
    assert all(body["id"] == name for name, body in messages)
    assert [(body["symbol"], body["side"], body["price"]) for _, body in messages] == [
        ("A", "buy", 4.0), ("A", "sell", 1.0), ("A", "buy", 5.0),
    ]  # fmt: skip
    assert "sent_at" in services.item("outbox", signal_id(2))
    assert "waiting" not in services.item("outbox", signal_id(2))


def test_a_batch_that_comes_again_alone_or_with_new_records_changes_nothing_of_what_is_known(services):
    records = ticks()
    function(services).handle(event(records[:4]))
    services.messages()
    function(services).handle(event(records[:4]))
    assert services.messages() == []
    function(services).handle(event(records[1:], first=1))
    assert [name for name, _ in services.messages()] == [signal_id(5)]
    assert services.item("states", "A")["number"]["N"] == "6"


def test_batches_of_any_size_give_the_signals_of_one_state_tick_by_tick(services):
    prices = [1 + (number * 7) % 11 for number in range(30)]
    state, expected = SymbolState("A", Rule(1, 2, gap=0)), []
    for number, price in enumerate(prices):
        expected += [signal_id(number)] if state.crossing.step(price * 10**6, NOW + number) else []
    for start in range(0, 30, 7):
        part = ticks(prices)[start : start + 7]
        assert succeeded(function(services).handle(event(part, first=start)))
    assert [name for name, _ in services.messages()] == expected


def test_more_alerts_of_a_symbol_than_a_transaction_takes_go_into_the_next_one(services, monkeypatch):
    assert trend.MOST_ALERTS == 99
    monkeypatch.setattr(trend, "MOST_ALERTS", 9)
    assert succeeded(function(services).handle(event(ticks([1, 2] * 11))))
    names = [name for name, _ in services.messages()]
    assert sorted(names) == sorted(signal_id(place) for place in range(2, 22))
    assert services.item("states", "A")["version"]["N"] == "3"


def test_more_symbols_than_one_read_takes(services, monkeypatch):
    assert aws.KEYS == 100
    monkeypatch.setattr(aws, "KEYS", 5)
    records = [record for number in range(12) for record in ticks([1], f"S{number}", number)]
    for _ in range(2):
        assert succeeded(function(services).handle(event(records)))
    assert services.item("states", "S11")["number"]["N"] == "1"


def test_keys_that_were_left_unprocessed_are_read_again(services):
    function(services).handle(event(ticks(PRICES[:3])))

    def in_part(call):
        asked = {"states": {"Keys": [{"symbol": {"S": "A"}}], "ConsistentRead": True}}
        return {"Responses": {}, "UnprocessedKeys": asked}

    made = function(services, dynamodb=Planted(services.client("dynamodb"), "batch_get_item", in_part))
    assert succeeded(made.handle(event(ticks())))
    assert services.item("states", "A")["number"]["N"] == "6"


def test_where_another_invocation_was_faster_it_goes_on_from_its_state(services):
    def beaten(call):
        function(services).handle(event(ticks(PRICES[:3])))
        return call()

    made = function(services, dynamodb=Planted(services.client("dynamodb"), "transact_write_items", beaten))
    assert succeeded(made.handle(event(ticks())))
    assert [name for name, _ in services.messages()] == [signal_id(2), signal_id(3), signal_id(5)]
    item = services.item("states", "A")
    assert (item["number"]["N"], item["version"]["N"]) == ("6", "2")


def test_a_lost_answer_doubles_nothing_and_its_alerts_go_out_after_their_lease(services):
    clock = Clock()
    made = function(services, clock, dynamodb=Planted(services.client("dynamodb"), "transact_write_items", lost))
    assert failed_at(made.handle(event(ticks()))) == 0
    assert succeeded(made.handle(event(ticks())))
    assert services.messages() == []
    clock.time += LEASE + 1
    assert made.outbox.publish_waiting() == 3
    assert made.outbox.publish_waiting() == 0
    assert sorted(name for name, _ in services.messages()) == [signal_id(2), signal_id(3), signal_id(5)]
    assert services.item("states", "A")["number"]["N"] == "6"


def test_what_sns_did_not_take_waits_and_the_batch_is_done(services):
    clock = Clock()
    made = function(services, clock, sns=Planted(services.client("sns"), "publish_batch", refused))
    assert succeeded(made.handle(event(ticks())))
    assert services.messages() == []
    clock.time += LEASE + 1
    assert succeeded(made.handle(event(ticks([5], first=6), first=6)))
    assert len(services.messages()) == 3


def test_an_end_between_sending_and_marking_sends_again_with_the_same_id(services):
    clock = Clock()
    made = function(services, clock, dynamodb=Planted(services.client("dynamodb"), "update_item", refused))
    assert succeeded(made.handle(event(ticks(PRICES[:3]))))
    clock.time += LEASE + 1
    assert made.outbox.publish_waiting() == 1
    assert [name for name, _ in services.messages()] == [signal_id(2)] * 2


def test_of_two_that_find_a_waiting_alert_one_sends_it(services):
    clock = Clock()
    function(services, clock, sns=Planted(services.client("sns"), "publish_batch", refused)).handle(event(ticks()))
    clock.time += LEASE + 1
    other = function(services, clock)

    def beaten(call):
        assert other.outbox.publish_waiting() == 3
        return call()

    made = function(services, clock, dynamodb=Planted(services.client("dynamodb"), "update_item", beaten))
    assert made.outbox.publish_waiting() == 0
    assert len(services.messages()) == 3


@pytest.mark.parametrize("error", [refusal("ThrottlingException"), GONE, refusal("AccessDeniedException")])
@pytest.mark.parametrize("call", ["batch_get_item", "transact_write_items"])
def test_a_failure_of_dynamodb_names_the_first_record_to_retry(services, error, call):
    def fails(call):
        raise error

    records = [b"poison", *ticks([1], "B"), *ticks([2], "A", 2)]
    made = function(services, dynamodb=Planted(services.client("dynamodb"), call, fails))
    assert failed_at(made.handle(event(records))) == 1
    assert succeeded(made.handle(event(records[1:], first=1)))
    assert {services.item("states", symbol)["number"]["N"] for symbol in "AB"} == {"1"}


def test_a_refused_transaction_for_want_of_capacity_is_a_failure_and_a_conflict_is_tried_again(services):
    def cancelled(code):
        def instead(call):
            raise refusal("TransactionCanceledException", [code, "None"])

        return Planted(services.client("dynamodb"), "transact_write_items", instead)

    assert failed_at(function(services, dynamodb=cancelled("ThrottlingError")).handle(event(ticks()))) == 0
    assert succeeded(function(services, dynamodb=cancelled("TransactionConflict")).handle(event(ticks())))
    assert len(services.messages()) == 3


def test_an_error_that_no_retry_changes_goes_up(services):
    def wrong(call):
        raise refusal("ValidationException")

    made = function(services, dynamodb=Planted(services.client("dynamodb"), "transact_write_items", wrong))
    with pytest.raises(Exception, match="ValidationException"):
        made.handle(event(ticks()))
    with pytest.raises(KeyError):
        made.handle({"no": "records"})


def test_a_poison_record_in_the_middle_is_a_dead_letter_and_the_rest_goes_through(services):
    records = ticks()
    records.insert(3, b"\x00poison")
    for _ in range(2):
        assert succeeded(function(services).handle(event(records)))
    assert list(services.letters()) == [key(3)]
    letter = services.letters()[key(3)]
    assert (body_of(letter), letter["reason"], letter["offset"]) == (b"\x00poison", "not JSON", str(FIRST + 3))
    assert len(services.messages()) == 3


def test_a_tick_in_a_gap_that_was_given_up_is_a_dead_letter(services):
    sparse = [tick("A", 1, number) for number in range(0, 300, 2)]
    assert succeeded(function(services).handle(event([*sparse, tick("A", 2, 1)])))
    assert services.letters()[key(150)]["reason"] == "too late"
    assert services.item("states", "A")["number"]["N"] == "150"


def test_a_dead_letter_that_cannot_be_stored_is_retried(services):
    made = function(services, s3=Planted(services.client("s3"), "put_object", refused))
    records = [*ticks(PRICES[:2]), b"poison", *ticks(PRICES[2:], first=2)]
    assert failed_at(made.handle(event(records))) == 2
    assert succeeded(made.handle(event(records[2:], first=2)))
    assert list(services.letters()) == [key(2)]
    assert services.item("states", "A")["number"]["N"] == "6"


def test_an_outbox_that_knows_an_alert_already_keeps_it_as_it_is(services):
    function(services).handle(event(ticks()))
    services.messages()
    dynamodb = services.client("dynamodb")
    if hasattr(dynamodb, "tables"):
        dynamodb.tables["states"].clear()
    else:
        dynamodb.delete_item(TableName="states", Key={"symbol": {"S": "A"}})
    assert succeeded(function(services).handle(event(ticks())))
    assert services.item("states", "A")["number"]["N"] == "6"
    assert "sent_at" in services.item("outbox", signal_id(2))
    assert services.messages() == []
