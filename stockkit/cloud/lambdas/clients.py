"""The functions' clients of AWS: they give a service up long before Lambda would end the function."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from stockkit import aws

CONNECT, ANSWER = 2.0, 5.0  # seconds
ATTEMPTS = 3


def clients() -> Callable[[str], Any]:
    """A function that makes the client of a service, the same one each time.

    A service that does not answer is given up after `ATTEMPTS` times both waits and some pauses; the batch's answer
    then names what is left, where a function that ran out of its time would tell nothing.
    """
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT, read_timeout=ANSWER, retries={"mode": "standard", "total_max_attempts": ATTEMPTS}
    )
    session = aws.Session()
    return cache(lambda service: session.boto3_session.client(service, config=config))
