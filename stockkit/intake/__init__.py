"""How data arrives: sources, download, request budget, secrets, and the ingest that turns answers into tables."""
