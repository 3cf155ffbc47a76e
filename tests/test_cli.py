"""How the `stockkit` command ends: with its own exit code, and as Python does wherever that is safe."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stockkit.workbook import doctor
from tests.conftest import stockkit

COMMAND = """
import atexit, sys, threading, typer, stockkit.cli as cli

{before}
atexit.register(print, "cleaned up")

@cli.app.command()
def odd():
    print("done")
    raise typer.Exit(3)

sys.argv = ["stockkit", "odd"]
cli.main()
"""
SLOW = "threading.Thread(target=lambda: (threading.main_thread().join(), print('joined'))).start()"
ENDLESS = "import deltalake.fs\nthreading.Thread(target=threading.Event().wait).start()  # would keep Python for ever"


@pytest.mark.parametrize(
    ("before", "lines"), [(SLOW, ["done", "joined", "cleaned up"]), (ENDLESS, ["done", "cleaned up"])]
)
def test_a_command_waits_for_its_threads_but_where_arrow_has_some_that_call_python(before, lines):
    code = COMMAND.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (3, lines, "")


def test_an_output_that_nobody_reads_changes_no_exit_code(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is printed is written at the end
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "stockkit.cli", "--version"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_without_its_packages_names_them_and_how_to_get_them(tmp_path, monkeypatch):
    version = doctor.version
    monkeypatch.setattr(doctor, "version", lambda package: None if package == "uvicorn" else version(package))
    done = stockkit(tmp_path, "serve")
    assert done.returncode == 2
    assert "stockkit serve needs uvicorn: pip install 'stockkit[serve]'." in " ".join(done.stderr.split())
