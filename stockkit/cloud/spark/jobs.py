"""The command lines of the jobs in ``deploy/jobs``: read by hand and by Glue, which adds arguments of its own."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from stockkit import features as catalogue
from stockkit.cloud.spark import feature_job, plugin, session
from stockkit.errors import ParamError, StockkitError
from stockkit.lake.tables import open_lake
from stockkit.market import sessions

EXIT_FAILED, EXIT_USAGE = 1, 2
OF_GLUE = re.compile(
    r"--(JOB_NAME|JOB_ID|JOB_RUN_ID|SECURITY_CONFIGURATION|TempDir|job-bookmark-(option|from|to)|redshift.*|enable-.*|"
    r"extra-.*|additional-python-modules|python-modules-installer-option|encryption-type|conf|job-language|class|"
    r"scriptLocation|spark-event-logs-path|user-jars-first|use-postgres-driver|executor-cores|datalake-formats|"
    r"continuous-log-.*|disable-proxy.*|auto-scal.*|write-shuffle-.*)"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are those of the package."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving."""
        raise ParamError(f"{self.prog}: {message}")


def features(words: Sequence[str]) -> int:
    """Run the job ``deploy/jobs/features.py``; the last line it prints is the table's version. Returns an exit code.

    0: committed, or all rows were there already. 1: it failed, the table is as it was. 2: the command is wrong.
    """
    try:
        asked = _asked(words)
        own = plugin.read(asked.module) if asked.module else None
        if own:
            own.load()
        named = [*(asked.names or ()), *(catalogue.names(*asked.groups) if asked.groups else ())]
        lake = open_lake(asked.lake)
        sessions.zone(asked.calendar)
        catalogue.check_names(named or None, asked.dtype)  # here and not in ten seconds, when Spark has started
        symbols = feature_job.symbols_of(lake, asked.source, asked.symbols)
        lake.version(asked.table)
        spark = session.session("stockkit features", cores=asked.cores)
        version = feature_job.features_to_lake(
            spark, lake, named or None, symbols, source=asked.source, table=asked.table,
            dtype=asked.dtype, calendar=asked.calendar, plugin=own,
        )  # fmt: skip
    except StockkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ParamError) else EXIT_FAILED
    print(f"{asked.table} version {version}: {lake.count(asked.table):,} rows in {lake.files}")
    return 0


def _asked(words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="features.py", description="Compute features on Spark.", allow_abbrev=False)
    parser.add_argument("--lake", required=True, help="a folder, or s3://bucket/prefix")
    parser.add_argument("--names", nargs="+", action=_Listed, help="features, by comma or blank; default: basic")
    parser.add_argument("--groups", nargs="+", action=_Listed, help="groups of features")
    parser.add_argument("--symbols", nargs="+", action=_Listed, help="whose rows; default: all that have prices")
    parser.add_argument("--source", default="prices", help="the table to read")
    parser.add_argument("--table", default="features", help="the table to write")
    parser.add_argument("--dtype", default="float64", help="float64 or float32")
    parser.add_argument("--calendar", default=sessions.DEFAULT, help="the exchange, as an ISO market code")
    parser.add_argument("--module", help="a Python file that registers features")
    parser.add_argument("--cores", type=int, default=2, help="tasks at once; of a session on this machine")
    known, rest = parser.parse_known_args(_without_glues(words))
    if rest:
        near = get_close_matches(rest[0], [one for action in parser._actions for one in action.option_strings], n=1)
        parser.error(f"there is no argument {rest[0]!r}." + (f" Did you mean {near[0]}?" if near else " See --help."))
    return known


class _Listed(argparse.Action):
    """Values apart by commas or blanks: on Glue an argument is one value."""

    def __call__(self, parser: object, namespace: object, values: object, option: object = None) -> None:
        found = re.split(r"[,\s]+", " ".join(values if isinstance(values, list) else [str(values)]).strip(", "))
        setattr(namespace, self.dest, [one for one in found if one] or None)


def _without_glues(words: Sequence[str]) -> list[str]:
    """The words without the arguments that Glue hands to a script for itself, and their values."""
    kept, ours = list[str](), True
    for word in words:
        if word.startswith("--"):
            ours = not OF_GLUE.fullmatch(word.partition("=")[0])
        kept += [word] if ours else []
    return kept
