"""Losses, tests, scores, intervals and coverage: what a forecast is worth beside the random walk."""
