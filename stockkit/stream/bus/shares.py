"""How many records of each partition one poll takes, so that a full partition does not keep others waiting."""

from __future__ import annotations

from collections.abc import Sequence


def shares(waiting: Sequence[int], limit: int, first: int = 0) -> list[int]:
    """Divide `limit` among partitions: as evenly as what waits in each allows.

    Args:
        waiting: records that wait, by partition.
        limit: how many are taken together at most.
        first: the partition that comes first where `limit` is below the number of partitions; moved on from poll to
            poll, it gives each its turn.

    Example:
        >>> shares([100, 1, 0, 100], limit=11)
        [5, 1, 0, 5]
    """
    turn = [number for number in (*range(first, len(waiting)), *range(first)) if waiting[number]][:limit]
    given = [0] * len(waiting)
    for place, number in enumerate(sorted(turn, key=waiting.__getitem__)):  # who has little leaves the rest to others
        given[number] = min(waiting[number], -(-limit // (len(turn) - place)))
        limit -= given[number]
    return given
