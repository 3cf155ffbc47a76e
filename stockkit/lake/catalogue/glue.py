"""The Glue catalogue: how tables are described there, and putting a description in only when it says something new.

Delta tables are described as Athena's guide does for native Delta tables ("Sync Delta Lake metadata"): location,
``spark.sql.sources.provider`` and ``table_type``; engine version 3 takes the rest from the table's own log. The
columns are there for people and for Lake Formation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stockkit.athena.types import UNKNOWN, from_arrow
from stockkit.aws import Session
from stockkit.aws_errors import explained
from stockkit.errors import LakeError, QueryError

RAW = "raw"
RAW_KEYS = ("source", "symbol")
HIVE_NAMES = {"varchar": "string", "integer": "int", "real": "float", "zoned": "timestamp"}  # else as Athena's
DELETE_AT_ONCE = 25  # Glue's limit of the batch call
HIVE = "org.apache.hadoop.hive.ql.io"
MAPRED = "org.apache.hadoop.mapred"
SERDE = "org.apache.hadoop.hive.serde2"
CSV_FILE = {"classification": "csv", "skip.header.line.count": "1"}
CSV: dict[str, Any] = {
    "SerializationLibrary": f"{SERDE}.OpenCSVSerde",
    "Parameters": {"separatorChar": ",", "quoteChar": '"', "escapeChar": "\\"},
}

Partition = tuple[str, str]
Description = dict[str, Any]


def glue_type(arrow: Any) -> str:
    """The Glue type of an Arrow type.

    Raises:
        LakeError: it has none that a table of the workbook uses.
    """
    try:
        kind = from_arrow(arrow, "")
    except QueryError:
        kind = UNKNOWN
    if kind.name == "decimal":
        return f"decimal({kind.args[0]},{kind.args[1]})"
    if kind.name in ("unknown", "array"):
        raise LakeError(f"the Glue catalogue has no type for {arrow}: convert the column first.")
    return HIVE_NAMES.get(kind.name, kind.name)


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
        "Parameters": {"EXTERNAL": "TRUE", **CSV_FILE},
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in RAW_KEYS],
        "StorageDescriptor": {
            "Columns": [{"Name": column, "Type": "string"} for column in columns],
            "Location": location,
            "InputFormat": f"{MAPRED}.TextInputFormat",
            "OutputFormat": f"{HIVE}.HiveIgnoreKeyTextOutputFormat",
            "SerdeInfo": CSV,
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
        import awswrangler as wr

        with explained(f"cannot list the partitions of {self.database}.{table}"):
            values = wr.catalog.get_partitions(self.database, table, boto3_session=self.session.boto3_session)
            return {(source, symbol) for source, symbol in values.values()}

    def add_partitions(self, location: str, columns: Mapping[Partition, list[str]]) -> None:
        """Put partitions of the raw zone in; those that are there already stay."""
        import awswrangler as wr

        for names, keys in itertools.groupby(sorted(columns, key=columns.__getitem__), columns.__getitem__):
            places = {f"{location}source={source}/symbol={symbol}/": [source, symbol] for source, symbol in keys}
            what = f"cannot add partitions to {self.database}.{RAW}"
            try:
                with explained(what):
                    wr.catalog.add_csv_partitions(
                        self.database, RAW, places, columns_types=dict.fromkeys(names, "string"),
                        serde_library=CSV["SerializationLibrary"], serde_parameters=CSV["Parameters"],
                        partitions_parameters=CSV_FILE, boto3_session=self.session.boto3_session,
                    )  # fmt: skip
            except wr.exceptions.ServiceApiError as error:
                raise LakeError(f"{what}: {error}") from error

    def remove_partitions(self, gone: Iterable[Partition]) -> None:
        """Take partitions of the raw zone out of the catalogue; awswrangler's call for it ignores what Glue refuses."""
        values = [{"Values": list(key)} for key in sorted(gone)]
        for first in range(0, len(values), DELETE_AT_ONCE):
            with explained(f"cannot remove partitions from {self.database}.{RAW}"):
                answer = self.client.batch_delete_partition(
                    DatabaseName=self.database, TableName=RAW, PartitionsToDelete=values[first : first + DELETE_AT_ONCE]
                )
            for error in answer.get("Errors", []):
                detail = error.get("ErrorDetail", {})
                if detail.get("ErrorCode") != "EntityNotFoundException":
                    raise LakeError(f"Glue: partition {error.get('PartitionValues')}: {detail.get('ErrorMessage')}")

    def _table(self, name: str) -> Description | None:
        try:
            table: Description = self.client.get_table(DatabaseName=self.database, Name=name)["Table"]
            return table
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
