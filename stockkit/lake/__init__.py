"""Where data is kept: sources, the raw zone, Delta tables and SQL over them."""
