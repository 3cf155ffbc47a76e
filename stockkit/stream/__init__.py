"""Ticks while they come: buses, producers, the pipeline to the lake, latest quotes, signals and alerts."""
