"""Requests of one symbol to a saved Lasso of 20 features, over a real socket: `python -m benchmarks.serving`.

The server has one core to itself where there are two, as a container of one vCPU has; the client has the other.
Beside each figure stands the ratio to /ping over the same connections, which is what HTTP alone costs here.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from stockkit import __version__
from stockkit.cloud.sagemaker import serving
from stockkit.forecast.models import Lasso
from stockkit.forecast.walk import trained
from stockkit.market import simulate
from stockkit.records import registry

SYMBOL, FEATURES = "AAPL", tuple(f"feature_{k}" for k in range(20))


def _saved(folder: Path) -> Path:
    """Train a Lasso of 20 features on a simulated symbol and save it, as `stockkit train` does."""
    rng = np.random.default_rng(1)
    bars = simulate.bars([SYMBOL], count=800, rng=rng)
    features = pd.DataFrame(rng.normal(size=(len(bars), len(FEATURES))), columns=list(FEATURES))
    panel = pd.concat([bars[["symbol", "date", "close"]], features], axis=1)
    fitted, rows = trained.train(panel, model=Lasso(), features=FEATURES, horizon=5)
    origin = {"data_version": "simulated", "code_version": __version__, "made_at": pd.Timestamp(0, tz="UTC")}
    registry.write_folder(fitted, folder, evidence=rows, settings={}, **origin)
    return folder


@contextmanager
def running(folder: Path, core: int | None = None) -> Iterator[int]:
    """The port of a process that serves a saved model, on one core if told, while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    child = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, port, core), daemon=True)
    child.start()
    try:
        _wait(port)
        yield port
    finally:
        child.terminate()
        child.join()


def _serve(folder: Path, port: int, core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    serving.serve(lambda: registry.load_folder(folder), host="127.0.0.1", port=port)


def _wait(port: int) -> None:
    for _ in range(500):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise TimeoutError(f"no answer on port {port}")


def seconds(port: int, method: str, path: str, body: bytes | None, *, requests: int, connections: int) -> np.ndarray:
    """How long each request took, sent one after the other on each of some keep-alive connections."""
    taken: list[list[float]] = [[] for _ in range(connections)]

    def ask(times: list[float]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(requests // connections):
            start = time.perf_counter()
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - start)
            assert answer.status == 200, answer.status
        connection.close()

    threads = [threading.Thread(target=ask, args=(times,)) for times in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return np.concatenate([np.array(times) for times in taken])


def main(requests: int = 2000) -> None:
    """Print requests a second and the 99th percentile with 1 and with 4 connections."""
    row = {"symbol": SYMBOL, "date": "2023-09-21", "close": 175.2, **dict.fromkeys(FEATURES, 0.5)}
    body = json.dumps({"rows": [row]}).encode()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, running(_saved(Path(folder) / "model"), cores[0]) as port:
        os.sched_setaffinity(0, set(cores[1:]) or set(cores))
        seconds(port, "POST", "/invocations", body, requests=200, connections=1)
        for connections in (1, 4):
            rate, p99 = _measured(port, "POST", "/invocations", body, requests, connections)
            bare, _ = _measured(port, "GET", "/ping", None, requests, connections)
            print(
                f"/invocations of one symbol, {connections} connections: {rate:7,.0f} requests/s (>= 500)  "
                f"p99 {1000 * p99:5.2f} ms (< 10)  {rate / bare:.2f} of /ping's rate",
                flush=True,
            )
    os.sched_setaffinity(0, set(cores))


def _measured(
    port: int, method: str, path: str, body: bytes | None, requests: int, connections: int
) -> tuple[float, float]:
    start = time.perf_counter()
    taken = seconds(port, method, path, body, requests=requests, connections=connections)
    return requests / (time.perf_counter() - start), float(np.quantile(taken, 0.99))


if __name__ == "__main__":
    main()
