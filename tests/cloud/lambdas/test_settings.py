"""The functions say at the first event which variable is missing or wrong."""

from __future__ import annotations

import pytest

from stockkit.cloud.lambdas import clients, outbox, settings, transform, trend
from stockkit.errors import ParamError, SymbolError

TREND = {"STATES_TABLE": "states", "OUTBOX_TABLE": "outbox", "TOPIC_ARN": "arn:aws:sns:eu-central-1:1:alerts",
         "DEAD_LETTERS": "letters"}  # fmt: skip
TRANSFORM = {"QUOTES_TABLE": "quotes", "DEAD_LETTERS": "letters"}


def test_what_has_a_default_may_be_left_out_and_empty():
    rule = settings.for_trend(TREND | {"FAST": ""}).rule
    assert (rule.fast, rule.slow, rule.gap) == (5, 20, 4 * 3_600 * 1_000_000)
    assert settings.for_trend(TREND).symbols is None


def test_what_is_set_counts():
    chosen = settings.for_trend(TREND | {"FAST": "3", "SLOW": "9", "GAP": "0", "SYMBOLS": "ON, BRK.B"})
    assert (chosen.rule.fast, chosen.rule.slow, chosen.rule.gap) == (3, 9, 0)
    assert chosen.symbols == {"ON", "BRK.B"}


@pytest.mark.parametrize("name", TREND)
def test_a_missing_variable_of_trend_is_named(name):
    with pytest.raises(ParamError, match=f"{name} is not set"):
        settings.for_trend(TREND | {name: " "})


@pytest.mark.parametrize("name", TRANSFORM)
def test_a_missing_variable_of_transform_is_named(name):
    with pytest.raises(ParamError, match=f"{name} is not set"):
        settings.for_transform({key: value for key, value in TRANSFORM.items() if key != name})


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"FAST": "five"}, ParamError, "FAST=five: write a whole number"),
        ({"FAST": "20"}, ParamError, "fast=20, slow=20"),
        ({"GAP": "-1"}, ParamError, "GAP=-1"),
        ({"SLOW": "9" * 5_000}, ParamError, "SLOW=999"),
        ({"TOPIC_ARN": "alerts"}, ParamError, "TOPIC_ARN=alerts"),
        ({"TOPIC_ARN": "arn:aws:sns:eu-central-1:1:alerts.fifo"}, ParamError, "standard topic"),
        ({"SYMBOLS": "AAPL,, META"}, SymbolError, "'' is not a symbol"),
    ],
)
def test_a_wrong_one_is_named_with_the_way_out(wrong, error, says):
    with pytest.raises(error, match=says):
        settings.for_trend(TREND | wrong)


@pytest.mark.parametrize("function", [trend, transform])
def test_a_function_without_settings_fails_at_its_first_event_with_the_reason(function, monkeypatch):
    for name in [*TREND, *TRANSFORM]:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ParamError, match="environment variables"):
        function.handler({"Records": []}, None)


def test_a_service_that_is_away_is_given_up_before_lambda_ends_the_function(aws):
    made = clients.clients()
    assert made("dynamodb") is made("dynamodb")
    config = made("dynamodb").meta.config
    waits = config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout)
    assert waits < outbox.LEASE / 1e6 / 2
    assert made("s3").meta.endpoint_url == aws
