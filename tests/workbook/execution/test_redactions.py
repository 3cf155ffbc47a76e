from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.intake import secrets
from stockkit.workbook.execution.redactions import Redaction, from_environment

VALUE = "s3cr3t+Key/With'Odd\"<Signs>&\\=="
FORMS = [
    VALUE, VALUE.upper(), repr(VALUE), json.dumps(VALUE), quote(VALUE, safe=""), html.escape(VALUE),
    VALUE.encode().hex(), *(base64.b64encode(b"x" * shift + VALUE.encode() + b"yz").decode() for shift in range(3)),
    base64.urlsafe_b64encode(VALUE.encode()).decode(),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_struck_out_in_every_form(form):
    struck = Redaction([VALUE]).all({form: [f"before {form} after", {"x": form}], "n": 1})
    left = json.dumps(struck)
    assert "***" in left
    assert form not in str(struck)
    assert form[8:-8] not in left


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=8, max_size=40), st.text(max_size=20))
def test_no_value_survives_wherever_it_stands(value, around):
    assert value not in Redaction([value]).text(around + value + around).replace("***", "")


def test_what_an_environment_hides_is_what_is_named_so():
    environment = {
        "STOCKKIT_SECRET_ALPHAVANTAGE": "four", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI", "GITHUB_TOKEN": "ghp_0123456",
        "PWD": "/home/analyst", "PGPASSWORD": "hunter2hunter2", "OPENAI_KEY": "sk-0123456789abcdef",
        "SORT_KEY": "date_time",
        "DATABASE": "postgres://me:hunter3hunter3@db/x", "SSH_PRIVATE_KEY": "/dev/null", "MYSQL_PWD": "hunter4hunter4",
        "KEYBOARD": "qwertyuiop", "SSL_KEY_FILE": "/etc/key.pem", "API_KEY": "short",
    }  # fmt: skip
    struck = from_environment(environment).all(environment)
    assert [name for name, value in struck.items() if value == "***"] == [
        "STOCKKIT_SECRET_ALPHAVANTAGE", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PGPASSWORD", "OPENAI_KEY",
        "MYSQL_PWD",
    ]  # fmt: skip
    assert struck["DATABASE"] == "postgres://me:***@db/x"


def test_a_key_of_several_lines_is_struck_out_line_by_line():
    body = ["-----BEGIN PRIVATE KEY-----", "MIGHAgEAMBMGByqGSM49", "AgEGCCqGSM49AwEHBG0w", "-----END PRIVATE KEY-----"]
    struck = from_environment({"DEPLOY_PRIVATE_KEY": "\n".join(body)}).text(f"line {body[2]} of it")
    assert struck == "line *** of it"


def test_what_is_looked_up_later_is_struck_out_from_then_on(tmp_path, monkeypatch):
    redaction = from_environment({})
    assert redaction.text("LookedUpLater0") == "LookedUpLater0"
    secrets.tell("LookedUpLater0")
    assert redaction.text("LookedUpLater0") == "***"
    [(name, place)] = redaction.listen(tmp_path).items()
    code = "import os, sys; from stockkit.intake import secrets; secrets.tell(sys.argv[1]); os.kill(os.getpid(), 9)"
    for value in ("ToldByAnother0", "long'" * 10_000):
        subprocess.run([sys.executable, "-c", code, value], env={**os.environ, name: place}, check=False)
        assert redaction.text(f"a {value} b") == "a *** b"
    assert redaction.listen(tmp_path) == {name: place}


def test_a_short_value_does_not_spoil_a_picture():
    picture = {"image/png": "iVBORw0demoKGgo", "text/plain": "demo"}
    assert Redaction(["demo"]).all(picture) == {"image/png": "iVBORw0demoKGgo", "text/plain": "***"}
