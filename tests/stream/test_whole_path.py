"""From a producer over a real broker to the lake, in processes that come late, are killed, and are started anew."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence

import stockkit
from stockkit.stream.bus import open_bus
from stockkit.stream.store import Store
from tests.stream.conftest import broker_process, point_to_kafka, wait_for_topic
from tests.stream.running import Running, assert_exact, services, simulated, wait_for

PARTITIONS = 5  # in which the symbols of the sample come to lie with both of two consumers


def committed(bus: str, address: str) -> dict[str, int]:
    """The last offset that the group has committed of each partition."""
    from confluent_kafka import Consumer, TopicPartition

    reader = Consumer({"bootstrap.servers": address, "group.id": "stockkit", "log_level": 0})
    topic = bus.partition(":")[2]
    offsets = reader.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=10)
    reader.close()
    return {f"{bus}/{one.partition}": one.offset - 1 for one in offsets if one.offset > 0}


def warnings(*runs: Running) -> list[str]:
    """What the services warned of."""
    return [
        line for run in runs for line in run.log_lines if line.startswith(("WARNING", "ERROR", "Traceback", "CRITICAL"))
    ]


def has_partitions(run: Running) -> bool:
    """Whether it was given a share of the topic."""
    return any("partitions given" in line and "starts={}" not in line for line in run.log_lines)


def test_two_consumers_share_a_topic_one_late_one_killed_the_broker_away_everything_restarted(tmp_path, monkeypatch):
    messages, part = simulated(), []
    size = -(-len(messages) // 6)
    with broker_process() as (address, broker), services(tmp_path) as start:
        point_to_kafka(address, monkeypatch)
        monkeypatch.setenv("STOCKKIT_KAFKA_SESSION_TIMEOUT_MS", "3000")
        wait_for_topic(address, "ticks", partitions=PARTITIONS)
        bus = "kafka:ticks"
        producer = open_bus(bus).producer()
        about = {"lake": "lake", "bus": bus, "producer": "", "alerts": ["console"], "flush": 0.3}
        store_path = tmp_path / "lake" / "stream.sqlite"

        def send(number: int) -> None:
            """Put a sixth of the messages on the topic, a few at a time."""
            chunk = messages[number * size : (number + 1) * size]
            for at in range(0, len(chunk), 50):
                assert producer.send(chunk[at : at + 50]) == []
                time.sleep(0.01)
            part.append(number)

        def records() -> int:
            return Store(store_path).counts()["records"]

        def all_read(runs: Sequence[Running]) -> None:
            sent = min(len(part) * size, len(messages))
            wait_for(lambda: records() == sent, lambda: f"{records()} of {sent}, {[run.log_lines for run in runs]}")

        first = start(**about)
        send(0)
        first.wait(lambda run: run.report[0].get("records", 0) > 0)
        late = start(**about)
        send(1)
        late.wait(has_partitions)
        beside = threading.Thread(target=send, args=(2,))
        beside.start()
        time.sleep(0.1)
        late.process.kill()  # -9, while records come
        beside.join()
        all_read([first])
        broker.send_signal(signal.SIGSTOP)
        beside = threading.Thread(target=send, args=(3,))
        beside.start()
        time.sleep(3.0)  # the broker is away: longer than the group has patience
        broker.send_signal(signal.SIGCONT)
        beside.join()
        all_read([first])
        assert first.end() == 130
        again = start(**about)
        send(4)
        send(5)
        all_read([again])
        assert again.end() == 130
        store = Store(store_path)
        names = [f"{bus}/{number}" for number in range(PARTITIONS)]
        offsets = {name: last for name in names if (last := store.last_offset(name)) is not None}
        assert committed(bus, address) == offsets  # nothing lags
        assert_exact(stockkit.open_lake(str(tmp_path / "lake")), store, messages)
        away = ("event=trouble where=bus", "event=recovered where=bus", "event=fenced", "brokers away", "brokers back")
        assert [line for line in warnings(first, late, again) if not line.split(" ", 1)[1].startswith(away)] == []
        producer.close()
