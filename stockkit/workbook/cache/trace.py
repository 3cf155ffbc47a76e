"""What a process reads, noted line by line while it runs: files, modules, folders, tables and other keys of a lake.

`STOCKKIT_TRACE` names the file; `import stockkit` installs the hook where it is set, as do kernels when they start,
and with it the workers that they start. Standard library alone: it is in place before anything else is imported.
What C++ or another program opens is not seen; tables are, as `stockkit.lake` tells of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Callable
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

VARIABLE = "STOCKKIT_TRACE"
PACKAGE = str(Path(__file__).parents[2])
LAKE_FILES = {os.path.join(PACKAGE, name) for name in ("files.py", "local_files.py")}
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev", "/run", "/var", "/System", "/Library")
LONGEST = 4000  # characters of a line: one write of so many is never torn apart by another process
WRITES = os.O_WRONLY | os.O_RDWR
TELLING = {f"a program ({name})" for name in ("uname", "lscpu", "ldconfig", "fc-list")}  # only tell of the machine
IMPORTS = "<frozen importlib"
SEARCHES = (IMPORTS, f"importlib{os.sep}metadata", "pkgutil.py", "pkg_resources")  # look for modules
LOADERS = ("ptyprocess", "pexpect", "IPython")  # what runs a cell's `!command`
CONVERSING = (f"{os.sep}py4j{os.sep}", f"{os.sep}zmq{os.sep}")  # processes of the step's own among themselves


def begin(file: Path, root: Path) -> dict[str, str]:
    """Make the file of a trace for one step and return what its kernel needs in the environment.

    Args:
        file: where the notes go, in a folder of the run's own, which is not traced.
        root: the workbook's folder.
    """
    file.write_text(json.dumps({"root": os.path.abspath(root)}) + "\n", encoding="utf-8")
    return {VARIABLE: str(file)}


def load_ipython_extension(shell: object) -> None:
    """Install the hook in a kernel before its first cell; see `install`."""
    install()


def install() -> None:
    """Note from now on what this process reads, where `STOCKKIT_TRACE` names a file; once, and never with an error."""
    global _installed
    file = os.environ.get(VARIABLE)
    if not file or _installed:
        return
    try:
        notes = Notes(file)
        sys.addaudithook(_hook(notes))
    except Exception:  # a step that is not traced runs as well as any; it is not kept
        return
    _installed = True


_installed = False


class Notes:
    """The file that one process, and what it forks, adds lines to."""

    def __init__(self, file: str) -> None:
        self.file = file
        with open(file, encoding="utf-8") as lines:
            self.root: str = json.loads(lines.readline())["root"]
        self.handle, self.state = self._open()
        self.known: set[Any] = set()
        self.add("begin", os.getpid())

    def add(self, *parts: Any) -> None:
        """Add a line, once."""
        if parts in self.known:
            return
        self.known.add(parts)
        line = json.dumps(parts)
        if len(line) > LONGEST:
            line = json.dumps(["always", f"what it read has too long a name ({line[:200]}…)"])
        if not self._is_open():
            self.handle, self.state = self._open()
        os.write(self.handle, (line + "\n").encode())

    def _open(self) -> tuple[int, tuple[int, int]]:
        handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        status = os.fstat(handle)
        return handle, (status.st_dev, status.st_ino)

    def _is_open(self) -> bool:
        """Whether the number still stands for the file: a program may close all files and open its own."""
        try:
            status = os.fstat(self.handle)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.state


def _hook(notes: Notes) -> Callable[[str, tuple[Any, ...]], None]:
    observer = Observer(notes)
    observer.imported_before()
    heard: dict[str, Callable[..., None]] = {
        "open": observer.opened,
        "import": observer.imported,
        "os.listdir": observer.listed,
        "os.scandir": observer.listed,
        "sqlite3.connect": observer.connected_to,
        "socket.connect": observer.asked,
        "subprocess.Popen": observer.started,
        "os.system": observer.started,
        "os.posix_spawn": observer.started,
        "os.forkpty": observer.started,
        "stockkit.table": observer.table,
        "stockkit.tables": observer.tables,
        "stockkit.lake": observer.key,
        "stockkit.always": lambda reason: notes.add("always", reason),
        "stockkit.clock": lambda: notes.add("clock"),
        "stockkit.until": lambda moment: notes.add("until", moment),
    }
    busy = threading.local()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        handler = heard.get(event)
        if handler is None or getattr(busy, "now", False):
            return
        busy.now = True
        try:
            handler(*arguments)
        except Exception:  # what is audited must go on, whatever becomes of the notes
            _spoil(notes, event)
        finally:
            busy.now = False

    return hook


def _spoil(notes: Notes, event: str) -> None:
    try:
        notes.add("always", f"what it read could not be noted ({event})")
    except Exception:  # the disk is full, say: then the step fails as well, or is not kept
        notes.known.clear()


class Observer:
    """Turns the events of one process into notes."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.root = notes.root + os.sep
        self.package = PACKAGE + os.sep
        # what these ask is the lake, of which is told in other ways
        self.lakes = tuple(os.path.join(PACKAGE, name) for name in ("files.py", "aws.py", f"lake{os.sep}"))
        self.installed = _folders(sysconfig.get_paths().values(), site.getsitepackages(), [site.getusersitepackages()])
        home = os.path.expanduser("~")
        cached = [os.environ.get("XDG_CACHE_HOME", os.path.join(home, ".cache"))]
        cached += [os.path.join(home, name) for name in (".ipython/profile_default/history.sqlite", ".jupyter")]
        machine = [*SYSTEM, sys.prefix, sys.base_prefix, os.path.dirname(notes.file), os.environ.get("TMPDIR", "/dev")]
        self.foreign = _folders(machine, cached, [os.path.join(home, ".local/share/jupyter")])

    def imported_before(self) -> None:
        """Note the modules that this process has already, of stockkit and of users; what only takes notes left out."""
        for module in list(sys.modules.values()):
            name = self._name(getattr(module, "__file__", None))
            if name is not None and not name.startswith(os.path.dirname(__file__)):
                self._noted("read", name)

    def opened(self, path: Any, mode: Any, flags: Any) -> None:
        """A file was opened; of a compiled module its source counts. To look at stockkit's code is not to run it."""
        name = self._name(path)
        if name is None or self._is_lakes():
            return
        if kind := _change(mode, int(flags or 0)):
            self.notes.add(kind, name)
        elif not name.startswith(self.package) or not name.endswith((".py", ".pyc")) or IMPORTS in _caller():
            self._noted("read", source_from_cache(name) if "__pycache__" in name else name)

    def imported(self, module: str, file: Any, *search: Any) -> None:
        """A compiled module was loaded; others are opened as files."""
        name = self._name(file)
        if name is not None:
            self._noted("read", name)

    def listed(self, path: Any = None) -> None:
        """A folder was listed, but for the search of modules."""
        name = self._name(path if path is not None else ".")
        searches = any(part in _caller() for part in SEARCHES)
        if name is not None and not searches and not name.startswith(self.package) and not self._is_lakes():
            self._noted("list", name)

    def connected_to(self, database: Any) -> None:
        """A database of SQLite was opened."""
        name = self._name(database)
        if name is not None and os.path.isfile(name):
            self._noted("read", name)

    def asked(self, connection: Any, address: Any) -> None:
        """A connection to a computer, maybe this one, was opened by anything but the lake."""
        if not isinstance(address, tuple) or len(address) < 2:
            return
        files = _callers(200)
        if any(file.startswith(self.lakes) or any(name in file for name in CONVERSING) for file in files):
            return
        is_library = all(file.startswith((*self.installed, "<frozen")) for file in files)
        if is_library and any(f"{os.sep}botocore{os.sep}" in file for file in files):
            return  # a thread of its own, in which a library reads or writes for the lake
        self.notes.add("always", f"it asks {address[0]}:{address[1]}, which may answer otherwise each time")

    def started(self, *what: Any) -> None:
        """A program was started by a cell or a user's file."""
        if _program(what) in TELLING:
            return
        for file in _callers(200):
            if file.startswith(self.installed) and not any(f"{os.sep}{name}{os.sep}" in file for name in LOADERS):
                if "site-packages" in file or "dist-packages" in file:
                    return  # a library's own affair, as counting processors is
                continue
            if file.startswith(("<frozen", self.package)):
                return
            break
        self.notes.add("always", f"it starts {_program(what)}, and what that reads is not seen")

    def table(self, files: Any, table: str, version: int | None) -> None:
        """A table of a lake was opened in a version; None where it was not there."""
        self.notes.add("table", files.identity, table, version)

    def tables(self, files: Any, names: list[str]) -> None:
        """The tables of a lake were listed by other than stockkit itself."""
        callers = [file for file in _callers(6) if not file.endswith(os.path.join("lake", "tables.py"))]
        if callers and (not callers[0].startswith(self.package) or "information_schema" in callers[0]):
            self.notes.add("key", files.identity, "tables", "tables", digest(names))

    def key(self, files: Any, operation: str, key: str, answer: Any) -> None:
        """Another key of a lake was read, listed or written."""
        if key != "tables" and not key.startswith(("tables/", "runs/")):  # what runs keep changes no result of theirs
            self.notes.add("key", files.identity, operation, key, digest(answer))

    def _noted(self, kind: str, name: str) -> None:
        try:
            status = os.stat(name)
        except OSError:
            return  # opening it fails as well
        if kind == "read" and not os.path.isfile(name):
            return  # a terminal, a pipe, a device
        self.notes.add(kind, name, status.st_mtime_ns, status.st_size if kind == "read" else 0)

    def _name(self, path: Any) -> str | None:
        """The absolute path, where it is one whose content counts."""
        if path is None or isinstance(path, int):
            return None
        if isinstance(path, str) and path.startswith(self.installed) and not path.startswith(self.package):
            return None  # thousands of them: no more is done than must be
        name = os.path.abspath(os.fsdecode(os.fspath(path)))
        if "__pycache__" in name and not name.endswith(".pyc"):
            return None  # what numba compiled of a source, which counts itself
        if name.startswith(self.package):
            return name
        if name.startswith(self.installed):
            return None
        if name.startswith(self.root) or name == self.notes.root:
            return None if name.startswith(os.path.join(self.root, ".git") + os.sep) else name
        return None if os.path.join(name, "").startswith(self.foreign) else name

    def _is_lakes(self) -> bool:
        return not LAKE_FILES.isdisjoint(_callers(16))


