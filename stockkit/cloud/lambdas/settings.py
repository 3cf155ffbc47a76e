"""What the functions are told by environment variables, checked before the first record is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stockkit.errors import ParamError
from stockkit.market.signals import Rule
from stockkit.market.symbols import check_symbols

GAP = 14_400  # seconds


@dataclass(frozen=True)
class Settings:
    """The names of what the functions use.

    Attributes:
        rule: which averages are compared. symbols: those that are listened to; None for any.
        quotes, states, outbox: tables of DynamoDB; "" where the function has no use for one.
        topic: the SNS topic's ARN. dead_letters: the bucket for records that are no ticks.
    """

    rule: Rule
    symbols: frozenset[str] | None
    dead_letters: str
    quotes: str = ""
    states: str = ""
    outbox: str = ""
    topic: str = ""


def for_transform(environment: Mapping[str, str]) -> Settings:
    """The settings of `transform`.

    Raises:
        ParamError: a variable is missing or cannot be. SymbolError: SYMBOLS names none.
    """
    return Settings(
        rule=Rule(),
        symbols=_symbols(environment),
        dead_letters=_text(environment, "DEAD_LETTERS", "a bucket"),
        quotes=_text(environment, "QUOTES_TABLE", "a table of DynamoDB"),
    )


def for_trend(environment: Mapping[str, str]) -> Settings:
    """The settings of `trend`.

    Raises:
        ParamError: a variable is missing or cannot be. SymbolError: SYMBOLS names none.
    """
    topic = _text(environment, "TOPIC_ARN", "an SNS topic")
    if not topic.startswith("arn:") or topic.endswith(".fifo"):
        raise ParamError(
            f"TOPIC_ARN={topic}: write the ARN of a standard topic, as in arn:aws:sns:REGION:ACCOUNT:NAME."
        )
    rule = Rule(
        fast=_number(environment, "FAST", 5),
        slow=_number(environment, "SLOW", 20),
        gap=_number(environment, "GAP", GAP) * 1_000_000,
    )
    return Settings(
        rule=rule,
        symbols=_symbols(environment),
        dead_letters=_text(environment, "DEAD_LETTERS", "a bucket"),
        states=_text(environment, "STATES_TABLE", "a table of DynamoDB"),
        outbox=_text(environment, "OUTBOX_TABLE", "a table of DynamoDB"),
        topic=topic,
    )


def _text(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise ParamError(f"{name} is not set: name {what} in the function's environment variables.")
    return value


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, "").strip() or str(default)
    if not value.isdecimal() or len(value) > 9:
        raise ParamError(f"{name}={value[:40]}: write a whole number, as in {default}.")
    return int(value)


def _symbols(environment: Mapping[str, str]) -> frozenset[str] | None:
    """The symbols of SYMBOLS, divided by commas; None where it is not set."""
    value = environment.get("SYMBOLS", "").strip()
    return frozenset(check_symbols(part.strip() for part in value.split(","))) if value else None
