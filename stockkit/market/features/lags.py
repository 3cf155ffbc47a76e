"""The group `lags`: what was so some sessions ago, for models that have no memory of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stockkit.market.features.feature import Arrays, Feature
from stockkit.market.features.windows import change, deviations, lagged, ratio


def _of_return(lag: int) -> Callable[[Arrays], np.ndarray]:
    return lambda a: lagged(change(a.log_close, 1), lag)


def _of_range(lag: int) -> Callable[[Arrays], np.ndarray]:
    return lambda a: lagged(np.log(a.high / a.low), lag)


def _of_volume(lag: int) -> Callable[[Arrays], np.ndarray]:
    def volume_z(a: Arrays) -> np.ndarray:
        centre, squares = deviations(a.volume, 20)
        return lagged(ratio(a.volume - centre, np.sqrt(squares / 20)), lag)

    return volume_z


def _ago(lag: int) -> str:
    return "one session ago" if lag == 1 else f"{lag} sessions ago"


FEATURES = (
    *(
        Feature(f"ret_1_lag_{k}", _of_return(k), k + 1, "log return", f"ret_1 {_ago(k)}", "lag", "lags")
        for k in (1, 2, 3, 4, 5, 10, 21)
    ),
    *(
        Feature(f"range_lag_{k}", _of_range(k), k, "log return", f"range {_ago(k)}", "lag of Parkinson 1980", "lags")
        for k in (1, 2, 5)
    ),
    *(
        Feature(f"volume_z_20_lag_{k}", _of_volume(k), k + 19, "standard deviations", f"volume_z_20 {_ago(k)}", "lag",
                "lags")
        for k in (1, 5)
    ),
)  # fmt: skip
