"""Measured against other libraries in one run, printed as ratios: `make bench`."""
