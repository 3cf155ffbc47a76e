"""A lake on S3: the store is a file of this machine, and made anew from the lake where that machine is gone."""

from __future__ import annotations

import threading

import pytest

import stockkit
from stockkit.stream import setup
from stockkit.stream.bus.memory import Memory
from stockkit.stream.reports import Report
from tests.aws import environment
from tests.conftest import ROOT
from tests.stream.running import assert_signals_of_ticks, assert_ticks_once, simulated, wait_for


def test_a_store_that_is_gone_is_made_anew_from_a_lake_on_s3_and_goes_on_exactly(
    seaweed_address: str, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    environment(seaweed_address, monkeypatch)
    messages, bus, address = simulated(60), Memory(2), "s3://lake/stream"
    parameters = setup.Parameters(lake=address, bus="memory", state=str(tmp_path / "state.sqlite"), flush=0.2)
    half = len(messages) // 2
    lake = stockkit.open_lake(address)
    for part in (messages[:half], messages[half:]):
        service = setup.open_service(parameters, root=ROOT)
        service.bus, service.produce = bus, None
        reports: list[Report] = []
        thread = threading.Thread(target=service.run, args=(reports.append,))
        thread.start()
        assert bus.producer().send(part) == []
        wait_for(lambda: not any(bus.records), lambda: str(bus.records))  # the bus is told last
        service.stop.set()
        thread.join()
        for name in tmp_path.glob("state.sqlite*"):
            name.unlink()
    assert_ticks_once(lake, messages)
    assert_signals_of_ticks(lake)
    assert len(lake.read("signals")) == len(lake.read("signals").drop_duplicates("id"))
