"""Somebody else's functions run in a forked process, so that nothing they remember reaches the next call.

A scaler that is fitted in the first call and kept (in a module's dict, a class, a cache, the environment or a file)
gives the same values whatever it is shown later, and a leak in it cannot be seen. A process that is forked before the
first call does not know it; what it leaves on disk is taken back when it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Item = TypeVar("Item")
SILENCE = 600.0  # seconds without an item until a forked process counts as stuck: a lock of a thread that it lacks
LARGEST = 1 << 26  # bytes of a file that are kept to be put back
LEFT = b"left as it is"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ProcessEnded(Exception):
    """The forked process ended before its last item: by a signal, or because the function ended it."""


def isolated(items: Callable[[], Iterable[Item]]) -> Iterator[Item]:
    """The items, made in a forked process; in this one where it cannot fork (Windows, a daemon's child).

    Args:
        items: makes the items, which must be picklable. What it changes in memory and, through Python, in files stays
            unseen by the caller.

    Raises:
        ProcessEnded: the process ended early, or gave nothing for `SILENCE` seconds.
    """
    if not sys.platform.startswith("linux") or multiprocessing.current_process().daemon:
        yield from items()
        return
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_produce, args=(items, receiver, sender))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking a process that has threads
        process.start()
    sender.close()
    try:
        yield from _received(process, receiver)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _received(process: Any, receiver: Connection) -> Iterator[Any]:
    while True:
        if not receiver.poll(SILENCE):
            raise ProcessEnded(f"gives nothing for {SILENCE:g} seconds in a process of its own")
        try:
            kind, content = receiver.recv()
        except EOFError:
            process.join()
            raise ProcessEnded(f"ends the process that it runs in (exit code {process.exitcode})") from None
        if kind == "error":
            raise content
        if kind == "end":
            process.join()
            return
        yield content


def _produce(items: Callable[[], Iterable[Any]], receiver: Connection, sender: Connection) -> None:
    receiver.close()
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # the threads of a pool that was used before the fork are not here: waiting for them hangs
    with _files_put_back():
        try:
            for item in items():
                sender.send(("item", item))
            last: tuple[str, Any] = ("end", None)
        except Exception as error:  # the caller's to raise
            last = ("error", error)
    sender.send(last)


@contextlib.contextmanager
def _files_put_back() -> Iterator[None]:
    """Remove or restore the files that Python code makes, changes, renames or removes within."""
    before: dict[str, bytes | None] = {}
    folders: list[str] = []
    watching = True

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if not watching or event not in _TOUCHED:
            return
        for path in _TOUCHED[event](args):
            if event == "os.mkdir":
                folders.append(path)
            elif path not in before:
                before[path] = _content(path)

    sys.addaudithook(watch)
    try:
        yield
    finally:
        watching = False
        _put_back(before, folders)


def _content(path: str) -> bytes | None:
    """The bytes of a file; none where there is no file; `LEFT` of what cannot be read or is too large to be kept."""
    if not os.path.lexists(path):
        return None
    with contextlib.suppress(OSError):
        if os.path.isfile(path) and os.path.getsize(path) <= LARGEST:
            with open(path, "rb") as file:
                return file.read()
    return LEFT


def _put_back(before: dict[str, bytes | None], folders: list[str]) -> None:
    for path, content in before.items():
        with contextlib.suppress(OSError):
            if content is None:
                os.remove(path)
            elif content is not LEFT and _content(path) != content:
                with open(path, "wb") as file:
                    file.write(content)
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _paths(*given: Any) -> list[str]:
    """Absolute paths of what can be a user's file: no descriptors, devices or compiled modules."""
    paths = [os.path.abspath(os.fsdecode(path)) for path in given if isinstance(path, str | bytes | os.PathLike)]
    return [path for path in paths if not path.startswith(("/dev/", "/proc/")) and "__pycache__" not in path]


def _opened(args: tuple[Any, ...]) -> list[str]:
    path, _, flags = args
    return _paths(path) if isinstance(flags, int) and flags & WRITING else []


_TOUCHED: dict[str, Callable[[tuple[Any, ...]], list[str]]] = {
    "open": _opened,
    "os.mkdir": lambda args: _paths(args[0]),
    "os.rename": lambda args: _paths(*args[:2]),
    "os.remove": lambda args: _paths(args[0]),
    "os.truncate": lambda args: _paths(args[0]),
    "sqlite3.connect": lambda args: _paths(*(f"{args[0]}{end}" for end in ("", "-journal", "-wal", "-shm"))),
}
