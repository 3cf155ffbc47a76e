"""An outcome arrives over each channel as it is, and a channel's bad day is a sentence, never an error."""

from __future__ import annotations

import json
import ssl
import sys
import time

import pytest

from stockkit.errors import ParamError
from stockkit.stream.alerts import webhook
from stockkit.workbook.notifications import command, sending, smtp
from stockkit.workbook.notifications.channels import open_channels
from stockkit.workbook.notifications.outcome import Outcome
from tests.stream.alerts.receiver import LATE, RESET, receiver
from tests.stream.alerts.test_sns import queue_behind, received
from tests.workbook.notifications import mail_server

HOSTILE = "</td><script>x</script>\r\nBcc: everyone@example.org\r\n\r\n.\r\nQUIT \x1b[2J\u2028 é \ud800"
FAILED = Outcome(
    id="run:20261126T080000Z:2026-11-26T08:01:00Z", status="failed", run="20261126T080000Z",
    params_file="params/own.yaml", notebook="02_bad", cell=3, cause="ValueError: planted", exit_code=1, seconds=60.0,
    finished_at="2026-11-26T08:01:00Z", report="reports/20261126T080000Z/index.html",
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sending, "FIRST_WAIT", 0.01)


@pytest.fixture
def post(monkeypatch):
    with mail_server.serving() as post:
        monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("SMTP_PORT", str(post.port))
        monkeypatch.setenv("SMTP_FROM", "runs@example.org")
        yield post


def send(folder, *channels, outcome=FAILED):
    return sending.send(open_channels(channels, folder), outcome)


KEEPING = """import json, os, sys
given = {name: value for name, value in os.environ.items() if name.startswith('STOCKKIT_')}
json.dump({'argv': sys.argv[1:], 'stdin': json.load(sys.stdin), 'environment': given}, open('got.json', 'w'))
"""


def test_a_command_gets_the_outcome_on_its_input_and_in_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_KEY", "Canary0123456789")
    (tmp_path / "keep.py").write_text(KEEPING)
    assert send(tmp_path, f"command:{sys.executable} keep.py 'two words' $HOME `id`") == []
    got = json.loads((tmp_path / "got.json").read_text())
    assert got["argv"] == ["two words", "$HOME", "`id`"]
    assert got["stdin"] == FAILED.message()
    wanted = {"STATUS": "failed", "RUN": FAILED.run, "REPORT": FAILED.report, "CELL": "3", "CAUSE": FAILED.cause}
    assert got["environment"].items() >= {f"STOCKKIT_{name}": text for name, text in wanted.items()}.items()
    assert "Canary" not in json.dumps(got)


@pytest.mark.parametrize(
    ("code", "calls", "says"),
    [(0, 1, None), (1, 1, "ended with exit code 1 (planted)."), (75, 4, "exit code 75 (planted). (tried 4 times)")],
)
def test_only_a_command_that_asks_for_it_is_called_again(tmp_path, code, calls, says):
    (tmp_path / "x.py").write_text(
        f"import sys\nopen('calls', 'a').write('x')\nprint('planted', file=sys.stderr)\nsys.exit({code})"
    )
    problems = send(tmp_path, f"command:{sys.executable} x.py")
    assert (tmp_path / "calls").read_text() == "x" * calls
    assert [says in problem for problem in problems] == [True] * bool(says)


def test_a_command_that_hangs_is_stopped_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "LIMIT", 1.0)
    (tmp_path / "x.sh").write_text("sleep 600 & echo $! > pid; wait")
    (problem,) = send(tmp_path, "command:sh x.sh")
    assert "took longer than 1 s and was stopped" in problem
    from tests.workbook.test_runner import gone, wait_for

    wait_for(lambda: gone(int((tmp_path / "pid").read_text())))


