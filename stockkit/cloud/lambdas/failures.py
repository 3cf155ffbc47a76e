"""Which errors of AWS are failures of the infrastructure: the same records may succeed later."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from stockkit.errors import StreamError

# a request that no retry makes right is an error of the code: it goes up, and the mapping splits the batch
WRONG_REQUESTS = {"ValidationException", "ValidationError", "SerializationException", "InvalidParameter"}
TAKEN = {"ConditionalCheckFailedException", "PreconditionFailed"}
AWS_ERRORS = (BotoCoreError, ClientError, StreamError)


def code_of(error: Exception) -> str:
    """AWS's name of an error, as in ThrottlingException; that of its class where AWS did not answer."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def check_infrastructure(error: Exception) -> None:
    """Raise the error again where retrying the same request is of no use."""
    if isinstance(error, ParamValidationError) or code_of(error) in WRONG_REQUESTS:
        raise error


def is_taken(error: ClientError) -> bool:
    """Whether a conditional write was refused, as somebody else wrote before."""
    return code_of(error) in TAKEN
