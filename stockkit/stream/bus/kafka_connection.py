"""How a topic of Kafka is reached: options, secrets in messages, and brokers that are away and back."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from stockkit.errors import ParamError, StreamError

BROKERS = "KAFKA_BOOTSTRAP_SERVERS"
PREFIX = "STOCKKIT_KAFKA_"
PATIENCE = 30.0  # seconds that no broker may answer before it is an error
SLICE = 0.25  # seconds of waiting between looks at what was assigned
REFUSALS = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.INVALID_MSG,
            KafkaError.POLICY_VIOLATION, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}  # fmt: skip
# librdkafka warns of an option that is the other side's
OF_CONSUMERS = ("session.", "heartbeat.", "max.poll.", "fetch.", "queued.", "group.", "isolation.", "check.crcs")
OF_PRODUCERS = ("linger.", "batch.", "compression.", "queue.buffering.", "retries", "message.", "delivery.", "request.")
SECRET = re.compile(r"password|secret|key|token|credential|jaas|config|pem", re.I)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topic:
    """A topic on a Kafka cluster.

    Args:
        topic: its name.
        brokers: HOST:PORT, several with commas.
        options: further options of librdkafka, by name.
        patience: seconds that no broker may answer before polling raises.
    """

    topic: str
    brokers: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # may have passwords in it
    patience: float = PATIENCE

    def client(self, kind: Callable[..., Any], options: Mapping[str, Any], link: Link) -> Any:
        """A producer or consumer of librdkafka that reaches the topic.

        Raises:
            StreamError, ParamError: as `producer` and `consumer`.
        """
        others = OF_CONSUMERS if kind is Producer else OF_PRODUCERS
        theirs = {name: value for name, value in self.options.items() if not name.startswith(others)}
        settings = {**theirs, **options, "bootstrap.servers": self.brokers, "error_cb": link.error}
        try:
            made = kind(settings, logger=_Quiet())
        except (KafkaException, ValueError) as error:
            text = self.without_secrets(text_of(error))
            raise ParamError(f"bus kafka:{self.topic}: {text}. Look at the variables {PREFIX}….") from error
        link.reach(made, timeout=min(10.0, self.patience))
        return made

    def without_secrets(self, text: str) -> str:
        """A text of librdkafka without the values of options that may be secret."""
        for name, value in self.options.items():
            if SECRET.search(name) and value:
                text = text.replace(value, "…")
        return text


class _Quiet:
    """Where librdkafka writes its log: it says each lost connection as an error, and `Link` says it once."""

    def log(self, level: int, *words: Any) -> None:
        log.log(min(level, logging.INFO), *words)


class Link:
    """Whether brokers answer: librdkafka reconnects by itself, says when all are away, and never when one is back."""

    def __init__(self, bus: Topic) -> None:
        self._bus = bus
        self._away_since: float | None = None
        self._detail = ""

    def error(self, error: KafkaError) -> None:
        """What librdkafka calls with an error of no single message."""
        self._detail = self._bus.without_secrets(error.str())
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("brokers away topic=%s detail=%s", self._bus.topic, self._detail)

    def reach(self, client: Any, *, timeout: float) -> None:
        """Ask a broker for the topic.

        Raises:
            StreamError: none answers within `timeout` seconds, or there is no such topic.
        """
        topic = self._bus.topic
        try:
            error = client.list_topics(topic, timeout=timeout).topics[topic].error
        except KafkaException as refused:
            raise StreamError(self._away(text_of(refused))) from refused
        if error is not None and error.code() in REFUSALS:
            raise StreamError(
                f"topic {topic} cannot be used on {self._bus.brokers}: {error.str()}. Make it, as in kafka-topics.sh "
                f"--bootstrap-server {self._bus.brokers} --create --topic {topic} --partitions 4."
            )

    def look(self, client: Any) -> None:
        """Where brokers were away: are they back?

        Raises:
            StreamError: none has answered for longer than the bus has patience.
        """
        if self._away_since is None:
            return
        try:
            self.reach(client, timeout=SLICE)
        except StreamError:
            if time.monotonic() - self._away_since > self._bus.patience:
                raise
            return
        log.warning("brokers back topic=%s after_s=%.1f", self._bus.topic, time.monotonic() - self._away_since)
        self._away_since = None

    def _away(self, text: str) -> str:
        detail = f"{text}; {self._detail}" if self._detail else text
        return (
            f"no broker of {self._bus.brokers} answers for kafka:{self._bus.topic} ({detail}). Nothing is lost; it is "
            f"tried again. Is it running, and are {BROKERS} and {PREFIX}SECURITY_PROTOCOL as it listens?"
        )


def text_of(error: Exception) -> str:
    """What an error of librdkafka says."""
    inner = error.args[0] if error.args else error
    return inner.str() if isinstance(inner, KafkaError) else str(inner)
