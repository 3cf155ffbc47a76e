"""An answer of a source, put into the raw zone."""

from __future__ import annotations

from stockkit.lake import raw


def keep(files, source, symbol, body, fetched_at):
    """Store an answer after those that are there, and return it with its place."""
    return raw.extend(raw.read(files, source, symbol), files, source, symbol, body, fetched_at).answers[-1]
