"""The functions come to what the pipeline of one process comes to over the same records."""

from __future__ import annotations

import json

from stockkit.cloud.lambdas import transform, trend
from stockkit.cloud.lambdas.settings import Settings
from stockkit.market.signals import Rule
from stockkit.stream.bus.protocol import Record
from stockkit.stream.pipeline import Pipeline, Step
from stockkit.stream.proof.event_source import Sent, kinesis_event
from stockkit.stream.store import Store
from tests.cloud.lambdas.services import BUCKET, FIRST, SHARD, Memory
from tests.stream.ticking import NOW, disturbed, walk


def test_the_same_records_give_the_same_alerts_quotes_and_rejects(tmp_path):
    bodies = disturbed(walk(2_000))
    store = Store(tmp_path / "stream.sqlite")
    rule = Rule(3, 7)
    pipeline = Pipeline(store, Step(rule=rule, channels=("console",)))
    pipeline.take(
        [Record(f"kinesis:ticks/{SHARD}", FIRST + place, body, NOW) for place, body in enumerate(bodies)], NOW
    )

    services = Memory()
    chosen = Settings(rule, None, BUCKET, "quotes", "states", "outbox", services.topic)
    functions = [transform.make(chosen, services.client), trend.make(chosen, services.client, lambda: NOW)]
    for start in range(0, len(bodies), 300):
        sent = [Sent(FIRST + start + place, "", body, NOW) for place, body in enumerate(bodies[start : start + 300])]
        for function in functions:
            assert function.handle(kinesis_event("ticks", SHARD, sent)) == {"batchItemFailures": []}

    alerts = {alert.id: json.loads(alert.body) for alert in store.waiting("console", NOW, 10_000)}
    assert len(alerts) > 100
    assert dict(services.messages()) == alerts
    for quote in store.quotes():
        item = services.item("quotes", quote.symbol)
        assert [int(item[name]["N"]) for name in ("price", "size", "event_time", "arrival")] == [*quote[1:5]]
    assert len(services.letters()) == store.counts()["rejects"] > 0
