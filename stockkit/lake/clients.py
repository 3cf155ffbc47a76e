"""What the lake needs of AWS, handed in from outside: the lake itself makes no session and no client.

``open_lake(…, session=…)`` takes one; a notebook that calls ``open_lake("s3://…")`` and nothing else gets the one
that `stockkit/__init__.py`, where the package is put together, registered with `connect_with`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from stockkit.errors import LakeError


class Clients(Protocol):
    """An AWS session, as `stockkit.cloud.session.Session` is one."""

    @property
    def boto3_session(self) -> Any:
        """The boto3 session, for awswrangler."""

    def client(self, service: str) -> Any:
        """A boto3 client, the same one each time."""

    def endpoint(self, service: str) -> str | None:
        """The address of a service when it is not AWS's own."""

    def storage_options(self) -> dict[str, str]:
        """What deltalake needs to reach S3, with credentials that are valid now."""


_factory: list[Callable[[], Clients]] = []


def connect_with(factory: Callable[[], Clients]) -> None:
    """Register who makes the AWS session of a lake that was given none; called when one is needed, not now."""
    _factory[:] = [factory]


def connect() -> Clients:
    """The AWS session of the environment.

    Raises:
        LakeError: no factory is registered, or there are no credentials or no region.
    """
    if not _factory:
        raise LakeError(
            "an s3:// lake needs an AWS session: give open_lake(…, session=stockkit.cloud.session.Session())."
        )
    return _factory[0]()
