"""The group `alpha158`, still empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stockkit.market.features.feature import Feature

GROUP = "alpha158"
FEATURES: tuple[Feature, ...] = ()


def fill(
    columns: Mapping[str, np.ndarray],
    edges: np.ndarray,
    starts: np.ndarray,
    names: Sequence[str],
    out: np.ndarray,
    *,
    threads: int = 1,
) -> None:
    """Nothing."""
