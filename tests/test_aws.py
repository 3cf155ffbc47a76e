from __future__ import annotations

import pytest

from stockkit.aws import Session
from stockkit.errors import LakeError


def test_a_client_is_made_once_and_goes_where_the_environment_says(aws, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", "http://127.0.0.1:1")
    session = Session()
    assert session.client("s3") is session.client("s3")
    assert session.endpoint("s3") == aws
    assert session.endpoint("glue") == "http://127.0.0.1:1"


def test_without_an_address_in_the_environment_a_service_is_amazons_own(aws, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert Session().endpoint("s3") is None
    assert not {"AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"} & set(Session().storage_options())


def test_deltalake_is_told_to_commit_by_conditional_puts_with_credentials_of_now(aws, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    options = Session().storage_options()
    assert options["aws_conditional_put"] == "etag"
    assert options["AWS_SESSION_TOKEN"] == "token"
    assert (options["AWS_ENDPOINT_URL"], options["AWS_ALLOW_HTTP"]) == (aws, "true")
    assert options["AWS_REGION"] == "eu-central-1"


def test_secrets_are_answered_over_the_same_session(aws):
    secrets = Session().client("secretsmanager")
    secrets.create_secret(Name="stockkit/test", SecretString="value")
    assert Session().client("secretsmanager").get_secret_value(SecretId="stockkit/test")["SecretString"] == "value"


@pytest.mark.parametrize(
    ("unset", "set_", "says"),
    [
        (["AWS_REGION"], {}, "AWS_REGION=eu-central-1"),
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], {}, "run `aws configure`"),
        ([], {"AWS_PROFILE": "nobody"}, "AWS_PROFILE"),
    ],
)
def test_what_is_missing_is_named_with_the_way_out(aws, monkeypatch, unset, set_, says):
    for name in unset:
        monkeypatch.delenv(name)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LakeError, match=says):
        Session().storage_options()


def test_a_session_shows_no_credentials(aws):
    session = Session()
    session.storage_options()
    assert "testing" not in repr(session)
