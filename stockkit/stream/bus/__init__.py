"""Buses: where producers put records and consumers read them in order, a partition at a time. The registry of buses.

A new bus is a file with a class that has the methods of `Bus` and an entry in `BUSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stockkit.errors import ParamError, did_you_mean
from stockkit.stream.bus.memory import open_memory
from stockkit.stream.bus.protocol import Bus


@dataclass(frozen=True)
class Entry:
    """A bus and what it needs.

    Args:
        open: opens it, given what follows the name and a colon.
        extra: the extra of stockkit to install, as in ``pip install 'stockkit[EXTRA]'``; "" for none.
        package: the package which that extra brings.
    """

    open: Callable[[str], Bus]
    extra: str = ""
    package: str = ""


BUSES: Mapping[str, Entry] = {"memory": Entry(open_memory)}


def open_bus(name: str) -> Bus:
    """Open the bus that a `bus` parameter names: ``memory``, ``kafka:TOPIC``, ``kinesis:STREAM``.

    Raises:
        ParamError: no such bus, or its package is not installed. StreamError: it cannot be reached.
    """
    kind, _, argument = name.partition(":")
    if kind not in BUSES:
        known = ", ".join(BUSES)
        raise ParamError(f"bus {name!r} is not known: use one of {known}.{did_you_mean(kind, BUSES)}")
    return BUSES[kind].open(argument)
