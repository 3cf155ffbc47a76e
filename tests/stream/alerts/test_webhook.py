"""A webhook gets every alert, whatever days its receiver has, and a receiver that looks at ids has each once."""

from __future__ import annotations

import logging
import subprocess
import sys
from email.utils import formatdate

import pytest

from stockkit.errors import ParamError
from stockkit.stream import alerts
from stockkit.stream.alerts import webhook
from stockkit.stream.alerts.delivery import SECOND
from stockkit.stream.store import Store
from tests.aws import free_ports
from tests.stream.alerts.posting import HOSTILE, post
from tests.stream.alerts.receiver import LATE, RESET, receiver

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture(scope="module")
def serving():
    with receiver() as state:
        yield state


@pytest.fixture
def hook(serving):
    serving.days, serving.bodies, serving.requests = [], [], []
    return serving


def send_all(store: Store, channel: str, tries: int = 40) -> None:
    """Deliver until nothing waits, as time goes by."""
    notifiers = alerts.open_notifiers([channel], store.path.parent)
    for turn in range(1, tries):
        alerts.deliver(store, notifiers, turn * 400 * SECOND)
        if not store.posted("waiting", 1):
            return
    raise AssertionError(store.posted("waiting", 5))


def test_an_alert_arrives_as_it_is_with_its_id_in_body_and_header(store, hook):
    [name] = post(store, 1, channel := f"webhook:{hook.address}/hook?room=1", text=HOSTILE)
    send_all(store, channel)
    assert hook.bodies == [{"id": name, "symbol": "AAPL", "text": f"{HOSTILE} {name}"}]
    [(path, headers)] = hook.requests
    assert path == "/hook?room=1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == name


def test_every_alert_arrives_in_order_through_bad_days(store, hook, monkeypatch):
    monkeypatch.setattr(webhook, "ANSWER", 0.3)
    hook.days = [500, 200, RESET, (429, {"Retry-After": "90"}), LATE, 503, 408, 200, (302, {"Location": "/"}), RESET]
    expected = post(store, 6, channel := f"webhook:{hook.address}")
    send_all(store, channel)
    assert hook.ids == expected
    assert len(hook.bodies) > len(expected)  # the same one again, where the answer was lost
    assert store.alert_counts() == {"sent": 6}


@pytest.mark.parametrize("date", [False, True])
def test_a_receiver_that_asks_for_time_is_left_alone_for_it(store, hook, date):
    hook.days = [(429, {"Retry-After": formatdate(usegmt=True) if date else "90"})]
    post(store, 2, channel := f"webhook:{hook.address}")
    assert alerts.deliver(store, alerts.open_notifiers([channel], store.path.parent), SECOND) == 0
    pause = store.paused(channel)
    assert (pause.until - SECOND) // SECOND in ((1, 2) if date else (90, 91))
    assert pause.detail == "127.0.0.1 answered 429 Too Many Requests."


@pytest.mark.parametrize("status", [400, 401, 404, 410, 413, 422])
def test_what_a_receiver_refuses_for_good_is_given_up_with_its_reason(store, hook, status):
    first, second = post(store, 2, channel := f"webhook:{hook.address}")
    hook.days = [status]
    assert alerts.deliver(store, alerts.open_notifiers([channel], store.path.parent), SECOND) == 1
    [given_up] = store.posted("given up", 9)
    assert given_up.alert.id == first
    assert f"answered {status}" in given_up.detail
    assert hook.ids == [second]


def test_a_receiver_that_is_not_there_is_named_and_everything_waits(store):
    post(store, 2, channel := f"webhook:http://127.0.0.1:{free_ports(1)[0]}/x")
    assert alerts.deliver(store, alerts.open_notifiers([channel], store.path.parent), SECOND) == 0
    assert "the connection to 127.0.0.1 failed (ConnectError" in store.paused(channel).detail
    assert store.alert_counts() == {"waiting": 2}


