"""The Glue catalogue: how tables are described there, and putting a description in only when it says something new.

Delta tables are described as Athena's guide does for native Delta tables ("Sync Delta Lake metadata"): location,
``spark.sql.sources.provider`` and ``table_type``; engine version 3 takes the rest from the table's own log. The
columns are there for people and for Lake Formation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stockkit.aws import Session
from stockkit.errors import LakeError
from stockkit.files import explained

RAW = "raw"
RAW_KEYS = ("source", "symbol")
TYPES = {
    "string": "string", "large_string": "string", "date32[day]": "date", "double": "double", "float": "float",
    "int64": "bigint", "int32": "int", "int16": "smallint", "int8": "tinyint", "bool": "boolean",
}  # fmt: skip
CREATE_AT_ONCE, DELETE_AT_ONCE = 100, 25  # Glue's limits of the batch calls
HIVE = "org.apache.hadoop.hive.ql.io"
MAPRED = "org.apache.hadoop.mapred"
SERDE = "org.apache.hadoop.hive.serde2"

Partition = tuple[str, str]
Description = dict[str, Any]


def glue_type(arrow: Any) -> str:
    """The Glue type of an Arrow type.

    Raises:
        LakeError: it has none that a table of the workbook uses.
    """
    import pyarrow as pa

    if pa.types.is_timestamp(arrow):
        return "timestamp"
    if pa.types.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    if str(arrow) not in TYPES:
        raise LakeError(f"the Glue catalogue has no type for {arrow}: convert the column first.")
    return TYPES[str(arrow)]


def delta_table(name: str, location: str, arrow_schema: Any) -> Description:
    """The description of a Delta table."""
    import pyarrow as pa

    columns = [{"Name": column.name, "Type": glue_type(column.type)} for column in pa.schema(arrow_schema)]
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": "delta",
            "table_type": "DELTA",
            "spark.sql.sources.provider": "delta",
        },
        "PartitionKeys": [],
        "StorageDescriptor": {
            "Columns": columns,
            "Location": location,
            "InputFormat": f"{MAPRED}.SequenceFileInputFormat",
            "OutputFormat": f"{HIVE}.HiveSequenceFileOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": f"{SERDE}.lazy.LazySimpleSerDe",
                "Parameters": {"serialization.format": "1", "path": location},
            },
        },
    }


def csv_columns(header: bytes) -> list[str]:
    """The column names of a CSV's first line, as Glue takes them: small letters, digits and _, each once."""
    line = header.split(b"\n", 1)[0].decode("utf-8", "replace").strip().strip("\ufeff")
    names: list[str] = []
    for number, cell in enumerate(line.split(","), start=1):
        name = re.sub(r"[^a-z0-9]+", "_", cell.strip().strip('"').lower()).strip("_") or f"column_{number}"
        names.append(name if name not in (*names, *RAW_KEYS) else f"{name}_{number}")
    return names


def raw_table(location: str, columns: Sequence[str]) -> Description:
    """The description of the raw zone: CSV, everything text, one partition a source and symbol."""
    return {
        "Name": RAW,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"EXTERNAL": "TRUE", "classification": "csv", "skip.header.line.count": "1"},
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in RAW_KEYS],
        "StorageDescriptor": _csv(location, columns),
    }


def _csv(location: str, columns: Sequence[str]) -> Description:
    return {
        "Columns": [{"Name": column, "Type": "string"} for column in columns],
        "Location": location,
        "InputFormat": f"{MAPRED}.TextInputFormat",
        "OutputFormat": f"{HIVE}.HiveIgnoreKeyTextOutputFormat",
        "SerdeInfo": {
            "SerializationLibrary": f"{SERDE}.OpenCSVSerde",
            "Parameters": {"separatorChar": ",", "quoteChar": '"', "escapeChar": "\\"},
        },
    }


