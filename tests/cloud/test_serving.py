"""The server keeps SageMaker's inference contract, answers every row or refuses all, and ends when told to."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from openapi_spec_validator import validate

from stockkit.cloud.sagemaker import content_types, request_log, serving
from stockkit.errors import ForecastError, RequestError
from tests.cloud import served
from tests.conftest import ROOT, stockkit

JSON, CSV, LINES = "application/json", "text/csv", "application/jsonlines"
NO_BOUNDS = {"mean": None, "lo80": None, "hi95": None, "price": None, "price_lo95": None}


@pytest.fixture(scope="module")
def client():
    with (
        served.running(served.application(max_body=200_000)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def post(client, body, kind=JSON, **headers):
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post("/invocations", content=content, headers={"Content-Type": kind, **headers})


def forecasts(client, *rows):
    answer = post(client, {"rows": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()["forecasts"]


def refused(client, body, kind=JSON, status=400):
    answer = post(client, body, kind)
    assert (status, JSON) == (answer.status_code, answer.headers["content-type"])
    return answer.json()["error"]["field"], answer.json()["error"]["message"]


def test_ping_says_that_the_model_is_loaded(client):
    answer = client.get("/ping")
    used = {"features": 2, "features_used": ["rsi_14", "momentum_5"]}
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "model": "lasso", "horizon": 5, **used})


def test_a_row_gets_the_line_its_bounds_and_their_prices(client):
    (answer,) = forecasts(client, served.row())
    mean = 0.001 + 0.01 * (40 - 50) / 10 - 0.02 * 0.1
    expected = {"symbol": "AAPL", "as_of": "2023-09-21", "model": "lasso", "horizon": 5, "sigma": 0.04}
    assert expected.items() <= answer.items()
    assert mean == pytest.approx(answer["mean"])
    assert (mean - 1.5 * 0.04, mean + 2 * 0.04) == pytest.approx((answer["lo90"], answer["hi95"]))
    prices = (175 * math.exp(mean), 175 * math.exp(mean - 2 * 0.04))
    assert prices == pytest.approx((answer["price"], answer["price_lo95"]))


def test_the_answers_stand_in_the_order_of_the_rows(client):
    rows = [
        served.row(symbol="BRK.B", rsi_14=1),
        served.row(date="2023-09-20"),
        served.row(symbol="BRK.B", date="2023-09-22"),
    ]
    answers = forecasts(client, *rows, served.row())
    assert [(row["symbol"], row["as_of"]) for row in answers] == [
        ("BRK.B", "2023-09-21"),
        ("AAPL", "2023-09-20"),
        ("BRK.B", "2023-09-22"),
        ("AAPL", "2023-09-21"),
    ]
    assert forecasts(client, rows[0]) == answers[:1]


def test_a_long_series_gets_its_own_volatility_and_a_short_one_the_calibrations(client):
    days = [str(day) for day in (np.datetime64("2023-01-01") + np.arange(25))]
    answers = forecasts(client, *[served.row(date=day, close=100.0 + k % 2) for k, day in enumerate(days)])
    assert [row["sigma"] for row in answers[:20]] == [0.04] * 20
    assert math.log(1.01) * math.sqrt(5) == pytest.approx(answers[-1]["sigma"], rel=1e-3)


def test_a_feature_without_a_value_gives_no_forecast_but_a_row(client):
    (answer,) = forecasts(client, served.row(rsi_14=None))
    assert NO_BOUNDS.items() <= answer.items()


def test_what_is_not_finite_is_null(client):
    (answer,) = forecasts(client, served.row(momentum_5=-1e15))
    assert answer["price"] is None


def test_csv_json_lines_and_instances_say_the_same_as_json(client):
    rows = [served.row(), served.row(date="2023-09-22", rsi_14=None)]
    expected = forecasts(client, *rows)
    assert expected == post(client, {"instances": rows}).json()["forecasts"]
    lines = post(client, "\n".join(map(json.dumps, rows)) + "\n", LINES)
    assert expected == [json.loads(line) for line in lines.text.splitlines()]
    table = "\ufeffclose,symbol,date,momentum_5,rsi_14\r\n175,AAPL,2023-09-21,1e-1,40.0\r\n175.,AAPL,2023-09-22,.1,\r\n"
    answer = post(client, table, "text/csv; charset=UTF-8")
    assert answer.headers["content-type"].startswith(CSV)
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected]
    assert texts == list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize(
    ("accept", "body", "expected"),
    [
        (None, CSV, CSV),
        ("*/*", JSON, JSON),
        ("text/csv", JSON, CSV),
        ("text/csv;q=0.5, application/json;q=0.6", CSV, JSON),
        ("application/json;q=0, */*", JSON, CSV),
        ("text/*, application/json;q=0.9", JSON, CSV),
        ("text/html, application/jsonlines;q=0.1", JSON, LINES),
    ],
)
def test_accept_decides_the_type_of_the_answer(accept, body, expected):
    assert expected == content_types.accepted(accept, body)


@pytest.mark.parametrize("accept", ["text/html", "*/*;q=0", "application/json;q=2", "image/*, text/csv;q=0"])
def test_what_we_cannot_give_is_406(client, accept):
    assert post(client, {"rows": [served.row()]}, Accept=accept).status_code == 406


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "text/csv; charset=utf-16",
        ";",
        "application/json; charset*=x''y; charset=q",
    ],
)
def test_other_content_types_and_charsets_are_415(client, kind):
    assert refused(client, {"rows": [served.row()]}, kind, 415)[:1] == (None,)


def test_a_compressed_body_is_415():
    with pytest.raises(RequestError, match="uncompressed"):
        content_types.content_type(JSON, "gzip")


WITHOUT = {name: value for name, value in served.row().items() if name != "rsi_14"}


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        (served.row(close="175.2"), "rows[1].close", '"175.2"'),
        (served.row(close=0), "rows[1].close", "found 0"),
        (served.row(close=-1.5), "rows[1].close", "-1.5"),
        (served.row(close=True), "rows[1].close", "true"),
        (served.row(close=None), "rows[1].close", "null"),
        (served.row(close=10**400), "rows[1].close", "1000"),
        (served.row(rsi_14="x"), "rows[1].rsi_14", '"x"'),
        (served.row(rsi_14=1e16), "rows[1].rsi_14", "1e+16"),
        (served.row(rsi_14=float("nan")), "rows[1].rsi_14", "found NaN"),
        (served.row(close=float("inf")), "rows[1].close", "found Infinity"),
        (served.row(rsi_14=[[]]), "rows[1].rsi_14", "a list"),
        (served.row(symbol="../../etc/passwd"), "rows[1].symbol", "not fitted on"),
        (served.row(symbol="APPL"), "rows[1].symbol", "'AAPL'"),
        (served.row(symbol=7), "rows[1].symbol", "not fitted on"),
        (served.row(symbol="\ud800"), "rows[1].symbol", "d800"),
        (served.row(symbol=None), "rows[1].symbol", "null"),
        (served.row(date="2023-02-30"), "rows[1].date", "2023-02-30"),
        (served.row(date="20230921"), "rows[1].date", "20230921"),
        (served.row(date="٢٠٢٣-٠٩-٢١"), "rows[1].date", "found"),
        (served.row(date="2023-09-21T00:00"), "rows[1].date", "T00"),
        (served.row(date=20230921), "rows[1].date", "20230921"),
        (served.row(date="2023-09-19"), "rows[1].date", "oldest first"),
        (served.row(date="2023-09-20"), "rows[1].date", "twice"),
        (served.row(rsi_15=1), "rows[1].rsi_15", "none of"),
        (WITHOUT, "rows[1].rsi_14", "lacking"),
        ([], "rows[1]", "an object"),
        (None, "rows[1]", "null"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_and_nothing_is_answered(client, row, field, message):
    refusal = refused(client, {"rows": [served.row(date="2023-09-20"), row]})
    assert field == refusal[0]
    assert message in refusal[1]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", JSON), (" \n", CSV), ("{", JSON), ('{"rows": [{"symbol": "AA', JSON), ("[]", JSON), ("{}", JSON),
        ("3", JSON),
        ('{"rows": {}}', JSON), ('{"rows": []}', JSON), ('{"rows": [], "instances": []}', JSON),
        ("[" * 100_000, JSON), ('{"rows":' * 20_000, JSON), ('{"rows": [' + "[" * 900 + "]" * 900 + "]}", JSON),
        (json.dumps({"rows": [served.row(rsi_14=float("nan"))]}), JSON),
        (json.dumps({"rows": [served.row(close=float("inf"))]}), JSON),
        (json.dumps({"rows": [served.row()]}).replace("40.0", "1e999"), JSON),
        (json.dumps({"rows": [served.row()]}).replace("40.0", "9" * 5000), JSON),
        (json.dumps({"rows": [served.row()]}).replace('"rsi_14"', '"close": 3, "rsi_14"'), JSON),
        (json.dumps({"rows": [served.row()]}).encode("utf-16"), JSON),
        (json.dumps({"rows": [served.row()]}).encode("utf-16-le"), JSON),
        (b'{"rows": [{"symbol": "\xff"}]}', JSON),
        ("symbol,date,close,rsi_14,momentum_5\n", CSV), ("symbol,date,close\nAAPL,2023-09-21,1\n", CSV),
        ("symbol,date,close,rsi_14,momentum_5\nAAPL,2023-09-21,1,2\n", CSV),
        ("symbol,date,close,rsi_14,momentum_5\nAAPL,2023-09-21,1,NaN,3\n", CSV),
        ("symbol,date,close,rsi_14,momentum_5\nAAPL,2023-09-21,1_0,1,3\n", CSV),
        ("symbol,date,close,rsi_14,momentum_5\nAAPL,2023-09-21,\u0661,1,3\n", CSV),
        ("symbol,date,close,rsi_14,rsi_14,momentum_5\nAAPL,2023-09-21,1,1,1,3\n", CSV),
        ('symbol,date,close,rsi_14,momentum_5\n"AAPL,2023-09-21,1,1,3\n', CSV),
        ("symbol,date,close,rsi_14,momentum_5\nAA\0PL,2023-09-21,1,1,3\n", CSV),
        ("x" * 150_000, CSV), ("{}\n{", LINES), ("{}\n" * 20_000, LINES),
    ],
)  # fmt: skip
def test_a_broken_body_is_400_and_the_server_lives(client, body, kind):
    answer = post(client, body, kind)
    assert answer.status_code == 400, answer.text
    assert not any(word in answer.text for word in ("Traceback", ".py", str(ROOT)))
    assert len(answer.text) < 1000
    assert client.get("/ping").status_code == 200


def test_an_accepted_type_spelled_oddly_still_works(client):
    assert post(client, {"rows": [served.row()]}, 'Application/JSON ; Charset="utf-8"').status_code == 200


def test_rows_over_the_limit_are_400():
    with (
        served.running(served.application(max_rows=2)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        days = [served.row(date=f"2023-09-{day}") for day in (18, 19, 20)]
        assert refused(client, {"rows": days})[0] == "rows"
        assert post(client, {"rows": days[:2]}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/invocations", 405), ("POST", "/ping", 405), ("DELETE", "/", 405), ("GET", "/x", 404),
     ("GET", "/../etc/passwd", 404)],
)  # fmt: skip
def test_other_paths_and_methods_are_refused_as_json(client, method, path, status):
    answer = client.request(method, path, headers={"Host": "["})
    assert (status, JSON) == (answer.status_code, answer.headers["content-type"])
    assert "GET /ping" in answer.json()["error"]["message"]


def spoken(address, text, *, limit=64):
    """Send bytes and read what comes back without sending more, as a client in the middle of a long body sees it."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        raw.sendall(text)
        return raw.recv(limit)


