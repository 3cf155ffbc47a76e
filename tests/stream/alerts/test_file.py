"""A file has each alert exactly once, wherever the process that writes it ends."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from stockkit.errors import ParamError
from stockkit.stream import alerts
from stockkit.stream.alerts.delivery import SECOND
from stockkit.stream.alerts.file import TAIL, File
from stockkit.stream.store import Store
from tests.conftest import lacking, mounted
from tests.stream.alerts.posting import HOSTILE, post

CHANNEL = "file:alerts.jsonl"


def send(store: Store, now: int = SECOND) -> int:
    return alerts.deliver(store, alerts.open_notifiers([CHANNEL], store.path.parent), now)


def ids(store: Store) -> list[str]:
    text = (store.path.parent / "alerts.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line)["id"] for line in text.split("\n")[:-1]]


def test_a_line_is_the_alert_whatever_signs_are_in_it(store):
    [name] = post(store, 1, CHANNEL, text=HOSTILE)
    assert send(store) == 1
    [line] = (store.path.parent / "alerts.jsonl").read_bytes().splitlines()
    assert json.loads(line) == {"id": name, "symbol": "AAPL", "text": f"{HOSTILE} {name}"}


ENDING = """
import os, sys
from pathlib import Path
from stockkit.stream import alerts
from stockkit.stream.alerts import file
from stockkit.stream.store import Store

path, place, after = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
passed = 0

def ends(call, half=False):
    def watched(*arguments):
        global passed
        for moment in ("before", "half", "after"):
            if moment == "half" and half:
                opened, lines = arguments
                if passed == after:
                    opened.write(lines[: len(lines) // 2 + 7])
                    os._exit(9)
            elif passed == after:
                os._exit(9)
            passed += 1
            if moment == "before" and not half or moment == "half" and half:
                result = call(*arguments)
        return result
    return watched

file._write = ends(file._write, half=True)
file.os.fsync = ends(os.fsync)
Store.sent = ends(Store.sent)
store = Store(path)
alerts.deliver(store, alerts.open_notifiers(["file:alerts.jsonl"], path.parent), 1_000_000)
"""


@pytest.mark.parametrize("after", range(12))
def test_a_process_that_ends_before_within_or_after_any_step_leaves_each_alert_once(store, after):
    expected = post(store, 3, CHANNEL)
    command = [sys.executable, "-c", ENDING, str(store.path), "", str(after)]
    for _ in range(2):  # the second one ends at the same place, over what the first one left
        assert subprocess.run(command, check=False).returncode in (0, 9)
    send(store)
    expected += post(store, 2, CHANNEL)
    send(store, 2 * SECOND)
    assert ids(store) == expected
    assert store.alert_counts() == {"sent": 5}


def test_a_version_that_only_appends_writes_alerts_twice(store, monkeypatch):
    post(store, 3, CHANNEL)
    assert subprocess.run([sys.executable, "-c", ENDING, str(store.path), "", "9"], check=False).returncode == 9
    assert store.alert_counts() == {"waiting": 3}
    monkeypatch.setattr(File, "_look", lambda self, file, size: None)
    send(store)
    assert len(ids(store)) == 6


def test_a_torn_last_line_is_cut_off_and_a_stranger_s_is_not(store):
    path = store.path.parent / "alerts.jsonl"
    expected = post(store, 1, CHANNEL)
    path.write_bytes(b'{"id": "x"}\nnotes without an end')
    send(store)
    with path.open("ab") as file:
        file.write(b'{"id": "y", "text": "tor')
    expected += post(store, 1, CHANNEL)
    send(store, 2 * SECOND)
    lines = path.read_text().splitlines()
    assert lines[1] == "notes without an end"
    assert [json.loads(line)["id"] for line in lines[:1] + lines[2:]] == ["x", *expected]


def test_ids_are_looked_for_at_the_end_of_a_long_file(store):
    path = store.path.parent / "alerts.jsonl"
    path.write_bytes(b"x" * 99 + b"\n" + (b"y" * 999 + b"\n") * (2 * TAIL // 1_000))
    size = path.stat().st_size
    first, second = post(store, 2, CHANNEL)
    with path.open("ab") as file:
        file.write(json.dumps({"id": first}).encode() + b"\n" + b"z" * 999 + b"\n")
    send(store)
    assert [json.loads(line)["id"] for line in path.read_bytes()[size:].splitlines() if line[:1] == b"{"] == [
        first,
        second,
    ]


def test_two_stores_write_to_one_file_each_its_own(store, tmp_path):
    other = Store(tmp_path / "other" / "stream.sqlite")
    here = post(store, 4, CHANNEL)
    post(other, 6, CHANNEL, now=5)
    notifiers = alerts.open_notifiers([CHANNEL], tmp_path)
    assert alerts.deliver(store, notifiers, SECOND) == 4
    assert alerts.deliver(other, notifiers, SECOND) == 6
    assert ids(store) == [*here, *[f"tick:5/20:p/0:{k}" for k in (4, 5)]]  # equal ids are one alert


def test_a_file_that_grew_or_went_away_meanwhile_is_looked_through_again(store):
    path = store.path.parent / "alerts.jsonl"
    notifiers = alerts.open_notifiers([CHANNEL], store.path.parent)
    first = post(store, 1, CHANNEL)
    alerts.deliver(store, notifiers, SECOND)
    second, third = post(store, 2, CHANNEL)
    with path.open("a") as file:
        file.write(json.dumps({"id": second}) + '\n{"id": "to')
    alerts.deliver(store, notifiers, 2 * SECOND)
    assert ids(store) == [*first, second, third]
    path.unlink()
    fourth = post(store, 1, CHANNEL)
    alerts.deliver(store, notifiers, 3 * SECOND)
    assert ids(store) == fourth


def test_a_disk_that_is_full_gets_whole_lines_only_and_the_rest_when_it_has_room(tmp_path):
    if os.geteuid():
        lacking("mount", "the right to mount a tmpfs is missing")
    store = Store(tmp_path / "stream.sqlite")
    with mounted(tmp_path / "full", "size=64k") as folder:
        channel = f"file:{folder}/alerts.jsonl"
        expected = post(store, 40, channel, text="t" * 2_000)
        filler = folder / "filler"
        filler.write_bytes(bytes(40_000))
        notifiers = alerts.open_notifiers([channel], tmp_path)
        assert alerts.deliver(store, notifiers, SECOND) == 0
        assert os.strerror(errno.ENOSPC) in store.posted("waiting", 40)[-1].detail
        assert (folder / "alerts.jsonl").read_bytes() == b""
        subprocess.run(["mount", "-o", "remount,size=1m", str(folder)], check=True)
        filler.unlink()
        assert alerts.deliver(store, notifiers, 10 * SECOND) == 40
        lines = (folder / "alerts.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == expected
    store.close()


@pytest.mark.parametrize("argument", [".", "folder/", "/dev/null"])
def test_what_is_no_file_is_refused(tmp_path, argument):
    with pytest.raises(ParamError, match="is no file"):
        alerts.open_notifiers([f"file:{argument}"], tmp_path)
