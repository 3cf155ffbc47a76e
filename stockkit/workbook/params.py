"""Parameters: a flat YAML file and `-p name=value`, checked against every notebook before a kernel starts.

A value is read as the type that the notebook's default has, never as what YAML would guess: for a list of
strings ``[ON, NO, 1E5, TRUE]`` are four symbols.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from stockkit.errors import ForecastError, LakeError, ParamError, did_you_mean
from stockkit.intake import EARLIEST, LATEST
from stockkit.lake import address
from stockkit.market import answers, rules, schema, sessions
from stockkit.workbook.execution import limits
from stockkit.workbook.notebooks import Notebook

MAX_FILE = 1_000_000
LONGEST_TEXT = 2_000  # characters of one text
LONGEST_NAME = 100  # characters up to which the nearest known name is looked for
LONGEST_WAIT = 30 * 86_400  # seconds
MOST_RETRIES = 10
DEEPEST = 5  # levels of YAML; a flat mapping with lists has two
OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken,
           yaml.BlockMappingStartToken)  # fmt: skip
CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
DAY_SIGNS = {"open": "+", "closed": "-"}  # of a day in a calendar's file, as `market.sessions` writes it
STREAM = {"bus", "producer", "interval", "fast", "slow"}  # among the parameters of a chain with a stream
NOTIFYING: Mapping[str, Any] = {"notify": [], "notify_on": "always"}  # of every chain, for whoever starts it
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


@dataclass(frozen=True)
class ParamsFile:
    """A parameter file: its values as YAML nodes, not yet typed, and the notebooks of its chain."""

    values: dict[str, Any]
    notebooks: list[str]


def load(path: Path) -> ParamsFile:
    """Read a flat YAML mapping with the key `notebooks`.

    Raises:
        ParamError: no such file, not YAML, not flat, a key twice, or `notebooks` is missing.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ParamError(f"cannot read the parameters file {path}: {error.strerror}.") from error
    if len(body) > MAX_FILE:
        raise ParamError(f"{path} has {len(body)} bytes: that is no parameters file.")
    try:
        values = _mapping(body.decode("utf-8"), where=str(path))
    except UnicodeDecodeError as error:
        raise ParamError(f"{path} is not UTF-8 text (byte {error.start}).") from error
    if "notebooks" not in values:
        raise ParamError(f"{path} lacks the key `notebooks`: list those to run, as in notebooks: [01_ingest].")
    notebooks = convert(values.pop("notebooks"), ["notebook"], "notebooks")
    if not notebooks:
        raise ParamError(f"{path}: notebooks is an empty list.")
    return ParamsFile(values, list(dict.fromkeys(notebooks)))


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn ``name=value`` words into YAML nodes; the last one of a name counts.

    Raises:
        ParamError: no ``=``, or a value that is not YAML.
    """
    overrides = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ParamError(f"-p {_short(pair)}: write -p name=value, as in -p horizon=5.")
        if len(value) > MAX_FILE:
            raise ParamError(f"-p {_short(name)} has {len(value):,} characters: at most {MAX_FILE:,} are read.")
        overrides[name] = _compose(value, where=f"-p {name if len(name) <= LONGEST_NAME else _short(name)}")
    return overrides


def resolve(notebooks: Sequence[Notebook], *sources: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every parameter of the chain: notebook default, then each of `sources` in turn.

    The limits of time (`execution.limits`) and who is notified are known to every chain; they are among the values
    where a source has them.

    Raises:
        ParamError: an unknown name (with the nearest known one), a wrong type, a value that cannot be.
    """
    values: dict[str, Any] = {}
    for notebook in notebooks:
        for name, default in notebook.parameters.items():
            if type(values.setdefault(name, default)) is not type(default):
                raise ParamError(f"parameter {name!r} has another type in {notebook.name} than in an earlier notebook.")
    known = {**limits.DEFAULTS, **NOTIFYING, **values}
    for source in sources:
        for name, node in source.items():
            if name not in known:
                hint = did_you_mean(name, known, f"Known: {', '.join(sorted(known))}.")
                raise ParamError(f"there is no parameter {_short(name)}.{hint}")
            values[name] = convert(node, known[name], name)
    _check_stream(values)
    later = {"candidate"} if values.get("user") else set()  # a model of the user's file: `user_file.check`
    return {name: value if name in later else check(name, value) for name, value in values.items()}


