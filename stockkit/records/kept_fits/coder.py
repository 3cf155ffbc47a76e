"""Fits as plain data and back, as saved models are (`registry.encoding`)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from stockkit.errors import StockkitError
from stockkit.forecast.models.protocol import Fitted
from stockkit.records.registry import attachments, encoding


@dataclass(frozen=True)
class Coder:
    """The coder of the fits in a lake; fits with tensors, or of a class that is not registered, are not kept."""

    def encode(self, fitted: Fitted) -> Any:
        """Plain data; None for a fit that cannot be kept exactly."""
        attached = attachments.Attachments()
        try:
            tree = encoding.encode(fitted, attached)
            if attached.tensors:
                return None
            archive = attachments.dump_estimators(attached.estimators) if attached.estimators else b""
        except StockkitError:
            return None
        return {"fit": tree, "estimators": base64.b64encode(archive).decode()}

    def decode(self, parameters: Any) -> Fitted | None:
        """The fit; None for what is no fit, or of a class that is not registered any more."""
        try:
            archive = base64.b64decode(parameters["estimators"])
            estimators = attachments.load_estimators(archive) if archive else []
            fitted: Fitted = encoding.decode(parameters["fit"], attachments.Attachments(estimators))
        except (StockkitError, KeyError, TypeError, ValueError):
            return None
        return fitted if hasattr(fitted, "forecast") else None
