"""The server's OpenAPI document, made for the model that it serves, and its page for people."""

from __future__ import annotations

import html
import json
from typing import Any

from stockkit import provenance
from stockkit.cloud.sagemaker import responses, rows
from stockkit.forecast.walk.trained import Trained


def document(contract: rows.Contract, *, max_body: int) -> dict[str, Any]:
    """The OpenAPI 3.1 document: fields, features and limits as the server checks them, errors and examples.

    JSON Schema cannot say that a symbol's dates ascend; that rule stands in words only.
    """
    trained, max_rows = contract.trained, contract.max_rows
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"stockkit: {trained.model}, {trained.horizon} sessions ahead",
            "version": provenance.version(),
            "description": f"Forecasts by {trained.model}, fitted up to {_day(trained)}. {features(trained)} A body "
            f"has at most {max_body:,} bytes and {max_rows:,} rows, oldest first within a symbol, each session once.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/ping": {"get": _get("ping", "Whether the model is loaded.", {"application/json": {"schema": _ping()}})},
            "/invocations": {"post": _post(trained)},
            "/openapi.json": {
                "get": _get("openapi", "This document.", {"application/json": {"schema": {"type": "object"}}})
            },
            "/": {"get": _get("page", "A page for people.", {"text/html": {"schema": {"type": "string"}}})},
        },
        "components": {"schemas": {"Row": contract.row.model_json_schema(), "Rows": _rows(max_rows),
                                   "Forecast": _forecast(trained), "Answer": _answer(trained), "Error": _error()}},
    }  # fmt: skip


def example(trained: Trained) -> dict[str, Any]:
    """One row that can be sent; its features have no value."""
    row: dict[str, Any] = {"symbol": trained.symbols[0] if trained.symbols else "", "date": _day(trained)}
    return {**row, "close": 100.0, **dict.fromkeys(trained.used)}


def features(trained: Trained) -> str:
    """How many features the model was given, and which of them a row must have."""
    if not trained.features:
        return "It knows the closes alone."
    named = f" ({', '.join(trained.used[:30])}{', …' if len(trained.used) > 30 else ''})" if trained.used else ""
    return f"Of its {len(trained.features)} features the forecasts depend on {len(trained.used)}{named}."


def page(trained: Trained, address: str) -> str:
    """A page that says what is served and how to ask, as HTML."""
    body = json.dumps({"rows": [example(trained)]})
    curl = f"curl {address}invocations -H 'Content-Type: application/json' -d '{body}'"
    title = f"{trained.model}: the log return of {trained.horizon} sessions, fitted up to {_day(trained)}"
    known = f"{len(trained.symbols):,} symbols: {', '.join(trained.symbols[:30])}"
    parts = [f"<h1>{html.escape(title)}</h1>", f"<p>{html.escape(known)}</p>",
             f"<p>{html.escape(features(trained))}</p>", f"<pre>{html.escape(curl)}</pre>",
             '<p><a href="openapi.json">openapi.json</a>: fields, limits and errors.</p>']  # fmt: skip
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>stockkit</title>{"".join(parts)}</html>'


def _get(name: str, what: str, content: dict[str, Any]) -> dict[str, Any]:
    answers = {"200": {"description": what, "content": content}, **_errors({"503": "The model is being loaded."})}
    return {"operationId": name, "summary": what, "responses": answers}


def _post(trained: Trained) -> dict[str, Any]:
    shown = {"rows": [example(trained)]}
    line = ",".join(str(value) if value is not None else "" for value in example(trained).values())
    table = ",".join(example(trained)) + "\n" + line + "\n"
    text = {"schema": {"type": "string"}}
    bodies = {rows.JSON: {"schema": _ref("Rows"), "example": shown}, rows.CSV: {**text, "example": table},
              rows.JSON_LINES: {**text, "example": json.dumps(example(trained)) + "\n"}}  # fmt: skip
    answer = {"description": "One forecast a row, in the order of the rows.",
              "content": {rows.JSON: {"schema": _ref("Answer")}, rows.CSV: text, rows.JSON_LINES: text}}  # fmt: skip
    refused = {
        "400": "A row or the body is wrong: nothing is answered, as an answer that lacks rows would pass for complete.",
        "406": "Accept leaves no type that we can give.",
        "413": "The body is over the limit.",
        "415": "Another content type, a charset other than UTF-8, or a compressed body.",
        "500": "A fault of the server.",
        "503": "The model is being loaded.",
    }
    return {
        "operationId": "invoke",
        "summary": "Forecast every row.",
        "requestBody": {"required": True, "content": bodies},
        "responses": {"200": answer, **_errors(refused)},
    }


def _errors(meanings: dict[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("Error")}}
    return {status: {"description": what, "content": content} for status, what in meanings.items()}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "additionalProperties": False, "properties": properties}


def _symbol(trained: Trained) -> dict[str, Any]:
    return {"type": "string", **({"enum": trained.symbols} if 0 < len(trained.symbols) <= rows.LISTED else {})}


def _rows(max_rows: int) -> dict[str, Any]:
    listed = {"type": "array", "minItems": 1, "maxItems": max_rows, "items": _ref("Row")}
    return {"oneOf": [_object({"rows": listed}), _object({"instances": listed})]}


def _forecast(trained: Trained) -> dict[str, Any]:
    value = {"type": ["number", "null"]}
    units = {name: {**value, "description": "Of the log return."} for name in responses.NUMBERS}
    units |= {name: {**value, "description": "close · exp(log return)."} for name in responses.PRICES}
    return _object({
        "symbol": _symbol(trained), "as_of": {"type": "string", "format": "date"},
        "model": _models(trained), "horizon": {"const": trained.horizon}, **units,
    })  # fmt: skip


def _models(trained: Trained) -> dict[str, Any]:
    names = sorted({trained.named(symbol) for symbol in trained.symbols})
    return {"enum": names} if len(names) > 1 else {"const": trained.model}


def _answer(trained: Trained) -> dict[str, Any]:
    listed = {"type": "array", "items": _ref("Forecast")}
    return _object({"model": {"const": trained.model}, "horizon": {"const": trained.horizon}, "forecasts": listed})


def _ping() -> dict[str, Any]:
    return _object(
        {
            "status": {"const": "ok"},
            "model": {"type": "string"},
            "horizon": {"type": "integer"},
            "features": {"type": "integer"},
            "features_used": {"type": "array", "items": {"type": "string"}},
        }
    )


def _error() -> dict[str, Any]:
    return _object({
        "error": _object({
            "field": {"type": ["string", "null"], "description": "Where, as in rows[3].close; null: the request."},
            "message": {"type": "string"},
        })
    })  # fmt: skip


def _day(trained: Trained) -> str:
    return str(trained.as_of.astype("datetime64[D]"))