@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 200001\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n30d41\r\n" + b" " * 200_001 + b"\r\n",
    ],
)
def test_a_body_over_the_limit_is_413_before_it_has_all_come(client, start):
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    assert spoken(str(client.base_url).rstrip("/"), head + start).startswith(b"HTTP/1.1 413 ")


def test_a_body_of_exactly_the_limit_is_read(client):
    body = json.dumps({"rows": [served.row()]}).encode()
    assert post(client, body + b" " * (200_000 - len(body))).status_code == 200
    assert post(client, body + b" " * (200_001 - len(body))).status_code == 413


def test_a_client_that_leaves_early_is_no_fault_of_ours(client, caplog):
    spoken(str(client.base_url).rstrip("/"), b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port)) as raw:
        raw.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.1)
    time.sleep(0.1)
    assert client.get("/ping").status_code == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class Broken:
    def __init__(self, error):
        self.error = error

    def forecast(self, series, first):
        raise self.error


def broken(error):
    trained = served.linear()
    return serving.application(
        served.Trained("x", 5, served.FEATURES, trained.as_of, {"": Broken(error)}, trained.calibration)
    )


def test_a_fault_of_ours_is_500_without_its_text_and_one_line_in_the_log(caplog):
    with (
        served.running(broken(ZeroDivisionError("secret\npath"))) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        answer = post(client, {"rows": [served.row()]})
        assert client.get("/ping").status_code == 200
    assert (answer.status_code, "secret" not in answer.text) == (500, True)
    (line,) = [request_log.OneLine().format(record) for record in caplog.records if record.exc_info]
    assert 'error=ZeroDivisionError message="secret\\npath" at=test_serving.py' in line


def test_a_model_that_has_nothing_to_say_of_a_symbol_is_400():
    with (
        served.running(broken(ForecastError("too short"))) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        assert refused(client, {"rows": [served.row()]}) == ("rows[0]", "too short")


def test_while_the_model_loads_everything_is_503_and_then_it_is_served():
    loaded = threading.Event()

    def load():
        loaded.wait(10)
        return served.linear()

    with served.running(serving.application(load)) as address, httpx.Client(base_url=address, timeout=60) as client:
        assert {503} == {client.get(path).status_code for path in ("/ping", "/", "/openapi.json")}
        assert post(client, {"rows": [served.row()]}).status_code == 503
        loaded.set()
        for _ in range(200):
            if client.get("/ping").status_code == 200:
                break
            time.sleep(0.02)
        assert post(client, {"rows": [served.row()]}).status_code == 200


def test_ping_answers_while_ten_thousand_rows_are_forecast():
    days = [str(day) for day in (np.datetime64("1990-01-01") + np.arange(10_000))]
    body = json.dumps({"rows": [served.row(date=day) for day in days]})
    answers, pings = [], 0
    with served.running(served.application()) as address, httpx.Client(base_url=address, timeout=60) as client:
        client.get("/ping")
        batch = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{address}/invocations", content=body, timeout=60))
        )
        batch.start()
        while batch.is_alive():
            assert client.get("/ping").status_code == 200
            pings += 1
        batch.join()
    assert len(answers[0].json()["forecasts"]) == 10_000
    assert pings >= 2  # else the first one would have waited for the batch


def test_the_openapi_document_is_valid_and_names_the_models_features(client):
    document = client.get("/openapi.json").json()
    validate(document)
    row = document["components"]["schemas"]["Row"]
    assert ["symbol", "date", "close", *served.FEATURES] == row["required"]
    assert row["properties"]["symbol"]["enum"] == ["AAPL", "BRK.B"]


def test_the_examples_of_the_document_are_answered(client):
    bodies = client.get("/openapi.json").json()["paths"]["/invocations"]["post"]["requestBody"]["content"]
    assert {k: post(client, b["example"], k).status_code for k, b in bodies.items()} == {
        JSON: 200,
        CSV: 200,
        LINES: 200,
    }


def test_the_page_for_people_shows_a_request(client):
    text = client.get("/").text
    assert "curl http://127.0.0.1:" in text
    assert "&quot;momentum_5&quot;: null" in text


SCRIPT = """
import sys, time
from stockkit.cloud.sagemaker import request_log, serving
from stockkit.forecast.models.protocol import Forecast
from tests.cloud import served
import numpy as np
class Slow:
    def forecast(self, series, first):
        print("asked", flush=True); time.sleep(1.0)
        return Forecast(np.zeros(len(series)))
def load():
    if sys.argv[1] == "broken":
        raise serving.StockkitError("no model there")
    t = served.linear()
    return served.Trained("slow", 5, t.features, t.as_of, {"": Slow()}, t.calibration)
request_log.start()
serving.serve(load, host="127.0.0.1", port=int(sys.argv[2]))
"""


def started(word, port="0"):
    command = [sys.executable, "-c", SCRIPT, word, port]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(stream, word):
    return next(line for line in stream if word in line)


def test_sigterm_lets_a_running_request_end_and_the_exit_code_is_0():
    with started("slow") as process:
        port = until(process.stderr, "event=listening").split("port=")[1].strip()
        until(process.stderr, "event=loaded")
        until(process.stdout, "asked")  # by the warm-up
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"http://127.0.0.1:{port}/invocations", json={"rows": [served.row()]})
            )
        )
        asking.start()
        until(process.stdout, "asked")
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert process.wait(10) == 0
    assert (answers[0].status_code, answers[0].json()["forecasts"][0]["mean"]) == (200, 0.0)


def test_a_model_that_cannot_be_loaded_ends_the_server_with_an_error():
    with started("broken") as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "no model there" in errors


def test_two_models_at_once_are_refused_before_anything_starts():
    done = stockkit(ROOT, "serve", "--model", "some", "--name", "h1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give one of them" in done.stderr


def test_a_port_in_use_is_said(client):
    with pytest.raises(serving.StockkitError, match=f"port {client.base_url.port}"):
        serving._listener("127.0.0.1", client.base_url.port)
