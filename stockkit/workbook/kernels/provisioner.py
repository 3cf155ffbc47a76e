"""How Jupyter gets a warm kernel: the provisioner `stockkit-warm` asks a warm parent, or starts a plain one."""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import default

from stockkit.workbook.kernels.forks import RefusedError, WarmParent, impossible, kernel_environment

WARM = "warm"
POLL = 0.01  # seconds between two looks at whether a kernel that is to end has ended
KNOWN = {"env", "cwd", "stdout", "stderr", "stdin", "independent", "extra_arguments", "kernel_id"}


class WarmProvisioner(LocalProvisioner):
    """Forks a kernel from a warm parent; where that is refused, starts a plain one, and `kernel` says why.

    Attributes:
        source: where kernels come from, or why there are none; None for a parent that all of this process share.
        kernel: "warm", or "plain: " and the reason; "" before the kernel is started.
    """

    source: WarmParent | str | None = None
    kernel = ""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start a kernel by its command, as `LocalProvisioner` would, or by a fork."""
        try:
            forked = await self._fork(cmd, kwargs)
        except RefusedError as refused:
            self.kernel = f"plain: {refused}"
            return await super().launch_kernel(cmd, **kwargs)
        self.kernel = WARM
        self.process = forked
        self.pid = self.pgid = forked.pid  # it leads a session of its own, or will in a moment
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info

    async def _fork(self, cmd: list[str], kwargs: dict[str, Any]) -> Any:
        if unknown := sorted({name for name, value in kwargs.items() if value is not None} - KNOWN):
            raise RefusedError(f"it is started with {', '.join(unknown)}")
        source = self.source if self.source is not None else shared(cmd)
        if isinstance(source, str):
            raise RefusedError(source)
        environment = {**kwargs.get("env", os.environ)}
        if not kwargs.get("independent"):
            environment["JPY_PARENT_PID"] = str(os.getpid())
        files = [_number(kwargs.get("stdout"), 1), _number(kwargs.get("stderr"), 2)]
        return await source.fork(cmd, Path(kwargs.get("cwd") or Path.cwd()), environment, files)


class PromptClient(AsyncKernelClient):
    """Is ready once its kernel is; Jupyter's then listens for 0.2 seconds more, to drop what nbclient passes over."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel has answered, and what it puts out arrives.

        Raises:
            RuntimeError: the kernel died, or did not respond in so many seconds.
        """
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while time.monotonic() < end:
            self.kernel_info()
            with suppress(Empty):
                reply = await self.get_shell_msg(timeout=1)
                if reply["msg_type"] == "kernel_info_reply":
                    await self.get_iopub_msg(timeout=0.2)
                    return self._handle_kernel_info_reply(reply)
            if not await self.is_alive():
                raise RuntimeError("the kernel died before it answered")
        raise RuntimeError(f"the kernel did not respond in {timeout} seconds")


class WarmManager(AsyncKernelManager):
    """Starts kernels through a `WarmProvisioner`, whatever the kernel's specification names."""

    source: WarmParent | str | None = None

    @default("client_factory")
    def _prompt_client(self) -> type[PromptClient]:
        return PromptClient

    async def _async_wait(self, pollinterval: float = POLL) -> None:
        await super()._async_wait(min(pollinterval, POLL))

    async def _async_pre_start_kernel(self, **options: Any) -> Any:
        if self.provisioner is None:
            self.kernel_id = self.kernel_id or str(uuid.uuid4())
            provisioner = WarmProvisioner(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)
            provisioner.source = self.source
            self.provisioner = provisioner
        return await super()._async_pre_start_kernel(**options)


_shared: dict[tuple[str, ...], WarmParent | str] = {}
_lock = threading.Lock()


def shared(command: list[str], *, after: int = 0) -> WarmParent | str:
    """The warm parent of this process for kernels that this command starts, made where there is none yet."""
    flags = tuple(command[1 : command.index("-m")] if "-m" in command else ())
    with _lock:
        if flags not in _shared:
            _shared[flags] = impossible() or WarmParent(kernel_environment(), Path.cwd(), after=after, flags=flags)
            if isinstance(parent := _shared[flags], WarmParent):
                atexit.register(parent.close)
        return _shared[flags]


def _number(file: Any, standard: int) -> int:
    """The number of an open file that a kernel gets; by default of this process' own."""
    if file is None:
        return standard
    return int(file if isinstance(file, int) else file.fileno())
