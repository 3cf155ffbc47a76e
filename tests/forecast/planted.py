"""Seeded panels in which how much a feature tells of the next return is known, because it was put there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class PlantedReturns:
    """Returns and a feature of several symbols, (sessions, symbols) each.

    Attributes:
        returns: log return of session t, from close t − 1 to close t.
        feature: standard normal, known at the close of session t.
    """

    returns: np.ndarray
    feature: np.ndarray


def panel(
    symbols: int,
    count: int,
    *,
    ic: float = 0.0,
    volatility: float = 0.02,
    together: float = 0.3,
    rng: np.random.Generator,
) -> PlantedReturns:
    """Normal returns whose correlation with the feature one session earlier is `ic`; 0: random walks.

    Args:
        symbols: columns.
        count: sessions, rows.
        ic: information coefficient, over −1 and under 1 (Grinold and Kahn 2000, chapter 6).
        volatility: standard deviation of the log return a session.
        together: correlation between the unforeseen returns of two symbols, from 0 to 1; features have none.
        rng: the only source of randomness.
    """
    feature, alone = rng.normal(size=(2, count, symbols))
    noise = np.sqrt(together) * rng.normal(size=(count, 1)) + np.sqrt(1 - together) * alone
    before = np.concatenate([np.zeros((1, symbols)), feature[:-1]])
    return PlantedReturns(volatility * (ic * before + np.sqrt(1 - ic**2) * noise), feature)
