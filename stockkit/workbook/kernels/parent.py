"""The warm parent: imports third-party libraries, starts nothing, and forks kernels from itself on demand.

This file is run alone (standard library only, no module of stockkit, which a kernel would then share with others). It
is given the number of a socket, how many kernels it forks before it imports more than ipykernel, after how many nobody
needs more, and the modules to import (see `Parent.warm`). It imports one, serves who waits, imports the next: a kernel
never waits for more than one import, and has what was imported until then. Workers of a kernel are forked as well, from
a process that it forks before it starts threads (see `stockkit.forked`). What a library or the interpreter does at its
start is done again in each kernel: environment, session, open files, random state, the mark that guards know processes
by. A process that has threads is never forked.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import gc
import importlib
import io
import json
import operator
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

MARK = "STOCKKIT_MARK"
VARIES = ("STOCKKIT_", "JPY_", "TMPDIR=", "IPYTHONDIR=")  # read when used, by nothing at its import
KERNEL = (  # what ipykernel imports before a kernel's first cell
    *("ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.debugger", "IPython.core.completerlib", "sqlite3"),
    *("IPython.core.oinspect", "IPython.extensions.storemagic", "tornado.platform.asyncio", "tornado.queues"),
)
BACKEND = "MPLBACKEND"
INLINE = "module://matplotlib_inline.backend_inline"  # what ipykernel chooses before anybody imports matplotlib
# Threads that libraries start when they are loaded; BLAS gets as many as a plain kernel has after the fork
WITHOUT_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
}
BLAS_COUNTS = ("OPENBLAS_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
SOURCE = "warm_parent"  # the module by whose `workers` a kernel asks for workers
PATIENCE = 10.0  # seconds for a request to arrive once it has begun
ENVIRONMENT_START = 47  # field 50 of /proc/self/stat, counted from the third, which follows the name in brackets


class Parent:
    """Imports, forks and reaps until nobody holds the other end of its socket."""

    def __init__(self, control: socket.socket, after: int, until: int, modules: list[str]) -> None:
        self.control, self.modules = control, modules
        self.useful = range(after, until)  # numbers of kernels after which an import is
        self.environment = dict(os.environ)
        self.mark_address = _mark_address(self.environment.get(MARK, ""))
        self.forked = 0
        self.fault = ""  # why no kernel may be forked any more
        self.children: dict[int, socket.socket] = {}  # by process: who waits for its end
        signal.signal(signal.SIGCHLD, self.reap)  # within an import as well, which may take a second
        signal.siginterrupt(signal.SIGCHLD, False)
        os.environ |= WITHOUT_THREADS
        os.environ.setdefault(BACKEND, INLINE)

    def serve(self) -> Kernel | None:
        """Return in each forked process what it has to be, and None where nobody needs the parent any more."""
        for module in KERNEL:
            self.warm(module)
        while True:
            due = bool(self.modules) and self.forked in self.useful and not self.fault
            if select.select([self.control], [], [], 0 if due else None)[0]:
                if (request := self.receive()) is None:
                    self.end()
                    return None
                if kernel := self.answer(*request):
                    return kernel
            if due:
                self.warm(self.modules.pop(0))

    def warm(self, entry: str) -> None:
        """Import a module as in a kernel, and call what is named behind it: ``module:function:argument:…``.

        ``module!other`` imports it as if the other were not installed. What is missing or broken is left to those who
        want it.
        """
        name, *absent = entry.split("!")
        module, *call = name.split(":")
        hidden = dict.fromkeys(set(absent) - set(sys.modules))
        stub = SimpleNamespace(kernel=None, config={"IPKernelApp": {}})
        builtins.get_ipython = lambda: stub  # type: ignore[attr-defined]  # pandas asks it where it shows its frames
        sys.modules |= hidden  # type: ignore[arg-type]  # None is what Python takes for "not to be found"
        try:
            loaded = importlib.import_module(module)
            if call:
                operator.attrgetter(call[0])(loaded)(*call[1:])
        except Exception:
            return
        finally:
            del builtins.get_ipython  # type: ignore[attr-defined]
            for other in hidden:
                del sys.modules[other]
        if len(names := _threads()) > 1:
            self.fault = f"importing {name} left threads running: {', '.join(names)}"

    def receive(self) -> tuple[socket.socket, list[int], dict[str, Any]] | None:
        """A request: the socket of who waits, stdout and stderr, and what the kernel is to be; None at the end."""
        _, files, _, _ = socket.recv_fds(self.control, 1, 3)
        if not files:
            return None
        channel = socket.socket(fileno=files[0])
        channel.settimeout(PATIENCE)
        text = b""
        with suppress(OSError):
            while not text.endswith(b"\n") and (part := channel.recv(1 << 16)):
                text += part
        return channel, files[1:], json.loads(text) if text.endswith(b"\n") else {}

    def answer(self, channel: socket.socket, files: list[int], request: dict[str, Any]) -> Kernel | None:
        """Fork, or say why not. In the new process: what it has to be."""
        pid, refused = -1, self.refusal(channel, files, request)
        if not refused:
            gc.freeze()  # garbage is not looked for in what kernels share, so they do not copy it
            above = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:
                refused = f"the warm parent cannot fork: {error.strerror}"
        if pid == 0:
            channel.close()
            self.close()
            return Kernel(self, above, files, request)
        for number in files:
            os.close(number)
        if refused:
            with suppress(OSError), channel:
                channel.sendall(json.dumps({"refused": refused}).encode() + b"\n")
        else:
            self.await_end(pid, channel)
        return None

    def refusal(self, channel: socket.socket, files: list[int], request: dict[str, Any]) -> str:
        """Why there is no kernel for this request; "" where there may be one."""
        if not request:
            return "the request did not arrive"
        if self.fault:
            return self.fault
        if len(names := _threads()) > 1:
            return f"the warm parent has threads: {', '.join(names)}"
        expected = {0, 1, 2, self.control.fileno(), channel.fileno(), *files}
        expected |= {waiting.fileno() for waiting in self.children.values()}
        if others := _open_files() - expected:
            return f"a library holds a file open: {', '.join(_target(number) for number in sorted(others))}"
        wanted = request["environment"]
        names = sorted({name for name, _ in self.environment.items() ^ wanted.items()})
        if differ := [name for name in names if not f"{name}=".startswith(VARIES)]:
            return f"its environment differs in {', '.join(differ[:3])}"
        mark, wanted_mark = self.environment.get(MARK, ""), wanted.get(MARK, "")
        if len(mark) != len(wanted_mark) or (mark and not self.mark_address):
            return "it cannot be marked as its step's"
        return ""

    def await_end(self, pid: int, channel: socket.socket) -> None:
        """Tell who waits that there is a kernel; one that nobody waits for any more is ended at once."""
        self.forked += 1
        try:
            channel.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        except OSError:
            os.kill(pid, signal.SIGKILL)
        self.children[pid] = channel
        self.reap()  # it may have ended before it was among them

    def reap(self, *_: object) -> None:
        """Tell how kernels ended: the exit code, or the number of the signal below zero."""
        for pid in list(self.children):
            with suppress(ChildProcessError):  # a signal came in between, and it is done
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with suppress(OSError), self.children.pop(pid) as channel:
                        channel.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))

    def end(self) -> None:
        """End the kernels that are left."""
        for pid in list(self.children):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Close in a forked process what is the parent's."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.control.close()
        for channel in self.children.values():
            channel.close()
        self.children.clear()


class Kernel:
    """What a forked process has to be: the kernel that a command would have started."""

    def __init__(self, parent: Parent, above: int, files: list[int], request: dict[str, Any]) -> None:
        self.above, self.files, self.request = above, files, request
        self.mark_address, self.blas = parent.mark_address, blas_threads(parent.environment)
        known = {*parent.environment, *WITHOUT_THREADS, BACKEND}
        self.added = {name: value for name, value in os.environ.items() if name not in known}  # by libraries

    def run(self) -> None:
        """Be the kernel, to its end."""
        self.become_a_process()
        self.renew_libraries()
        with suppress(OSError):
            source: Any = ModuleType(SOURCE)
            source.kernel, source.workers = os.getpid(), waiting_process()
            sys.modules[SOURCE] = source
        self.divide_blas()
        from ipykernel.kernelapp import IPKernelApp

        app = IPKernelApp.instance(parent_handle=self.above)
        app.initialize(sys.argv[1:])  # type: ignore[no-untyped-call]
        if pandas := sys.modules.get("pandas"):  # it asks stdout at its import
            pandas.options.display.encoding = sys.stdout.encoding
        if matplotlib := sys.modules.get("matplotlib"):  # its settings are read again where a kernel's reads are noted
            with suppress(OSError), open(matplotlib.matplotlib_fname()):
                pass
        app.start()  # type: ignore[no-untyped-call]
        leave()

    def become_a_process(self) -> None:
        """Take session, files, folder, environment and command line from the request."""
        os.setsid()
        environment, command = self.request["environment"], self.request["command"]
        if mark := environment.get(MARK, "").encode():
            ctypes.memmove(self.mark_address, mark, len(mark))
        end, other_end = os.pipe()
        os.close(other_end)
        _settle({0: end, 1: self.files[0], 2: self.files[1]}, self.added | environment, self.request["folder"])
        launcher = find_spec("ipykernel_launcher")
        sys.orig_argv = command
        sys.argv = [str(launcher and launcher.origin), *command[command.index("-m") + 2 :]]
        sys.modules["__main__"] = ModuleType("__main__")
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]

    def renew_libraries(self) -> None:
        """Do again what libraries do at their import, where a kernel may not share it with another."""
        import multiprocessing.process

        gc.enable()
        importlib.invalidate_caches()
        tempfile.tempdir = None
        atexit.unregister(shutil.rmtree)  # a folder of the parent's, which other kernels use as well
        multiprocessing.process.ORIGINAL_DIR = os.getcwd()  # type: ignore[attr-defined]
        multiprocessing.process.current_process().authkey = os.urandom(32)
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed()

    def divide_blas(self) -> None:
        """Give BLAS as many threads as a plain kernel's has."""
        if "numpy" in sys.modules:
            import threadpoolctl

            for library in threadpoolctl.ThreadpoolController().select(internal_api="openblas").lib_controllers:
                library.set_num_threads(self.blas or _cores(library))


