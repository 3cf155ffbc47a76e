"""A served model for tests: a Linear written down by hand, behind a real socket on a free port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from stockkit.cloud.sagemaker import serving
from stockkit.forecast.models.linear import Linear
from stockkit.forecast.walk.trained import Calibration, Trained

FEATURES = ("rsi_14", "momentum_5")


def linear() -> Trained:
    """mean = 0.001 + 0.01 · (rsi_14 − 50) / 10 − 0.02 · momentum_5, of the next 5 sessions, for two symbols."""
    fit = Linear(np.array([50.0, 0.0]), np.array([10.0, 1.0]), np.array([0.01, -0.02]), 0.001, 0.1, 100, 600)
    known = {symbol: Calibration(0.04, (1.0, 1.5, 2.0)) for symbol in ("AAPL", "BRK.B")}
    return Trained("lasso", 5, FEATURES, np.datetime64("2023-09-21", "D"), dict.fromkeys(known, fit), known)


def row(**other: Any) -> dict[str, Any]:
    return {"symbol": "AAPL", "date": "2023-09-21", "close": 175.0, "rsi_14": 40.0, "momentum_5": 0.1, **other}


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of the application while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = serving.uvicorn_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def application(**options: Any) -> Any:
    """The application of the model, which has forecast once: on a busy machine the first forecast takes seconds."""
    return serving.application(serving._warm(linear), **options)
