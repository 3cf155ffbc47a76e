"""Exactly one notification a run, however it ends; one that was killed is told by the next, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from stockkit.errors import LakeError, ParamError
from stockkit.stream.alerts.notifier import NotTaken
from stockkit.workbook.manifest import FAILED, SUCCEEDED, Failure, Manifest, Step
from stockkit.workbook.notifications import sending
from stockkit.workbook.notifications.announcing import Announcer, announcing
from stockkit.workbook.notifications.outcome import of_run


class Kept:
    """A channel that keeps what it gets, after the troubles that it is told."""

    def __init__(self, *troubles):
        self.got, self.troubles = [], list(troubles)

    def send(self, messages):
        if self.troubles:
            raise self.troubles.pop(0)
        self.got += [message.message() for message in messages]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.01)


@pytest.fixture
def channel():
    return Kept()


def announcer(reports, channel, when="always", **more):
    return Announcer({"command:x": channel}, when, reports, "params/own.yaml", **more)


def manifest(run, status=SUCCEEDED, *, ename=None, reason=None, params_file="params/own.yaml"):
    error = ename and Failure(cell=2, where="", ename=ename, evalue="planted 17.3")
    steps = [Step("01_x", "x?", status=FAILED if error else SUCCEEDED, error=error or None)]
    return Manifest(
        run, status, reason, "2026-11-26T08:00:00Z", "2026-11-26T08:01:00Z", 60.0, "1", params_file, {}, steps
    )


def go(reports, run, channel, when="always", warn=print, **ending):
    """A run as far as its notification goes: its folder, its manifest, its final name."""
    from dataclasses import asdict

    ended = manifest(run, **ending)
    with announcing(announcer(reports, channel, when, warn=warn)) as sent:
        folder = reports / f"{run}.partial"
        folder.mkdir(parents=True)
        sent.begin(folder)
        (folder / "run.json").write_text(json.dumps(asdict(ended)))
        folder.rename(reports / run)
        assert channel.got == [] or channel.got[-1]["run"] != run
        sent.end(ended, 0)


def note_of(reports, run):
    return json.loads((reports / run / "notified.json").read_text())


def test_the_outcome_is_told_once_and_noted(tmp_path, channel):
    go(tmp_path, "r1", channel)
    (sent,) = channel.got
    assert (sent["run"], sent["status"], sent["exit_code"], sent["seconds"]) == ("r1", "succeeded", 0, 60.0)
    assert sent["report"] == str(tmp_path / "r1" / "index.html")
    assert note_of(tmp_path, "r1")["state"] == "told"
    go(tmp_path, "r2", channel, status=FAILED, ename="ValueError")
    assert [one["run"] for one in channel.got] == ["r1", "r2"]
    assert (channel.got[1]["notebook"], channel.got[1]["cell"]) == ("01_x", 2)
    assert channel.got[1]["cause"] == "ValueError: planted 17.3"


@pytest.mark.parametrize(
    ("error", "code", "cause"),
    [
        (ParamError("horizn"), 2, "ParamError: horizn"),
        (KeyboardInterrupt(), 130, "Interrupted: stopped by SIGINT"),
        (RuntimeError("x" * 5_000), 2, f"RuntimeError: {'x' * 984} …"),
        (SystemExit(3), 2, "SystemExit: 3"),
    ],
)
def test_a_run_that_ends_before_it_has_a_folder_is_told(tmp_path, channel, error, code, cause):
    with pytest.raises(type(error)), announcing(announcer(tmp_path, channel)):
        raise error
    (sent,) = channel.got
    assert (sent["status"], sent["run"], sent["exit_code"], sent["cause"]) == ("failed", "", code, cause)
    assert "before its start" in sent["title"]


def test_a_run_that_cannot_write_its_report_is_told_with_the_error(tmp_path, channel):
    (folder := tmp_path / "r1.partial").mkdir()
    teller = announcer(tmp_path, channel)
    teller.begin(folder)
    with pytest.raises(LakeError), announcing(teller):
        raise LakeError("No space left on device")
    (message,) = channel.got
    assert (message["run"], message["status"], message["exit_code"]) == ("r1", "failed", 1)
    assert message["cause"] == "LakeError: No space left on device"


def test_of_several_notebooks_that_failed_the_first_that_is_to_blame_is_told_with_the_names_of_the_others():
    names = {"01_x": "Interrupted", "02_y": "KeyError", "03_z": "ValueError"}
    steps = [{"name": name, "error": {"ename": ename, "evalue": "planted"}} for name, ename in names.items()]
    sent = of_run({"run": "r1", "steps": steps, "reason": "x"}, report="")
    assert (sent.notebook, sent.cause) == ("02_y", "KeyError: planted (also failed: 03_z) (also failed: 01_x)")
    stopped = of_run({"run": "r1", "steps": steps[:1], "reason": "Interrupted: stopped in 01_x."}, report="")
    assert (stopped.notebook, stopped.cause) == ("01_x", "Interrupted: stopped in 01_x.")


def test_a_channel_that_fails_is_a_warning_and_no_more(tmp_path):
    warnings = []
    channel = Kept(NotTaken("planted", for_good=True), RuntimeError("planted"))
    go(tmp_path, "r1", channel, warn=warnings.append)
    go(tmp_path, "r2", channel, warn=warnings.append)
    assert warnings == ["notification: command:x: planted", "notification: command:x: RuntimeError: planted"]
    assert note_of(tmp_path, "r1") | {"channels": []} == {
        "state": "not taken", "id": "run:r1:2026-11-26T08:01:00Z", "params_file": "params/own.yaml",
        "status": "succeeded", "channels": [], "problems": ["command:x: planted"],
    }  # fmt: skip
    assert channel.got == []


def test_on_failure_only_failures_are_told(tmp_path, channel):
    go(tmp_path, "r1", channel, "failure")
    assert (channel.got, note_of(tmp_path, "r1")["state"]) == ([], "not wanted")
    go(tmp_path, "r2", channel, "failure", status=FAILED, reason="Incomplete: A is missing")
    assert [sent["run"] for sent in channel.got] == ["r2"]


def test_on_change_the_same_news_is_not_told_twice(tmp_path, channel):
    endings = [
        {}, {}, {"status": FAILED, "ename": "ValueError"}, {"status": FAILED, "ename": "ValueError"},
        {"status": FAILED, "ename": "KeyError"}, {"status": FAILED, "reason": "Incomplete: A"},
        {"status": FAILED, "reason": "Incomplete: A; B"}, {"params_file": "params/other.yaml"}, {},
    ]  # fmt: skip
    for number, ending in enumerate(endings, 1):
        go(tmp_path, f"r{number}", channel, "change", **ending)
    assert [sent["run"] for sent in channel.got] == ["r1", "r3", "r5", "r6", "r8", "r9"]


KILLED = """import os, signal, sys, pathlib
from stockkit.workbook.notifications.announcing import Announcer, announcing
reports = pathlib.Path(sys.argv[1])
with announcing(Announcer({'command:x': None}, 'always', reports, 'params/own.yaml')) as told:
    folder = reports / 'r1.partial'
    folder.mkdir()
    told.begin(folder)
    print('begun', flush=True)
    sys.stdin.read()
