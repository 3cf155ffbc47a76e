"""Faults of the source that a run fetches from: it refuses, cuts its answers off, hangs up, is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.intake import alphavantage_server as av
from tests.workbook.faults.fault import Fault
from tests.workbook.faults.scene import Scene
from tests.workbook.faults.tables import OPEN

INGEST = """from stockkit import ingest
prices = ingest.clean_all(ingest.fetch(book, source, symbols)).prices
book.write('prices', prices, symbols=symbols)
hand_over(book)"""


def answering(*answers: av.Answer) -> Callable[[Scene], AbstractContextManager[object]]:
    """Alpha Vantage that answers so, the last answer for ever."""

    @contextmanager
    def around(scene: Scene) -> Iterator[None]:
        with av.Server(*answers) as server, pytest.MonkeyPatch.context() as patch:
            patch.setenv("STOCKKIT_ALPHAVANTAGE_URL", server.url)
            patch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", "planted-key-0123456789")
            patch.setenv("STOCKKIT_ALPHAVANTAGE_PER_SECOND", "0")
            yield

    return around


def source(name: str, says: str, *answers: av.Answer) -> Fault:
    """A fault of the source, whatever is asked of it."""
    parameters = 'source = "alphavantage"\nsymbols = ["IBM"]'
    return Fault(
        name, says, [OPEN, INGEST], around=answering(*answers), parameters=parameters, writes=["prices"],
        words=["-p", "retries=0"],
    )  # fmt: skip


SOURCES = [
    source("a source that has had its requests of the day", "IBM waits: alphavantage",
           av.json_of("Information", av.DAILY)),
    source("a source that throttles every request", "429", av.status(429)),
    source("a source that closes the connection in the middle", "complete message",
           av.cut_off_below_its_declared_length),
    source("a source that answers with a web page", "HTML", av.csv(b"<html><body>Sorry</body></html>")),
]  # fmt: skip
