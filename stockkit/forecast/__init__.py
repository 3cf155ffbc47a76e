"""Forecasts of the h-session log return, each judged beside the random walk.

- `models`: the recipes, one protocol.
- `judge`: losses, tests, scores, intervals and their coverage, drift, and the gate of a champion.
- `walk`: models refitted through time and checked for look-ahead; the newest forecasts; what is saved and served.
- `trading`: what the forecasts would have earned.

Nothing here reads a file, a clock or a network.
"""