def convert(node: Any, like: Any, name: str) -> Any:
    """Read a YAML node as the type of `like` (str, int, float, bool, or a list of one of them).

    Raises:
        ParamError: names the parameter, what was found and how to write it.
    """
    if isinstance(like, list):
        if not isinstance(node, yaml.SequenceNode):
            raise ParamError(
                f"{name} must be a list, found {_shown(node)}: write {name}=[{_shown(node).strip(chr(39))}]."
            )
        return [convert(item, like[0] if like else "", f"{name}[{k}]") for k, item in enumerate(node.value)]
    if not isinstance(node, yaml.ScalarNode):
        raise ParamError(f"{name} must be {_kind(like)}, found {_shown(node)}.")
    quoted = node.style in ("'", '"')
    if isinstance(like, str):
        if not quoted and node.value in ("", "~", "null"):
            raise ParamError(f"{name} has no value: give one, or quote it if {node.value!r} is meant.")
        return _plain_text(str(node.value), name)
    try:
        if not quoted:
            return _unquoted(node.value, like)
    except ValueError:
        pass
    raise ParamError(f"{name} must be {_kind(like)}, found {_shown(node)}.")


def _plain_text(text: str, name: str) -> str:
    """A text that can be a path, a line of a page and UTF-8: no control characters, no half of a surrogate pair."""
    if len(text) > LONGEST_TEXT:
        raise ParamError(f"{name} has {len(text):,} characters, at most {LONGEST_TEXT:,} make sense: {_short(text)}.")
    odd = next((sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\t\n"), None)
    if odd:
        what = "half a surrogate pair" if unicodedata.category(odd) == "Cs" else "a control character"
        raise ParamError(f"{name} holds {what} ({odd!a}): {_short(text)}. Take it out.")
    return text


def _unquoted(text: str, like: Any) -> bool | int | float:
    if isinstance(like, bool):
        return ("false", "true").index(text.lower()) == 1
    if "_" in text:
        raise ValueError("Python's 1_000 is no number in YAML")
    number = int(text) if isinstance(like, int) else float(text)
    if not math.isfinite(number):
        raise ValueError("no number that a manifest could hold")
    return number


def _short(text: str) -> str:
    """A text as a message quotes it: its beginning, in ASCII."""
    return ascii(text if len(text) <= 60 else text[:60] + "…")


def _kind(like: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return kinds.get(type(like), type(like).__name__)


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


def _check_stream(values: Mapping[str, Any]) -> None:
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


def _mapping(text: str, *, where: str) -> dict[str, Any]:
    node = _compose(text, where=where)
    if not isinstance(node, yaml.MappingNode):
        raise ParamError(f"{where} must be a flat list of `name: value` lines.")
    values: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or isinstance(value, yaml.MappingNode):
            raise ParamError(f"{where} line {value.start_mark.line + 1}: parameters are flat, `name: value`.")
        if key.value in values:
            raise ParamError(f"{where} line {key.start_mark.line + 1}: {_short(key.value)} is given twice.")
        values[key.value] = value
    return values


def _compose(text: str, *, where: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C where it was built in: ten times faster
    try:
        text.encode()
        depth = 0
        for token in yaml.scan(text, Loader=loader):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                raise ParamError(
                    f"{where}: anchors, aliases and tags of YAML are not used here; quote a value with & * or !."
                )
            depth += isinstance(token, OPENING) - isinstance(token, CLOSING)
            if depth > DEEPEST:
                raise ParamError(f"{where} is nested deeper than {DEEPEST} levels: parameters are flat.")
        node = yaml.compose(text, Loader=loader)
    except UnicodeEncodeError as error:
        raise ParamError(f"{where} holds half a surrogate pair (character {error.start + 1}): take it out.") from error
    except yaml.YAMLError as error:
        at, problem = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or error)
        line = f" line {at.line + 1}" if at else ""
        raise ParamError(f"{where}{line} is not YAML: {' '.join(problem.split())}.") from error
    return yaml.ScalarNode("tag:yaml.org,2002:str", "") if node is None else node


def _shown(node: Any) -> str:
    if isinstance(node, yaml.ScalarNode):
        return _short(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
