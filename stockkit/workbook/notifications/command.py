"""A notification to a command of the user's own: the message on its standard input and in its environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from stockkit.errors import ParamError
from stockkit.stream.alerts.notifier import Message, NotTaken

LIMIT = 15.0  # seconds
AGAIN = 75  # the exit code by which a command asks to be called again: EX_TEMPFAIL of sysexits.h
SECRET = "STOCKKIT_SECRET_"  # what begins so is for stockkit alone
LONGEST = 300  # characters of what a command says of its failure


class Command:
    """Starts a command without a shell. Exit code 0 is "taken"; 75 asks to be called again, others are not repeated.

    Args:
        words: program and arguments. folder: where it starts.
    """

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self._words, self._folder = list(words), folder

    def send(self, alerts: Sequence[Message]) -> None:
        """See `notifier.Notifier`."""
        for place, message in enumerate(alerts):
            if problem := self._call(message.message()):
                problem.taken = place
                raise problem

    def _call(self, message: Mapping[str, Any]) -> NotTaken | None:
        name = Path(self._words[0]).name
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:  # a pipe could block either side
            given.write(json.dumps(message).encode() + b"\n")
            given.seek(0)
            try:
                code = self._run(environment(message), given, output)
            except OSError as error:
                return NotTaken(f"{name} cannot be started: {error.strerror or error}.", for_good=True)
            if code is None:
                return NotTaken(f"{name} took longer than {LIMIT:g} s and was stopped.", for_good=True)
            if code == 0:
                return None
            return NotTaken(f"{name} ended with exit code {code}{_last_line(output)}.", for_good=code != AGAIN)

    def _run(self, environment: Mapping[str, str], given: IO[bytes], output: IO[bytes]) -> int | None:
        """The exit code, None where it had to be stopped; it has a session of its own, so that all of it can be."""
        process = subprocess.Popen(
            self._words, cwd=self._folder, env=environment, stdin=given, stdout=subprocess.DEVNULL, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + LIMIT
        try:
            return process.wait(timeout=end - time.monotonic())
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                with suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def environment(message: Mapping[str, Any]) -> dict[str, str]:
    """The environment of this process without stockkit's secrets, with each part of a message as STOCKKIT_NAME."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRET)}
    parts = {name: "" if value is None else str(value).replace("\0", " ") for name, value in message.items()}
    return kept | {f"STOCKKIT_{name.upper()}": value for name, value in parts.items()}


def open_command(argument: str, root: Path) -> Command:
    """The channel of ``command:SHELLWORDS``; a program with a slash in its name is looked for from `root` on.

    Raises:
        ParamError: the words cannot be split, or there is no such program.
    """
    try:
        words = shlex.split(argument)
    except ValueError as error:
        raise ParamError(f"command: its words cannot be split ({error}): quote them as in a shell.") from error
    if not words or not words[0] or "\0" in argument:
        raise ParamError("command: no program is named: write one, as in command:./notify.sh --loud.")
    program = str(root / words[0]) if "/" in words[0] else words[0]
    if shutil.which(program) is None:
        raise ParamError(f"command: there is no program {words[0][:100]!r} that can be started: correct its name.")
    return Command([program, *words[1:]], root)


def _last_line(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - 4_000))
    lines = output.read().decode("utf-8", "replace").strip().splitlines()
    text = "".join(sign if sign.isprintable() else " " for sign in lines[-1]) if lines else ""
    return f" ({text[:LONGEST]})" if text else ""
