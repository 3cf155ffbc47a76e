"""Faults that are injected into runs, and the one judge of what a run makes of each."""
