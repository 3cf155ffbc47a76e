"""SELECT over the lake: DuckDB on this machine, Athena on AWS, and what both need."""
