"""Where data is kept: the raw zone, Delta tables, their catalogue and SQL over them."""
