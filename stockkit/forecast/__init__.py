"""Forecasts of the h-session log return that have to beat the random walk before anyone calls them good.

- `models`: the recipes, one protocol. `folds`, `panel`, `fits`, `backtest`: refitted through time, checked not to peek.
- `intervals` (its kernel is `adaptive`), `coverage`: bands that adapt, and whether they hold what they claim.
- `scores` (from `paired`, `measures`, `pooled`, `significance`), `rules` (from `fills`, `sharpe`): errors beside the
  random walk's, and what trading would have earned.
- `study` puts these together, in `workers` if asked; `trained` is what is saved and served; `gate` judges it, `drift`
  watches it, and `outlook` tells it. `relevance` (from `ranks`): what a feature says of the sessions after.

Nothing here reads a file, a clock or a network.
"""
