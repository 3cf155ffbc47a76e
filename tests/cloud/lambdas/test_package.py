"""The zip of the functions: small, the same bytes each time, and in need of nothing but boto3."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

from stockkit.cloud.lambdas import package
from tests.conftest import stockkit_process

MODULES = """
import json, sys
{what}
import boto3
for service in ("dynamodb", "sns", "s3"):
    boto3.client(service, region_name="eu-central-1")
print(json.dumps({{name: getattr(module, "__file__", None) for name, module in sys.modules.items()}}))
"""
FUNCTIONS = """
from stockkit.cloud.lambdas import transform, trend
for function in (transform, trend):
    try:
        function.handler({"Records": []}, None)
        raise SystemExit("no settings, and no error")
    except ValueError as error:
        assert "is not set" in str(error), error
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("function")
    zipfile.ZipFile(io.BytesIO(package.zipped())).extractall(folder)
    return folder


def modules(folder, what):
    """What a new process has loaded, by name, after this and boto3's clients."""
    run = subprocess.run(
        [sys.executable, "-c", MODULES.format(what=what)], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(run.stdout)


def test_the_zip_is_small_and_has_only_what_is_named():
    packed = package.zipped()
    assert len(packed) < 1_000_000
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == sorted(f"stockkit/{name}" for name in package.FILES)
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}


def test_the_zip_has_the_same_bytes_whenever_it_is_written(tmp_path):
    for name in ("one.zip", "two.zip"):
        assert package.write(tmp_path / name) == len(package.zipped())
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_command_writes_it_and_says_how_large_it_is(tmp_path):
    run = stockkit_process(tmp_path, "stream", "package-lambda", "--out", "new/functions.zip")
    packed = (tmp_path / "new" / "functions.zip").read_bytes()
    assert (run.stdout, packed) == (f"new/functions.zip: {len(packed):,} bytes\n", package.zipped())


def foreign(loaded, without):
    """The packages that are neither ours, nor of the standard library, nor loaded by boto3 alone."""
    packages = [{name.split(".")[0] for name in modules} for modules in (loaded, without)]
    return packages[0] - packages[1] - sys.stdlib_module_names - {"stockkit"}


def test_the_functions_load_nothing_but_themselves_boto3_and_the_standard_library(unpacked, tmp_path):
    loaded, without = modules(unpacked, FUNCTIONS), modules(tmp_path, "")
    files = {str(file) for name, file in loaded.items() if name.split(".")[0] == "stockkit"}
    assert files == {f"{unpacked}/stockkit/{name}" for name in package.FILES}
    assert foreign(loaded, without) == set()
    assert foreign(modules(tmp_path, "import yaml"), without) >= {"yaml"}
