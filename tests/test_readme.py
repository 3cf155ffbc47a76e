"""README and docs/ are executed: every block runs literally, in order, in a workbook in which the chain has run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import numpy as np
import pytest
import yaml

from stockkit import features
from stockkit.files import Folder
from stockkit.lake import feature_table
from stockkit.lake.tables import Lake
from stockkit.market import simulate
from stockkit.records import ledger, registry
from tests import aws, cells
from tests.conftest import ROOT, make_workbook
from tests.intake import alphavantage_server
from tests.stream.conftest import broker, wait_for_topic

SYMBOLS = ["AAPL", "META", "NFLX", "NVDA"]
README = (ROOT / "README.md").read_text()
DOCUMENTS = ["README.md", *dict.fromkeys(re.findall(r"docs/\w+\.md", README))]  # in the order of reading
FILES = {  # what the lines say that a user has
    "my_features.py": "def momentum(bars):\n    return bars.groupby('symbol')['close'].pct_change(21)\n",
}

# Stands in for curl where there is none: sends the same bytes.
POST = """import sys, urllib.request
address, header, body = (next(w for w in sys.argv if w.startswith(s)) for s in ("127", "content-type", "@"))
asked = urllib.request.Request("http://" + address, open(body[1:], "rb").read(), dict([header.split(": ")]))
print(urllib.request.urlopen(asked).read().decode())
"""

# Lines that are not run, by how they begin, with the reason.
NOT_RUN = {
    "make run  ": "tests/test_chain.py runs what it starts, .ci/run installs",
    "make test": "these are the tests",
    "stockkit notify --test --to smtp:": "tests/workbook/notifications has a server for mails",
    "stockkit run params/daily.yaml --notify": "the same",
    "stockkit quotes --from dynamodb:quotes": "tests/stream/test_quotes.py asks such a table",
    "python -m benchmarks.": "what is measured takes minutes, and is of no use beside the tests",
    "spark-submit deploy/jobs/signals.py": "tests/cloud/test_spark_signals.py runs the job",
    "python deploy/jobs/signals.py": "the same",
    "stockkit run params/sample.yaml -p 'groups=[basic, alpha158]'": "the line before computes them",
    "stockkit run params/sample.yaml --force 04_model": "the line before forces, tests/test_chain.py a single one",
    'stockkit lake sql "SELECT count(*) AS n FROM prices" --lake \'s3:': "Athena cannot be emulated; test_on_athena.py",
}
# Lines that are made cheaper by words at their end, by what they hold: other tests run the rest.
ADDED = {
    "ARGS=": " PARAMS='params/sample.yaml --until 01_ingest'",
    "-p calendar=XHKG": " --until 01_ingest",
    "source=alphavantage": " --until 01_ingest",
    "lake=s3:": " --until 01_ingest",
    "--force all": " --until 01_ingest",
    "curl ": " --fail",
    "params/stream.yaml": " -p 'symbols=[AAPL, META]' -p ticks=200",  # those whose prices the workbook has
    "--for ": " --for 2s",
}
ALONE = {"stockkit audit": " ret_1"}  # tests/market audits the catalogue
# What stands for something in the lines, and what it is here.
PLACEHOLDERS: dict[str, Callable[[Book], str]] = {
    "/my/csvs": lambda book: str(book.folder / "csv"),
    "20261121T071334Z": lambda book: max(path.parent.name for path in book.folder.glob("reports/2*/run.json")),
    "ALPHAVANTAGE=...": lambda book: "ALPHAVANTAGE=a-key-for-tests",
    "HASH": lambda book: ledger.head(book.lake),
    "lasso-h1/2023-09-20-…": lambda book: next(
        key for key in registry.list_models(book.lake).index if "lasso-h1" in key
    ),
    "/opt/ml": lambda book: str(book.folder / "ml"),
    "localhost:8080": lambda book: book.served(),
    "BUCKET/PREFIX": lambda book: "lake/readme",
}


class Block(NamedTuple):
    """A fenced block: where it stands, in which language, and its text."""

    place: str
    language: str
    text: str


def blocks(text: str, name: str) -> list[Block]:
    """Every fenced block, indented ones too."""
    matches = re.finditer(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", text, re.M)
    return [Block(f"{name}:{text[: one.start()].count(chr(10)) + 1}", one[2].strip(), one[3]) for one in matches]


ALL = [block for name in DOCUMENTS for block in blocks((ROOT / name).read_text(), name)]


class Book:
    """A workbook after the chain, in which lines are run."""

    def __init__(self, folder: Path, moto: Callable[[], str], stack: ExitStack) -> None:
        self.folder, self.lake = folder, Lake(Folder(folder / "data" / "lake"), folder)
        self.programs = _installed(folder)
        self._moto, self._stack, self._address = moto, stack, ""
        self.environment = {**os.environ, "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"}

    def run(self, block: Block) -> list[str]:
        """Run a block; the lines that were run. What is neither run nor listed in `NOT_RUN` is an error."""
        if block.language == "python":
            named = re.match(r"# (\w+\.py)\n", block.text)
            (self.folder / (named[1] if named else "block.py")).write_text(block.text)
            self._shell(f"{sys.executable} {named[1] if named else 'block.py'}", self.environment)
            return [block.text]
        assert block.language == "console", f"{block.place}: {block.language!r} is no language that a test runs"
        environment, done = dict(self.environment), []
        for line in (line for line in block.text.splitlines() if line.strip()):
            if not _reason(line):
                self._line(line, environment)
                done.append(line)
        return done

    def _line(self, line: str, environment: dict[str, str]) -> None:
        """Run one line; an `export` counts for those after it in the block."""
        command = line
        for word, value in PLACEHOLDERS.items():
            command = command.replace(word, value(self)) if word in command else command
        bare = shlex.join(shlex.split(command, comments=True))
        if bare.startswith("export "):
            name, _, value = bare.removeprefix("export ").partition("=")
            environment[name] = value
            if name.startswith("AWS_"):
                environment |= aws.FAKE | {"AWS_ENDPOINT_URL": self._moto(), "AWS_EC2_METADATA_DISABLED": "true"}
        elif bare == "stockkit serve":
            self.served()
        elif bare.startswith("stockkit stream watch"):
            (port,) = aws.free_ports(1)
            self._serve([*shlex.split(bare)[1:], "--port", str(port)], port, "/")
        else:
            if "kafka:" in line and "KAFKA_BOOTSTRAP_SERVERS" not in self.environment:
                address = self._stack.enter_context(broker())
                wait_for_topic(address, "ticks")
                self.environment["KAFKA_BOOTSTRAP_SERVERS"] = environment["KAFKA_BOOTSTRAP_SERVERS"] = address
            more = "".join(words for part, words in ADDED.items() if part in line) + ALONE.get(bare, "")
            self._shell(re.sub(r"( +#.*)?$", lambda end: more + end[0], command, count=1), environment)

    def _shell(self, command: str, environment: dict[str, str]) -> None:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300
        )
        report = f"{command}\nexit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert done.returncode == 0, report
        assert "Traceback" not in done.stdout + done.stderr, report

    def served(self) -> str:
        """The address of `stockkit serve`, started when first asked for."""
        if not self._address:
            (port,) = aws.free_ports(1)
            self._address = self._serve(["serve"], port, "/ping")
        return self._address

    def _serve(self, words: list[str], port: int, path: str) -> str:
        """The address of a command that serves until the test is over, once it answers."""
        settings = {**self.environment, "SAGEMAKER_BIND_TO_PORT": str(port)}
        quiet = subprocess.DEVNULL
        server = subprocess.Popen(
            [self.programs / "stockkit", *words], cwd=self.folder, env=settings, stdout=quiet, stderr=quiet
        )
        self._stack.callback(server.wait)
        self._stack.callback(server.terminate)
        address = f"127.0.0.1:{port}"
        _wait_for(f"http://{address}{path}", server)
        return address


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(address, timeout=60).close()
            return
        time.sleep(0.05)
    raise AssertionError("the server ended before it answered")


def _reason(line: str) -> str | None:
    return next((why for start, why in NOT_RUN.items() if line.startswith(start)), None)


def _installed(folder: Path) -> Path:
    """The Makefile with what it takes for an installation, so that `make` and a shell find `stockkit`; its folder."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    _program(programs / "stockkit", f'exec {shlex.quote(sys.executable)} -m stockkit.cli "$@"')
    _program(programs / "python", f'exec {shlex.quote(sys.executable)} "$@"')
    if shutil.which("curl") is None:
        (folder / "post.py").write_text(POST)
        _program(programs / "curl", f'exec {shlex.quote(sys.executable)} post.py "$@"')
    (folder / ".venv" / ".installed").touch()
    return programs


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _bucket(address: str) -> str:
    """The address, where the bucket `lake` is now."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **keys).create_bucket(Bucket="lake")
    return address


def _own_data(book: Path) -> None:
    """The files that the lines speak of: prices of one's own, features of one's own, a SageMaker channel."""
    (book / "csv").mkdir()
    for symbol, calendar in {"IBM": "XNYS", "BRK.B": "XNYS", "0005.HK": "XHKG"}.items():
        bars = simulate.bars([symbol], count=300, last="2023-09-21", calendar=calendar, rng=np.random.default_rng(1))
        (book / "csv" / f"{symbol}.csv").write_bytes(simulate.csv_bytes(bars))
    for name, text in FILES.items():
        (book / name).write_text(text)
    channel = book / "ml" / "input" / "data" / "training"
    channel.mkdir(parents=True)
    bars = simulate.bars(["AAA"], count=700, rng=np.random.default_rng(1))
    bars[["symbol", "date", "close"]].assign(range=bars["high"] / bars["low"]).to_csv(channel / "a.csv", index=False)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Book]:
    """A workbook in which the chain has run, cheaply: four symbols, two models, each of them champion once."""
    folder = make_workbook(tmp_path_factory.mktemp("readme"))
    given: dict[str, Any] = {"symbols": SYMBOLS, "tried": ["random_walk", "lasso"], "horizons": [1], "refit": 1000}
    given |= {"groups": ["calendar"], "notebooks": ["01_ingest", "03_features", "04_model"]}
    path = folder / "params" / "sample.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | given))
    cells.run(folder, "01_ingest", **given)
    feature_table.update(Lake(Folder(folder / "data" / "lake"), folder), features.names("basic"))
    for candidate in ("lasso", "random_walk"):
        cells.run(folder, "04_model", candidate=candidate, **given)
    _own_data(folder)
    with ExitStack() as stack:
        asked = stack.enter_context(alphavantage_server.Server(alphavantage_server.csv()))
        book = Book(folder, lambda: _bucket(request.getfixturevalue("moto_address")), stack)
        book.environment |= {"STOCKKIT_ALPHAVANTAGE_URL": asked.url, "STOCKKIT_ALPHAVANTAGE_PER_SECOND": "0"}
        yield book


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_every_block_runs_as_it_stands(book, block):
    book.run(block)


def test_no_reason_stands_for_a_line_that_is_gone():
    lines = [line for block in ALL for line in block.text.splitlines()]
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in lines)] == []
    text = "\n".join(lines)
    assert [word for word in (*PLACEHOLDERS, *ADDED, *ALONE) if word not in text] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```console\nstockkit lake tables\nstockkit nonsense\n```", "No such command 'nonsense'"),
        ("  ```console\n  make moon\n  ```", "No rule to make target 'moon'"),
        ("```python\nfrom stockkit import nothing_of_that_name\n```", "nothing_of_that_name"),
        ("```sh\nls\n```", "no language that a test runs"),
        ("```\nls\n```", "no language that a test runs"),
        ("```console\n$ stockkit doctor\n```", "command not found"),
    ],
)
def test_a_block_that_does_not_run_is_seen(book, text, says):
    (planted,) = blocks(f"words\n\n{text}\n", "planted")
    with pytest.raises(AssertionError, match=says):
        book.run(planted)