def test_a_mail_has_text_and_html_and_an_id_that_stays_the_same(tmp_path, post):
    channels = open_channels(["smtp:a@example.org,b@example.org"], tmp_path)
    assert [*sending.send(channels, FAILED), *sending.send(channels, FAILED)] == []
    first, second = post.mails
    assert (
        first["Message-ID"]
        == second["Message-ID"]
        == ("<stockkit.run.20261126T080000Z.2026.11.26T08.01.00Z@example.org>")
    )
    assert first["Subject"] == "stockkit: params/own.yaml failed in 02_bad, cell [3]"
    assert (first["From"], first["To"]) == ("runs@example.org", "a@example.org, b@example.org")
    assert first["Date"].datetime.utcoffset() is not None
    for kind in ("plain", "html"):
        text = first.get_body([kind]).get_content()
        for part in ("ValueError: planted", "20261126T080000Z", FAILED.report):
            assert part in text


def test_nothing_in_an_outcome_becomes_a_header_a_command_or_a_tag(tmp_path, post):
    hostile = Outcome(**{**vars(FAILED), "params_file": HOSTILE, "notebook": HOSTILE, "cause": HOSTILE, "run": HOSTILE})
    assert send(tmp_path, "smtp:a@example.org", outcome=hostile) == []
    (mail,) = post.mails
    assert mail["Bcc"] is None
    assert set(mail.keys()) == {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Stockkit-Status",
                                "X-Stockkit-Run", "MIME-Version", "Content-Type"}  # fmt: skip
    assert "<script" not in mail.get_body(["html"]).get_content()
    assert "\x1b" not in mail.as_string()


@pytest.mark.parametrize(
    ("days", "mails", "says"),
    [
        (["451 later", "250 yes"], 1, ""),
        ([mail_server.GOES, "250 yes"], 2, ""),  # it may have been taken, so it comes twice, under one id
        (["550 no such user"], 0, "answered 550 no such user."),
        (["451 later"] * 4, 0, "answered 451 later. (tried 4 times)"),
        ([mail_server.LATE, "250 yes"], 2, ""),
    ],
)
def test_bad_days_of_a_mail_server(tmp_path, post, monkeypatch, days, mails, says):
    monkeypatch.setattr(smtp, "WAIT", 1.0)
    post.days = days
    problems = send(tmp_path, "smtp:a@example.org")
    assert len(post.mails) == mails
    assert len({mail["Message-ID"] for mail in post.mails}) <= 1
    assert [says in problem for problem in problems] == [True] * bool(says)


def test_a_password_goes_only_over_an_encrypted_connection_or_to_this_machine(tmp_path, post, monkeypatch):
    monkeypatch.setenv("SMTP_USER", "runs@example.org")
    monkeypatch.setenv("SMTP_PASSWORD", "secret://mail")
    monkeypatch.setenv("STOCKKIT_SECRET_MAIL", "Canary0123456789")
    path = mail_server.certificate(tmp_path)
    post.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    post.tls.load_cert_chain(path)
    (problem,) = send(tmp_path, "smtp:a@example.org")
    assert "certificate verify failed" in problem
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    assert send(tmp_path, "smtp:a@example.org") == []
    assert post.logins == [("Canary0123456789", True)]
    monkeypatch.setattr(smtp, "IMPLICIT", post.port)
    post.from_the_start = True
    assert send(tmp_path, "smtp:a@example.org") == []
    assert post.logins[1:] == [("Canary0123456789", True)]
    monkeypatch.setattr(smtp, "IMPLICIT", 465)
    post.tls, post.from_the_start = None, False
    monkeypatch.setattr(smtp.Server, "is_here", False)
    (problem,) = send(tmp_path, "smtp:a@example.org")
    assert "offers no STARTTLS" in problem
    assert len(post.logins) == len(post.mails) == 2


def test_a_refused_password_is_not_repeated(tmp_path, post, monkeypatch):
    monkeypatch.setenv("SMTP_USER", "runs@example.org")
    monkeypatch.setenv("SMTP_PASSWORD", "wrong one 0123")
    (problem,) = send(tmp_path, "smtp:a@example.org")
    assert problem == "smtp:a@example.org: 127.0.0.1 answered 535 no, ***."


