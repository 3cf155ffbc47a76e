"""The path from producer to lake over Kafka and Kinesis: what a bus without an end asks of the service."""

from __future__ import annotations

import pytest

import stockkit
from stockkit.stream.bus import open_bus
from tests.stream.test_service import MESSAGES, TICKS, sending, service


@pytest.mark.parametrize("name", ["kafka", "kinesis"])
def test_a_run_over_a_broker_ends_after_everything_was_read_and_a_second_one_adds_nothing(name, request, tmp_path):
    bus = open_bus(request.getfixturevalue(name))
    first = service(tmp_path, bus, sending(bus)).run()
    assert (first.counts["ticks"], first.trouble) == (len(TICKS), {})
    second = service(tmp_path, bus, sending(bus, MESSAGES[:100])).run()
    assert (second.counts["ticks"], second.counts["duplicates"]) == (0, 100)
    lake = stockkit.open_lake(str(tmp_path / "lake"))
    assert len(lake.read("ticks")) == len(TICKS)
    assert first.counts["signals"] + second.counts["signals"] == len(lake.read("signals")) > 20
