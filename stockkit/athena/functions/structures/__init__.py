"""Arrays, maps and rows: made and taken apart, as sets and joined, and the functions that take a lambda."""
