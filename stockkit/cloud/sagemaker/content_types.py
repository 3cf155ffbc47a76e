"""Which content type a body has and which one the answer may have (RFC 9110, sections 8.3 and 12.5.1)."""

from __future__ import annotations

import re

from stockkit.cloud.sagemaker.rows import CSV, JSON, JSON_LINES
from stockkit.errors import RequestError

KINDS = (JSON, CSV, JSON_LINES)
CHARSETS = {"utf-8", "utf8", "us-ascii", "ascii"}
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def content_type(header: str | None, encoding: str | None = None) -> str:
    """The type of the body; JSON where none is told.

    Args:
        header: Content-Type. encoding: Content-Encoding.

    Raises:
        RequestError: 415 for other types, charsets and compressed bodies.
    """
    if encoding and encoding.strip().lower() != "identity":
        raise RequestError(f"Content-Encoding {encoding[:60]!r}: send the body uncompressed.", status=415)
    kind, parameters = _parsed(header or JSON)
    if kind not in KINDS:
        raise RequestError(f"Content-Type {kind[:60]!r}: send {', '.join(KINDS)}.", status=415)
    if parameters.get("charset", "utf-8").lower() not in CHARSETS:
        raise RequestError(f"charset {parameters['charset'][:60]!r}: send UTF-8.", status=415)
    return kind


def accepted(header: str | None, body: str) -> str:
    """The type to answer in: the one of the highest quality, where equal that of the `body`, then JSON.

    Raises:
        RequestError: 406 where Accept leaves none of ours.
    """
    ranges = [_range(text) for text in (header or "*/*").split(",") if text.strip()]
    ordered = sorted(KINDS, key=lambda kind: (-_quality(kind, ranges), kind != body, KINDS.index(kind)))
    if _quality(ordered[0], ranges) <= 0:
        raise RequestError(f"Accept {(header or '')[:60]!r}: we can give {', '.join(KINDS)}.", status=406)
    return ordered[0]


def _quality(kind: str, ranges: list[tuple[str, float]]) -> float:
    """The quality that the most specific of the ranges gives to `kind`; 0 where none fits."""
    qualities = dict(reversed(ranges))
    return next((qualities[name] for name in (kind, kind.split("/")[0] + "/*", "*/*") if name in qualities), 0.0)


def _range(text: str) -> tuple[str, float]:
    kind, parameters = _parsed(text)
    quality = parameters.get("q", "1")
    return kind, float(quality) if _QUALITY.fullmatch(quality) else 0.0


def _parsed(text: str) -> tuple[str, dict[str, str]]:
    kind, *parameters = (part.strip() for part in text.split(";"))
    pairs = (part.partition("=") for part in parameters)
    return kind.lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
