"""Messages to a topic of Amazon SNS, at least once, under an id that stays the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from stockkit.aws import Session
from stockkit.errors import LakeError, ParamError
from stockkit.stream.alerts.notifier import Message, NotTaken, Taken, per_minute

TOPIC = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
NAME = re.compile(r"[!-~]{1,128}")  # what SNS takes as a group, or as an id of a message
CONNECT, ANSWER = 5.0, 10.0  # seconds
# refusals that may pass, though their status is that of a wrong request
PASSES = {"Throttling", "Throttled", "ThrottlingException", "KMSThrottling", "KMSThrottlingException",
          "RequestLimitExceeded", "TooManyRequestsException", "ExpiredToken", "ExpiredTokenException",
          "RequestExpired"}  # fmt: skip


class Sns:
    """Publishes a message as JSON, what it may be filtered by also as attributes of it.

    On a topic that ends in .fifo the id keeps SNS from delivering it twice within five minutes, and messages of a group
    stay in order.

    Args:
        topic: its ARN.
    """

    at_once = 1

    def __init__(self, topic: str) -> None:
        self.per_minute = per_minute()
        self.topic = topic
        self._taken = Taken()

    def send(self, alerts: Sequence[Message]) -> None:
        """See `notifier.Notifier`."""
        from botocore.exceptions import BotoCoreError, ClientError

        for place, alert in enumerate(alerts):
            if alert.id in self._taken:
                continue
            try:
                self._client.publish(**publication(self.topic, alert))
            except ClientError as error:
                raise _refusal(error, place) from error
            except (BotoCoreError, LakeError) as error:
                raise NotTaken(f"SNS cannot be reached: {error}", taken=place) from error
            self._taken.add(alert.id)

    @cached_property
    def _client(self) -> Any:
        """A client that tries once: the outbox does the rest."""
        from botocore.config import Config

        config = Config(connect_timeout=CONNECT, read_timeout=ANSWER, retries={"total_max_attempts": 1})
        region = self.topic.split(":")[3]
        return Session(region=region).boto3_session.client("sns", config=config)


def publication(topic: str, alert: Message) -> dict[str, Any]:
    """The arguments of Publish for a message."""
    texts = alert.attributes
    attributes = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
    request = {"TopicArn": topic, "Message": json.dumps(alert.message()), "MessageAttributes": attributes}
    if topic.endswith(".fifo"):
        request |= {"MessageDeduplicationId": _name(alert.id), "MessageGroupId": _name(alert.group)}
    return request


def _name(text: str) -> str:
    """The text where SNS takes it as a name, else its hash."""
    return text if NAME.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()


def _refusal(error: Any, place: int) -> NotTaken:
    """What SNS refused, and whether it may pass."""
    code = error.response.get("Error", {}).get("Code", "")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    passes = code in PASSES or not 400 <= status < 500
    passes = passes or status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    return NotTaken(f"SNS refused it: {error.response.get('Error', {}).get('Message', code)} ({code}).",
                    taken=place, for_good=not passes)  # fmt: skip


def open_sns(argument: str, root: Path) -> Sns:
    """The notifier of ``sns:TOPIC_ARN``.

    Raises:
        ParamError: it is no topic's ARN.
    """
    if not TOPIC.fullmatch(argument):
        raise ParamError(f"sns:{argument[:200]} names no topic: write sns:arn:aws:sns:REGION:ACCOUNT:NAME.")
    return Sns(argument)
