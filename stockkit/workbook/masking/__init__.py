"""What finds and masks secrets in everything that a run publishes."""
