"""Buses: where producers put records and consumers read them in order, a partition at a time. The registry of buses.

A new bus is a file with a class that has the methods of `Bus` and an entry in `BUSES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from stockkit.errors import ParamError, did_you_mean
from stockkit.stream.bus.memory import open_memory
from stockkit.stream.bus.protocol import Bus


@dataclass(frozen=True)
class Entry:
    """A bus and what it needs.

    Args:
        open: opens it, given what follows the name and a colon.
        form: how a `bus` parameter names it.
        extra: the extra of stockkit to install, as in ``pip install 'stockkit[EXTRA]'``; "" for none.
        package: the package which that extra brings.
        variable: the environment variable that says where it is; "" for none of its own.
    """

    open: Callable[[str], Bus]
    form: str
    extra: str = ""
    package: str = ""
    variable: str = ""


def _kafka(topic: str) -> Bus:
    from stockkit.stream.bus.kafka import open_kafka  # brings confluent-kafka

    return open_kafka(topic)


def _kinesis(stream: str) -> Bus:
    from stockkit.stream.bus.kinesis import open_kinesis  # brings boto3

    return open_kinesis(stream)


BUSES: Mapping[str, Entry] = {
    "memory": Entry(open_memory, "memory[:PARTITIONS]"),
    "kafka": Entry(_kafka, "kafka:TOPIC", extra="kafka", package="confluent-kafka", variable="KAFKA_BOOTSTRAP_SERVERS"),
    "kinesis": Entry(_kinesis, "kinesis:STREAM"),
}


def open_bus(name: str) -> Bus:
    """Open the bus that a `bus` parameter names: ``memory``, ``kafka:TOPIC``, ``kinesis:STREAM``.

    Raises:
        ParamError: no such bus, or its package is not installed. Where a bus cannot be reached, its `producer` and
            `consumer` say so.
    """
    kind, _, argument = name.partition(":")
    if kind not in BUSES:
        known = ", ".join(entry.form for entry in BUSES.values())
        raise ParamError(f"bus {name!r} is not known: use one of {known}.{did_you_mean(kind, BUSES)}")
    entry = BUSES[kind]
    if entry.package and find_spec(entry.package.replace("-", "_")) is None:
        raise ParamError(f"bus {name!r} needs the package {entry.package}: pip install 'stockkit[{entry.extra}]'.")
    return entry.open(argument)
