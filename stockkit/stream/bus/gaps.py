"""Records that a bus deleted before they were read: refused in words, passed over only where the user has said so."""

from __future__ import annotations

import logging
import os

from stockkit.errors import StreamError

VARIABLE = "STOCKKIT_STREAM_GAPS"  # "accept": go on with the oldest record that is left
log = logging.getLogger(__name__)


class Gap(StreamError):
    """Records that were not read are gone from the bus; nothing is skipped without the user's word.

    Attributes:
        partition: where. last: the last offset that was done with.
        oldest: the oldest offset that is left, None where it is not known.
        count: how many offsets lie between, None where the bus does not number its records one by one.
    """

    def __init__(self, partition: str, last: int, oldest: int | None, count: int | None, why: str) -> None:
        lost = f"{count:,} records" if count is not None else "perhaps records, how many cannot be told,"
        until = "the oldest that is left" if oldest is None else f"{oldest}"
        super().__init__(
            f"{partition}: {lost} after offset {last} and before {until} are gone from the bus before they were read: "
            f"{why}. Send them again from their source where that can be. To go on without them, start again with "
            f"{VARIABLE}=accept in the environment; so that it does not happen again, have the bus keep records longer."
        )
        self.partition, self.last, self.oldest, self.count = partition, last, oldest, count


def pass_over(gap: Gap) -> None:
    """Return where the environment accepts gaps, after a line in the log.

    Raises:
        Gap: the one that was given, where it does not.
    """
    if os.environ.get(VARIABLE) != "accept":
        raise gap
    log.warning("gap accepted partition=%s last=%s oldest=%s count=%s", gap.partition, gap.last, gap.oldest, gap.count)
