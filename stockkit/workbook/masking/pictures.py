"""Texts inside of a PNG: what a figure's metadata says, also compressed, is looked through and taken out."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"eXIf"}
LARGEST = 10_000_000  # bytes of a text when it is unpacked


def cleaned(png: bytes, is_hit: Callable[[bytes], bool]) -> bytes:
    """The picture without the texts that are hit; what is no PNG, or has none, comes back as it is."""
    if not png.startswith(SIGNATURE):
        return png
    parts = list(_parts(png))
    kept = [chunk for kind, body, chunk in parts if kind not in TEXTS or not any(map(is_hit, _readings(kind, body)))]
    return png if len(kept) == len(parts) else SIGNATURE + b"".join(kept)


def cleaned_base64(text: str, is_hit: Callable[[bytes], bool]) -> str:
    """The same for a picture as a notebook keeps it."""
    try:
        png = base64.b64decode(text)
    except (binascii.Error, ValueError):
        return text
    clean = cleaned(png, is_hit)
    return text if clean is png else base64.b64encode(clean).decode()


def _parts(png: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The kind, the body and all bytes of every chunk; what follows the last one is of no kind."""
    at = len(SIGNATURE)
    while at + 12 <= len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        if end > len(png):
            break
        yield png[at + 4 : at + 8], png[at + 8 : end - 4], png[at:end]
        at = end
    if at < len(png):
        yield b"", b"", png[at:]


def _readings(kind: bytes, body: bytes) -> Iterator[bytes]:
    """A text as it is, and unpacked where it is packed (PNG, third edition, 11.3.3)."""
    yield body
    _, _, rest = body.partition(b"\0")
    packed = rest[1:] if kind == b"zTXt" else rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1"):
        try:
            yield zlib.decompressobj().decompress(packed, LARGEST)
        except zlib.error:
            return
