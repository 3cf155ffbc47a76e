"""What trading by a forecast would have earned: fills, rules, Sharpe ratios."""
