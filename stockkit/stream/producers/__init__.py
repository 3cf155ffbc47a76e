"""Producers: what puts ticks on a bus, and knows when each is due. The registry of producers.

A new producer is a file with a function from `Settings` (and what follows its name and a colon) to batches, and an
entry in `PRODUCERS`. `stream run` and `stockkit stream produce` do the same::

    batches = producers.open_producer("simulator", Settings(day="2023-09-21"))
    sent = sending.send(batches, bus.producer(), speed=60.0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from stockkit.stream import registry
from stockkit.stream.producers.batch import Batch as Batch
from stockkit.stream.producers.batch import Settings as Settings


@dataclass(frozen=True)
class Entry:
    """A producer and what it needs.

    Args:
        open: opens it, given the settings and what follows the name and a colon.
        argument: what that is, for messages; "" for none.
    """

    open: Callable[[Settings, str], Iterator[Batch]]
    argument: str = ""


def _simulator(settings: Settings, argument: str) -> Iterator[Batch]:
    from stockkit.stream.producers.simulator import simulate

    return simulate(settings)


def _replay(settings: Settings, argument: str) -> Iterator[Batch]:
    from stockkit.stream.producers.replay import replay

    return replay(settings, argument)


def _quotes(source: str) -> Callable[[Settings, str], Iterator[Batch]]:
    def opened(settings: Settings, argument: str) -> Iterator[Batch]:
        from stockkit.stream.producers.polling import poll

        return poll(settings, source)

    return opened


PRODUCERS: Mapping[str, Entry] = {
    "simulator": Entry(_simulator),
    "replay": Entry(_replay, "PATH"),
    "yfinance": Entry(_quotes("yfinance")),
    "alphavantage": Entry(_quotes("alphavantage")),
}


def names() -> list[str]:
    """What a producer is called by, as in ``replay:PATH``."""
    return registry.names(PRODUCERS)


def open_producer(name: str, settings: Settings) -> Iterable[Batch]:
    """Open a producer, one of `names`; what it hands out is for `sending.send`.

    Raises:
        ParamError: no such producer, or it cannot do what the settings ask. LakeError: its table cannot be read.
    """
    entry, argument = registry.look_up("producer", name, PRODUCERS)
    return entry.open(settings, argument)
