"""SQL on Athena, through awswrangler, with its parameters bound and its cost shown.

Athena's execution cannot be emulated off AWS: the tests hold these calls to the service's contract (what is
sent, how its answers are read) and say nothing about the engine's own results.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stockkit import athena
from stockkit.athena.parameters import every, literal
from stockkit.aws import Session
from stockkit.aws_errors import explained
from stockkit.errors import QueryError
from stockkit.imports import pandas as pd
from stockkit.lake import frames
from stockkit.lake.commits import TableLocation
from stockkit.lake.sql import nested_answers
from stockkit.lake.sql.duckdb_engine import Limits
from stockkit.lake.sql.scan import Relation

log = logging.getLogger(__name__)

# Amazon Athena pricing, SQL queries, "per TB of data scanned", rounded up to megabytes, at least 10 MB a query.
USD_PER_TB = 5.0
MB, TB = 2**20, 2**40
LEAST_MB = 10
CALLS = ("nan()", "infinity()", "-infinity()")
LONGEST_REUSE = 7 * 24 * 60  # minutes, Athena's limit


@dataclass(frozen=True)
class Bill:
    """What a query took: bytes scanned, US dollars at list price, engine milliseconds, whether it was reused."""

    query_id: str
    bytes_scanned: int
    cost_usd: float
    milliseconds: int
    reused: bool

    def __str__(self) -> str:
        reused = ", an earlier answer reused" if self.reused else ""
        return f"Athena: {self.bytes_scanned / MB:,.1f} MB scanned, {self.cost_usd:.6f} USD{reused}"


def cost(bytes_scanned: int, *, reused: bool = False) -> float:
    """The list price of a query in US dollars; a reused answer scans nothing and costs nothing."""
    if reused:
        return 0.0
    return max(LEAST_MB, math.ceil(bytes_scanned / MB)) * MB / TB * USD_PER_TB


@dataclass(frozen=True)
class Athena:
    """The SQL engine on AWS, which reads the newest version of a table that is registered in the Glue database.

    Attributes:
        results: the S3 address for its answers where the workgroup does not insist on its own.
    """

    session: Session
    database: str
    workgroup: str
    results: str

    def answer(
        self,
        statement: athena.Statement,
        parameters: Mapping[str, Any],
        tables: Mapping[str, tuple[TableLocation, Any]],
        listed: Mapping[str, Relation],
        limits: Limits,
    ) -> pd.DataFrame:
        """Answer a SELECT; see `ask`. The workgroup's limits hold, not `limits`.

        Args:
            statement, parameters: as for `ask`. tables: where each table is that it reads, and the Delta table.
            listed: those of information_schema.
        """
        schemas = {name: frames.columns(delta) for name, (_, delta) in tables.items()}
        schemas |= {name: relation.schema for name, relation in listed.items()}
        commits = [delta.history(1)[0]["timestamp"] for _, delta in tables.values()]
        # what the catalogue says may change without a commit to the tables read: no earlier answer stands for it
        commits += [int(time.time() * 1000)] if listed else []
        shape = nested_answers.shape(statement, schemas, parameters)
        return ask(statement, parameters, self, last_commit=max(commits, default=0), shape=shape)


def ask(
    statement: athena.Statement,
    parameters: Mapping[str, Any],
    engine: Athena,
    *,
    last_commit: int = 0,
    shape: athena.Translation | None = None,
) -> pd.DataFrame:
    """Run one SELECT on Athena.

    An answer with arrays, maps or rows is unloaded as Parquet, whose values come back as lists and dicts; Athena's
    plain answers, CSV, would give them as text.

    Args:
        statement: one SELECT, parsed; ``:name`` stands for a parameter, sent apart from the text.
        parameters: a value for every ``:name``; a list fits where ``IN (:name)`` stands.
        engine: where it runs.
        last_commit: when the tables last changed, milliseconds since 1970; an answer that Athena made
            earlier is not reused.
        shape: names and types of the answer, where they are known here.

    Returns:
        The answer; ``attrs["athena"]`` holds the `Bill` as a mapping.

    Raises:
        QueryError: a parameter is missing or of no known type, or Athena fails the query. LakeError: AWS refuses.
    """
    import awswrangler as wr

    text, values = placeholders(statement, parameters)
    unloads = shape is not None and nested_answers.is_nested(shape)
    how: dict[str, Any] = {"result_reuse_configuration": reuse(last_commit, time.time()), "s3_output": engine.results}
    if unloads:
        how = {"unload_approach": True, "s3_output": f"{engine.results}unload/{uuid.uuid4().hex}/"}
    with explained("cannot ask Athena"):
        try:
            answer = wr.athena.read_sql_query(
                text,
                database=engine.database,
                workgroup=engine.workgroup,
                ctas_approach=False,
                keep_files=True,  # reuse needs them; a lifecycle rule on athena/ deletes them
                params=values or None,
                paramstyle="qmark",
                boto3_session=engine.session.boto3_session,
                **how,
            )
        except wr.exceptions.EmptyDataFrame:
            return nested_answers.empty(shape)
        except wr.exceptions.InvalidArgumentValue as error:
            raise QueryError(f"Athena cannot give this answer: {str(error)[:300]}\n  {statement.beginning}") from error
        except (wr.exceptions.QueryFailed, wr.exceptions.QueryCancelled) as error:
            raise QueryError(f"Athena failed the query: {str(error)[:300]}\n  {statement.beginning}") from error
    bill = _bill(answer.query_metadata)
    log.info("event=athena query=%s bytes=%d usd=%.6f", bill.query_id, bill.bytes_scanned, bill.cost_usd)
    if shape is None:
        nested_answers.refuse_text(engine.session.client("athena"), bill.query_id)
    frame = _plain(nested_answers.restored(answer, statement, shape) if shape is not None and unloads else answer)
    frame.attrs["athena"] = {**asdict(bill), "text": str(bill)}
    return frame


def bills(asked: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a question asked: question, rows, engine, mb_scanned, cost_usd and reused (NA where it ran here)."""
    rows = [
        {
            "question": question["question"],
            "rows": question["rows"],
            "engine": "Athena" if "query_id" in question else "DuckDB, here",
            "mb_scanned": question["bytes_scanned"] / MB if "query_id" in question else None,
            "cost_usd": question.get("cost_usd"),
            "reused": question.get("reused"),
        }
        for question in asked
    ]
    kinds = {"mb_scanned": "Float64", "cost_usd": "Float64", "reused": "boolean"}
    return pd.DataFrame(rows, columns=["question", "rows", "engine", *kinds]).astype(kinds)


