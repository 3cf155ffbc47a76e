"""What must not change after the fact: sealed forecasts and saved models."""
