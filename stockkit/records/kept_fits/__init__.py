"""Fits kept with the lake, so that a new day fits only what is new; what they are is in `forecast.walk.kept_fits`.

``runs/fits/symbol=AAPL.fits`` has the fits of one symbol, ``runs/fits/model=boosting.fits`` those of a model of all
symbols: forecasts as float64, and of the newest fits their parameters, never pickle. They may be deleted at any time.
"""

from __future__ import annotations

from stockkit.records.kept_fits.store import FOLDER, LakeFits, clear, in_lake

__all__ = ["FOLDER", "LakeFits", "clear", "in_lake"]