def waiting_process() -> socket.socket:
    """Fork a process that forks a worker for each three files that the socket brings, to the end of this one.

    The files are a worker's connection, stdout and stderr. The process has one thread and no files but the socket. It
    has a process group of its own, as interrupts are not for it, and ipykernel waits at its end for what is in its own.
    """
    port, other = socket.socketpair()
    kernel = os.getpid()
    if os.fork():
        other.close()
        return port
    try:
        port.close()
        os.setpgid(0, 0)
        _end_with(kernel)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how workers ended
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nothing, standard)
        os.close(nothing)
        while files := socket.recv_fds(other, 1, 3)[1]:
            with suppress(OSError):
                if os.fork() == 0:
                    other.close()
                    be_worker(kernel, *files)
            for number in files:
                os.close(number)
    finally:
        os._exit(0)


def be_worker(kernel: int, channel: int, stdout: int, stderr: int) -> None:
    """Be a worker in the kernel's process group, until the kernel closes the connection."""
    from multiprocessing.connection import Connection

    _end_with(os.getppid())
    os.setpgid(0, kernel)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a kernel that is interrupted ends its workers
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    connection = Connection(channel)
    request = connection.recv()
    _settle({1: stdout, 2: stderr}, request["environment"], request["folder"])
    sys.path[:] = request["path"]
    importlib.import_module(request["module"]).serve(connection)


