"""The zip of the Lambda functions: our own modules without a package; boto3 is in Lambda's runtime."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from stockkit import local_files

PACKAGE = Path(__file__).resolve().parents[2]
LAMBDAS = (
    "__init__",
    "clients",
    "dead_letters",
    "failures",
    "kinesis",
    "outbox",
    "settings",
    "states",
    "transform",
    "trend",
)
FILES = (
    *("__init__.py", "aws.py", "errors.py"),
    *(f"market/{name}.py" for name in ("__init__", "signals", "symbols", "ticks")),
    *("cloud/__init__.py", *(f"cloud/lambdas/{name}.py" for name in LAMBDAS)),
)
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can tell


def zipped() -> bytes:
    """The zip: the same bytes from the same sources, wherever and whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # packed, its bytes would be zlib's choice
        for name in sorted(FILES):
            entry = zipfile.ZipInfo(f"stockkit/{name}", LONG_AGO)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # of Unix, readable by the function's user
            archive.writestr(entry, (PACKAGE / name).read_bytes())
    return buffer.getvalue()


def write(path: Path) -> int:
    """Write the zip; its size in bytes.

    Raises:
        LakeError: it cannot be written there.
    """
    packed = zipped()
    local_files.write_atomically(path, packed)
    return len(packed)
