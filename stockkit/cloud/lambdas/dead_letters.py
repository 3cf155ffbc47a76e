"""Records that are no ticks, kept in a bucket under a name of their own, so that a retry stores none twice."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from stockkit.cloud.lambdas.failures import AWS_ERRORS, check_infrastructure, code_of, is_taken
from stockkit.cloud.lambdas.kinesis import Record
from stockkit.market.ticks import Reject

log = logging.getLogger(__name__)


class DeadLetters:
    """Writes to a bucket, below ``dead_letters/STREAM/SHARD/``.

    Args:
        client: boto3's, of S3. bucket: its name.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def keep_all(self, refused: Sequence[tuple[Record, Reject]]) -> list[Record]:
        """Store what was refused; from the first record that cannot be stored on those to be tried again."""
        for place, (record, reject) in enumerate(refused):
            try:
                self.keep(record, reject)
            except AWS_ERRORS as error:
                check_infrastructure(error)
                log.warning("dead letter %s was not stored: %s", record.place, code_of(error))
                return [record for record, _ in refused[place:]]
        return []

    def keep(self, record: Record, reject: Reject) -> None:
        """Store one; where it is stored already, nothing changes."""
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key_of(record),
                Body=_body(record, reject),
                ContentType="application/json",
                IfNoneMatch="*",
            )
            log.warning("dead letter %s: %s, %s", record.place, reject.reason, reject.detail)
        except ClientError as error:
            if not is_taken(error):
                raise


def key_of(record: Record) -> str:
    """The object's name; that of a later record of the shard comes after it."""
    return f"dead_letters/{record.partition.removeprefix('kinesis:')}/{record.order}.json"


def _body(record: Record, reject: Reject) -> bytes:
    """The columns of the lake's table `dead_letters`, the bytes in base64."""
    fields = {
        "reason": reject.reason,
        "detail": reject.detail,
        "body": base64.b64encode(reject.body).decode(),
        "partition": record.partition,
        "offset": record.order,
        "arrival": record.arrival,
    }
    return json.dumps(fields, separators=(",", ":")).encode()
