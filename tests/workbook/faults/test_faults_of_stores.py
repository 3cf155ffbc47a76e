"""A lake on S3 on a bad day, before the same judge as every other fault."""

from __future__ import annotations

import subprocess
import sys

import boto3
import pytest

from tests.aws import FAKE
from tests.workbook.faults import store
from tests.workbook.faults.judge import problems
from tests.workbook.faults.scene import met
from tests.workbook.faults.stores import STORES


@pytest.fixture(scope="module")
def faulty_store(moto_address):
    """The address of a proxy before moto."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": FAKE["AWS_REGION"]}
    place = {"LocationConstraint": FAKE["AWS_REGION"]}
    client = boto3.client("s3", endpoint_url=moto_address, **keys)
    if "lake" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="lake", CreateBucketConfiguration=place)
    command = [sys.executable, str(store.__file__), moto_address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.kill()


@pytest.mark.parametrize("fault", STORES, ids=lambda fault: fault.slug)
def test_a_bad_day_of_a_store_is_a_failed_run_with_its_cause_and_evidence(fault, tmp_path, faulty_store):
    with met(fault, tmp_path, store=faulty_store) as (_, outcome):
        assert problems(fault, outcome) == []
