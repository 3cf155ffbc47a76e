"""The files of a lake, in a folder or below an S3 prefix: list, read, and put what is not there yet.

Keys are relative to the lake, with ``/`` between their parts. Nothing here overwrites, but for `note` and `replace`.
obstore is not used for it: object_store, below obstore, syncs no file to the disk unless told to, and a raw answer has
to outlast a power cut.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from stockkit.aws import Session
from stockkit.aws_errors import error_code, explained
from stockkit.errors import LakeError
from stockkit.local_files import write_atomically

ABSENT = {"404", "NoSuchKey", "NotFound"}
TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Stored:
    """An object as it was when the store answered.

    Attributes:
        body: its bytes, or the first of them. tag: another one after each write of other bytes.
        age: seconds since it was written, by the store's clock, which counts whole ones.
    """

    body: bytes
    tag: str
    age: float


@dataclass(frozen=True)
class Folder:
    """The files below a local folder."""

    path: Path
    session: ClassVar[None] = None

    @property
    def identity(self) -> str:
        """The same for one lake however it is named: links resolved."""
        return os.path.realpath(self.path)

    def uri(self, key: str) -> str:
        """Where deltalake finds `key`."""
        return str(self.path / key)

    def options(self) -> dict[str, str] | None:
        """What deltalake needs besides the address."""
        return None

    def names(self, key: str) -> list[str]:
        """The names of the files directly in the folder `key`, ascending; parts of unfinished writes left out."""
        files = (path for path in (self.path / key).glob("*") if path.is_file())
        return _reported(self, "names", key, sorted(path.name for path in files if not path.name.startswith(".")))

    def folders(self, key: str) -> list[str]:
        """The names of the folders directly in `key`, ascending."""
        return _reported(
            self, "folders", key, sorted(path.name for path in (self.path / key).glob("*") if path.is_dir())
        )

    def has_folder(self, key: str) -> bool:
        """Whether there is a folder `key`."""
        return (self.path / key).is_dir()

    def read(self, key: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        path = self.path / key
        return _reported(self, "read", key, path.read_bytes() if path.is_file() else None)

    def size(self, key: str) -> int | None:
        """The bytes of a file, counted; None where there is none."""
        path = self.path / key
        return _reported(self, "size", key, path.stat().st_size if path.is_file() else None)

    def put(self, key: str, body: bytes) -> bool:
        """Store a file unless there is one of this name; tell whether this call stored it. Of two at once one does."""
        _reported(self, "written", key, body)
        return not (self.path / key).exists() and write_atomically(self.path / key, body, replace=False)

    def note(self, key: str, body: bytes) -> None:
        """Store a file, in place of one of this name."""
        _reported(self, "written", key, body)
        write_atomically(self.path / key, body)

    def remove(self, key: str) -> None:
        """Delete a file, if there is one of this name."""
        (self.path / key).unlink(missing_ok=True)

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Bucket:
    """The files below a prefix of an S3 bucket."""

    bucket: str
    prefix: str
    session: Session = field(repr=False, compare=False)
    path: ClassVar[None] = None

    @property
    def identity(self) -> str:
        """The same for one lake however it is named."""
        return str(self)

    def uri(self, key: str) -> str:
        """Where deltalake finds `key`."""
        return f"s3://{self.bucket}/{self._full(key)}"

    def options(self) -> dict[str, str] | None:
        """What deltalake needs besides the address."""
        return self.session.storage_options()

    def names(self, key: str) -> list[str]:
        """The names of the objects directly below `key`, ascending; "" is where the files start."""
        start = self._start(key)
        keys = [o["Key"] for page in self._pages(start) for o in page.get("Contents", [])]
        return _reported(self, "names", key, sorted(name.removeprefix(start) for name in keys if name != start))

    def folders(self, key: str) -> list[str]:
        """The names of the common prefixes directly below `key`, ascending; "" is where the files start."""
        start = self._start(key)
        keys = [o["Prefix"] for page in self._pages(start) for o in page.get("CommonPrefixes", [])]
        return _reported(self, "folders", key, sorted(name.removeprefix(start).rstrip("/") for name in keys))

    def has_folder(self, key: str) -> bool:
        """Whether there is an object below `key`."""
        with self._explained("list"):
            page = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=self._full(key) + "/", MaxKeys=1)
        return bool(page.get("KeyCount"))

    def read(self, key: str) -> bytes | None:
        """The bytes of an object, None where there is none."""
        with self._explained("read"):
            try:
                answer: bytes = self._s3.get_object(Bucket=self.bucket, Key=self._full(key))["Body"].read()
            except self._s3.exceptions.NoSuchKey:
                return _reported(self, "read", key, None)
        return _reported(self, "read", key, answer)

    def size(self, key: str) -> int | None:
        """The bytes of an object, counted; None where there is none."""
        with self._explained("read"):
            try:
                size = int(self._s3.head_object(Bucket=self.bucket, Key=self._full(key))["ContentLength"])
            except self._s3.exceptions.ClientError as error:
                if error_code(error) in ABSENT:
                    return _reported(self, "size", key, None)
                raise
        return _reported(self, "size", key, size)

    def stored(self, key: str, most: int | None = None) -> Stored | None:
        """An object with its tag and age, and at most so many of its bytes; None where there is none.

        Raises:
            LakeError: it cannot be read, or the store does not tell its time.
        """
        with self._explained("read"):
            try:
                answer = self._s3.get_object(Bucket=self.bucket, Key=self._full(key))
            except self._s3.exceptions.NoSuchKey:
                return None
            with closing(answer["Body"]) as body:
                return Stored(body.read(most), answer["ETag"], _age(answer))

    def put(self, key: str, body: bytes, content_type: str = OCTETS) -> bool:
        """Store an object unless there is one of this name (If-None-Match); tell whether this call stored it.

        False as well where the answer to a first try was lost and a second one met what the first had stored.
        """
        _reported(self, "written", key, body)
        return self._put_if(key, body, ContentType=content_type, IfNoneMatch="*") is not None

    def replace(self, key: str, body: bytes, tag: str | None, content_type: str = OCTETS) -> str | None:
        """Store an object in place of the one with this tag (If-Match), or, for None, where there is none.

        Returns:
            its tag; None where another one is there, or none any more, or where the answer to a first try was lost.
        """
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        return self._put_if(key, body, ContentType=content_type, CacheControl="no-cache", **condition)

    def note(self, key: str, body: bytes) -> None:
        """Store an object, in place of one of this name."""
        _reported(self, "written", key, body)
        with self._explained("write"):
            self._s3.put_object(Bucket=self.bucket, Key=self._full(key), Body=body)

    def remove(self, key: str) -> None:
        """Delete an object, if there is one of this name."""
        with self._explained("delete from"):
            self._s3.delete_object(Bucket=self.bucket, Key=self._full(key))

    def __str__(self) -> str:
        return self.uri("").rstrip("/")

    @property
    def _s3(self) -> Any:
        return self.session.client("s3")

    def _put_if(self, key: str, body: bytes, **how: str) -> str | None:
        with self._explained("write"):
            try:
                tag: str = self._s3.put_object(Bucket=self.bucket, Key=self._full(key), Body=body, **how)["ETag"]
                return tag
            except self._s3.exceptions.ClientError as error:
                if error_code(error) not in TAKEN | ABSENT:
                    raise
                return None

    def _start(self, key: str) -> str:
        """What the names of all objects below `key` start with; "" stands for the bucket or prefix itself."""
        full = self._full(key).rstrip("/")
        return f"{full}/" if full else ""

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _pages(self, start: str) -> list[dict[str, Any]]:
        with self._explained("list"):
            pages = self._s3.get_paginator("list_objects_v2")
            return list(pages.paginate(Bucket=self.bucket, Prefix=start, Delimiter="/"))

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        with explained(f"cannot {action} {self}"):
            yield


Files = Folder | Bucket
Answer = TypeVar("Answer")


def _reported(files: Files, operation: str, key: str, answer: Answer) -> Answer:
    """The answer, once whoever listens (`stockkit.workbook.cache.trace`) was told what was asked and answered."""
    sys.audit("stockkit.lake", files, operation, key, answer)
    return answer


def _age(answer: Any) -> float:
    """The seconds between the writing of an object and the store's answer, both by its own clock."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        now = parsedate_to_datetime(date)
    except ValueError:
        raise LakeError(f"the store does not tell its time, as S3 does: its answers have the date {date!r}.") from None
    written: datetime = answer["LastModified"]
    return (now - written).total_seconds()
