"""Every exception of the package. A message says what is wrong, which value, and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class StockkitError(Exception):
    """Base of all errors that stockkit raises on purpose; catch this one to catch them all."""


class SymbolError(StockkitError, ValueError):
    """A symbol that does not match the one pattern, refused before it reaches a path, URL or query."""


class SchemaError(StockkitError, ValueError):
    """A frame that breaks its contract; names the column, the dtype found and the first bad row."""


class SourceError(StockkitError):
    """A source that did not answer with usable bars: absent symbol, no CSV, a throttle message."""


class SourceUnavailable(SourceError):
    """A source that is down, overloaded or out of reach: the same may succeed later."""


class BudgetSpent(SourceError):
    """The provider's daily requests are used up; names when the next day starts."""


class LakeError(StockkitError):
    """A table or file of the lake that cannot be read or written."""


class LakeUnavailable(LakeError):
    """A lake that is down, overloaded or out of reach: the same may succeed later."""


class StreamError(StockkitError):
    """A bus, a store or a receiver of alerts that cannot be used; nothing is lost, and says what to do."""


class SparkError(StockkitError):
    """Spark that cannot start, as Java or a package is missing, or a job of it that failed."""


class QueryError(StockkitError, ValueError):
    """SQL that is refused, cannot be translated faithfully, or fails."""


class FeatureError(StockkitError, ValueError):
    """A feature of a user's own that fails, or gives anything but one number a session."""


class ForecastError(StockkitError, ValueError):
    """Data from which no honest forecast can be made: too short, constant, not finite."""


class ParamError(StockkitError, ValueError):
    """A parameter with an unknown name, a wrong type or a value that cannot be."""


class RequestError(StockkitError, ValueError):
    """A request to the server that cannot be answered; `field` is where, as in rows[3].close, and "" is the whole."""

    def __init__(self, what: str, *, field: str = "", status: int = 400) -> None:
        super().__init__(what)
        self.field, self.status = field, status


class RunError(StockkitError):
    """A chain that cannot start: a missing notebook, an undeclared table, a cycle."""


class LeakError(StockkitError):
    """Something that sees the future, or that could not be tested for it; names it, the check and the date."""


class UnfitError(StockkitError):
    """A function whose answer cannot be audited: it raised, changed its input, gave something of another shape.

    `state` says which of these, in one or two words.
    """

    def __init__(self, state: str, what: str) -> None:
        super().__init__(what)
        self.state = state


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a message about an unknown name, with a blank before it.

    Args:
        name: what was given; only a text of up to 100 characters is compared, as the comparison is slow for long ones.
        known: the names that there are.
        otherwise: what is said where none of them is near, e.g. "Known: a, b."; by default nothing.

    Example:
        >>> did_you_mean("vol_2O", ["vol_20", "ret_1"])
        " Did you mean 'vol_20'?"
    """
    near = get_close_matches(name, known, n=1) if isinstance(name, str) and len(name) <= 100 else []
    hint = f"Did you mean {near[0]!r}?" if near else otherwise
    return f" {hint}" if hint else ""


def listed(names: Sequence[str], most: int) -> str:
    """Names with commas between them; of more than `most` the first, as in "AAPL, IBM and 1 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, singular: str, plural: str = "") -> str:
    """How many there are of something, as in "1 session" or "1,200 tries"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