"""


def test_a_run_whose_reports_are_on_s3_is_compared_with_those_that_are_known_of_there(tmp_path, channel):
    go(tmp_path / "reports", "r1", Kept(), "change", status=FAILED, ename="ValueError")
    (tmp_path / "reports" / ".published").mkdir()
    (tmp_path / "reports" / "r1").rename(tmp_path / "reports" / ".published" / "r1")
    go(tmp_path / "reports", "r2", channel, "change", status=FAILED, ename="ValueError")
    assert channel.got == []


def test_a_run_with_a_deadline_does_not_wait_for_its_channels_beyond_it(tmp_path, monkeypatch):
    from stockkit.workbook.notifications import sending

    given = []
    monkeypatch.setattr(sending, "send", lambda channels, outcome, seconds: given.append(seconds) or [])
    for ends in (0.0, float("inf")):
        teller = announcer(tmp_path, None, ends=ends)
        teller.end(manifest("r1"), 0)
        teller.tell()
    assert given == [5.0, 30.0]


def test_a_run_that_was_killed_is_told_by_the_next_one_of_its_parameters_once(tmp_path, channel):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        announcer(tmp_path, channel).tell_of_the_dead()
        assert channel.got == []  # it is alive
        process.kill()
    Announcer({"command:x": channel}, "always", tmp_path, "params/other.yaml").tell_of_the_dead()
    assert channel.got == []
    channel.troubles = [NotTaken("planted", for_good=True)]
    announcer(tmp_path, channel).tell_of_the_dead()
    assert channel.got == []  # nobody took it, so it is told again
    go(tmp_path, "r2", channel)
    go(tmp_path, "r3", channel)
    assert [sent["run"] for sent in channel.got] == ["r1", "r2", "r3"]
    assert channel.got[0]["cause"].startswith("Killed: ")
    assert (channel.got[0]["status"], channel.got[0]["exit_code"]) == ("failed", None)


def test_a_run_that_ended_but_was_killed_before_it_told_so_is_told_as_it_ended(tmp_path, channel):
    go(tmp_path, "r1", channel, status=FAILED, ename="ValueError")
    (tmp_path / "r1" / "notified.json").write_text('{"state": "pending", "params_file": "params/own.yaml"}')
    again = Kept()
    go(tmp_path, "r2", again)
    assert [(sent["run"], sent["id"]) for sent in again.got] == [
        ("r1", channel.got[0]["id"]), ("r2", "run:r2:2026-11-26T08:01:00Z"),
    ]  # fmt: skip


def test_a_run_that_goes_on_is_told_anew_when_it_ends(tmp_path, channel):
    go(tmp_path, "r1", channel, status=FAILED, ename="ValueError")
    with announcing(announcer(tmp_path, channel)) as sent:
        (tmp_path / "r1").rename(tmp_path / "r1.partial")
        sent.begin(tmp_path / "r1.partial")
        (tmp_path / "r1.partial").rename(tmp_path / "r1")
        sent.end(manifest("r1"), 0)
    assert [one["status"] for one in channel.got] == ["failed", "succeeded"]


STOPPED = KILLED.replace("'command:x': None", "f'command:x': Slow()").replace(
    "reports =",
    """class Slow:
    def send(self, messages):
        print('sending', flush=True)
        import time
        time.sleep(1)
        print(messages[0].cause, flush=True)
