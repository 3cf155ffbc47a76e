"""A page to watch a stream by: what its store holds, read by another process and pushed to browsers as it changes."""
