"""What a `lake` parameter names: a folder, or ``s3://bucket/prefix?database=stock_data&workgroup=primary``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from stockkit.errors import LakeError, did_you_mean

BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?=[a-z0-9])){1,61}[a-z0-9]")  # S3's rules for general purpose buckets
PREFIX = re.compile(r"[A-Za-z0-9_.=-]+(?:/[A-Za-z0-9_.=-]+)*")
OPTIONS = {
    "database": re.compile(r"[a-z_][a-z0-9_]{0,251}"),
    "workgroup": re.compile(r"[A-Za-z0-9._-]{1,128}"),
    "crawler": re.compile(r"[A-Za-z0-9._-]{1,255}"),
}


@dataclass(frozen=True)
class Address:
    """A place on S3, the Glue database that its tables are registered in (if any), and who queries and crawls it."""

    bucket: str
    prefix: str = ""
    database: str | None = None
    workgroup: str = "primary"
    crawler: str | None = None


def parse(lake: str) -> Address | None:
    """The address of an ``s3://`` lake; None for a folder.

    Raises:
        LakeError: another scheme, no valid bucket, prefix or option; names the part and the nearest known option.
    """
    scheme, separator, rest = lake.partition("://")
    if not separator:
        return None
    if scheme != "s3":
        raise LakeError(f"lake {lake!r}: {scheme}:// is not known; give a folder, or s3://bucket/prefix.")
    place, _, query = rest.partition("?")
    bucket, _, prefix = place.partition("/")
    prefix = prefix.strip("/")
    if not BUCKET.fullmatch(bucket):
        raise LakeError(f"lake {lake!r}: {bucket!r} is no bucket name (3 to 63 small letters, digits, - and .).")
    if prefix and (not PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise LakeError(f"lake {lake!r}: {prefix!r} is no prefix: use letters, digits, _ . = - and single slashes.")
    return Address(bucket, prefix, **_options(lake, query))


def _options(lake: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            hint = did_you_mean(name, OPTIONS, f"Known: {', '.join(OPTIONS)}.")
            raise LakeError(f"lake {lake!r}: there is no option {name!r}.{hint}")
        if name in options:
            raise LakeError(f"lake {lake!r}: the option {name!r} is given twice.")
        if not OPTIONS[name].fullmatch(value):
            raise LakeError(f"lake {lake!r}: {name} cannot be {value!r}.")
        options[name] = value
    if "database" not in options and options:
        raise LakeError(f"lake {lake!r}: {next(iter(options))} needs a database; add database=stock_data.")
    return options
