"""`stockkit serve` and `stockkit train`: a model in a container, by SageMaker's contracts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockkit.cli.shared import EXIT_FAILED, LakeOption, fail
from stockkit.errors import ParamError

if TYPE_CHECKING:
    from stockkit.forecast.trained import Trained

CONTAINER = Path("/opt/ml")  # where SageMaker puts and expects everything


def serve(
    model: Annotated[Path | None, typer.Option(metavar="FOLDER", help="A saved model; else /opt/ml/model.")] = None,
    lake: LakeOption = "data/lake",
    name: Annotated[
        str | None, typer.Option(help="One of the lake's: h5 for the champion of horizon 5, or lasso-h5; else h1.")
    ] = None,
    version: Annotated[str, typer.Option(help="Of NAME: champion, newest, or a version.")] = "champion",
    host: Annotated[
        str, typer.Option(envvar="STOCKKIT_HOST", help="0.0.0.0 lets others in; a container needs that.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="SAGEMAKER_BIND_TO_PORT", min=0, max=65535)] = 8080,
    max_body: Annotated[int, typer.Option("--max-body", metavar="BYTES", min=1, help="Of a request.")] = 6 * 2**20,
) -> None:
    """Serve a saved model over HTTP: GET /ping, POST /invocations, GET /openapi.json; SIGTERM ends it gracefully.

    The model is that of FOLDER; else, where no NAME is given, of /opt/ml/model if there is one; else the lake's.
    """
    from stockkit.cloud import events, serving

    if model is not None and name is not None:
        raise ParamError("--model and --name name two models: give one of them.")
    if model is None and name is None and (CONTAINER / "model").is_dir():
        model = CONTAINER / "model"
    events.start()
    load = partial(_from_lake, lake, name or "h1", version) if model is None else partial(_from_folder, model)
    serving.serve(load, host=host, port=port, max_body=max_body)


def _from_folder(folder: Path) -> Trained:
    from stockkit.lake import models

    return models.load_folder(folder)


def _from_lake(lake: str, name: str, version: str) -> Trained:
    from stockkit.lake import models
    from stockkit.lake.tables import open_lake

    return models.load(open_lake(lake), name, version)


def train(
    prefix: Annotated[Path, typer.Option(help="The folder with input/; model/ and output/ are written.")] = CONTAINER,
) -> None:
    """Train one model on input/data/training as input/config says; write model/, output/data and the metrics."""
    from stockkit.cloud import events, training

    events.start()
    reason = training.run(prefix)
    if reason:
        fail(reason)
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Add both commands to `app`; SageMaker starts a container with their bare names."""
    app.command()(serve)
    app.command()(train)
