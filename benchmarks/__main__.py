"""Run every benchmark: `python -m benchmarks [SYMBOLS] [SESSIONS]`, 500 symbols x 5,040 sessions by default.

`python -m benchmarks.qlib` compares with Qlib, in an environment that it makes from the package index.
Each line is a ratio, measured within this one process on the same simulated bars: under 1 means that stockkit
is faster. Only the ratios mean anything; seconds depend on the machine.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import alpha158, features, ingest, lake, models
from stockkit.market import schema, simulate


def main(symbols: int = 500, sessions: int = 5040) -> None:
    """Simulate the bars once and hand them to each benchmark."""
    rng = np.random.default_rng(1)
    bars = schema.cast(simulate.bars([f"S{k:04}" for k in range(symbols)], count=sessions, rng=rng), schema.BARS)
    print(f"{len(bars):,} simulated bars, {symbols} symbols; Python {platform.python_version()}")
    features.main(bars)
    alpha158.main(bars)
    models.main()
    with tempfile.TemporaryDirectory() as folder:
        lake.main(bars, Path(folder))
        ingest.main(bars, Path(folder))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
