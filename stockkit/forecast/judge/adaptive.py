"""The compiled loop behind `intervals.conformal`: quantiles of past scores whose tail adapts to past misses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stockkit.features import rolling
from stockkit.features.rolling import compiled, insert


def _driver(version: str) -> Callable[..., None]:
    """The kernel over all series; its machine code is kept on disk for this version of the rolling kernels."""

    @compiled
    def quantiles(
        score: Any, edges: Any, horizon: Any, tails: Any, rates: Any, windows: Any, minimum: Any, q: Any
    ) -> None:
        """Fill q[t, j], row t's quantile for tails[j] (descending) of its series, edges[k] to edges[k + 1] − 1.

        Each series has its horizon, rate and window.
        Where `minimum` scores are not known yet, q is left as it is and must be NaN.
        """
        version  # noqa: B018 - part of the key
        tail = np.empty(len(tails))
        for k in range(len(horizon)):
            seen, rate, window = 0, rates[k], windows[k]
            held, newest = np.empty(window), np.empty(window)
            for j in range(len(tails)):
                tail[j] = tails[j]
            for t in range(edges[k], edges[k + 1]):
                closed = t - horizon[k]  # the row whose target session has just closed
                if closed >= edges[k] and not math.isnan(score[closed]):
                    for j in range(len(tails)):
                        if not math.isnan(q[closed, j]):
                            miss = 1.0 if score[closed] > q[closed, j] else 0.0
                            tail[j] = min(max(tail[j] + rate * (tails[j] - miss), 0.0), 1.0)
                    place = seen % window
                    insert(score[closed], newest[place] if seen >= window else math.nan, min(seen, window), held)
                    newest[place] = score[closed]
                    seen += 1
                if seen >= minimum:
                    n, widest = min(seen, window), 0.0
                    for j in range(len(tails)):
                        rank = math.ceil((n + 1) * (1 - tail[j]))
                        widest = max(widest, held[min(max(rank, 1), n) - 1])  # never inside the claim before
                        q[t, j] = widest

    return quantiles


quantiles = _driver(rolling.fingerprint())
