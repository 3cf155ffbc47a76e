"""A Kinesis data stream as a bus, through boto3. One consumer process a stream: there is no table of leases here.

Where the service is and who asks comes from the environment, as for everything of AWS (`stockkit.aws`).
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from stockkit.aws import Session
from stockkit.errors import ParamError, StreamError
from stockkit.stream.bus.gaps import Gap, pass_over
from stockkit.stream.bus.protocol import Message, Record, Start
from stockkit.stream.bus.shares import shares

STREAM = re.compile(r"[A-Za-z0-9_.-]{1,128}")
CALL_RECORDS = 500  # records that one PutRecords takes
CALL_BYTES = 5 * 2**20  # bytes with keys; 10 MiB since October 2025, and 5 wherever that is not known yet
READ_RECORDS = 10_000  # records that one GetRecords gives
READ_EVERY = 0.21  # seconds between two reads of a shard: five a second are allowed
LIST_EVERY = 30.0  # seconds between two looks for new shards
SLOWER = 1.0  # seconds that a shard is left alone after it was read too fast
THROTTLED = {"ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException",
             "KMSThrottlingException", "InternalFailure", "ServiceUnavailable"}  # fmt: skip
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kinesis:
    """A data stream.

    Args:
        stream: its name.
        session: whose account and region.
    """

    stream: str
    session: Session = field(default_factory=Session)

    def producer(self) -> KinesisProducer:
        """A producer.

        Raises:
            StreamError: AWS cannot be reached, or there is no such stream.
        """
        return KinesisProducer(self.stream, self.session.client("kinesis"))

    def consumer(self, group: str, start: Start) -> KinesisConsumer:
        """A consumer of all shards; `group` has no meaning here, as the stream keeps nothing of its consumers.

        Raises:
            StreamError: AWS cannot be reached, or there is no such stream.
        """
        return KinesisConsumer(self.stream, self.session.client("kinesis"), start)


class KinesisProducer:
    """Sends by PutRecords, as many in a call as it takes."""

    def __init__(self, stream: str, client: Any) -> None:
        self._stream, self._client = stream, client
        self._largest = int(_summary(client, stream).get("MaxRecordSizeInKiB", 1_024)) * 1_024
        self._pause = 0.0

    def send(self, messages: Sequence[Message]) -> list[int]:
        """See `protocol.Producer`. Waits up to a second after a shard has refused some.

        Records of one key stay in order unless a shard refuses one and takes a later one of the same call; of later
        calls, those whose key was refused are not sent.
        """
        self._refuse_oversized(messages)
        missing: list[int] = []
        taken = 0
        for places in _calls(messages):
            stuck = {messages[place].key for place in missing}
            sent = [place for place in places if messages[place].key not in stuck]
            left = self._put(messages, sent, first=taken == 0)
            taken += len(sent) - len(left)
            missing += [*left, *(place for place in places if messages[place].key in stuck)]
        return sorted(missing)

    def close(self) -> None:
        """See `protocol.Producer`: nothing is on its way."""

    def _put(self, messages: Sequence[Message], places: Sequence[int], *, first: bool) -> list[int]:
        """One call; the places that were not taken.

        Raises:
            StreamError: the call failed and it is the first: nothing was taken so far, so that nothing is forgotten.
        """
        records = [{"Data": messages[place].body, "PartitionKey": messages[place].key} for place in places]
        if not records:
            return []
        try:
            answers = self._client.put_records(StreamName=self._stream, Records=records)["Records"]
            missing = [place for place, answer in zip(places, answers, strict=True) if answer.get("ErrorCode")]
        except (ClientError, BotoCoreError) as error:
            if first and _code(error) not in THROTTLED:
                raise _explained(error, self._stream) from error
            missing = list(places)
        self._wait(len(missing))
        return missing

    def _wait(self, refused: int) -> None:
        """Give the shards time after a refusal, longer from one to the next."""
        self._pause = min(1.0, max(0.05, self._pause * 2)) if refused else 0.0
        if refused:
            log.info("back-off stream=%s refused=%d seconds=%.2f", self._stream, refused, self._pause)
            time.sleep(self._pause * random.uniform(0.5, 1.0))

    def _refuse_oversized(self, messages: Sequence[Message]) -> None:
        for place, (key, body) in enumerate(messages):
            if len(key.encode()) + len(body) > self._largest:
                raise StreamError(
                    f"message {place} ({key[:20]}) has {len(body):,} bytes, and kinesis:{self._stream} takes "
                    f"{self._largest:,} with its key: none of the {len(messages)} was sent. Leave it out, make it "
                    "smaller, or let the stream take more: aws kinesis update-max-record-size."
                )


class Shard:
    """A shard that is read, and what was read of it and not polled yet."""

    def __init__(self, identifier: str, name: str, parents: Sequence[str]) -> None:
        self.identifier, self.name, self.parents = identifier, name, parents
        self.started = False
        self.last: int | None = None  # the sequence number that was read, or is done with
        self.sought: int | None = None  # the same, until it is seen again: where it is gone, so may others be
        self.iterator: str | None = None
        self.closed = False  # takes no records any more
        self.ended = False  # and was read to its end: its children may be read
        self.due = 0.0  # when it may be read again
        self.behind: int | None = None  # milliseconds
        self.waiting: deque[Record] = deque()


class KinesisConsumer:
    """Reads all shards by GetRecords, a child only after its parents were read to their ends."""

    def __init__(self, stream: str, client: Any, start: Start) -> None:
        self._stream, self._client, self._start = stream, client, start
        self._retention = int(_summary(client, stream).get("RetentionPeriodHours", 24)) * 3_600_000  # milliseconds
        self._shards: dict[str, Shard] = {}
        self._list_at = 0.0
        self._turn = 0

    def poll(self, limit: int, timeout: float) -> list[Record]:
        """See `protocol.Consumer`. Nothing is read before all that was read is handed over."""
        until = time.monotonic() + timeout
        while not (records := self._take(limit)):
            self._discover()
            for shard in self._readable():
                if shard.due <= time.monotonic():
                    self._read(shard)
            records = self._take(limit)
            now = time.monotonic()
            if records or now >= until:
                break
            time.sleep(max(0.0, min([until, *(shard.due for shard in self._readable())]) - now))
        return records

    def commit(self, offsets: Mapping[str, int]) -> None:
        """Nothing: a stream keeps nothing of its consumers."""

    def lag(self) -> dict[str, int]:
        """See `protocol.Consumer`: of a shard that is not read to its tip, Kinesis tells the time only; it lacks."""
        return {shard.name: len(shard.waiting) for shard in self._shards.values() if shard.behind == 0}

    def finished(self) -> bool:
        """Never: a stream has no end."""
        return False

    def close(self) -> None:
        """See `protocol.Consumer`: nothing is to be left."""

    def _take(self, limit: int) -> list[Record]:
        """What was read already, as evenly over the shards as it goes."""
        shards = list(self._shards.values())
        self._turn = (self._turn + 1) % max(1, len(shards))
        given = shares([len(shard.waiting) for shard in shards], limit, self._turn)
        return [shard.waiting.popleft() for shard, count in zip(shards, given, strict=True) for _ in range(count)]

    def _readable(self) -> list[Shard]:
        """Shards that may have records and whose parents were read to their ends, or are not kept any more."""
        ended = {shard.identifier: shard.ended for shard in self._shards.values()}
        return [
            shard
            for shard in self._shards.values()
            if not shard.ended and all(ended.get(parent, True) for parent in shard.parents)
        ]

    def _discover(self) -> None:
        """Look for new and closed shards, every half a minute and when one has ended."""
        if time.monotonic() < self._list_at:
            return
        for listed in self._listed():
            identifier = listed["ShardId"]
            parents = [listed[key] for key in ("ParentShardId", "AdjacentParentShardId") if listed.get(key)]
            name = f"kinesis:{self._stream}/{identifier}"
            shard = self._shards.setdefault(identifier, Shard(identifier, name, parents))
            shard.closed = "EndingSequenceNumber" in listed["SequenceNumberRange"]
        self._list_at = time.monotonic() + LIST_EVERY

    def _listed(self) -> Iterator[Mapping[str, Any]]:
        asked = {"StreamName": self._stream}
        while asked:
            try:
                answer = self._client.list_shards(**asked)
            except (ClientError, BotoCoreError) as error:
                raise _explained(error, self._stream) from error
            yield from answer["Shards"]
            asked = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}

    def _read(self, shard: Shard) -> None:
        """Read once from a shard into what waits of it."""
        shard.due = time.monotonic() + READ_EVERY
        closed = shard.closed  # as listed before the read: where that finds nothing more, nothing can come any more
        try:
            shard.iterator = shard.iterator or self._iterator(shard)
            answer = self._client.get_records(ShardIterator=shard.iterator, Limit=READ_RECORDS)
        except (ClientError, BotoCoreError) as error:
            self._not_read(shard, error)
            return
        records = [_record(shard.name, fields) for fields in answer["Records"]]
        behind = int(answer.get("MillisBehindLatest", 0))
        ended = not answer.get("NextShardIterator") or (closed and not records and behind == 0)
        if not self._goes_on(shard, records, gone=ended or behind >= self._retention):
            return
        shard.waiting += [record for record in records if shard.last is None or record.offset > shard.last]
        shard.last = records[-1].offset if records else shard.last
        shard.iterator, shard.behind, shard.ended = answer.get("NextShardIterator"), behind, ended
        if ended:
            log.info("shard ended partition=%s", shard.name)
            self._list_at = 0.0

    def _iterator(self, shard: Shard) -> str:
        """From the last record that was read or is done with, itself included: so it shows whether it is there."""
        if not shard.started:
            shard.last, shard.started = self._start(shard.name), True
        shard.sought = shard.last
        where: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if shard.last is not None:
            where = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(shard.last)}
        answer = self._client.get_shard_iterator(StreamName=self._stream, ShardId=shard.identifier, **where)
        return str(answer["ShardIterator"])

    def _goes_on(self, shard: Shard, records: Sequence[Record], *, gone: bool) -> bool:
        """Whether what was read follows on the last record done with; else a gap, after which it starts at the oldest.

        Args:
            shard: where. records: what was read.
            gone: nothing that was sought can come any more.
        """
        if shard.sought is None or not (records or gone):
            return True
        if records and records[0].offset <= shard.sought:
            shard.sought = None
            return True
        self._gap(shard, records[0].offset if records else None, "the stream's retention has deleted them")
        return False

    def _gap(self, shard: Shard, oldest: int | None, why: str) -> None:
        shard.iterator = None  # so that the next poll finds the same again
        pass_over(Gap(shard.name, shard.last or 0, oldest, None, why))
        shard.last = shard.sought = None

    def _not_read(self, shard: Shard, error: ClientError | BotoCoreError) -> None:
        """What follows from a read that failed.

        Raises:
            StreamError: AWS cannot be reached, or refuses. Gap: the stream does not know where to start.
        """
        code = _code(error)
        if code == "ExpiredIteratorException":
            shard.iterator, shard.due = None, 0.0
        elif code in THROTTLED:
            shard.due = time.monotonic() + SLOWER
        elif code == "InvalidArgumentException" and shard.iterator is None and shard.last is not None:
            self._gap(shard, None, "the stream does not know this sequence number; perhaps it was made anew")
        else:
            raise _explained(error, self._stream) from error


def _calls(messages: Sequence[Message]) -> Iterator[list[int]]:
    """The places of messages, call by call."""
    places: list[int] = []
    size = 0
    for place, (key, body) in enumerate(messages):
        more = len(key.encode()) + len(body)
        if places and (len(places) == CALL_RECORDS or size + more > CALL_BYTES):
            yield places
            places, size = [], 0
        places.append(place)
        size += more
    if places:
        yield places


def _record(name: str, fields: Mapping[str, Any]) -> Record:
    arrival = round(fields["ApproximateArrivalTimestamp"].timestamp() * 1_000_000)
    return Record(name, int(fields["SequenceNumber"]), fields["Data"], arrival)


def _summary(client: Any, stream: str) -> Mapping[str, Any]:
    try:
        return client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    except (ClientError, BotoCoreError) as error:
        raise _explained(error, stream) from error


def _code(error: ClientError | BotoCoreError) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _explained(error: ClientError | BotoCoreError, stream: str) -> StreamError:
    if _code(error) == "ResourceNotFoundException":
        return StreamError(
            f"there is no Kinesis stream {stream} in this account and region. Make it, as in aws kinesis create-stream "
            f"--stream-name {stream} --shard-count 4, or set AWS_REGION and AWS_PROFILE to where it is."
        )
    return StreamError(f"kinesis:{stream} cannot be used: {error}. Nothing is lost; it is tried again.")


def open_kinesis(stream: str) -> Kinesis:
    """The bus of ``kinesis:STREAM``; nothing is connected yet.

    Raises:
        ParamError: no name of a stream.
    """
    if not STREAM.fullmatch(stream):
        raise ParamError(
            f"bus kinesis:{stream[:60]}: write kinesis:STREAM, where the stream has 1 to 128 letters, digits, dots, "
            "hyphens and underscores."
        )
    return Kinesis(stream)
