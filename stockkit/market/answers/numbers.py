"""Columns of numbers as exports write them: currency signs, thousands, decimal commas, K, M and B."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from stockkit.errors import SourceError

BLANK = ("", "nan", "NaN", "NA", "null", "None")
NO_VOLUME = (*BLANK, "-", "--", "N/A", "n/a")
GAPS = re.compile(r"(?<=\d)[\u00a0\u202f\u2009 '\u2019](?=\d{3}(?!\d))")
SIGNS = "$€£¥₹₩₽"
SIGN = re.compile(rf"[{SIGNS}]")
PENCE = re.compile(r"(?<=\d)\s*(?:p|GBX|GBp)$")
LARGE = {"K": 3, "M": 6, "B": 9, "T": 12}
POINT_GROUPS = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d*)?")
COMMA_GROUPS = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d*)?")
COMMA = re.compile(r"\d*,\d+")
POINT = re.compile(r"\d*\.\d+|\d+\.")
UNSURE = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")


@dataclass(frozen=True)
class Numbers:
    """How a file writes its numbers: the decimal sign, the currency sign, and whether signs of both kinds occur."""

    decimal: str = "."
    currency: str = ""
    mixed: bool = False

    @property
    def shown(self) -> str:
        """For the report; empty where numbers are plain."""
        comma = "decimal comma" if self.decimal == "," else ""
        unit = "in pence" if self.currency == "p" else f"in {self.currency}" if self.currency else ""
        return ", ".join(word for word in (comma, unit) if word)


def plain(text: str) -> float:
    """The nearest double to a number in Python's own spelling; NaN where it is none."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def tell(columns: Sequence[Sequence[str]], lines: Sequence[int], delimiter: str, who: str) -> Numbers:
    """How the numbers of a file are written, from all of them.

    Args:
        columns: the prices and the volume, as texts.
        lines: where each row stands.
        delimiter: what stands between the fields.
        who: for messages.

    Raises:
        SourceError: 1,234 may be a thousand or one and a bit; prices in several currencies.
    """
    currency = _currency(columns[:4], lines, who)
    shapes: dict[str, tuple[int, str]] = {}
    for column in columns:
        for line, text in zip(lines, column, strict=True):
            if "," in text or text.count(".") > ("point" in shapes):  # one more decimal point tells nothing new
                shapes.setdefault(_shape(_bare(text)[0]), (line, text))
    point, comma, unsure = (shapes.get(name) for name in ("point", "comma", "unsure"))
    if point or (not comma and (unsure is None or ("," not in unsure[1] and delimiter == ","))):
        return Numbers(".", currency, bool(comma))
    if comma:
        return Numbers(",", currency)
    line, text = unsure  # type: ignore[misc]
    raise SourceError(
        f"{who}: {text!r} in line {line} may be written with thousands or with decimals, and no number of the file "
        "tells which. Export it without separators of thousands and with a decimal point."
    )


def _shape(digits: str) -> str:
    """Whether a bare number shows a decimal point, a decimal comma, neither, or could be read in both ways."""
    if UNSURE.fullmatch(digits):
        return "unsure"
    if POINT.fullmatch(digits) or POINT_GROUPS.fullmatch(digits):
        return "point"
    return "comma" if COMMA.fullmatch(digits) or COMMA_GROUPS.fullmatch(digits) else ""


def _currency(prices: Iterable[Sequence[str]], lines: Sequence[int], who: str) -> str:
    seen: dict[str, tuple[int, str]] = {}
    for column in prices:
        for line, text in zip(lines, column, strict=True):
            if (text and not text[-1].isdigit()) or (text and not text[0].isdigit()):
                match = SIGN.search(text)
                sign = match.group() if match else "p" if PENCE.search(text) else ""
                if sign:
                    seen.setdefault(sign, (line, text))
    if len(seen) > 1:
        shown = " and ".join(f"{text!r} in line {line}" for line, text in seen.values())
        raise SourceError(f"{who}: the prices are in more than one unit: {shown}. Convert them to one.")
    return next(iter(seen), "")


def _bare(text: str) -> tuple[str, bool]:
    """The digits and separators of a number, and whether it is negative: a sign or accounting's brackets."""
    bare = PENCE.sub("", SIGN.sub("", text).strip()).strip()
    negative = False
    if bare[:1] == "(" and bare[-1:] == ")":
        bare, negative = bare[1:-1].strip(), True
    if bare[:1] in ("-", "+", "\u2212"):
        bare, negative = bare[1:].strip(), negative != (bare[0] != "+")
    if bare[-1:].upper() in LARGE:
        bare = bare[:-1].strip()
    return GAPS.sub("", bare), negative


def value(text: str, how: Numbers, *, large: bool = False) -> float:
    """The number that a text is, NaN where it is none; with `large`, K, M, B and T stand for their powers of ten."""
    power = LARGE.get(text[-1:].upper(), 0)
    if power and not large:
        return math.nan
    if not power and "," not in text and not (how.mixed or how.decimal == ","):
        known = plain(text)
        if not math.isnan(known):
            return known
    digits, negative = _bare(text)
    if (how.mixed and UNSURE.fullmatch(digits)) or not _fits(digits, how.decimal):
        return math.nan
    pure = digits.replace("," if how.decimal == "." else ".", "").replace(",", ".")
    if power:
        return float((Decimal(pure).scaleb(power) * (-1 if negative else 1)).to_integral_value())
    return -float(pure) if negative else float(pure)


def _fits(digits: str, decimal: str) -> bool:
    """Whether a bare number is written with this decimal sign, with or without thousands."""
    single, groups = (POINT, POINT_GROUPS) if decimal == "." else (COMMA, COMMA_GROUPS)
    if not digits.isascii():
        return False
    if digits.isdigit() or single.fullmatch(digits) or groups.fullmatch(digits):
        return True
    if decimal == "." and "," not in digits:
        try:
            return Decimal(digits).is_finite()
        except InvalidOperation:
            return False
    return False
