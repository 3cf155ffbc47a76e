"""A notebook's name put into a parameters file, every other byte of it kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stockkit.errors import ParamError


def with_notebook(path: Path, name: str) -> bytes:
    """The bytes of a parameters file with one more notebook at the end of its list `notebooks`.

    Raises:
        ParamError: the list has the notebook already, or cannot be added to.
    """
    body = path.read_bytes().decode("utf-8")
    root: Any = yaml.compose(body, Loader=yaml.SafeLoader)
    node = next(value for key, value in root.value if key.value == "notebooks")
    last = node.value[-1]
    if name in [item.value for item in node.value]:
        raise ParamError(f"{path} has {name!r} in its notebooks already.")
    if node.flow_style:
        at, addition = last.end_mark.index, f", {name}"
    else:
        at = body.find("\n", last.end_mark.index)
        end = "\r\n" if "\r\n" in body else "\n"
        at, start = (len(body), end) if at < 0 else (at + 1, "")
        addition = f"{start}{' ' * node.start_mark.column}- {name}{'' if start else end}"
    return (body[:at] + addition + body[at:]).encode("utf-8")
