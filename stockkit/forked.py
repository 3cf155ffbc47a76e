"""Workers of a warm kernel: forked, so that they have from their start the libraries that its parent has imported.

A kernel has threads, and is no process to fork; what it asks is a process that was forked before it had any
(workbook/kernels/parent.py). Calls and what they return go through a socket, pickled by value where they must.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

SOURCE = "warm_parent"  # what a warm kernel has of its parent
FIRST = -1  # the number of the call that each worker begins with


class KilledError(Exception):
    """A worker has ended before its call has."""


class Pool:
    """Forked workers, for one `results`; the kernel that asks for them is the only one that may use them.

    Args:
        count: of workers.
        variables: what their environment has beside that of this process.
        first: what each is to do before anything else; whether it succeeds is of no account.

    Raises:
        OSError: there is nobody to fork them.
    """

    def __init__(self, count: int, variables: Mapping[str, str], first: Callable[[], Any]) -> None:
        self._processes: dict[Connection, int] = {}
        self._busy: dict[Connection, int] = {}  # by number of the call
        self._idle: list[Connection] = []
        try:
            for _ in range(count):
                self._give(self._worker(variables), FIRST, first)
        except BaseException:
            self.end()
            raise

    def _worker(self, variables: Mapping[str, str]) -> Connection:
        connection, other = Pipe()
        with other:
            socket.send_fds(_source(), [b"w"], [other.fileno(), 1, 2])
        request = {"environment": os.environ | variables, "folder": os.getcwd(), "path": sys.path, "module": __name__}
        try:
            connection.send(request)
            self._processes[connection] = os.pidfd_open(connection.recv())
        except EOFError as error:
            raise ChildProcessError("no worker could be forked") from error
        return connection

    def results(self, todo: Sequence[Callable[[], Any]]) -> Iterator[Any]:
        """What each of `todo` returns, in order; the workers are ended with the last of them, or before.

        Raises:
            KilledError: a worker has ended. And whatever a call raises.
        """
        calls, answers = iter(enumerate(todo)), dict[int, tuple[bool, Any]]()
        try:
            for number in range(len(todo)):
                while number not in answers:
                    self._collect(answers)
                    while self._idle and (call := next(calls, None)):
                        self._give(self._idle.pop(), *call)
                succeeded, result = answers.pop(number)
                if not succeeded:
                    raise result
                yield result
        finally:
            self.end()

    def _give(self, worker: Connection, number: int, call: Callable[[], Any]) -> None:
        import cloudpickle

        self._busy[worker] = number
        body = cloudpickle.dumps(call)
        with suppress(BrokenPipeError):  # it has ended, which is seen where its answer is awaited
            worker.send_bytes(body)

    def _collect(self, answers: dict[int, tuple[bool, Any]]) -> None:
        """Wait for at least one worker."""
        for worker in wait(list(self._busy)):
            assert isinstance(worker, Connection)
            try:
                answers[self._busy.pop(worker)] = worker.recv()
            except (EOFError, ConnectionError) as error:
                raise KilledError from error
            self._idle.append(worker)

    def end(self) -> None:
        """End the workers, whatever they do."""
        for connection, process in self._processes.items():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
            wait([process])
            os.close(process)
            connection.close()
        self._processes.clear()


def available() -> bool:
    """Whether this process is a warm kernel, whose workers start at once."""
    parent = sys.modules.get(SOURCE)
    return parent is not None and parent.kernel == os.getpid()


def _source() -> socket.socket:
    """The socket by which this process may ask for workers.

    Raises:
        OSError: it is none that was forked as a kernel.
    """
    if not available():
        raise ChildProcessError("this process is no warm kernel")
    return sys.modules[SOURCE].workers  # type: ignore[no-any-return]


def serve(connection: Connection) -> None:
    """In a worker: answer calls, until the other end is closed."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # the libraries that are loaded have not seen this environment
    connection.send(os.getpid())
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))
            sys.stdout.flush()
            sys.stderr.flush()


def _answer(body: bytes) -> bytes:
    import cloudpickle

    try:
        answer: bytes = cloudpickle.dumps((True, cloudpickle.loads(body)()))
    except Exception as error:
        error.add_note("In a worker:\n" + "".join(traceback.format_exception(error)))
        answer = cloudpickle.dumps((False, error))
    return answer