def _settle(streams: dict[int, int], environment: dict[str, str], folder: str) -> None:
    """Give this process its standard streams, each from a file that is closed then, its environment and its folder."""
    for standard, number in streams.items():
        os.dup2(number, standard)
        os.close(number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def _end_with(parent: int) -> None:
    """Let the system end this process once its parent has ended, however that is."""
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def leave() -> None:
    """End as the interpreter would, but without taking every module of the parent to pieces."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    tracked = gc.get_objects()
    streams = {kind for kind in set(map(type, tracked)) if issubclass(kind, io.IOBase)}
    for it in tracked:
        if type(it) in streams:
            with suppress(Exception):
                it.flush()
    os._exit(0)


def blas_threads(environment: dict[str, str]) -> int:
    """How many threads OpenBLAS is told to have; 0 where the number of cores decides."""
    for name in BLAS_COUNTS:
        with suppress(ValueError):
            if (count := int(environment.get(name, ""))) > 0:
                return min(count, len(os.sched_getaffinity(0)))
    return 0


def _cores(library: Any) -> int:
    """The number of cores that OpenBLAS sees."""
    for name in ("openblas_get_num_procs", "scipy_openblas_get_num_procs"):
        for suffix in ("", "64_", "_64"):
            if function := getattr(library.dynlib, name + suffix, None):
                return int(function())
    return len(os.sched_getaffinity(0))


def _threads() -> list[str]:
    """The names of this process' threads."""
    names = []
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{task}/comm") as name:
            names.append(name.read().strip())
    return sorted(names)


def _open_files() -> set[int]:
    listed = {int(name) for name in os.listdir("/proc/self/fd")}
    return {number for number in listed if _target(number)}


def _target(number: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/self/fd/{number}")
    return ""


def _mark_address(mark: str) -> int:
    """Where this process' mark stands in the environment that /proc shows; 0 where it does not."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as stat:
            start, end = map(int, stat.read().rpartition(b")")[2].split()[ENVIRONMENT_START:][:2])
        name = f"{MARK}=".encode()
        if mark and start:
            return start + ctypes.string_at(start, end - start).index(name + mark.encode()) + len(name)
    return 0


def main() -> None:
    """Serve; in a forked process, be a kernel and end as one."""
    number, after, until = map(int, sys.argv[1:4])
    if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]
    gc.disable()
    parent = Parent(socket.socket(fileno=number), after, until, sys.argv[4:])
    if kernel := parent.serve():
        del parent
        kernel.run()


if __name__ == "__main__":
    main()
