"""What the tests of alerts share: an empty store, and calls that are not cut short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stockkit.stream.alerts import delivery
from stockkit.stream.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "stream.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call comes back when it is done, however busy the machine is."""
    monkeypatch.setattr(delivery, "TURN", 600.0)
