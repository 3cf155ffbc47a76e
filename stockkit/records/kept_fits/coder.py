"""Fits as plain data and back, as saved models are (`registry.encoding`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stockkit.errors import StockkitError
from stockkit.forecast.models.protocol import Fitted
from stockkit.records.registry import encoding
from stockkit.records.registry.attachments import Attachments


@dataclass(frozen=True)
class Coder:
    """The coder of the fits in a lake.

    Not kept are fits of a class that is not registered, and those with tensors or estimators of scikit-learn: to load
    those, and trust them, takes longer than to fit them.
    """

    def encode(self, fitted: Fitted) -> Any:
        """Plain data; None for a fit that is not kept."""
        attached = Attachments()
        try:
            tree = encoding.encode(fitted, attached)
        except StockkitError:
            return None
        return None if attached.estimators or attached.tensors else tree

    def decode(self, parameters: Any) -> Fitted | None:
        """The fit; None for what is no fit, or of a class that is not registered any more."""
        try:
            fitted: Fitted = encoding.decode(parameters, Attachments())
        except StockkitError:
            return None
        return fitted if hasattr(fitted, "forecast") else None
