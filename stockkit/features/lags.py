"""The group `lags`: what a feature of `basic` was some sessions ago, for models that have no memory of their own."""

from __future__ import annotations

from stockkit.features import basic
from stockkit.features.feature import Feature
from stockkit.features.windows import lagged

LAGS = {"ret_1": (1, 2, 3, 4, 5, 10, 21), "range": (1, 2, 5), "volume_z_20": (1, 5)}
SOURCES = {"range": "lag of Parkinson 1980"}


def _lag(base: Feature, lag: int) -> Feature:
    ago = "one session ago" if lag == 1 else f"{lag} sessions ago"
    return Feature(f"{base.name}_lag_{lag}", lambda a: lagged(base.function(a), lag), base.look_back + lag, base.unit,
                   f"{base.name} {ago}", SOURCES.get(base.name, "lag"), "lags")  # fmt: skip


FEATURES = tuple(_lag(basic.BY_NAME[name], lag) for name, lags in LAGS.items() for lag in lags)
