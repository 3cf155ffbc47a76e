"""Forecasts of the h-session log return that have to beat the random walk before anyone calls them good.

- `models`: the recipes, one protocol.
- `judge`: losses, tests, scores, intervals and their coverage, drift, and the gate of a champion.
- `walk`: models refitted through time, checked not to peek; what they say now, and what is saved and served.
- `trading`: what the forecasts would have earned.

Nothing here reads a file, a clock or a network.
"""
