"""Parameters: a flat YAML file and `-p name=value`, checked against every notebook before a kernel starts.

A value is read as the type that the notebook's default has, never as what YAML would guess: for a list of
strings ``[ON, NO, 1E5, TRUE]`` are four symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stockkit.errors import ForecastError, LakeError, ParamError
from stockkit.lake import address
from stockkit.lake.ingest import EARLIEST, LATEST
from stockkit.market import answers, schema
from stockkit.workbook import calendars
from stockkit.workbook.notebooks import Notebook

MAX_FILE = 1_000_000
CHOICES = {
    "engine": ("local", "spark"),
    "dtype": ("float64", "float32"),
    "dates": (answers.AUTO, *answers.dates.ORDERS),
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
            raise ParamError(f"-p {pair!r}: write -p name=value, as in -p horizon=5.")
        overrides[name] = _compose(value, where=f"-p {name}")
    return overrides


def resolve(notebooks: Sequence[Notebook], *sources: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every parameter of the chain: notebook default, then each of `sources` in turn.

    Raises:
        ParamError: an unknown name (with the nearest known one), a wrong type, a value that cannot be.
    """
    values: dict[str, Any] = {}
    for notebook in notebooks:
        for name, default in notebook.parameters.items():
            if type(values.setdefault(name, default)) is not type(default):
                raise ParamError(f"parameter {name!r} has another type in {notebook.name} than in an earlier notebook.")
    for source in sources:
        for name, node in source.items():
            if name not in values:
                near = get_close_matches(name, values, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(values))}."
                raise ParamError(f"there is no parameter {name!r}. {hint}")
            values[name] = convert(node, values[name], name)
    return {name: check(name, value) for name, value in values.items()}


def convert(node: Any, like: Any, name: str) -> Any:
    """Read a YAML node as the type of `like` (str, int, float, bool, or a list of one of them).

    Raises:
        ParamError: names the parameter, what was found and how to write it.
    """
    import yaml

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
        return str(node.value)
    try:
        if not quoted:
            return _unquoted(node.value, like)
    except ValueError:
        pass
    raise ParamError(f"{name} must be {_kind(like)}, found {_shown(node)}.")


def _unquoted(text: str, like: Any) -> bool | int | float:
    if isinstance(like, bool):
        return ("false", "true").index(text.lower()) == 1
    if "_" in text:
        raise ValueError("Python's 1_000 is no number in YAML")
    return int(text) if isinstance(like, int) else float(text)


def _kind(like: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return kinds.get(type(like), type(like).__name__)


def check(name: str, value: Any) -> Any:
    """Return the value of a parameter that every chain knows when it makes sense; other names pass.

    Raises:
        ParamError, SymbolError: says what is wrong with the value.
    """
    if name == "symbols":
        return schema.check_symbols(value)
    if name == "calendar":
        return calendars.resolve(value)
    if name == "allow":
        return calendars.allowed(value)
    if name == "groups":
        _check_groups(value)
    elif name in CHOICES and value not in CHOICES[name]:
        raise ParamError(f"{name} must be {' or '.join(CHOICES[name])}, found {value!r}.")
    elif name in ("start", "as_of"):
        _check_day(name, value, EARLIEST if name == "start" else LATEST)
    elif name in ("horizon", "horizons"):
        _check_horizons(name, value if isinstance(value, list) else [value])
    elif name in ("tried", "candidate"):
        _check_models(name, value if isinstance(value, list) else [value])
    elif name in ("lake", "source") and not value.strip():
        raise ParamError(f"{name} is empty.")
    elif name == "lake":
        try:
            address.parse(value)
        except LakeError as error:
            raise ParamError(str(error)) from error
    return value


def _check_groups(value: list[str]) -> None:
    from stockkit.market import features

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
        if len(value) != 10:
            raise ValueError
        date.fromisoformat(value)
    except ValueError:
        raise ParamError(f"{name} must be a day such as 2023-09-21, or {word!r}, found {value!r}.") from None


def _mapping(text: str, *, where: str) -> dict[str, Any]:
    import yaml

    node = _compose(text, where=where)
    if not isinstance(node, yaml.MappingNode):
        raise ParamError(f"{where} must be a flat list of `name: value` lines.")
    values: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or isinstance(value, yaml.MappingNode):
            raise ParamError(f"{where} line {value.start_mark.line + 1}: parameters are flat, `name: value`.")
        if key.value in values:
            raise ParamError(f"{where} line {key.start_mark.line + 1}: {key.value!r} is given twice.")
        values[key.value] = value
    return values


def _compose(text: str, *, where: str) -> Any:
    import yaml

    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                raise ParamError(
                    f"{where}: anchors, aliases and tags of YAML are not used here; quote a value with & * or !."
                )
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        at = getattr(error, "problem_mark", None)
        line = f" line {at.line + 1}" if at else ""
        raise ParamError(f"{where}{line} is not YAML: {getattr(error, 'problem', None) or error}.") from error
    return yaml.ScalarNode("tag:yaml.org,2002:str", "") if node is None else node


def _shown(node: Any) -> str:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return repr(node.value[:60])
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
