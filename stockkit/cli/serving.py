"""`stockkit serve` and `stockkit train`: a model in a container, by SageMaker's contracts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import stockkit
from stockkit.cli.shared import EXIT_FAILED, LakeOption, fail
from stockkit.errors import ParamError

if TYPE_CHECKING:
    from stockkit.forecast.walk.trained import Trained

SERVE_EXAMPLE = """Examples: stockkit serve --name h5 --version newest --port 8081;
stockkit serve --model /opt/ml/model --host 0.0.0.0 --max-body 1000000"""
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
    example: Annotated[
        bool, typer.Option("--example", help="Print a body to send, of the lake's newest session, and serve nothing.")
    ] = False,
) -> None:
    """Serve a saved model over HTTP: GET /ping, POST /invocations, GET /openapi.json; SIGTERM ends it gracefully.

    The model is that of FOLDER; else, where no NAME is given, of /opt/ml/model if there is one; else the lake's.
    """
    from stockkit.workbook import doctor

    if missing := doctor.missing("serve"):
        raise ParamError(f"stockkit serve needs {', '.join(missing)}: pip install 'stockkit[serve]'.")
    from stockkit.cloud.sagemaker import request_log, serving

    if model is not None and name is not None:
        raise ParamError("--model and --name name two models: give one of them.")
    if model is None and name is None and (CONTAINER / "model").is_dir():
        model = CONTAINER / "model"
    load = partial(_from_lake, lake, name or "h1", version) if model is None else partial(_from_folder, model)
    if example:
        print(_example(load(), lake))
        return
    request_log.start()
    serving.serve(load, host=host, port=port, max_body=max_body)


def _example(trained: Trained, lake: str) -> str:
    """A body of one row: the newest session in the lake of the first symbol that the model knows."""
    import json

    opened = stockkit.open_lake(lake)
    prices = opened.read("prices", symbols=trained.symbols, columns=["symbol", "date", "close"])
    if prices.empty:
        raise ParamError(
            f"the lake {lake} has no prices of {', '.join(trained.symbols[:6])}: name the lake of the model."
        )
    row = prices[prices["symbol"] == prices["symbol"].iloc[0]].iloc[-1]
    symbol = str(row["symbol"])
    sent: dict[str, object] = {"symbol": symbol, "date": f"{row['date']:%Y-%m-%d}", "close": float(row["close"])}
    if trained.used:
        described = opened.read("features", symbols=[symbol], columns=["symbol", "date", *trained.used])
        same_day = described[described["date"] == row["date"]].iloc[-1:]
        known = same_day.iloc[0] if len(same_day) else dict.fromkeys(trained.used, float("nan"))
        sent |= {name: None if known[name] != known[name] else float(known[name]) for name in trained.used}
    return json.dumps({"rows": [sent]})


def _from_folder(folder: Path) -> Trained:
    from stockkit.records import registry

    return registry.load_folder(folder)


def _from_lake(lake: str, name: str, version: str) -> Trained:
    from stockkit.records import registry

    return registry.load(stockkit.open_lake(lake), name, version)


def train(
    prefix: Annotated[Path, typer.Option(help="The folder with input/; model/ and output/ are written.")] = CONTAINER,
) -> None:
    """Train one model on input/data/training as input/config says; write model/, output/data and the metrics."""
    from stockkit.cloud.sagemaker import request_log, training

    request_log.start()
    reason = training.run(prefix)
    if reason:
        fail(reason)
        raise typer.Exit(EXIT_FAILED)


def register(app: typer.Typer) -> None:
    """Add both commands to `app`; SageMaker starts a container with their bare names."""
    app.command(epilog=SERVE_EXAMPLE)(serve)
    app.command()(train)
