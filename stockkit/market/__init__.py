"""What a market is: symbols, sessions, bars, corporate actions, features. No I/O, no clock."""
