"""How data arrives: sources, download, request budget, secrets, and the ingest that turns answers into tables."""

EARLIEST, LATEST = "earliest", "latest"  # what stands for a first and for a last day
