"""What waits in the outbox goes out in order, once where it can be, and nothing of it is lost."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from itertools import pairwise
from types import SimpleNamespace

import pytest

from stockkit.errors import ParamError, StreamError
from stockkit.stream import alerts
from stockkit.stream.alerts import delivery, outbox
from stockkit.stream.alerts.delivery import MINUTE, SECOND
from stockkit.stream.alerts.notifier import NotTaken
from stockkit.stream.alerts.outbox import DAY
from stockkit.stream.store import Store
from tests.stream.alerts.posting import HOSTILE, Listed, post


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The seconds that pass within calls: none, unless a test says so."""
    stopped = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=lambda: stopped.seconds))
    return stopped


def states(store: Store) -> dict[str, list[str]]:
    kept = {state: [posted.alert.id for posted in store.posted(state, 10**6)][::-1] for state in ("sent", "given up")}
    return {**kept, "waiting": [posted.alert.id for posted in store.posted("waiting", 10**6)][::-1]}


def test_alerts_go_out_oldest_first_and_once(store):
    ids, listed = post(store, 250, "a"), Listed()
    assert alerts.deliver(store, {"a": listed}, SECOND) == 250
    assert alerts.deliver(store, {"a": listed}, 2 * SECOND) == 0
    assert listed.ids == ids
    assert states(store) == {"sent": ids, "given up": [], "waiting": []}


def test_a_failing_channel_does_not_stop_the_others(store):
    ids, bad, good = post(store, 3, "bad", "good"), Listed(StreamError("gone")), Listed()
    assert alerts.deliver(store, {"bad": bad, "good": good}, SECOND) == 3
    assert good.ids == ids
    assert store.waiting("bad", 2 * SECOND + MINUTE, 10)[0].attempts == 1


def test_what_was_taken_before_a_failure_counts_as_sent(store):
    ids, listed = post(store, 5, "a"), Listed(NotTaken("503", taken=3))
    assert alerts.deliver(store, {"a": listed}, SECOND) == 3
    assert states(store)["sent"] == ids[:3]
    assert alerts.deliver(store, {"a": listed}, 3 * SECOND) == 2
    assert listed.calls[1] == ids[3:]


def tries(store: Store, notifier: Listed, until: int, step: int = SECOND) -> list[int]:
    """The seconds at which a channel was tried, asked every `step`."""
    times = []
    for now in range(SECOND, until, step):
        before = len(notifier.calls)
        alerts.deliver(store, {"a": notifier}, now)
        times += [now // SECOND] * (len(notifier.calls) - before)
    return times


def test_a_channel_that_is_down_is_tried_after_1_2_4_seconds_and_so_on_up_to_five_minutes(store):
    post(store, 1, "a")
    times = tries(store, Listed(*[StreamError("gone")] * 100), 1_800 * SECOND)
    waits = [after - before for before, after in pairwise(times)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, *[300] * (len(waits) - 9)]


def test_many_alerts_that_wait_do_not_have_a_channel_that_is_down_tried_more_often(store):
    post(store, 40, "a")
    times = tries(store, Listed(*[StreamError("gone")] * 100), 1_800 * SECOND)
    assert min(after - before for before, after in pairwise(times[9:])) >= 128


def test_no_alert_overtakes_one_that_its_channel_did_not_take(store):
    ids, listed = post(store, 2, "a"), Listed(*[StreamError("gone")] * 3)
    alerts.deliver(store, {"a": listed}, SECOND)
    ids += post(store, 2, "a", now=SECOND)
    tries(store, listed, 60 * SECOND)
    assert listed.calls[-1] == ids


def test_an_alert_that_alone_is_never_taken_lets_the_others_pass(store):
    [poison], good = post(store, 1, "a"), post(store, 3, "a")

    class Picky(Listed):
        at_once = 1

        def send(self, waiting):
            super().send(waiting)
            if waiting[0].id == poison:
                raise StreamError("500")

    tries(store, Picky(), 120 * SECOND)
    assert states(store) == {"sent": good, "given up": [], "waiting": [poison]}


def test_a_receiver_that_asks_for_time_gets_it(store):
    post(store, 1, "a")
    assert tries(store, Listed(NotTaken("429", wait=90.0)), 200 * SECOND) == [1, 91]


def test_an_alert_that_is_refused_for_good_is_given_up_and_the_next_ones_go_out(store):
    first, second, third = post(store, 3, "a")
    listed = Listed(NotTaken("422", taken=1, for_good=True))
    assert alerts.deliver(store, {"a": listed}, SECOND) == 2
    assert states(store) == {"sent": [first, third], "given up": [second], "waiting": []}
    assert store.posted("given up", 9)[0].detail == "422"
    assert store.paused("a").detail == ""
    assert store.again(["a"], MINUTE) == 1
    assert alerts.deliver(store, {"a": listed}, MINUTE) == 1
    assert states(store)["sent"] == [first, second, third]


def test_an_alert_that_is_not_taken_for_a_day_is_given_up_and_kept(store):
    [name] = post(store, 1, "a")
    times = tries(store, Listed(*[StreamError("gone")] * 10**4), DAY + 1_000 * SECOND, 100 * SECOND)
    assert states(store) == {"sent": [], "given up": [name], "waiting": []}
    assert DAY // SECOND <= times[-1] < DAY // SECOND + 500
    assert "gone It was tried for a day." in store.posted("given up", 1)[0].detail


def test_alerts_of_before_a_long_pause_of_the_service_are_not_given_up_at_the_first_failure(store):
    ids, listed = post(store, 2, "a"), Listed(StreamError("gone"))
    alerts.deliver(store, {"a": listed}, 3 * DAY)
    assert alerts.deliver(store, {"a": listed}, 3 * DAY + 2 * SECOND) == 2
    assert states(store)["sent"] == ids


def test_a_channel_whose_last_answer_was_a_refusal_says_so(store):
    post(store, 2, "a")
    refusals = [NotTaken("404 Not Found.", for_good=True), NotTaken("404 Not Found.", for_good=True)]
    assert alerts.deliver(store, {"a": Listed(*refusals)}, SECOND) == 0
    assert "404 Not Found. It was given up" in store.paused("a").detail
    post(store, 1, "a", now=SECOND)
    assert alerts.deliver(store, {"a": Listed()}, SECOND) == 1
    assert store.paused("a").detail == ""


def test_of_alerts_that_were_sent_long_ago_the_newest_are_kept_and_all_are_counted(store, monkeypatch):
    monkeypatch.setattr(outbox, "KEPT_SENT", 5)
    old, refused = post(store, 8, "a"), NotTaken("422", for_good=True)
    alerts.deliver(store, {"a": Listed(refused)}, SECOND)
    new = post(store, 2, "a", now=SECOND)
    alerts.deliver(store, {"a": Listed()}, 2 * SECOND)
    assert states(store) == {"sent": old[1:] + new, "given up": old[:1], "waiting": []}
    newest = post(store, 1, "a", now=2 * DAY)
    alerts.deliver(store, {"a": Listed()}, 2 * DAY)
    assert states(store) == {"sent": old[6:] + new + newest, "given up": old[:1], "waiting": []}
    assert store.alert_counts() == {"sent": 10, "given up": 1}


def test_what_is_over_the_rate_of_a_channel_goes_out_later_in_order(store):
    ids, listed = post(store, 25, "a"), Listed()
    listed.per_minute, listed.at_once = 10, 4
    counts = [alerts.deliver(store, {"a": listed}, second * SECOND) for second in range(1, 150)]
    assert [second for second, count in enumerate(counts, start=1) if count] == [1, 61, 121]
    assert listed.ids == ids
    assert max(map(len, listed.calls)) == 4


def test_waits_are_counted_from_when_a_slow_receiver_failed_and_a_call_comes_back_after_seconds(store, clock):
    ids = post(store, 9, "a")

    class Slow(Listed):
        at_once = 1

        def send(self, waiting):
            clock.seconds += 2.0
            super().send(waiting)

    assert alerts.deliver(store, {"a": Slow()}, SECOND) == 3
    alerts.deliver(store, {"a": Slow(StreamError("time-out"))}, 10 * SECOND)
    assert store.paused("a").until == 13 * SECOND
    assert states(store)["waiting"] == ids[3:]


def test_another_service_over_the_same_store_sends_none_of_what_one_is_sending(store, tmp_path):
    post(store, 50, "a")
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Listed):
        def send(self, waiting):
            super().send(waiting)
            inside.set()
            assert go_on.wait(60)

    slow, other = Slow(), Listed()
    thread = threading.Thread(target=lambda: alerts.deliver(Store(store.path), {"a": slow}, SECOND))
    thread.start()
    assert inside.wait(60)
    assert alerts.deliver(store, {"a": other}, SECOND) == 0
    go_on.set()
    thread.join()
    assert alerts.deliver(store, {"a": other}, SECOND) == 0
    assert (len(slow.ids), other.ids) == (50, [])


