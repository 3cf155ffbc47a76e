"""What a market is: symbols, sessions, bars, corporate actions, and a provider's file as rows. No I/O, no clock."""