def test_a_webhook_gets_the_outcome_through_bad_days(tmp_path, monkeypatch):
    monkeypatch.setattr(webhook, "ANSWER", 0.5)
    monkeypatch.setenv("STOCKKIT_SECRET_HOOK", "Canary0123456789")
    with receiver() as hook:
        hook.days = [503, RESET, LATE, 200]
        assert send(tmp_path, f"webhook:{hook.address}/secret://hook") == []
        assert hook.ids == [FAILED.id]
        assert hook.bodies[-1] == FAILED.message()
        assert {headers["Idempotency-Key"] for _, headers in hook.requests} == {FAILED.id}
        hook.days = [(429, {"Retry-After": "900"}), 404]
        (problem,) = send(tmp_path, f"webhook:{hook.address}/secret://hook")
        assert problem.endswith("/…: 127.0.0.1 answered 429 Too Many Requests.")
        assert "Canary" not in problem


def test_a_topic_of_sns_gets_the_outcome_once(tmp_path, aws):
    topic, queue = queue_behind(".fifo")
    channels = open_channels([f"sns:{topic}"], tmp_path)
    assert [*sending.send(channels, FAILED), *sending.send(channels, FAILED)] == []
    (message,) = received(queue)
    assert json.loads(message["Message"]) == FAILED.message()
    assert message["MessageAttributes"]["status"]["Value"] == "failed"


def test_channels_are_tried_side_by_side_and_the_time_for_all_is_bounded(tmp_path, post):
    post.days = [mail_server.LATE]
    channels = open_channels(["smtp:a@example.org", "command:true"], tmp_path)
    started = time.monotonic()
    (problem,) = sending.send(channels, FAILED, seconds=1.0)
    assert problem == "smtp:a@example.org: no answer within 1 s; it may have been taken or not."
    assert time.monotonic() - started < smtp.WAIT


def test_secrets_are_struck_out_of_an_outcome(tmp_path, monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_KEY", "Canary0123456789")
    with receiver() as hook:
        messages = Outcome(**{**vars(FAILED), "cause": "KeyError: Canary0123456789"})
        assert send(tmp_path, f"webhook:{hook.address}", outcome=messages) == []
        assert hook.bodies[0]["cause"] == "KeyError: ***"
        assert "Canary" not in json.dumps(hook.bodies)


@pytest.mark.parametrize(
    ("channel", "says"),
    [
        ("smpt:a@example.org", "Did you mean 'smtp'"),
        ("smtp:", "use one of command:SHELLWORDS"),
        ("smtp:a b@example.org", "no mail address"),
        ("smtp:a@example.org\r\nBcc: b@example.org", "no mail address"),
        ("smtp:a@example.org", "SMTP_HOST names no server"),
        ("command:'unclosed", "cannot be split"),
        ("command:nosuchprogram x", "no program 'nosuchprogram'"),
        ("command:./keep.sh", "no program './keep.sh'"),
        ("webhook:ftp://example.org", "no address of HTTP"),
        ("webhook:secret://nowhere", "stands for nothing"),
        ("sns:topic", "names no topic"),
    ],
)
def test_a_wrong_channel_is_refused_when_it_is_opened(tmp_path, channel, says):
    with pytest.raises(ParamError, match="notify: ") as refused:
        open_channels([channel], tmp_path)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SMTP_PORT", "many", "is no port"),
        ("SMTP_FROM", "me", "SMTP_FROM is no mail address"),
        ("SMTP_USER", "me", "SMTP_PASSWORD is not set"),
        ("SMTP_PASSWORD", "secret://nowhere", "SMTP_USER is not set"),
    ],
)
def test_a_wrong_setting_of_mail_is_refused_when_it_is_opened(tmp_path, post, monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    with pytest.raises(ParamError, match=says):
        open_channels(["smtp:a@example.org"], tmp_path)
