from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cloud.lambdas.services import Amazon, Memory


@pytest.fixture(params=["server", "memory"])
def services(request: pytest.FixtureRequest) -> Iterator[Amazon | Memory]:
    """What the functions store in, and send to: a server of AWS's interface; and the proof's doubles of it."""
    if request.param == "server":
        request.getfixturevalue("aws")
    made = Amazon() if request.param == "server" else Memory()
    yield made
    made.close()