reports =""",
)


def test_a_signal_before_and_during_the_notification_leaves_exactly_one(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(tmp_path)], stdin=-1, stdout=-1, stderr=-1, text=True
    ) as run:
        assert run.stdout.readline() == "begun\n"
        run.send_signal(signal.SIGTERM)
        assert run.stdout.readline() == "sending\n"
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGHUP)
        assert run.stdout.readline() == "Interrupted: stopped by SIGTERM\n"
        assert run.stdout.read() == ""
    assert run.returncode != 0
    note = json.loads((tmp_path / "r1.partial" / "notified.json").read_text())
    assert note["state"] == "told"


def test_a_note_that_was_cut_off_is_that_of_a_killed_run(tmp_path, channel):
    go(tmp_path, "r1", Kept())
    (tmp_path / "r1" / "notified.json").write_text('{"state": "pen')
    announcer(tmp_path, channel).tell_of_the_dead()
    assert [sent["run"] for sent in channel.got] == ["r1"]


def test_nothing_is_asked_of_a_run_without_channels(tmp_path):
    with announcing(Announcer({}, "always", tmp_path / "nowhere", "params/own.yaml")) as sent:
        sent.begin(tmp_path)
        sent.end(manifest("r1"), 0)
    assert os.listdir(tmp_path) == []
