"""Which failures are tried again, and after how long."""

from __future__ import annotations

import builtins

import pytest

from stockkit import aws_errors, errors
from stockkit.workbook.chain import retries
from stockkit.workbook.manifest import Failure


@pytest.mark.parametrize("ename", sorted(retries.WAITS))
def test_what_may_pass_is_tried_again_after_longer_and_longer_waits_as_often_as_asked(ename):
    failure = Failure(ename=ename, evalue="planted")
    waits = [retries.wait_before(failure, attempts, {"retries": 3}) for attempts in (1, 2, 3, 4)]
    first = retries.WAITS[ename]
    assert waits == [first, 4 * first, 16 * first, None]
    assert retries.wait_before(failure, 1, {"retries": 0}) is None


@pytest.mark.parametrize(
    "ename", ["DeadKernelError", "TimeoutError", "SourceError", "LakeError", "RunError", "Interrupted"]
)
def test_what_would_come_again_is_not_tried_again(ename):
    assert retries.wait_before(Failure(ename=ename, evalue="planted"), 1, {}) is None


def test_every_name_is_that_of_an_error():
    known = {*vars(errors), *vars(builtins), "KernelError"}
    assert set(retries.WAITS) <= known


@pytest.mark.parametrize(
    ("why", "passes"),
    [
        ("SlowDown", True),
        ("ThrottlingException", True),
        ("Generic S3 error: error sending request for url (http://127.0.0.1:1/x)", True),
        ("Server returned non-2xx status code: 503 Service Unavailable", True),
        ("ReadTimeoutError: Read timeout on endpoint URL", True),
        ("EndpointConnectionError: Could not connect", True),
        ("AccessDenied", False),
        ("NoSuchBucket", False),
        ("part-50312.parquet is no Parquet file", False),
        ("Invalid JSON in log record", False),
    ],
)
def test_an_error_of_the_lake_says_whether_it_may_pass(why, passes):
    assert isinstance(aws_errors.lake_error(why, "planted"), errors.LakeUnavailable) is passes
