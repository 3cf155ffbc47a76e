"""What a service does with channels that take nothing, and with quotes that are kept in two places."""

from __future__ import annotations

import json

import stockkit
from stockkit.aws import Session
from stockkit.market.signals import Rule
from stockkit.stream import alerts, quotes
from stockkit.stream.alerts import webhook
from stockkit.stream.bus.memory import Memory
from stockkit.stream.pipeline import Step
from stockkit.stream.service import Service
from stockkit.stream.store import Store
from tests.stream.alerts.receiver import LATE, receiver
from tests.stream.test_quotes import make_table
from tests.stream.test_service import TICKS, sending


def service(folder, channels, **options):
    bus = Memory(1)
    return Service(
        stockkit.open_lake(str(folder / "lake")), lambda: Store(folder / "stream.sqlite"), bus,
        Step(Rule(3, 8), channels=tuple(channels)), sending(bus), alerts.open_notifiers(channels, folder), **options,
    )  # fmt: skip


def test_a_receiver_that_never_answers_holds_up_no_other_channel_and_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(webhook, "ANSWER", 0.5)
    with receiver() as hook:
        hook.days = [LATE] * 100
        report = service(tmp_path, ["file:alerts.jsonl", channel := f"webhook:{hook.address}/key"]).run()
    store = Store(tmp_path / "stream.sqlite")
    ids = [json.loads(line)["id"] for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert ids == [signal.id for signal in store.signals(10**6)][::-1]
    assert report.sent == len(ids) > 20
    assert store.alert_counts() == {"sent": len(ids), "waiting": len(ids)}
    assert report.trouble == {f"alerts to {alerts.shown(channel)}": "127.0.0.1 did not answer within 0.5 s."}


def test_the_newest_quotes_of_a_service_are_in_a_table_as_well(tmp_path, aws):
    place = quotes.DynamoDb(make_table())
    report = service(tmp_path, [], copies=quotes.Copies(place)).run()
    assert report.trouble == {}
    assert place.read() == Store(tmp_path / "stream.sqlite").quotes()
    assert len(place.read()) == len({tick.symbol for tick in TICKS})


def test_a_table_that_goes_away_is_named_and_stops_nothing(tmp_path, aws):
    table = make_table()
    Session().client("dynamodb").delete_table(TableName=table)
    report = service(tmp_path, [], copies=quotes.Copies(quotes.DynamoDb(table))).run()
    assert report.counts["ticks"] == len(TICKS)
    assert "ResourceNotFoundException" in report.trouble["quotes"]
