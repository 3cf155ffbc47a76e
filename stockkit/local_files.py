"""Files on this machine's disk: written whole or not at all, and locks that keep processes apart."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stockkit.errors import LakeError

WAY_OUT = "Free some space, make the folder writable, or name another lake with -p lake=FOLDER."


def lock(path: Path, *, wait: bool = True, create: bool = True) -> int | None:
    """Take the lock that a file stands for; it is let go when the open file that is the answer is closed.

    A process that ends lets go by itself, unless one that it started has inherited the open file. The file stays.

    Args:
        path: of the file. wait: for another process that has it; else the answer is None.
        create: the file where there is none.

    Raises:
        OSError: the file cannot be written, or its file system has no locks.
    """
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except BaseException as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether this process has the lock that a file stands for, while the block runs: see `lock`."""
    handle = lock(path, wait=wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def write_atomically(path: Path, body: bytes, *, way_out: str = WAY_OUT, replace: bool = True) -> bool:
    """Write a file so that a reader, or a crash, sees all of it or nothing of it; tell whether it was written.

    With `replace` false a file of this name stays as it is, and False is the answer: of several writers one wins.

    Raises:
        LakeError: the folder is read-only, the disk is full, …
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        return _moved(part, path, replace=replace)
    except OSError as error:
        with suppress(OSError):  # a disk that has become read-only refuses that as well
            part.unlink(missing_ok=True)
        raise LakeError(f"cannot write {path}: {error.strerror}. {way_out}") from error


def _moved(part: Path, path: Path, *, replace: bool) -> bool:
    if replace:
        os.replace(part, path)
        return True
    try:
        os.link(part, path)  # the one way to a whole file that fails where there is one; Delta's commits do the same
        return True
    except FileExistsError:
        return False
    finally:
        part.unlink()