def _change(mode: Any, flags: int) -> str:
    """Whether a file is opened to "write" it anew or to "append" to what is there; "" where it is read alone."""
    if isinstance(mode, str):
        return "write" if "w" in mode or "x" in mode else "append" if "a" in mode or "+" in mode else ""
    if not flags & WRITES:
        return ""
    return "write" if flags & os.O_TRUNC or flags & os.O_EXCL else "append"


def _program(what: tuple[Any, ...]) -> str:
    """What an event of a start says that was started."""
    words = what[1] if len(what) > 1 else what[0] if what else ""
    word = words[0] if isinstance(words, list | tuple) and words else words
    first = os.fsdecode(word) if isinstance(word, str | bytes) else str(word)
    name = os.path.basename(first.split()[0])[:40] if first.split() else ""
    return f"a program ({name})" if name else "a program"


def digest(answer: Any) -> str:
    """What stands for the answer of a lake: a hash, "" where there is nothing."""
    if answer is None:
        return ""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return hashlib.sha256(body).hexdigest()


def _folders(*parts: Any) -> tuple[str, ...]:
    """Each folder as given and with its links resolved, ending in a separator."""
    names = [os.path.abspath(name) for part in parts for name in part if name]
    return tuple({os.path.join(form, "") for name in names for form in (name, os.path.realpath(name))} - {os.sep})


def _callers(most: int) -> list[str]:
    """The files of the functions that led to an event, the nearest first; this one left out."""
    frame: Any = sys._getframe(1)
    files: list[str] = []
    while frame is not None and len(files) < most:
        if frame.f_code.co_filename != __file__:
            files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return files


def _caller() -> str:
    return next(iter(_callers(1)), "")
