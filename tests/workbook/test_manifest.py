"""`run.json` is what its schema in the repository says, and the schema what the dataclass says.

After a change of the dataclass: ``python -m tests.workbook.test_manifest`` writes the schema anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter

from stockkit.workbook import manifest
from stockkit.workbook.manifest import FAILED, SUCCEEDED, Failure, Manifest, Step

SCHEMA = Path(manifest.__file__).with_name("run.schema.json")


def generated() -> dict[str, Any]:
    """The JSON schema of the dataclass: a run writes all of its fields, and no other."""
    schema = TypeAdapter(Manifest).json_schema()
    for part in (schema, *schema["$defs"].values()):
        part |= {"required": [*part["properties"]], "additionalProperties": False}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def example(**changes: Any) -> dict[str, Any]:
    failure = Failure(cell=3, where="", ename="ValueError", evalue="planted", source="raise")
    steps = [
        Step("01_x", "Is it so?", SUCCEEDED, 1.5, writes={"prices": 0}),
        Step("02_y", "And this?", FAILED, 0.1, failure, reads={"prices": 0}, empty={"rejects": "none"}),
        Step("03_z", "Or that?"),
    ]
    run = Manifest("20261121T070102Z", FAILED, "02_y cell 3: ValueError: planted", "2026-11-21T07:01:02Z", None, 1.6,
                   "0.1.0", "params/sample.yaml", {"symbols": ["AAPL"]}, steps)  # fmt: skip
    return {**asdict(run), **changes}


def check(run: dict[str, Any]) -> None:
    """Raise where a manifest is not as the schema in the repository says."""
    jsonschema.validate(run, json.loads(SCHEMA.read_text()))


def test_the_schema_in_the_repository_is_that_of_the_dataclass():
    assert json.loads(SCHEMA.read_text()) == generated()


def test_a_run_with_steps_of_every_kind_is_as_the_schema_says():
    check(example())


@pytest.mark.parametrize(
    "changes", [{"status": "green"}, {"seconds": "long"}, {"steps": [{"name": "01_x"}]}, {"odd": 1}, {"warnings": None}]
)
def test_what_is_no_manifest_is_not(changes):
    with pytest.raises(jsonschema.ValidationError):
        check(example(**changes))


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(generated(), indent=2) + "\n")
