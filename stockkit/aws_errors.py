"""Errors of AWS, and of libraries that ask it: what failed, why, whether that passes by itself, and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stockkit.errors import LakeError, LakeUnavailable

AGAIN = "Nothing was changed; try again."
WAYS = {
    "NoSuchBucket": "Create the bucket with `aws s3 mb s3://BUCKET`, or correct the lake's address.",
    "RequestTimeTooSkewed RequestInTheFuture": "Set this machine's clock right: AWS refuses requests whose "
    "time is some minutes off, however often they are tried.",
    "ExpiredToken ExpiredTokenException RequestExpired TokenRefreshRequired": "The credentials have expired: log in "
    "again, or renew them.",
    "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException": "The bucket is in another "
    "region: set AWS_REGION to it.",
    "NotImplemented": "This store has no conditional puts, without which two writers overwrite each other: use one "
    "that has them, as AWS S3 does.",
    "AccessDenied AccessDeniedException 403 Forbidden InvalidAccessKeyId SignatureDoesNotMatch InvalidToken "
    "UnrecognizedClientException": "Check with `aws sts get-caller-identity` who you are, and what that role may do.",
}  # fmt: skip
# of S3, of botocore, and of object_store below deltalake, each in the text of its error
PASSES = re.compile(
    r"SlowDown|Throttl|RequestLimitExceeded|TooManyRequests|ServiceUnavailable|InternalError|RequestTimeout\b"
    r"|\b(429|500|502|503|504)\b|[Tt]imed? ?out|[Tt]imeout|[Cc]onnection (was )?(refused|reset|closed|aborted)"
    r"|[Cc]ould not connect|error sending request|EndpointConnection|ConnectionClosed"
)


@contextmanager
def explained(what: str, otherwise: str = AGAIN) -> Iterator[None]:
    """Turn an error of AWS into one that says what failed, why and the way out; no key is ever in it.

    `otherwise` is the way out of what only time can mend.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code, details = error_code(error), error.response.get("Error", {})
        raise lake_error(
            code, f"{what}: {code}: {details.get('Message', '')[:200]}. {way_out(code, otherwise)}"
        ) from error
    except BotoCoreError as error:
        why = f"{what}: {error}. Is the address right, and the network there?"
        raise lake_error(f"{type(error).__name__}: {error}", why) from error


def lake_error(why: str, message: str) -> LakeError:
    """The error with a message; where the text of its cause says that it may pass, of the kind that says so."""
    return LakeUnavailable(message) if PASSES.search(why) else LakeError(message)


def error_code(error: Any) -> str:
    """The code by which AWS names an error of a client."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def way_out(text: str, otherwise: str = AGAIN) -> str:
    """What helps against an error of S3 or another service, by the code that is somewhere in its text."""
    codes = set(re.findall(r"\w+", text))
    return next((way for known, way in WAYS.items() if codes & set(known.split())), otherwise)


def shortened(error: Exception) -> str:
    """What an error says in one line; the code of S3 first, which stands at the end of a long text."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|↳", " ", str(error)).split())
    text = re.sub(r"( \d+: (<unknown>|\S+::\S+|\S+ at \S+))+.*", "", text)  # where in a library written in Rust
    code = next((word for known in WAYS for word in known.split() if re.search(rf"<Code>{word}<", text)), "")
    return f"{code}: {text}"[:300] if code else text[:300]
