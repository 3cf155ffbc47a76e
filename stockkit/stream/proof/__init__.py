"""Proof that nothing is lost and nothing comes twice: seeded schedules of what can go wrong."""
