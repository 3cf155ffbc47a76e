"""`stockkit stream alert` says what is in the outbox, and sends test alerts and old ones."""

from __future__ import annotations

import json

import pytest

from stockkit.stream import alerts
from stockkit.stream.alerts.delivery import SECOND
from stockkit.stream.store import Store
from tests.conftest import stockkit
from tests.stream.alerts.posting import HOSTILE, post
from tests.stream.alerts.receiver import receiver


@pytest.fixture
def workbook(tmp_path):
    (tmp_path / "data" / "lake").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def store(workbook):
    opened = Store(workbook / "data" / "lake" / "stream.sqlite")
    yield opened
    opened.close()


def test_a_test_alert_goes_over_each_channel_and_each_answer_is_told(workbook):
    with receiver() as hook:
        hook.days = [404]
        channels = ["console", "file:out/alerts.jsonl", f"webhook:{hook.address}/key", f"webhook:{hook.address}/other"]
        run = stockkit(workbook, "stream", "alert", "--test", *[word for name in channels for word in ("--to", name)])
        assert [body["symbol"] for body in hook.bodies] == ["TEST"]
    lines = run.stdout.splitlines()
    assert run.returncode == 1
    assert lines[0] == "console: taken"
    assert lines[1] == "file:out/alerts.jsonl: taken"
    assert lines[2].endswith("/…: not taken: 127.0.0.1 answered 404 Not Found.")
    assert lines[3].endswith("/…: taken")
    assert "TEST at" in run.stderr
    assert json.loads((workbook / "out" / "alerts.jsonl").read_text())["id"] == hook.bodies[0]["id"]


def test_the_outbox_is_listed_by_state_with_reasons_each_alert_in_a_line(workbook, store):
    with receiver() as hook:
        channel = f"webhook:{hook.address}/key"
        hook.days = [422, 200]
        post(store, 2, channel, text=HOSTILE)
        alerts.deliver(store, alerts.open_notifiers([channel], workbook), SECOND)
        post(store, 1, "console")
        run = stockkit(workbook, "stream", "alert")
    assert run.returncode == 0
    waiting, one, sent, two, given_up, three = run.stdout.splitlines()
    assert (waiting, sent, given_up) == ("waiting: 1", "sent: 1", "given up: 1")
    assert "console  BUY tick:5/20:p/0:2" in one
    assert "</script>" in two
    assert three.endswith("(tried once: 127.0.0.1 answered 422 Unprocessable Entity.)")
    assert "/key" not in run.stdout


def test_what_was_given_up_is_tried_anew(workbook, store):
    with receiver() as hook:
        channel = f"webhook:{hook.address}"
        hook.days = [404, 404]
        post(store, 2, channel)
        alerts.deliver(store, alerts.open_notifiers([channel], workbook), SECOND)
        assert store.alert_counts() == {"given up": 2}
        run = stockkit(workbook, "stream", "alert", "--again")
        assert run.returncode == 0, run.stderr
        assert "2 tried anew, 2 sent" in run.stdout
        assert hook.ids == ["tick:5/20:p/0:0", "tick:5/20:p/0:1"]
    assert store.alert_counts() == {"sent": 2}
    post(store, 1, channel)
    gone = stockkit(workbook, "stream", "alert", "--again", "--to", channel)
    assert gone.returncode == 1
    assert "the connection to 127.0.0.1 failed" in gone.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--test"], "needs --to CHANNEL"),
        (["--test", "--to", "consle"], "Did you mean 'console'"),
        (["--test", "--again"], "give one of them"),
        (["--lake", "nowhere"], "`stockkit stream run params/stream.yaml` makes it"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(workbook, words, says):
    run = stockkit(workbook, "stream", "alert", *words)
    assert (run.returncode, run.stdout) == (2, "")
    assert says in run.stderr
