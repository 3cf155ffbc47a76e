"""Secrets are found by reference, used, and never shown."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import logging
import pickle
from urllib.parse import quote

import boto3
import pytest
from moto.server import ThreadedMotoServer

from stockkit.errors import ParamError
from stockkit.intake.secrets import Secret, keep_out_of_logs, resolve

CANARY = "CANARY/7Q+WX=9&KEY"


@pytest.fixture
def secret():
    return Secret(CANARY, "secret://alphavantage")


@pytest.fixture(scope="module")
def aws():
    """Secrets Manager over a real socket, on a server of this machine."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "secretsmanager", region_name="us-east-1", endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip
    yield client
    server.stop()


def test_the_environment_answers_first(monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_ALPHAVANTAGE", f" {CANARY}\n")
    assert resolve("secret://alphavantage", secrets_client="is not asked").reveal() == CANARY


def test_a_name_with_other_signs_has_a_plain_variable(monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_STOCK_ALPHA_VANTAGE", CANARY)
    assert resolve("secret://stock/alpha-vantage").reveal() == CANARY


@pytest.mark.parametrize(
    "stored",
    [CANARY, json.dumps({"alphavantage": CANARY, "other": "x"}), json.dumps({"key": CANARY}), f"{CANARY}\n"],
)
def test_aws_answers_with_a_text_or_a_small_object(aws, stored, monkeypatch):
    monkeypatch.delenv("STOCKKIT_SECRET_ALPHAVANTAGE", raising=False)
    aws.create_secret(Name="alphavantage", SecretString=stored)
    try:
        assert resolve("secret://alphavantage", aws).reveal() == CANARY
    finally:
        aws.delete_secret(SecretId="alphavantage", ForceDeleteWithoutRecovery=True)


def test_an_object_that_leaves_a_choice_is_no_secret(aws):
    for name, stored in {"two": {"a": CANARY, "b": CANARY}, "deep": {"key": {"deep": CANARY}}}.items():
        aws.create_secret(Name=name, SecretString=json.dumps(stored))
        with pytest.raises(ParamError, match="stands for nothing"):
            resolve(f"secret://{name}", aws)


def test_a_secret_that_is_nowhere_is_said_with_both_ways_out(aws):
    with pytest.raises(ParamError, match=r"STOCKKIT_SECRET_NOT_THERE.*'not-there' in AWS Secrets Manager"):
        resolve("secret://not-there", aws)


def test_an_aws_that_cannot_be_asked_is_said():
    client = boto3.client(
        "secretsmanager", region_name="us-east-1", endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="testing", aws_secret_access_key="testing",
        config=boto3.session.Config(retries={"max_attempts": 0}, connect_timeout=1),
    )  # fmt: skip
    with pytest.raises(ParamError, match=r"cannot be asked .EndpointConnectionError"):
        resolve("secret://not-there", client)


def test_a_key_in_the_place_of_a_reference_is_refused_and_not_repeated():
    for wrong in (CANARY, "", "secret://", "secret://../x", f"secret:/{CANARY}", None):
        with pytest.raises(ParamError, match="not shown") as caught:
            resolve(wrong)
        assert CANARY not in str(caught.value)


def test_a_value_that_is_no_key_is_refused_and_not_repeated(monkeypatch):
    monkeypatch.setenv("STOCKKIT_SECRET_X", f"{CANARY}\r\nHost: elsewhere")
    with pytest.raises(ParamError, match="control characters") as caught:
        resolve("secret://x")
    assert CANARY not in str(caught.value)


def test_printing_a_secret_shows_its_reference(secret):
    holder = dataclasses.make_dataclass("Holder", ["secret"])(secret)
    for shown in (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>50}",
        str([secret]),
        str(dataclasses.asdict(holder)),
    ):
        assert "secret://alphavantage" in shown
        assert CANARY not in shown


def test_a_secret_cannot_be_saved(secret):
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert copy.deepcopy(secret) is secret


def test_a_secret_is_struck_out_however_it_is_written(secret):
    for form in (CANARY, quote(CANARY), quote(CANARY, safe=""), json.dumps(CANARY), CANARY.lower(), "a&amp;b" + CANARY):
        assert "7Q" not in secret.scrub(f"key {form} end").upper()
    assert secret.scrub("nothing here") == "nothing here"


@pytest.mark.parametrize(
    "encode",
    [
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.b64encode(f"x:{key}:y".encode()).decode(),
        lambda key: base64.urlsafe_b64encode(f"{key}&".encode()).decode(),
        lambda key: key.encode().hex(),
        lambda key: key.encode().hex().upper(),
        lambda key: quote(quote(key, safe=""), safe=""),
        lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
        lambda key: "".join(f"\\u{ord(sign):04X}" for sign in key),
        lambda key: "".join(f"&#x{ord(sign):x};" for sign in key),
        lambda key: "".join(f"&#{ord(sign)};" for sign in key.lower()),
    ],
)
def test_a_secret_is_known_again_in_any_encoding_and_struck_out(secret, encode):
    text = f"2023-01-03,1,1,1,1,5\nkey {encode(CANARY)} end"
    assert secret.is_in(text.encode())
    assert encode(CANARY)[4:-6] not in secret.scrub(text)
    assert not secret.is_in(b"2023-01-03,1,1,1,1,5 100 %25 &amp; \\n")


def test_short_secrets_are_struck_out_of_messages_but_do_not_condemn_data():
    secret = Secret("2023", "secret://x")
    assert secret.scrub("key 2023") == "key ***"
    assert not secret.is_in(b"2023-01-03,1,1,1,1,5")


def test_other_libraries_log_without_the_secret(secret, caplog):
    keep_out_of_logs(secret, ["some.library"])
    keep_out_of_logs(secret, ["some.library"])
    logger = logging.getLogger("some.library")
    with caplog.at_level(logging.DEBUG, logger="some.library"):
        logger.info("GET %s took %d", f"https://x/?apikey={quote(CANARY, safe='')}", 5)
        logger.debug("headers %r", [(b"Location", CANARY.encode())])
        logger.info("%d rows", 7)
    assert caplog.messages == ["GET https://x/?apikey=*** took 5", "headers [(b'Location', b'***')]", "7 rows"]
    assert len(logger.filters) == 1
