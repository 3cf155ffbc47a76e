"""What the tests share: the workbook's folder, the sample's bars, and parts that a machine may lack."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import hypothesis
import pandas as pd
import pytest

from stockkit import cli
from stockkit.files import Folder
from stockkit.intake import ingest
from stockkit.lake.tables import Lake

ROOT = Path(__file__).resolve().parents[1]
SYMBOLS = ["AAPL", "AMZN", "GOOG", "META", "NFLX", "NVDA"]
# The files that take longest, longest first: with short ones left for the end, the workers end together
LONG = ["test_spark", "test_spark_signals", "test_whole_path", "test_chain", "test_stream_notebook", "test_readme",
        "test_faults", "test_own_data", "test_notebook_on_spark", "test_short_histories", "test_causality",
        "test_runner", "test_faults_from_outside", "test_kill_and_resume",
        "test_ledger", "test_registry", "test_judge", "test_plots_of_many", "test_own_market", "test_user_file",
        "test_report", "test_causality_of_fits", "test_missing_split", "test_serving_fuzz", "test_live_source",
        "test_feature_table", "test_ledger_scoring", "test_kafka", "test_service_on_brokers", "test_buses"]  # fmt: skip

# a machine that is busy makes an example slow, not wrong
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
# beside a second worker, notebooks that fit in processes of their own take longer; tests/test_chain.py lets them
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
# Java that runs for seconds is done before its second compiler, the threads of its collector and a look through all of
# Spark's classes for faults are of use
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
os.environ.setdefault("JAVA_TOOL_OPTIONS", QUICK)
# a shell that starts the tests in the background has them ignore Ctrl-C, and with them every process that they start
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and one that nohup starts would have them ignore a closed terminal
# a run of small notebooks is done before its warm parent has imported what they do not need; tests of warm kernels, of
# the sample's chain and of faults let it
os.environ.setdefault("STOCKKIT_WARM", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what was collected stays to the end: garbage is not looked for in it, nor in a forked process


def pytest_unconfigure() -> None:
    gc.unfreeze()


def require(part: str) -> str:
    """The path of a program; skip where it is missing, fail where STOCKKIT_REQUIRE names it."""
    program = shutil.which(part)
    if program is None:
        lacking(part, f"{part} is missing")
    return str(program)


def lacking(part: str, missing: str) -> None:
    """Skip for a missing part, or fail where STOCKKIT_REQUIRE names it."""
    if part in os.environ.get("STOCKKIT_REQUIRE", "").split(","):
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs at `folder` while the block runs; needs the right to mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        lacking("mount", "the right to mount a tmpfs is missing")
    try:
        yield folder
    finally:
        for _ in range(50):  # what has just ended may still be letting go of a file
            if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(autouse=True)
def small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures at a low resolution: what the tests ask of them does not depend on it, and drawing takes the time."""
    figure = sys.modules.get("stockkit.plots.figure")  # which most tests never load
    if figure is not None:
        monkeypatch.setattr(figure, "DPI", 75)


@pytest.fixture(scope="session")
def sample() -> ingest.Ingested:
    """The sample, fetched and cleaned without a lake of its own."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return ingest.clean_all(ingest.fetch(Lake(Folder(Path(folder)), ROOT), "sample", SYMBOLS))


@pytest.fixture(scope="session")
def prices(sample: ingest.Ingested) -> pd.DataFrame:
    return sample.prices


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Folder(tmp_path / "lake"), ROOT)


def make_workbook(folder: Path, *, own_notebooks: bool = False) -> Path:
    """A workbook in `folder`, as a clean clone would be: linked notebooks, questions and sample, own params."""
    shutil.copytree(ROOT / "params", folder / "params")
    (folder / "data").mkdir()
    (folder / "data" / "sample").symlink_to(ROOT / "data" / "sample")
    (folder / "sql").symlink_to(ROOT / "sql")
    if own_notebooks:
        (folder / "notebooks").mkdir()
    else:
        (folder / "notebooks").symlink_to(ROOT / "notebooks")
    return folder


def choose(workbook: Path, *notebooks: str) -> None:
    """Let the sample's run have these notebooks alone."""
    path = workbook / "params" / "sample.yaml"
    path.write_text(re.sub(r"^notebooks: .*$", f"notebooks: [{', '.join(notebooks)}]", path.read_text(), flags=re.M))


def stockkit_process(workbook: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in the workbook's folder."""
    command = [sys.executable, "-m", "stockkit.cli", *words]
    return subprocess.run(command, cwd=workbook, capture_output=True, text=True, check=False, timeout=900)


def stockkit(workbook: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the workbook's folder, without the second that a process of its own takes to start."""
    out, errors = io.StringIO(), io.StringIO()
    for name, module in list(sys.modules.items()):
        if "pytest-of-" in (getattr(module, "__file__", None) or ""):  # of another test's folder, as a process has none
            del sys.modules[name]
    with pytest.MonkeyPatch.context() as patch, chdir(workbook), redirect_stdout(out), redirect_stderr(errors):
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "argv", ["stockkit", *words])
        patch.setattr(cli, "_leave", sys.exit)
        with pytest.raises(SystemExit) as left:
            cli.main()
    code = left.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())


def manifest_of(workbook: Path) -> dict[str, Any]:
    """The manifest of the only run in the workbook's reports."""
    (path,) = workbook.glob("reports/2*/run.json")
    return {**json.loads(path.read_text()), "folder": path.parent}


@pytest.fixture(scope="session")
def moto_address() -> Iterator[str]:
    from tests import aws

    with aws.moto() as address:
        yield address


@pytest.fixture(scope="session")
def seaweed_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tests import aws

    with aws.seaweed(tmp_path_factory.mktemp("seaweed")) as address:
        yield address


@pytest.fixture
def aws(moto_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """moto's address, with the environment pointing there."""
    from tests.aws import environment

    environment(moto_address, monkeypatch)
    return moto_address