@dataclass(frozen=True)
class Catalogue:
    """A Glue database, and the crawler that catalogues the raw zone in it, if any."""

    session: Session
    database: str
    crawler: str | None = None

    @property
    def client(self) -> Any:
        """The client of Glue."""
        return self.session.client("glue")

    def register(self, table: Description) -> bool:
        """Put a table in, or its new description; say whether anything was new. Makes the database if need be.

        Raises:
            LakeError: Glue refuses.
        """
        what = f"cannot register the table {table['Name']!r} in the Glue database {self.database!r}"
        with explained(what, otherwise="Run the same again: what is stored stays, and it is registered then."):
            known = self._table(table["Name"])
            if known is not None and _says(known, table):
                return False
            if known is not None:
                self.client.update_table(DatabaseName=self.database, TableInput=table)
                return True
            self._make_database()
            try:
                self.client.create_table(DatabaseName=self.database, TableInput=table)
            except self.client.exceptions.AlreadyExistsException:  # another writer, this moment
                self.client.update_table(DatabaseName=self.database, TableInput=table)
            return True

    def partitions(self, table: str) -> set[Partition]:
        """The partitions that a table has in the catalogue."""
        with explained(f"cannot list the partitions of {self.database}.{table}"):
            pages = self.client.get_paginator("get_partitions")
            found = pages.paginate(DatabaseName=self.database, TableName=table, ExcludeColumnSchema=True)
            return {(one["Values"][0], one["Values"][1]) for page in found for one in page["Partitions"]}

    def add_partitions(self, location: str, columns: Mapping[Partition, Sequence[str]]) -> None:
        """Put partitions of the raw zone in; those that are there already stay."""
        inputs = [
            {
                "Values": list(key),
                "StorageDescriptor": _csv(f"{location}source={key[0]}/symbol={key[1]}/", columns[key]),
                "Parameters": {"classification": "csv", "skip.header.line.count": "1"},
            }
            for key in sorted(columns)
        ]
        for some in _batches(inputs, CREATE_AT_ONCE):
            with explained(f"cannot add partitions to {self.database}.{RAW}"):
                answer = self.client.batch_create_partition(
                    DatabaseName=self.database, TableName=RAW, PartitionInputList=some
                )
            _check(answer, but="AlreadyExistsException")

    def remove_partitions(self, gone: Iterable[Partition]) -> None:
        """Take partitions of the raw zone out of the catalogue."""
        for some in _batches([{"Values": list(key)} for key in sorted(gone)], DELETE_AT_ONCE):
            with explained(f"cannot remove partitions from {self.database}.{RAW}"):
                answer = self.client.batch_delete_partition(
                    DatabaseName=self.database, TableName=RAW, PartitionsToDelete=some
                )
            _check(answer, but="EntityNotFoundException")

    def _table(self, name: str) -> Description | None:
        try:
            found: Description = self.client.get_table(DatabaseName=self.database, Name=name)["Table"]
            return found
        except self.client.exceptions.EntityNotFoundException:
            return None

    def _make_database(self) -> None:
        try:
            self.client.get_database(Name=self.database)
        except self.client.exceptions.EntityNotFoundException:
            with suppress(self.client.exceptions.AlreadyExistsException):  # another writer, this moment
                self.client.create_database(DatabaseInput={"Name": self.database})


def _says(known: Any, wanted: Any) -> bool:
    """Whether a description in the catalogue says all that is wanted; Glue adds fields of its own."""
    if isinstance(wanted, dict):
        return isinstance(known, dict) and all(_says(known.get(name, [] if value == [] else None), value)
                                               for name, value in wanted.items())  # fmt: skip
    if isinstance(wanted, list):
        return isinstance(known, list) and len(known) == len(wanted) and all(map(_says, known, wanted))
    return bool(known == wanted)


def _batches(items: list[Description], size: int) -> list[list[Description]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _check(answer: Mapping[str, Any], *, but: str) -> None:
    for error in answer.get("Errors", []):
        detail = error.get("ErrorDetail", {})
        if detail.get("ErrorCode") != but:
            raise LakeError(f"Glue: partition {error.get('PartitionValues')}: {detail.get('ErrorMessage')}")
