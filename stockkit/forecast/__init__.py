"""Forecasts of the h-session log return that have to beat the random walk before anyone calls them good.

`models` fits one symbol's past, `backtest` refits through time on purged folds, `intervals` turns past
errors into bands, `scores` compares with the random walk. Nothing here reads a file, a clock or a network.
"""
