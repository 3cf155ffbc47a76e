"""Glue, and finding out what the raw zone holds."""
