"""What a parameter names by KIND or KIND:ARGUMENT, looked up in a registry: producers, channels, places of quotes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from stockkit.errors import ParamError, did_you_mean


class Entry(Protocol):
    """An entry of a registry; `argument` says what follows its name and a colon, "" for nothing."""

    @property
    def argument(self) -> str: ...  # noqa: D102


E = TypeVar("E", bound=Entry)
T = TypeVar("T")


@dataclass(frozen=True)
class Channel(Generic[T]):
    """A channel for messages and what it needs.

    Args:
        open: opens it, given what follows its name and a colon, and the workbook's folder.
        argument: what that is, for messages; "" for none.
    """

    open: Callable[[str, Path], T]
    argument: str = ""


def names(entries: Mapping[str, Entry]) -> list[str]:
    """What the entries are called by, as in ``file:PATH``."""
    return [f"{name}:{entry.argument}" if entry.argument else name for name, entry in entries.items()]


def look_up(what: str, name: str, entries: Mapping[str, E]) -> tuple[E, str]:
    """The entry that `name` names, and the argument in it.

    Args:
        what: begins the error. name: KIND, or KIND:ARGUMENT where the entry takes one. entries: the registry.

    Raises:
        ParamError: there is no such entry, or its argument is missing or too much; names all, and the nearest.
    """
    kind, _, argument = name.partition(":")
    entry = entries.get(kind)
    if entry is None or bool(argument) != bool(entry.argument):
        near = did_you_mean(kind, entries) if entry is None else ""
        raise ParamError(f"{what} {name!r} is not known: use one of {', '.join(names(entries))}.{near}")
    return entry, argument


def open_channels(what: str, channels: Sequence[str], entries: Mapping[str, Channel[T]], root: Path) -> dict[str, T]:
    """Open the channels that a parameter names, by these names.

    Args:
        what: the parameter, for messages. channels: as in `names`. entries: the registry. root: the workbook's folder.

    Raises:
        ParamError: there is no such channel, its address is none, or something that it needs is missing.
    """
    opened = {}
    for channel in channels:
        entry, argument = look_up(f"{what}:", channel, entries)
        try:
            opened[channel] = entry.open(argument, root)
        except ParamError as error:
            raise ParamError(f"{what}: {error}") from error
    return opened
