"""What computes a fit besides code and data: Python, the installed packages, and the processor's kind of arithmetic."""

from __future__ import annotations

import functools
import hashlib
import platform
from typing import Any

from stockkit.provenance import packages


@functools.cache
def fingerprint() -> str:
    """A hash of the versions of all installed packages, of Python, and of what numpy and BLAS use of this processor.

    Sums round differently where more numbers are added at one go: a fit of another kind of processor is not taken up.
    """
    facts = [platform.python_version(), platform.machine(), platform.system(), *packages(), *_arithmetic()]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _arithmetic() -> list[str]:
    import numpy as np
    import threadpoolctl

    features: dict[str, Any] = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    blas = [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]
    kinds = {f"{library['internal_api']} {library.get('architecture')}" for library in blas}
    return [*sorted(name for name, there in features.items() if there), *sorted(kinds)]
