"""Training by SageMaker's contract: read ``input/``, write ``model/`` and ``output/``, tell the metrics on stdout.

See the SageMaker AI developer guide, "Containers with custom training algorithms": the container is started with the
word `train`; ``output/failure`` says why a job failed, of which the first 1,024 characters are kept; on SIGTERM 120 s
are left.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from stockkit import provenance
from stockkit.cloud.sagemaker import training_input
from stockkit.cloud.sagemaker.training_input import Hyperparameters
from stockkit.errors import StockkitError
from stockkit.forecast.walk.trained import Trained
from stockkit.lake import frames
from stockkit.local_files import write_atomically

LONGEST = 1024  # characters of output/failure
INTERRUPTED = 143  # the exit code of a process that SIGTERM ended
LOG = logging.getLogger("stockkit.training")


def run(prefix: Path) -> str:
    """Train as ``prefix/input`` says; the reason of a failure, "" where there is none.

    SIGTERM ends the process (exit code 143) before the model is written or after, never in between. A fault of ours
    is written to ``output/failure`` and raised.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERRUPTED))
    failure = prefix / "output" / "failure"
    failure.unlink(missing_ok=True)
    try:
        _train(prefix)
    except StockkitError as error:
        _explain(failure, str(error))
        return str(error)
    except Exception as error:
        _explain(failure, f"{type(error).__name__}: {error}")
        raise
    return ""


def _explain(path: Path, reason: str) -> None:
    write_atomically(path, reason[:LONGEST].encode(errors="replace"))


def _train(prefix: Path) -> None:
    config = prefix / "input" / "config"
    asked = training_input.hyperparameters(config / "hyperparameters.json")
    training_input.check_job(config)
    panel, features, data_version = training_input.panel(prefix / "input" / "data" / "training", asked.features)
    LOG.info(f"event=read rows={len(panel)} symbols={panel['symbol'].nunique()} features={len(features)}")
    trained, rows = fit(panel, asked, features)
    for symbol in sorted(set(panel["symbol"]) - set(trained.symbols)):
        LOG.warning(f"event=left_out symbol={symbol}")
    with _uninterrupted():
        scores = _write(prefix, trained, rows, asked, data_version)
    figures = next((line for line in scores if line["model"] == trained.model), {})
    for name, value in figures.items():
        if isinstance(value, float) and math.isfinite(value):
            print(f"{name}={value:.6g};", flush=True)


def fit(panel: pd.DataFrame, asked: Hyperparameters, features: tuple[str, ...]) -> tuple[Trained, pd.DataFrame]:
    """Backtest and fit; the model, and the rows with intervals of its backtest beside the random walk's."""
    from stockkit.forecast import models
    from stockkit.forecast.walk import trained

    (model,) = models.by_name([asked.model])
    return trained.train(
        panel, model=model, features=features, horizon=asked.horizon, min_train=asked.min_train, step=asked.step
    )


def _write(
    prefix: Path, trained: Trained, rows: pd.DataFrame, asked: Hyperparameters, data_version: str
) -> list[Mapping[str, Any]]:
    from stockkit.records import registry

    settings = {"horizon": asked.horizon, "min_train": asked.min_train, "step": asked.step}
    saved = registry.write_folder(
        trained, prefix / "model", evidence=rows, data_version=data_version, code_version=provenance.version(),
        made_at=pd.Timestamp.now("UTC"), settings=settings,
    )  # fmt: skip
    scores: list[Mapping[str, Any]] = saved.card["scores"]
    out = prefix / "output" / "data"
    write_atomically(out / "forecasts.csv", frames.to_csv(rows).encode())
    write_atomically(out / "scores.json", json.dumps(scores, indent=1).encode())
    return scores


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep SIGTERM back while the block runs: a model is there whole or not at all.

    By a handler and not by a signal mask, which would hold for this thread alone, and libraries have others.
    """
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    if noted:
        signal.raise_signal(signal.SIGTERM)
