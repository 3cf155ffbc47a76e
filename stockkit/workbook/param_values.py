"""The values that parameters of every chain may have, and what computes its features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from stockkit.errors import ForecastError, LakeError, ParamError, did_you_mean
from stockkit.intake import EARLIEST, LATEST
from stockkit.lake import address
from stockkit.market import answers, rules, schema, sessions
from stockkit.workbook.execution import limits

LONGEST_WAIT = 30 * 86_400  # seconds
MOST_RETRIES = 10
DAY_SIGNS = {"open": "+", "closed": "-"}  # of a day in a calendar's file, as `market.sessions` writes it
STREAM = {"bus", "producer", "interval", "fast", "slow"}  # among the parameters of a chain with a stream
BEST = "best"  # a candidate: of each symbol the model that won


@dataclass(frozen=True)
class Engine:
    """What computes the table `features` in notebook 03, and what it needs; a new one is an entry and its call there.

    Attributes:
        extra: the extra of stockkit to install, as in ``pip install 'stockkit[EXTRA]'``; "" for none.
        user_features: whether it computes the features of a user's file as well as those of the catalogue.
    """

    extra: str = ""
    user_features: bool = True


ENGINES: Mapping[str, Engine] = {"local": Engine(), "spark": Engine(extra="spark", user_features=False)}
CHOICES = {
    "engine": ENGINES,
    "dtype": ("float64", "float32"),
    "dates": (answers.AUTO, *answers.dates.ORDERS),
    "notify_on": ("always", "failure", "change"),
}


def check(name: str, value: Any) -> Any:
    """Return the value of a parameter that every chain knows when it makes sense; other names pass.

    Raises:
        ParamError, SymbolError: says what is wrong with the value.
    """
    if name == "drawn" and not value:
        raise ParamError("drawn is an empty list: name at least one symbol, as in [META].")
    if name in ("symbols", "drawn"):
        return schema.check_symbols(value)
    if name == "calendar":
        return _calendar(value)
    if name == "allow":
        _check_rules(value)
    elif name == "groups":
        _check_groups(value)
    elif name in CHOICES and value not in CHOICES[name]:
        raise ParamError(f"{name} must be {' or '.join(CHOICES[name])}, found {value!r}.")
    elif name in ("start", "as_of"):
        _check_day(name, value, EARLIEST if name == "start" else LATEST)
    elif name == limits.RETRIES and not 0 <= value <= MOST_RETRIES:
        raise ParamError(f"{name} must be 0 to {MOST_RETRIES}, found {value}.")
    elif name in limits.DEFAULTS and name != limits.RETRIES and not 1 <= value <= LONGEST_WAIT:
        raise ParamError(f"{name} must be 1 to {LONGEST_WAIT} seconds, found {value}.")
    elif name in ("horizon", "horizons", "sessions_after"):
        _check_horizons(name, value if isinstance(value, list) else [value])
    elif name == "minutes_after" and not (value and min(value) >= 1 and len(set(value)) == len(value)):
        raise ParamError(f"minutes_after must be different numbers of minutes from 1 on, as in [1, 5], found {value}.")
    elif name in ("tried", "candidate") and value != BEST:
        _check_models(name, value if isinstance(value, list) else [value])
    elif name in ("lake", "source") and not value.strip():
        raise ParamError(f"{name} is empty.")
    elif name == "lake":
        try:
            address.parse(value)
        except LakeError as error:
            raise ParamError(str(error)) from error
    return value


def _calendar(value: str) -> str:
    """The calendar with its file of overruled days read: XNYS@days.csv becomes XNYS +2023-09-16."""
    name, at, file = value.partition("@")
    calendar = f"{name} {_overruled_days(Path(file).expanduser())}".strip() if at else value
    sessions.check(calendar)
    return calendar


def _overruled_days(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ParamError(f"the calendar's file {path} cannot be read: {error}.") from error
    words = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.partition("#")[0].replace(",", " ").replace(";", " ").lower().split()
        if not fields or fields[:1] in (["date"], ["day"]):
            continue
        if len(fields) != 2 or fields[1] not in DAY_SIGNS:
            raise ParamError(
                f"{path} line {number}: {line[:60]!r} overrules no day. Write one a line, as in 2023-09-16,open or "
                "2023-09-18,closed."
            )
        words.append(DAY_SIGNS[fields[1]] + fields[0])
    return " ".join(words)


def _check_rules(value: list[str]) -> None:
    for rule in value:
        if rule not in rules.ALLOWABLE:
            hint = did_you_mean(rule, rules.ALLOWABLE)
            raise ParamError(f"allow: {rule!r} is none of {', '.join(rules.ALLOWABLE)}.{hint}")


def _check_groups(value: list[str]) -> None:
    from stockkit import features

    if not value:
        raise ParamError("groups is an empty list: name at least one group of features, as in [basic].")
    features.names(*value)


def _check_horizons(name: str, value: list[int]) -> None:
    from stockkit.forecast.models.protocol import LONGEST_HORIZON

    bad = [horizon for horizon in value if not 1 <= horizon <= LONGEST_HORIZON]
    if bad or not value:
        raise ParamError(f"{name} must be 1 to {LONGEST_HORIZON} sessions, found {bad[0] if bad else 'an empty list'}.")
    if len(set(value)) < len(value):
        raise ParamError(f"{name} names {next(h for h in value if value.count(h) > 1)} twice.")


def check_stream(values: Mapping[str, Any]) -> None:
    """Refuse a stream that cannot be, where the chain has one."""
    if not values.keys() >= STREAM:
        return
    from stockkit.stream import setup

    setup.Parameters.among(values)


def _check_models(name: str, value: list[str]) -> None:
    from stockkit.forecast import models

    try:
        named = [model.name for model in models.by_name(value)]
    except ForecastError as error:
        raise ParamError(f"{name}: {error}") from error
    if name == "tried" and models.RANDOM_WALK not in named:
        raise ParamError(f"tried lacks {models.RANDOM_WALK!r}, which every other is compared with: add it.")


def _check_day(name: str, value: str, word: str) -> None:
    if value == word:
        return
    try:
        if date.fromisoformat(value).isoformat() != value:  # a week, as 2023-W37-6
            raise ValueError
    except ValueError:
        raise ParamError(f"{name} must be a day such as 2023-09-21, or {word!r}, found {value!r}.") from None
