"""The only place that makes boto3 sessions and clients.

Where the services are comes from the standard environment (``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_S3``, …),
who asks from boto3's usual chain: environment, profile, container or instance role.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stockkit.errors import LakeError, StreamError

KEYS = 100  # of a BatchGetItem
TRIES = 6  # of a BatchGetItem that leaves keys over


@dataclass(frozen=True)
class Session:
    """An AWS session; clients are made when they are first asked for, and kept.

    Args:
        profile: a profile of ``~/.aws/config``; None for ``AWS_PROFILE`` or the default.
        region: None for ``AWS_REGION``, ``AWS_DEFAULT_REGION`` or the profile's.
        patience: seconds that a request may wait to connect, and for the next bytes of an answer; it is then not tried
            again. None for boto3's minute, and up to five tries.
    """

    profile: str | None = None
    region: str | None = None
    patience: float | None = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def boto3_session(self) -> Any:
        """The boto3 session.

        Raises:
            LakeError: no such profile, or no region is set.
        """
        import boto3
        from botocore.exceptions import BotoCoreError

        try:
            made = boto3.Session(
                profile_name=self.profile, region_name=self.region or os.environ.get("AWS_REGION") or None
            )
        except BotoCoreError as error:
            raise LakeError(f"no AWS session: {error}. Name a profile of ~/.aws/config in AWS_PROFILE.") from error
        if not made.region_name:
            raise LakeError("no AWS region is set: set AWS_REGION, as in AWS_REGION=eu-central-1.")
        return made

    def client(self, service: str) -> Any:
        """A boto3 client of `service`, the same one each time; it retries throttling by itself."""
        from botocore.config import Config

        if service not in self._clients:
            config = Config(retries={"mode": "standard", "max_attempts": 5})
            if self.patience is not None:
                once = {"mode": "standard", "total_max_attempts": 1}
                config = Config(retries=once, connect_timeout=self.patience, read_timeout=self.patience)
            self._clients[service] = self.boto3_session.client(service, config=config)
        return self._clients[service]

    def impatient(self, seconds: float) -> Session:
        """The same session with clients of its own, whose requests wait at most so long and are tried once."""
        return Session(self.profile, self.region, seconds)

    def endpoint(self, service: str) -> str | None:
        """The address of a service where the environment or the profile names one, else None for AWS's own."""
        address = str(self.client(service).meta.endpoint_url)
        return None if address.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else address

    def storage_options(self) -> dict[str, str]:
        """What deltalake needs to reach S3: credentials valid now, region, address, and conditional puts.

        ``aws_conditional_put=etag`` makes a commit a put-if-absent, which is what keeps two writers apart.

        Raises:
            LakeError: boto3 finds no credentials.
        """
        credentials = self.boto3_session.get_credentials()
        if credentials is None:
            raise LakeError("no AWS credentials were found: run `aws configure`, or set AWS_PROFILE.")
        now = credentials.get_frozen_credentials()
        options = {
            "AWS_ACCESS_KEY_ID": now.access_key,
            "AWS_SECRET_ACCESS_KEY": now.secret_key,
            "AWS_REGION": self.boto3_session.region_name,
            "aws_conditional_put": "etag",
        }
        if now.token:
            options["AWS_SESSION_TOKEN"] = now.token
        if address := self.endpoint("s3"):
            options |= {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": str(address.startswith("http://")).lower()}
        return options


def batch_get(
    client: Any, table: str, symbols: Sequence[str], *, sleep: Callable[[float], None] = time.sleep
) -> Iterator[dict[str, Any]]:
    """The items of a table of DynamoDB whose key `symbol` is one of these, as they are at this moment.

    Args:
        client: of DynamoDB. symbols: each once. sleep: waits some seconds, where DynamoDB leaves some for later.

    Raises:
        StreamError: it leaves some over again and again.
    """
    for start in range(0, len(symbols), KEYS):
        keys = [{"symbol": {"S": symbol}} for symbol in symbols[start : start + KEYS]]
        asked: dict[str, Any] = {table: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(TRIES):
            answer = client.batch_get_item(RequestItems=asked)
            yield from answer["Responses"].get(table, ())
            asked = answer.get("UnprocessedKeys") or {}
            if not asked:
                break
            sleep(0.05 * 2**attempt)
        else:
            raise StreamError(f"DynamoDB left symbols of {table} unread {TRIES} times: give the table more capacity.")