def test_sixty_a_minute_go_out_unless_the_environment_says_otherwise(store, hook, monkeypatch):
    post(store, 70, channel := f"webhook:{hook.address}")
    notifiers = alerts.open_notifiers([channel], store.path.parent)
    assert alerts.deliver(store, notifiers, SECOND) == 60
    monkeypatch.setenv("STOCKKIT_ALERTS_PER_MINUTE", "3")
    slower = alerts.open_notifiers([channel], store.path.parent)
    assert alerts.deliver(store, slower, 100 * SECOND) == 3
    assert hook.ids == [f"tick:5/20:p/0:{k}" for k in range(63)]
    monkeypatch.setenv("STOCKKIT_ALERTS_PER_MINUTE", "many")
    with pytest.raises(ParamError, match="STOCKKIT_ALERTS_PER_MINUTE=many"):
        alerts.open_notifiers([channel], store.path.parent)


SECRET = "T0/B0/s3cr&t+ABCDEFGH"


def test_a_secret_of_the_address_reaches_the_receiver_and_no_message_or_log(store, hook, monkeypatch, caplog):
    monkeypatch.setenv("STOCKKIT_SECRET_HOOK", SECRET)
    caplog.set_level(logging.DEBUG)
    post(store, 2, channel := f"webhook:{hook.address}/services/secret://hook")
    hook.days = [(500, {}), (404, {"Server": SECRET})]
    send_all(store, channel)
    assert hook.requests[-1][0] == "/services/T0/B0/s3cr%26t%2BABCDEFGH"
    shown = caplog.text + repr([store.posted(state, 9) for state in ("sent", "given up")]) + alerts.shown(channel)
    assert "ABCDEFGH" not in shown
    assert "HTTP Request: POST" in caplog.text


def test_an_address_that_is_a_secret_as_a_whole_is_called_by_its_name(store, hook, monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_HOOK", f"{hook.address}/all-of-it?x=1")
    post(store, 1, "webhook:secret://hook")
    hook.days = [404]
    send_all(store, "webhook:secret://hook")
    assert hook.requests[0][0] == "/all-of-it?x=1"
    assert store.posted("given up", 1)[0].detail == "secret://hook answered 404 Not Found."


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("ftp://host/x", "no address of HTTP"),
        ("host/x", "no address of HTTP"),
        ("http://", "no address of HTTP"),
        ("http://host:99999/", "no address of HTTP"),
        ("https://user:hunter2hunter2@host/", "has a password"),
        ("https://host/secret://not-there", "STOCKKIT_SECRET_NOT_THERE"),
    ],
)
def test_an_address_that_cannot_be_is_refused_and_not_repeated(tmp_path, address, says):
    with pytest.raises(ParamError, match=says) as refused:
        alerts.open_notifiers([f"webhook:{address}"], tmp_path)
    assert "hunter2" not in str(refused.value)


ENDING = """
import os, sys
from pathlib import Path
from stockkit.stream import alerts
from stockkit.stream.alerts import delivery
from stockkit.stream.alerts.webhook import Webhook
from stockkit.stream.store import Store

path, channel = Path(sys.argv[1]), sys.argv[2]
delivery.TURN = 600.0
post, calls = Webhook._post, []

def dying(self, alert):
    calls.append(alert)
    problem = post(self, alert)
    if len(calls) == 2:
        os._exit(9)
    return problem

Webhook._post = dying
alerts.deliver(Store(path), alerts.open_notifiers([channel], path.parent), 1_000_000)
"""


def test_a_process_that_is_killed_after_an_alert_was_taken_sends_it_again_under_the_same_id(store, hook):
    expected = post(store, 4, channel := f"webhook:{hook.address}")
    command = [sys.executable, "-c", ENDING, str(store.path), channel]
    assert subprocess.run(command, check=False).returncode == 9
    send_all(store, channel)
    assert [body["id"] for body in hook.bodies] == [expected[0], expected[1], *expected[1:]]
    assert hook.ids == expected
