"""Secrets by reference: parameters carry ``secret://name``, the value is looked up where it is used.

A value is found in the environment (``STOCKKIT_SECRET_NAME``) or in AWS Secrets Manager. It lives in a
`Secret`, which shows its reference wherever it is printed, and can strike its value out of any text.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn
from urllib.parse import quote

from stockkit.aws import Session
from stockkit.errors import ParamError

REFERENCE = re.compile(r"secret://([A-Za-z0-9]+(?:[_/-][A-Za-z0-9]+)*)")
STRUCK = "***"
SHORTEST = 8  # characters of a value that can be told from chance
TOLD_AT = "STOCKKIT_SECRETS_TOLD_AT"  # the named pipe by which a run learns what the processes of its notebooks look up
LOOKED_UP: list[str] = []  # the values that this process, and those of its notebooks, have looked up so far


class Secret:
    """A value that is used but never shown: `repr`, `str` and f-strings give its reference.

    A plain class on purpose: `dataclasses.asdict` would open a dataclass and copy the value out.
    """

    __slots__ = ("_pattern", "_value", "reference")

    def __init__(self, value: str, reference: str) -> None:
        self._value = value
        forms = ["".join(map(any_form, value)), *(map(re.escape, encoded(value)) if len(value) >= SHORTEST else [])]
        self._pattern = re.compile("|".join(forms), re.IGNORECASE)
        self.reference = reference

    def reveal(self) -> str:
        """The value itself: pass it on at once, keep it in no variable that outlives the call."""
        return self._value

    def scrub(self, text: str) -> str:
        """`text` with the value struck out: plain, quoted for a URL, JSON or HTML, in base64 or hexadecimal."""
        return self._pattern.sub(STRUCK, text)

    def is_in(self, body: bytes) -> bool:
        """Whether bytes repeat the value in one of the forms that `scrub` knows; under eight characters it is too
        short to tell."""
        value = self._value
        if len(value) < SHORTEST:
            return False
        cases = {value, value.lower(), value.upper()}
        forms = cases.union(*map(encoded, cases))
        if any(form.encode() in body for form in forms):
            return True
        quoted = any(sign in body for sign in (b"%", b"\\", b"&"))  # none of them in a table of numbers
        return quoted and self._pattern.search(body.decode("utf-8", "replace")) is not None

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled: pass its reference and resolve it where it is used.")


def any_form(sign: str) -> str:
    """A pattern for one character: plain, or quoted for a URL (once or twice), JSON or HTML."""
    forms = {quote(sign, safe=""), json.dumps(sign)[1:-1], html.escape(sign)}
    numbered = ""
    for letter in {sign, sign.lower(), sign.upper()} if len(sign.upper()) == 1 else {sign}:
        percent = "".join(f"%{byte:02x}" for byte in letter.encode())
        forms |= {letter, percent, percent.replace("%", "%25"), f"\\u{ord(letter):04x}", f"\\x{ord(letter):02x}"}
        numbered += rf"|&\#0*{ord(letter)};?|&\#x0*{ord(letter):x};?"
    return f"(?:{'|'.join(re.escape(form) for form in sorted(forms, key=len, reverse=True))}{numbered})"


def encoded(value: str) -> set[str]:
    """What a value is as part of any text in base64 (at each of three places), or in hexadecimal of either case."""
    body, forms = value.encode(), set()
    for at in range(3):
        coded = base64.b64encode(bytes(at) + body).decode()[(at * 8 + 5) // 6 : (at + len(body)) * 8 // 6]
        forms |= {coded, coded.replace("+", "-").replace("/", "_")}
    return forms | {body.hex(), body.hex().upper()}


def resolve(reference: str, secrets_client: Any = None) -> Secret:
    """Look up what a reference stands for.

    Args:
        reference: ``secret://name``; the variable of ``secret://stock/alpha-vantage`` is
            STOCKKIT_SECRET_STOCK_ALPHA_VANTAGE, and its identifier on AWS is ``stock/alpha-vantage``.
        secrets_client: boto3's Secrets Manager client, asked when the environment has no such variable.

    Raises:
        ParamError: no reference (its text is not repeated: it may be the secret), or nothing is found.
    """
    match = REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None:
        raise ParamError("expected a reference such as secret://alphavantage, found something else (not shown).")
    name = match[1]
    variable = "STOCKKIT_SECRET_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    value = os.environ.get(variable, "").strip()
    if not value and secrets_client is not None:
        value = _from_aws(name, secrets_client)
    if not value:
        raise ParamError(
            f"{reference} stands for nothing: set the environment variable {variable}, or store a secret "
            f"named {name!r} in AWS Secrets Manager."
        )
    if not value.isprintable() or " " in value:
        raise ParamError(f"{reference} holds spaces or control characters (not shown): set it again, the key alone.")
    tell(value)
    return Secret(value, reference)


def look_up(reference: str) -> Secret:
    """What a reference stands for in the environment or, where AWS is set up, in Secrets Manager.

    Raises:
        ParamError: see `resolve`.
    """
    try:
        return resolve(reference)
    except ParamError:
        if not {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"} & os.environ.keys():
            raise
    return resolve(reference, Session().client("secretsmanager"))


def tell(value: str) -> None:
    """Let this process, and the run that it is of, know a value, before anything can be done with it.

    The pipe is written to before a look-up returns, so that the run knows a value also where the process dies at once;
    any process or thread of a notebook can write to it, and nothing of it is ever on a disk.
    """
    if value in LOOKED_UP:
        return
    LOOKED_UP.append(value)
    if place := os.environ.get(TOLD_AT):
        import fcntl

        with suppress(OSError):  # a run that is gone publishes nothing
            handle = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.set_blocking(handle, True)
                fcntl.flock(handle, fcntl.LOCK_EX)  # a long value is not written at once
                _write(handle, json.dumps(value).encode() + b"\n")
            finally:
                os.close(handle)


def _write(handle: int, line: bytes) -> None:
    while line:
        line = line[os.write(handle, line) :]


def _from_aws(name: str, client: Any) -> str:
    """The secret as a text, or the only or same-named entry of a JSON object; "" when there is none."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        text = client.get_secret_value(SecretId=name).get("SecretString") or ""
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ResourceNotFoundException":
            return ""
        raise ParamError(
            f"secret://{name}: AWS Secrets Manager refused it ({code}). Check the role's rights."
        ) from None
    except BotoCoreError as error:
        raise ParamError(f"secret://{name}: AWS Secrets Manager cannot be asked ({type(error).__name__}).") from None
    return _entry(text.strip(), name)


def _entry(text: str, name: str) -> str:
    try:
        entries = json.loads(text)
    except ValueError:
        return text
    if not isinstance(entries, dict):
        return text
    value = entries.get(name.rpartition("/")[2], next(iter(entries.values())) if len(entries) == 1 else "")
    return value.strip() if isinstance(value, str) else ""


class _Scrubber(logging.Filter):
    """Strikes secrets out of other libraries' log records before any handler sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Secret] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for secret in list(self.known.values()):
            text = secret.scrub(text)
        if text != record.getMessage():
            record.msg, record.args = text, None
        return True


_SCRUBBER = _Scrubber()


def keep_out_of_logs(secret: Secret, loggers: Sequence[str]) -> None:
    """From now on strike `secret` out of every record of the named loggers (their children must be named too)."""
    _SCRUBBER.known[secret.reveal()] = secret
    for name in loggers:
        logging.getLogger(name).addFilter(_SCRUBBER)
