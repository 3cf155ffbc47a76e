"""The other end of a warm parent: starting one, asking it for kernels, and a kernel that it forked."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from stockkit.workbook.execution.processes import MARK, Guard

SWITCH = "STOCKKIT_WARM"  # 0: every kernel is a plain one
OPTIMIZED = "PYTHONOPTIMIZE"  # a kernel with it would skip every assert
LAUNCHER = ("-m", "ipykernel_launcher")
REPLY_WAIT = 30.0  # seconds for an answer, before a plain kernel is started instead
CALENDAR = "exchange_calendars:get_calendar:XNYS:1960-01-01:2035-12-31"  # market.sessions asks for it; it takes 0.6 s
SKOPS = "skops.io!sklearn.externals.array_api_compat.torch"  # it looks through all of scikit-learn for estimators
COMPILER = "numba.core.registry:cpu_target.target_context.refresh"  # the first compiled function does; it takes 0.3 s
# What notebooks use, in the order in which they need it. Each was measured to leave one thread (tests/workbook/kernels)
LIBRARIES = (
    *("numpy", "pandas", "pyarrow.parquet", "pyarrow.dataset", "yaml", "deltalake", CALENDAR, "duckdb"),
    *("sqlglot", "matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.dates", "rich", "threadpoolctl"),
    *("scipy.stats", "scipy.signal", "scipy.cluster.hierarchy", "seaborn", "sklearn.linear_model", "sklearn.ensemble"),
    *("sklearn.preprocessing", "sklearn.pipeline", "sklearn.model_selection", "numba", SKOPS, "loky"),
    *("httpx", "stamina", "boto3"),
)
IMPORTED = re.compile(r"^\s*(?:from|import)\s+(\w+)", re.MULTILINE)
POLARS_THREAD = (1, 42)  # the first version of Polars that starts a thread when it is imported, as these do
AFTER_POLARS = ("talib", "statsforecast", "statsforecast.models", "arch.univariate")


class RefusedError(Exception):
    """Why there is no warm kernel."""


class ForkedKernel:
    """A kernel that a warm parent forked, with the part of `subprocess.Popen` that jupyter_client uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._channel = channel

    def poll(self) -> int | None:
        """The exit code, below zero the signal that ended it; None while it runs."""
        if self.returncode is None:
            try:
                reply = self._channel.recv(64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError:
                reply = b""
            self.returncode = int(reply) if reply else self._orphaned()
            self._channel.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(["kernel"], timeout or 0.0)
            select.select([self._channel], [], [], left)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to a kernel that still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _orphaned(self) -> int:
        """Its parent is gone, so nobody reaps it and nobody will tell how it ends."""
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        return -signal.SIGKILL


class WarmParent:
    """A process that imports libraries and forks kernels, until it is closed or this process ends.

    It starts when it is told to, or with its first kernel.

    Args:
        environment: its kernels' environment, but for what differs from one to another (`parent.VARIES`).
        folder: its working folder.
        after, until: how many kernels it forks before it imports more than ipykernel, and then no more.
        libraries: the modules to import.
        flags: of its kernels' Python.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        *,
        after: int = 0,
        until: int = sys.maxsize,
        libraries: Sequence[str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        self.flags = tuple(flags)
        self._lock = threading.Lock()
        self._control, self._other = socket.socketpair()
        self._limits, self._libraries = (after, until), libraries
        self._environment, self._folder = dict(environment), folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, where it is not yet; asking for a kernel does so as well."""
        with self._lock:
            if self._process is not None or self._control.fileno() < 0:
                return
            script = str(Path(__file__).with_name("parent.py"))
            numbers = map(str, (self._other.fileno(), *self._limits))
            names = thread_free() if self._libraries is None else self._libraries
            with suppress(OSError), self._other:  # without a process, nobody answers
                self._process = subprocess.Popen(
                    [sys.executable, *self.flags, script, *numbers, *names],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=self._environment,
                    cwd=self._folder,
                    pass_fds=[self._other.fileno()],
                    start_new_session=True,
                )

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None where it runs or was not started."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        """Of the process that forks, once it is started."""
        return self._process.pid if self._process else None

    async def fork(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], files: Sequence[int]
    ) -> ForkedKernel:
        """The kernel that `command` would start in a folder, with two files as stdout and stderr.

        Raises:
            RefusedError: there is none, and why.
        """
        start = [sys.executable, *self.flags, *LAUNCHER]
        if list(command[: len(start)]) != start:
            raise RefusedError("another command starts it than this Python's ipykernel")
        self.start()
        request = {"command": list(command), "folder": str(folder), "environment": dict(environment)}
        channel, other = socket.socketpair()
        try:
            channel.setblocking(False)
            with other, self._lock:
                socket.send_fds(self._control, [b"k"], [other.fileno(), *files])
            reply = await asyncio.wait_for(_ask(channel, request), REPLY_WAIT)
        except TimeoutError:
            channel.close()
            raise RefusedError(f"the warm parent gave no answer in {REPLY_WAIT:.0f} seconds") from None
        except OSError:
            channel.close()
            raise RefusedError(self._absence()) from None
        if "pid" not in reply:
            channel.close()
            raise RefusedError(reply.get("refused") or self._absence())
        return ForkedKernel(reply["pid"], channel)

    def close(self) -> None:
        """End it, and with it the kernels that are left."""
        with self._lock:
            self._control.close()
            self._other.close()
        if self._process:
            self._process.kill()
            self._process.wait()

    def _absence(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            if self._process:
                return f"the warm parent ended with exit code {self._process.wait(1)}"
        return "the warm parent does not answer"


async def _ask(channel: socket.socket, request: Any) -> dict[str, Any]:
    """Send a request; the answer, empty where the other end is closed."""
    loop, text = asyncio.get_running_loop(), b""
    await loop.sock_sendall(channel, json.dumps(request).encode() + b"\n")
    while not text.endswith(b"\n"):
        part = await loop.sock_recv(channel, 4096)
        if not part:
            return {}
        text += part
    reply: dict[str, Any] = json.loads(text)
    return reply


def thread_free() -> tuple[str, ...]:
    """The libraries that start no thread when they are imported, as installed here."""
    try:
        polars = tuple(map(int, metadata.version("polars").split(".")[:2]))
    except metadata.PackageNotFoundError:
        polars = (0, 0)
    return (*LIBRARIES, *AFTER_POLARS) if polars < POLARS_THREAD else LIBRARIES


def used(sources: Iterable[str]) -> tuple[str, ...]:
    """Those of `thread_free` that such code may need: what it imports, or all where it imports stockkit."""
    names = {name for source in sources for name in IMPORTED.findall(source)}
    return tuple(name for name in thread_free() if "stockkit" in names or re.split("[.:!]", name)[0] in names)


def impossible() -> str:
    """Why there are no warm kernels here; "" where there are."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return "warm kernels need Linux"
    return ""


def kernel_environment() -> dict[str, str]:
    """This process' environment as kernels get it."""
    return {name: value for name, value in os.environ.items() if name != OPTIMIZED}


@contextmanager
def warm(
    guard: Guard, folder: Path, libraries: Sequence[str] | None = None, *, kernels: int = sys.maxsize
) -> Iterator[WarmParent | str]:
    """A warm parent for the steps of a run; or in words why there is none.

    Args:
        guard: the run's; the parent carries its mark with the number 0, so each kernel needs a guard `for_step`.
        folder: the kernels' working folder.
        libraries: the modules to import; by default those of `thread_free`.
        kernels: how many there will be; once they are forked it imports no more.
    """
    if reason := impossible():
        yield reason
        return
    marked = {MARK: guard.for_step(0).mark, "TMPDIR": str(guard.folder)}
    parent = WarmParent(kernel_environment() | marked, folder, until=kernels, libraries=libraries)
    try:
        yield parent
    finally:
        parent.close()
