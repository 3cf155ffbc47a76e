"""Bytes as lines of fields: encodings, line ends and separators as exports have them; every line stands for itself."""

from __future__ import annotations

import codecs
import csv
import io
import re

from stockkit.errors import SourceError

DELIMITERS = (",", ";", "\t", "|")
LONGEST = 131_072  # characters a line, also what Python's csv module allows a field
COMMENTS = ("#", "//")
LINE_END = re.compile(r"\r\n|\r|\n")
SIGN = re.compile(rb"\S")
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def first_line(body: bytes) -> bytes:
    """The first line, without its end; the rest is not copied."""
    return io.BytesIO(body).readline().rstrip(b"\n")


def first_sign(body: bytes, start: int = 0) -> bytes:
    """The first byte from `start` on that is no white space, empty where there is none."""
    sign = SIGN.search(body, start)
    return sign.group() if sign else b""


def decode(body: bytes, who: str) -> str:
    """The text of an answer: UTF-8, or UTF-16 with or without a byte order mark.

    Raises:
        SourceError: the bytes are neither, or hold NUL characters.
    """
    name = _encoding(body)
    try:
        text = body.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        kind = "UTF-8" if name == "utf-8" else "UTF-16"
        raise SourceError(f"{who}: not {kind} text (byte {error.start}). Save it as UTF-8 CSV.") from error
    if "\x00" in text:
        raise SourceError(f"{who}: not a text file: it contains NUL bytes. Save it as UTF-8 CSV.")
    return text


def _encoding(body: bytes) -> str:
    if name := UTF_16.get(body[:2]):
        return name
    first, second = body[0:64:2], body[1:64:2]
    if len(second) > 3 and b"\x00" not in first and not any(second):
        return "utf-16-le"
    if len(second) > 3 and b"\x00" not in second and not any(first):
        return "utf-16-be"
    return "utf-8"


def lines_of(text: str) -> list[str]:
    """The lines, without their ends, which may be of Windows, Unix, old Mac or mixed."""
    return LINE_END.split(text) if "\r" in text else text.split("\n")


def fields_of(line: str, delimiter: str) -> list[str]:
    """The fields of one line; a quote that is left open ends with it."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line]


def is_empty(line: str) -> bool:
    """Whether a line is blank, a comment, or nothing but separators."""
    bare = line.strip().strip(",;|\t\" '")
    return not bare or bare.startswith(COMMENTS)
