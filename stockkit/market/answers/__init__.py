"""What a source answered: read at once where it is `plain`, line by line (`careful`) where something is off.

The layout is recognised by the header (`headers`, `layouts`), the text (`text`), dates (`dates`) and numbers
(`numbers`) as the file as a whole shows them; what can be read in two ways is refused with the choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from stockkit.errors import ParamError
from stockkit.imports import pandas as pd
from stockkit.market.answers import dates, headers, plain
from stockkit.market.answers.plain import Plain

AUTO = "auto"


@dataclass(frozen=True)
class Choices:
    """What a file leaves open and the user has decided.

    `dates` is the order of day and month (DMY, MDY, YMD), or "auto"; `allow` names rules that are not applied.
    """

    dates: str = AUTO
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dates not in (AUTO, *dates.ORDERS):
            raise ParamError(f"dates must be {AUTO}, {', '.join(dates.ORDERS)}, found {self.dates!r}.")


@dataclass(frozen=True)
class Answer:
    """What a source said about one symbol: the bytes, where they are kept, and when they were fetched (UTC).

    `known_at` is given where that is not since when it counts as known: where a clock was set back, see `lake.raw`.
    """

    symbol: str
    body: bytes
    file: str
    fetched_at: pd.Timestamp
    known_at: pd.Timestamp | None = None

    @property
    def since(self) -> pd.Timestamp:
        """Since when it counts as known, UTC."""
        return self.fetched_at if self.known_at is None else self.known_at

    @property
    def who(self) -> str:
        """Its name in messages."""
        return f"{self.symbol} ({self.file})"

    @cached_property
    def plain(self) -> Plain | None:
        """Its rows as `plain.read` gives them, read once; None where it has to be read line by line."""
        return plain.read(self.body, self.symbol, self.who)


def check(answer: Answer) -> list[str]:
    """The column names of an answer, in small letters; all of it is decoded, no row is read.

    Raises:
        SourceError: the bytes are no table of daily bars (empty, JSON, HTML, another encoding, an unknown header).
    """
    return list(headers.of_body(answer.body, answer.symbol, answer.who).names)
