"""Schedules put into this user's crontab or systemd, listed, and taken away again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from stockkit.errors import RunError
from stockkit.local_files import write_atomically
from stockkit.workbook.scheduling import cron, systemd
from stockkit.workbook.scheduling.entry import PREFIX, Entry

KINDS = ("cron", "systemd")
EMPTY = ("no crontab for", "No such file or directory")  # how a user without a crontab is told so


def usual_kind() -> str:
    """What this machine schedules with: cron where it is there, as it also runs while nobody is logged in."""
    if shutil.which("crontab"):
        return "cron"
    return "systemd" if _has_systemd() else "cron"


def _has_systemd() -> bool:
    return bool(shutil.which("systemctl")) and not _systemctl("show-environment").returncode


def read_crontab() -> bytes:
    """This user's crontab, as it is.

    Raises:
        RunError: there is no `crontab`, or it does not show one.
    """
    done = _crontab("-l")
    words = done.stderr.decode("utf-8", "replace")
    if done.returncode and not any(word in words for word in EMPTY):
        raise RunError(f"`crontab -l` failed, so nothing was changed: {' '.join(words.split())[:300]}")
    return b"" if done.returncode else done.stdout


def write_crontab(body: bytes) -> None:
    """Put `body` in place of this user's crontab.

    Raises:
        RunError: it was refused; the one before still stands.
    """
    done = _crontab("-", body)
    if done.returncode:
        words = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise RunError(f"`crontab -` refused the new crontab, the old one stands: {words[:300]}")


def _crontab(word: str, body: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("crontab")
    if program is None:
        raise RunError("there is no program `crontab` on this machine.")
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run([program, word], input=body, capture_output=True, check=False, env=environment)


def install_cron(name: str, text: str) -> None:
    """Put a block into this user's crontab, once.

    Raises:
        RunError: it cannot be; the crontab is as it was.
    """
    before = read_crontab()
    after = cron.with_block(before, name, text)
    if after == before:
        return
    write_crontab(after)
    if text.encode() not in read_crontab():
        raise RunError("`crontab -` took the new crontab, but `crontab -l` does not show it: look with `crontab -e`.")


def unit_folder() -> Path:
    """Where this user's units are."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"


def install_systemd(units: Mapping[str, str]) -> None:
    """Write the units, and start the timer.

    Raises:
        RunError: systemd refuses them, or is not there for this user; the units are taken away again.
    """
    if not shutil.which("systemctl"):
        raise RunError("there is no program `systemctl` on this machine.")
    for name, text in units.items():
        write_atomically(unit_folder() / name, text.encode())
    timer = next(name for name in units if name.endswith(".timer"))
    # restarted, as a timer that runs keeps its old times
    for words in (["daemon-reload"], ["enable", timer], ["restart", timer]):
        done = _systemctl(*words)
        if done.returncode:
            _remove_units(timer.removesuffix(".timer"))
            raise RunError(f"`systemctl --user {' '.join(words)}` failed: {' '.join(done.stderr.split())[:300]}")


def _remove_units(name: str) -> bool:
    paths = [unit_folder() / f"{name}.{kind}" for kind in ("timer", "service")]
    if not any(path.exists() for path in paths):
        return False
    if shutil.which("systemctl"):
        _systemctl("disable", "--now", f"{name}.timer")
    for path in paths:
        path.unlink(missing_ok=True)
    if shutil.which("systemctl"):
        _systemctl("daemon-reload")
    return True


def _systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", "--user", *words], capture_output=True, text=True, check=False)


def is_lingering() -> bool:
    """Whether this user's timers run while nobody is logged in; True where it is not known."""
    if not shutil.which("loginctl"):
        return True
    command = ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode != 0 or done.stdout.strip() != "no"


def remove(name: str, kinds: Sequence[str] = KINDS) -> list[str]:
    """Take a schedule away; the kinds of which there was one.

    Raises:
        RunError: the crontab cannot be changed.
    """
    removed = []
    if "cron" in kinds and shutil.which("crontab"):
        before = read_crontab()
        after = cron.without(before, name)
        if after != before:
            write_crontab(after)
            removed.append("cron")
    if "systemd" in kinds and _remove_units(name):
        removed.append("systemd")
    return removed


def entries() -> list[tuple[str, Entry]]:
    """What is installed, each with its kind."""
    there = [("cron", entry) for entry in cron.installed(read_crontab())] if shutil.which("crontab") else []
    for path in sorted(unit_folder().glob(f"{PREFIX}*.timer")):
        if (entry := systemd.installed(path.read_text(encoding="utf-8", errors="replace"))) is not None:
            there.append(("systemd", entry))
    return there
