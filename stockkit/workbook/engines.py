"""The registry of engines: what computes the table `features` in notebook 03.

A new one is an entry here and its call in the notebook; parameters, preflight and a user's file read `ENGINES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """An engine and what it needs.

    Attributes:
        extra: the extra of stockkit to install, as in ``pip install 'stockkit[EXTRA]'``; "" for none.
        user_features: whether it computes the features of a user's file as well as those of the catalogue.
    """

    extra: str = ""
    user_features: bool = True


ENGINES: Mapping[str, Engine] = {"local": Engine(), "spark": Engine(extra="spark", user_features=False)}
