"""The store of a lake's kept fits: one file a place, written whole, and read anew as nothing where it is not sound."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from stockkit import provenance
from stockkit.errors import LakeError
from stockkit.files import Files
from stockkit.forecast.models.protocol import Model
from stockkit.forecast.walk.kept_fits import Entry
from stockkit.lake.tables import Lake
from stockkit.records.kept_fits import file_format, sources, surroundings
from stockkit.records.kept_fits.coder import Coder

FOLDER = "runs/fits"
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LakeFits:
    """The fits kept in a lake; whatever is wrong with them, the fits are made anew.

    Of two runs that save the same place at once the later one's are kept.

    Attributes:
        files: of the lake. fresh: whether what is kept is left aside.
    """

    files: Files
    fresh: bool = False
    coder: Coder = field(default_factory=Coder)

    def origin(self, model: Model) -> str | None:
        """The code of a model and the surroundings; None for a model whose code is in no file, as that of a cell."""
        code = sources.fingerprint(type(model))
        return None if code is None else f"{code} {surroundings.fingerprint()}"

    def load(self, place: str) -> Mapping[str, Entry]:
        """What is kept in a place; nothing where it cannot be read, or `fresh` is set."""
        return {} if self.fresh else self._read(place)[0]

    def save(self, place: str, used: Mapping[str, Entry]) -> None:
        """Keep what a run used, and of what was there before what may be asked for again."""
        before, ages = ({}, {}) if self.fresh else self._read(place)
        entries, ages_now = file_format.merged(used, before, ages)
        if ages_now == ages and _shape(entries) == _shape(before):
            return
        try:
            self.files.note(_key(place), file_format.pack(entries, ages_now))
        except (LakeError, ValueError) as error:
            log.warning("fits of %s are not kept: %s", place, error)

    def _read(self, place: str) -> tuple[dict[str, Entry], dict[str, int]]:
        try:
            return file_format.unpack(self.files.read(_key(place)))
        except (LakeError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            log.warning("fits of %s cannot be read and are made anew: %s", place, error)
            return {}, {}


def _shape(entries: Mapping[str, Entry]) -> dict[str, bool]:
    """What tells two states of a place apart: the keys, and whether the parameters of a fit are there."""
    return {key: getattr(entry, "parameters", None) is None for key, entry in entries.items()}


def in_lake(lake: Lake) -> LakeFits:
    """The fits kept in a lake; with STOCKKIT_FRESH=1 in the environment all are made anew."""
    return LakeFits(lake.files, fresh=provenance.fresh())


def clear(lake: Lake) -> int:
    """Delete what is kept; returns how many files there were."""
    names = [name for name in lake.files.names(FOLDER) if name.endswith(".fits")]
    for name in names:
        lake.files.remove(f"{FOLDER}/{name}")
    return len(names)


def _key(place: str) -> str:
    return f"{FOLDER}/{place}.fits"