def reuse(last_commit: int, now: float) -> dict[str, Any]:
    """Let Athena reuse an answer that is younger than the last commit (milliseconds) by at least a minute."""
    minutes = min(LONGEST_REUSE, int((now - last_commit / 1000) // 60) - 1)
    age: dict[str, Any] = {"Enabled": minutes > 0}
    if minutes > 0:
        age["MaxAgeInMinutes"] = minutes
    return {"ResultReuseByAgeConfiguration": age}


def placeholders(text: str | athena.Statement, parameters: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Turn ``:name`` into Athena's ``?`` and return the values in their order, as SQL literals.

    A NaN or an infinity, which has no literal, is written into the text as the call that makes it.

    Raises:
        QueryError: a parameter is missing, not used, an empty list, or of a type without a literal.
    """
    from sqlglot import TokenType

    parameters = every(parameters)
    statement = athena.parse(text)
    athena.check_parameters(statement.tree, parameters)
    text, pieces, values, end = statement.text, [], [], 0
    for colon, name in itertools.pairwise(statement.tokens):
        if colon.token_type != TokenType.COLON or name.start != colon.end + 1 or not name.text.isidentifier():
            continue
        given = parameters[name.text]
        items = [literal(item) for item in (given if isinstance(given, list) else [given])]
        pieces += [text[end : colon.start], ", ".join(item if item in CALLS else "?" for item in items)]
        values += [item for item in items if item not in CALLS]
        end = name.end + 1
    return "".join([*pieces, text[end:]]), values


def _bill(metadata: Mapping[str, Any]) -> Bill:
    statistics = metadata.get("Statistics", {})
    reused = bool(statistics.get("ResultReuseInformation", {}).get("ReusedPreviousResult", False))
    scanned = int(statistics.get("DataScannedInBytes", 0))
    milliseconds = int(statistics.get("EngineExecutionTimeInMillis", 0))
    return Bill(str(metadata.get("QueryExecutionId")), scanned, cost(scanned, reused=reused), milliseconds, reused)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The dtypes of a local answer: dates as datetime64[ns], whole numbers without gaps as int64."""
    plain = pd.DataFrame(index=frame.index)
    for name, column in frame.items():
        if pd.api.types.is_integer_dtype(column.dtype):
            column = column.astype("Int64" if column.isna().any() else "int64")
        elif pd.api.types.is_datetime64_any_dtype(column.dtype):
            column = column.dt.as_unit("ns")
        elif column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "date":
            column = pd.to_datetime(column).dt.as_unit("ns")
        plain[name] = column
    return plain
