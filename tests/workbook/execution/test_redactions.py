from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        "PWD": "/home/analyst", "KEYBOARD": "qwertyuiop", "SSL_KEY_FILE": "/etc/key.pem", "API_KEY": "short",
    }  # fmt: skip
    struck = from_environment(environment).all(environment)
    assert [name for name, value in struck.items() if value == "***"] == [
        "STOCKKIT_SECRET_ALPHAVANTAGE", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
    ]  # fmt: skip


def test_a_short_value_does_not_spoil_a_picture():
    picture = {"image/png": "iVBORw0demoKGgo", "text/plain": "demo"}
    assert Redaction(["demo"]).all(picture) == {"image/png": "iVBORw0demoKGgo", "text/plain": "***"}
