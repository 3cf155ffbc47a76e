"""`stockkit notify` tries channels without a run."""

from __future__ import annotations

import pytest

from tests.conftest import stockkit
from tests.stream.alerts.receiver import receiver


def test_a_test_message_goes_over_each_channel_and_each_answer_is_told(tmp_path):
    with receiver() as hook:
        hook.days = [404]
        words = ["--to", f"webhook:{hook.address}/key", "--to", "command:true"]
        checked = stockkit(tmp_path, "notify", *words)
        assert (checked.returncode, hook.requests) == (0, [])
        done = stockkit(tmp_path, "notify", "--test", *words)
    assert done.returncode == 1
    hooked, called = done.stdout.splitlines()
    assert hooked.endswith("/…: not taken: 127.0.0.1 answered 404 Not Found.")
    assert called == "command:true: taken"


@pytest.mark.parametrize(("words", "says"), [([], "Missing option '--to'"), (["--to", "x"], "use one of command:")])
def test_what_cannot_be_done_is_said(tmp_path, words, says):
    done = stockkit(tmp_path, "notify", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