KILLED = """
import os, sys
from pathlib import Path
from stockkit.stream import alerts
from stockkit.stream.store import Store

class Dying:
    def send(self, waiting):
        os._exit(9)

alerts.deliver(Store(Path(sys.argv[1])), {"a": Dying()}, 1_000_000)
"""


def test_the_claim_of_a_process_that_was_killed_ends_with_it(store):
    post(store, 3, "a")
    assert subprocess.run([sys.executable, "-c", KILLED, str(store.path)], check=False).returncode == 9
    assert alerts.deliver(store, {"a": Listed()}, SECOND) == 3


def test_an_alert_whose_sending_cannot_be_noted_is_not_printed_twice_by_one_process(store, capsys):
    post(store, 2, "console", text=HOSTILE)
    console = alerts.open_notifiers(["console"], store.path.parent)
    other = sqlite3.connect(store.path, isolation_level=None)
    store._connection.execute("PRAGMA busy_timeout = 1")
    other.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        with pytest.raises(StreamError, match="locked"):
            alerts.deliver(store, console, SECOND)
    other.execute("ROLLBACK")
    assert alerts.deliver(store, console, SECOND) == 2
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert "</script><b>&amp;" in lines[0]


def test_a_channel_that_is_not_known_is_refused_with_those_that_are(tmp_path):
    for channel in ("consle", "console:x", "file", "file:", ""):
        with pytest.raises(ParamError, match="use one of console, file:PATH"):
            alerts.open_notifiers([channel], tmp_path)
    with pytest.raises(ParamError, match="Did you mean 'console'"):
        alerts.open_notifiers(["consle"], tmp_path)


def test_a_channel_is_shown_without_what_its_address_may_keep_secret():
    assert alerts.shown("webhook:https://hooks.example/T0/B0/abcdef?key=1") == "webhook:https://hooks.example/…"
    assert alerts.shown("webhook:secret://hook") == "webhook:secret://hook"
    assert alerts.shown("file:data/alerts.jsonl") == "file:data/alerts.jsonl"


def test_the_store_of_an_older_layout_is_brought_up_to_date(store):
    post(store, 1, "a")
    store._connection.executescript("DROP INDEX sent; PRAGMA user_version = 1;")
    store.close()
    again = Store(store.path)
    assert alerts.deliver(again, {"a": Listed()}, SECOND) == 1
    assert json.loads(again.posted("sent", 1)[0].alert.body)["symbol"] == "AAPL"
