"""Proof of the functions: seeded schedules of a Kinesis mapping over storage that fails at any call."""
