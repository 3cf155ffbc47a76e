"""Parameters: a flat YAML file and `-p name=value`, read and compared with every notebook before a kernel starts.

A value is read as the type that the notebook's default has, never as what YAML would guess: for a list of
strings ``[ON, NO, 1E5, TRUE]`` are four symbols.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stockkit.errors import ParamError, did_you_mean
from stockkit.workbook import param_values
from stockkit.workbook.execution import limits
from stockkit.workbook.notebooks import Notebook

MAX_FILE = 1_000_000
LONGEST_TEXT = 2_000  # characters of one text
LONGEST_NAME = 100  # characters up to which the nearest known name is looked for
DEEPEST = 5  # levels of YAML; a flat mapping with lists has two
OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken,
           yaml.BlockMappingStartToken)  # fmt: skip
CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
NOTIFYING: Mapping[str, Any] = {"notify": [], "notify_on": "always"}  # of every chain, for whoever starts it


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
    param_values.check_stream(values)
    later = {"candidate"} if values.get("user") else set()  # a model of the user's file: `user_file.check`
    return {name: value if name in later else param_values.check(name, value) for name, value in values.items()}


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
