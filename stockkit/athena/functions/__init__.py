"""The functions: those of one line by their signatures, the others by a handler each, and `calls` that finds them."""
